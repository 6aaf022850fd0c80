//! The templates that ship with Backlot. Their files are compiled into the executable.

use proto::id::TemplateId;
use ring::digest::{Context as Digest, SHA256};
use serde::Deserialize;
use uuid::Uuid;

use crate::{
    blocking,
    commit::{
        fillable::{FilledBytes, is_fillable},
        publish::check_picture,
    },
    error::Error,
    git::{self, Corruption, FileRef, Folder, Object},
    model::{
        placeholder::check_variables,
        project::StoreId,
        template::{BACKLOT, Details, Difficulty, Variable},
    },
    store::{
        self, Connection, Pool, copies, projects,
        templates::{self, NewVersion},
    },
};

/// Objects that one statement inserts.
const BATCH: usize = 100;

/// A template that ships with Backlot.
pub(crate) struct Starter {
    /// Its name, which is never changed.
    pub(crate) slug: &'static str,
    /// A [`Description`] as JSON.
    pub(crate) description: &'static str,
    /// Its files by their paths, sorted.
    pub(crate) files: &'static [(&'static str, &'static [u8])],
}

/// All of them.
pub(crate) const STARTERS: &[Starter] = include!(concat!(env!("OUT_DIR"), "/starters.rs"));

/// The file `template.json` of a starter.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Description {
    title: String,
    description: String,
    category: String,
    tags: Vec<String>,
    difficulty: Difficulty,
    #[serde(default)]
    picture: String,
    #[serde(default)]
    recommended_agent: String,
    #[serde(default)]
    variables: Vec<Variable>,
}

/// A starter with the objects of its files.
struct Prepared {
    details: Details,
    variables: Vec<Variable>,
    filled: Vec<String>,
    tree: Folder,
    objects: Vec<Object>,
    digest: Vec<u8>,
}

/// Publishes a starter, unless one of its versions has the same content. Returns whether it was published. Replicas may do so at the same
/// time.
///
/// # Errors
/// [`Error::Field`] if its description is not valid.
pub(crate) async fn publish(pool: &Pool, starter: &'static Starter) -> Result<bool, Error> {
    let bytes = starter.files.iter().map(|(_, content)| content.len()).sum();
    let prepared = blocking::run(bytes, || prepare(starter)).await?;
    let mut tx = store::begin(pool).await?;
    projects::lock_account(&mut tx, BACKLOT).await?;
    let (template, store, version) = match templates::find_starter(&mut *tx, starter.slug).await? {
        // A replica of another release may have published its own content since.
        Some(template) if templates::has_digest(&mut tx, template.id, &prepared.digest).await? => return Ok(false),
        Some(template) => (template.id, template.store, template.version + 1),
        None => {
            let store = StoreId(Uuid::now_v7());
            templates::insert_store(&mut tx, store).await?;
            (TemplateId::generate(), store, 1)
        }
    };
    write(&mut tx, starter.slug, (template, store, version), &prepared).await?;
    store::commit(tx).await?;
    Ok(true)
}

async fn write(
    tx: &mut Connection,
    slug: &str,
    (template, store, version): (TemplateId, StoreId, u32),
    prepared: &Prepared,
) -> Result<(), Error> {
    for batch in prepared.objects.chunks(BATCH) {
        copies::insert(tx, store, batch).await?;
    }
    let new = NewVersion {
        template,
        store,
        source: None,
        hidden: false,
        publisher: BACKLOT,
        starter: Some(slug),
        version,
        details: &prepared.details,
        tree: prepared.tree.oid().unwrap_or(git::Oid::EMPTY_TREE),
        files: prepared.tree.files(),
        bytes: prepared.tree.bytes(),
        variables: &prepared.variables,
        filled: &prepared.filled,
        digest: Some(&prepared.digest),
        request: None,
    };
    Ok(templates::write(tx, &new).await?)
}

fn prepare(starter: &Starter) -> Result<Prepared, Error> {
    let invalid = |problem: String| Error::Field { field: format!("{}/template.json", starter.slug), problem };
    let description: Description = serde_json::from_str(starter.description).map_err(|error| invalid(error.to_string()))?;
    check_variables(&description.variables).map_err(|(field, problem)| invalid(format!("{field}: {problem}")))?;
    let (mut tree, mut objects, mut filled) = (Folder::default(), Vec::new(), Vec::new());
    let mut filled_bytes = FilledBytes::default();
    let mut digest = Digest::new(&SHA256);
    digest.update(starter.description.as_bytes());
    for (path, content) in starter.files {
        proto::path::check_new(path).map_err(|problem| invalid(format!("{path}: {problem}")))?;
        let oid = git::blob_id(content).map_err(|problem| invalid(format!("{path}: {problem}")))?;
        let size = u32::try_from(content.len()).map_err(|_| Error::from(Corruption::Encoding(oid)))?;
        tree.put(path, FileRef { oid, size }).map_err(|clash| invalid(format!("{path}: {clash}")))?;
        objects.push(git::blob(oid, content));
        digest.update(path.as_bytes());
        digest.update(oid.as_bytes());
        if is_fillable(content, &description.variables) {
            filled_bytes.add(size.into(), "variables")?;
            filled.push((*path).to_owned());
        }
    }
    tree.write(&mut objects);
    check_picture(&description.picture, &tree)?;
    objects.sort_by_key(|object| object.oid);
    objects.dedup_by_key(|object| object.oid);
    let Description { title, description, category, tags, difficulty, picture, recommended_agent, variables } = description;
    let details = Details { title, description, category, tags, difficulty, picture, recommended_agent };
    Ok(Prepared { details, variables, filled, tree, objects, digest: digest.finish().as_ref().to_vec() })
}

/// What each starter says about itself.
#[cfg(test)]
pub(crate) fn details() -> Vec<(&'static str, Details)> {
    STARTERS.iter().map(|starter| (starter.slug, prepare(starter).expect(starter.slug).details)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::placeholder::has_placeholder;

    #[test]
    fn every_starter_is_valid() {
        for starter in STARTERS {
            let prepared = prepare(starter).expect(starter.slug);
            assert!(!starter.files.is_empty() && prepared.tree.files() as usize == starter.files.len(), "{}", starter.slug);
            assert!(prepared.details.tags.iter().all(|tag| *tag == tag.to_lowercase()), "{}", starter.slug);
            // Filled in with the defaults, no placeholder is left.
            let values = crate::model::placeholder::resolve(&prepared.variables, &[]).expect(starter.slug);
            for (path, content) in starter.files {
                let Ok(text) = std::str::from_utf8(content) else { continue };
                let filled = crate::model::placeholder::fill(text, &values);
                assert!(!has_placeholder(&filled, &prepared.variables), "{}/{path}", starter.slug);
            }
        }
    }

    #[test]
    fn the_digest_covers_description_paths_and_contents() {
        const DESCRIPTION: &str =
            r#"{"title":"T","description":"","category":"","tags":[],"difficulty":"beginner","variables":[{"name":"a","label":"A"}]}"#;
        let digest = |description: &'static str, files: &'static [(&'static str, &'static [u8])]| {
            prepare(&Starter { slug: "t", description, files }).expect("valid").digest
        };
        let first = digest(DESCRIPTION, &[("a", b"%%a%%")]);
        assert_eq!(first, digest(DESCRIPTION, &[("a", b"%%a%%")]));
        assert_ne!(first, digest(DESCRIPTION, &[("b", b"%%a%%")]));
        assert_ne!(first, digest(DESCRIPTION, &[("a", b"2")]));
        let prepared = prepare(&Starter { slug: "t", description: DESCRIPTION, files: &[("a", b"%%a%%"), ("b", b"2")] }).expect("valid");
        assert_eq!(prepared.filled, ["a"]);
        assert!(prepare(&Starter { slug: "t", description: "{}", files: &[] }).is_err());
        assert!(prepare(&Starter { slug: "t", description: DESCRIPTION, files: &[("../a", b"1")] }).is_err());
    }
}
