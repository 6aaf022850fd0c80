//! All kept versions, read one after the other.

use bytes::Bytes;
use compiler_client::message::PackagesAnswer;
use prost::Message as _;
use proto::compile::{Bundle, KeptPackage, PackageVersion, export_packages_response::Part};
use tokio::sync::mpsc::Sender;

use crate::{
    dialogue::MAX_PART,
    error::Error,
    store::{
        Pool,
        vendored::{self, Document},
    },
};

/// Rows of one statement.
const PAGE: usize = 200;

/// Sends all versions with their tarballs, by name and version.
///
/// # Errors
/// The database fails, or nobody reads.
pub(crate) async fn all(pool: &Pool, parts: &Sender<Part>) -> Result<(), Error> {
    let mut pages = Pages::default();
    while let Some(rows) = pages.next(pool).await? {
        for row in rows {
            let (name, version) = (row.name.clone(), row.version.clone());
            let has_tarball = row.sha512.is_some();
            send(parts, Part::Package(package(row))).await?;
            if !has_tarball {
                continue;
            }
            let tarball: Bytes = vendored::tarball(pool, &name, &version).await?.unwrap_or_default().into();
            for at in (0..tarball.len()).step_by(MAX_PART) {
                send(parts, Part::Data(tarball.slice(at..tarball.len().min(at + MAX_PART)))).await?;
            }
        }
    }
    Ok(())
}

fn package(row: Document) -> PackageVersion {
    PackageVersion {
        name: row.name,
        version: row.version,
        tags: row.tags,
        document: row.document.into(),
        sha512: row.sha512.unwrap_or_default(),
        bytes: row.bytes as u64,
    }
}

/// Sends the kept versions without their contents, in lists.
///
/// # Errors
/// As [`all`].
pub(crate) async fn list(pool: &Pool, lists: &Sender<Vec<KeptPackage>>) -> Result<(), Error> {
    let mut pages = Pages::default();
    while let Some(rows) = pages.next(pool).await? {
        let kept = |row: Document| KeptPackage { name: row.name, version: row.version, bytes: row.bytes as u64, was_kept: true };
        send(lists, rows.into_iter().map(kept).collect()).await?;
    }
    Ok(())
}

/// Sends the bundles of packages, in lists.
///
/// # Errors
/// As [`all`].
pub(crate) async fn bundles(pool: &Pool, lists: &Sender<Vec<Bundle>>) -> Result<(), Error> {
    let mut after = Vec::new();
    loop {
        let rows = vendored::bundles(pool, &after, PAGE as i64).await?;
        let Some(last) = rows.last() else { return Ok(()) };
        after.clone_from(&last.key);
        let mut list = Vec::with_capacity(rows.len());
        for row in rows {
            let specifiers = PackagesAnswer::decode(row.body.as_slice())?.packages.into_iter().map(|package| package.specifier);
            list.push(Bundle { specifiers: specifiers.collect(), bytes: row.bytes as u64, findings: Vec::new() });
        }
        send(lists, list).await?;
    }
}

/// The versions, page by page.
#[derive(Default)]
struct Pages {
    after: (String, String),
}

impl Pages {
    async fn next(&mut self, pool: &Pool) -> Result<Option<Vec<Document>>, Error> {
        let rows = vendored::page(pool, (&self.after.0, &self.after.1), PAGE as i64).await?;
        let Some(last) = rows.last() else { return Ok(None) };
        self.after = (last.name.clone(), last.version.clone());
        Ok(Some(rows))
    }
}

async fn send<T>(parts: &Sender<T>, part: T) -> Result<(), Error> {
    parts.send(part).await.map_err(|_| Error::UnexpectedMessage("the caller is gone"))
}
