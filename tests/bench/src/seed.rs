//! Data for the measurements of files and messages: texts that resemble source code, prepared objects, and projects and messages that are
//! written directly into the database.

use std::io::Write as _;

use anyhow::Result;
use flate2::{Compression, write::ZlibEncoder};
use sqlx::PgPool;
use uuid::Uuid;

pub(crate) const MAIN: &str = "refs/heads/main";
pub(crate) const FILE_BYTES: usize = 4096;
/// The tags of git objects in project-storage. Blobs are compressed.
const BLOB: i16 = 3 | 1 << 4;
const TREE: i16 = 2;
const COMMIT: i16 = 1;
const OWNER: i16 = 4;
/// The length of a message.
const MESSAGE_BYTES: usize = 200;

/// A random text that resembles source code.
pub(crate) fn source() -> String {
    const WORDS: [&str; 24] = [
        "const ",
        "return ",
        "export ",
        "function ",
        "import ",
        "await ",
        "props",
        "state",
        "value",
        "index",
        "items",
        "render",
        "(",
        ")",
        " {\n  ",
        "}\n",
        " => ",
        " = ",
        ";\n",
        "className=\"",
        "\"",
        "<div>",
        "</div>\n",
        ".map",
    ];
    let mut text = format!("// {}\n", Uuid::new_v4());
    while text.len() < FILE_BYTES {
        text.push_str(WORDS[rand::random_range(0..WORDS.len())]);
        if rand::random_ratio(1, 6) {
            text.push_str(&format!("v{}", rand::random_range(0..10_000)));
        }
    }
    text.truncate(FILE_BYTES);
    text
}

/// A project of the baseline with its head.
pub(crate) struct Head {
    pub(crate) project: Uuid,
    pub(crate) store: Uuid,
    pub(crate) user: Uuid,
    pub(crate) oid: Vec<u8>,
}

/// The objects of a commit.
pub(crate) struct Objects {
    pub(crate) oids: Vec<Vec<u8>>,
    pub(crate) tags: Vec<i16>,
    pub(crate) sizes: Vec<i32>,
    pub(crate) data: Vec<Vec<u8>>,
    pub(crate) commit: Vec<u8>,
    pub(crate) tree: Vec<u8>,
}

impl Objects {
    /// Creates files in nested folders, with their trees and the commit. `folder` is the number of entries of the innermost tree. Ids are random.
    pub(crate) fn of(files: usize, folder: usize) -> Result<Self> {
        let mut rows = Vec::with_capacity(files + 4);
        for _ in 0..files {
            let text = source();
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::new(1));
            encoder.write_all(text.as_bytes())?;
            rows.push((oid(), BLOB, i32::try_from(text.len())?, encoder.finish()?));
        }
        // An entry of a tree has about 40 bytes. The two outer trees have one entry each.
        let (root, commit) = (oid(), oid());
        for (id, entries) in [(oid(), folder), (oid(), 1), (root.clone(), 1)] {
            rows.push((id, TREE, i32::try_from(entries * 40)?, (0..entries * 40).map(|_| rand::random()).collect()));
        }
        rows.push((commit.clone(), COMMIT, 250, (0..250).map(|_| rand::random()).collect()));
        rows.sort_by(|a, b| a.0.cmp(&b.0));
        let mut objects = Self { oids: vec![], tags: vec![], sizes: vec![], data: vec![], commit, tree: root };
        for (oid, tag, size, data) in rows {
            objects.oids.push(oid);
            objects.tags.push(tag);
            objects.sizes.push(size);
            objects.data.push(data);
        }
        Ok(objects)
    }
}

fn oid() -> Vec<u8> {
    rand::random::<[u8; 20]>().to_vec()
}

/// Creates an empty project of the user.
pub(crate) async fn project(pool: &PgPool, user: Uuid) -> Result<Head> {
    let head = Head { project: Uuid::now_v7(), store: Uuid::now_v7(), user, oid: Vec::new() };
    sqlx::query("INSERT INTO stores (id) VALUES ($1)").bind(head.store).execute(pool).await?;
    sqlx::query("INSERT INTO projects (id, store_id, owner_id, display_name, plan) VALUES ($1, $2, $3, 'baseline', 1)")
        .bind(head.project)
        .bind(head.store)
        .bind(user)
        .execute(pool)
        .await?;
    sqlx::query("INSERT INTO members (project_id, user_id, role) VALUES ($1, $2, $3)")
        .bind(head.project)
        .bind(user)
        .bind(OWNER)
        .execute(pool)
        .await?;
    sqlx::query("INSERT INTO refs (project_id, name, oid, seq) VALUES ($1, $2, '', 0)").bind(head.project).bind(MAIN).execute(pool).await?;
    Ok(head)
}

/// Creates a conversation with this number of messages. Returns the id of the middle one.
pub(crate) async fn conversation(pool: &PgPool, head: &Head, messages: i32) -> Result<Uuid> {
    // UUIDs of version 7, one per millisecond.
    sqlx::query(
        "INSERT INTO messages (project_id, id, turn_id, role, text, user_id, created_at)
         SELECT $1, (lpad(to_hex(1700000000000 + n), 12, '0') || '7000' || '8' || lpad(to_hex(n), 15, '0'))::uuid, gen_random_uuid(),
                1 + n % 2, repeat(md5(n::text), $4), $2, now()
         FROM generate_series(1, $3) AS n",
    )
    .bind(head.project)
    .bind(head.user)
    .bind(messages)
    .bind(i32::try_from(MESSAGE_BYTES / 32)?)
    .execute(pool)
    .await?;
    let middle = sqlx::query_scalar("SELECT id FROM messages WHERE project_id = $1 ORDER BY id OFFSET $2 LIMIT 1");
    Ok(middle.bind(head.project).bind(i64::from(messages / 2)).fetch_one(pool).await?)
}
