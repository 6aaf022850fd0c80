//! The import of versions that were kept elsewhere: each is checked, and kept when it is complete.

use bytes::Bytes;
use chassis::task;
use npm::{Excerpt, Limits};
use proto::{
    compile::{KeptPackage, PackageVersion, import_packages_request::Part},
    error::Violations,
};

use super::keep;
use crate::{
    dialogue::MAX_PART,
    error::{Error, SERVICE},
    hash,
    store::Pool,
};

const MAX_TAGS: usize = 100;
const MAX_TAG: usize = 256;
/// Hexadecimal digits of a hash.
const DIGITS: usize = 128;

/// An import in progress.
pub(crate) struct Import<'a> {
    pool: &'a Pool,
    limits: &'a Limits,
    /// The most bytes of all versions.
    room: u64,
    /// The version whose tarball is incomplete.
    open: Option<Open>,
}

struct Open {
    excerpt: Excerpt,
    sha512: String,
    bytes: usize,
    body: Vec<u8>,
}

impl<'a> Import<'a> {
    pub(crate) fn new(pool: &'a Pool, limits: &'a Limits, room: u64) -> Self {
        Self { pool, limits, room, open: None }
    }

    /// Takes a message. Returns the version that it completes.
    ///
    /// # Errors
    /// The message is invalid or out of order, the tarball has another hash, or there is no room.
    pub(crate) async fn take(&mut self, part: Option<Part>) -> Result<Option<KeptPackage>, Error> {
        match part {
            Some(Part::Package(package)) if self.open.is_none() => self.begin(package).await,
            Some(Part::Package(_)) => Err(Error::UnexpectedMessage("a package was begun before the tarball of the last one was complete")),
            Some(Part::Data(data)) => self.data(&data).await,
            None => Err(Error::UnexpectedMessage("a message must have a part")),
        }
    }

    /// Checks that the last version was complete.
    ///
    /// # Errors
    /// It was not.
    pub(crate) fn end(&self) -> Result<(), Error> {
        if self.open.is_some() { Err(Error::UnexpectedMessage("the stream ended within a tarball")) } else { Ok(()) }
    }

    async fn begin(&mut self, package: PackageVersion) -> Result<Option<KeptPackage>, Error> {
        let (excerpt, bytes) = read(&package, self.limits)?;
        if package.sha512.is_empty() {
            return keep(self.pool, excerpt, None, self.room).await.map(Some);
        }
        self.open = Some(Open { excerpt, sha512: package.sha512, bytes, body: Vec::new() });
        Ok(None)
    }

    async fn data(&mut self, data: &Bytes) -> Result<Option<KeptPackage>, Error> {
        let Some(open) = &mut self.open else {
            return Err(Error::UnexpectedMessage("data must follow the package that it belongs to"));
        };
        let mut violations = Violations::default();
        if data.len() > MAX_PART || data.is_empty() {
            violations.add("data", format!("must have from 1 to {MAX_PART} bytes"));
        }
        if open.body.len() + data.len() > open.bytes {
            violations.add("data", format!("must have {} bytes in all, as the package says", open.bytes));
        }
        violations.check(SERVICE)?;
        open.body.extend_from_slice(data);
        if open.body.len() < open.bytes {
            return Ok(None);
        }
        let Some(Open { excerpt, sha512, body, .. }) = self.open.take() else { return Ok(None) };
        let (found, body) = task::blocking_and_wait(move || (hash::sha512(&body), body)).await;
        if found != sha512 {
            let package = format!("{}@{}", excerpt.name, excerpt.version);
            return Err(Error::PackageDamaged { package, problem: "the tarball does not have the hash of the archive" });
        }
        keep(self.pool, excerpt, Some(body), self.room).await.map(Some)
    }
}

/// Checks the fields of a package.
fn read(package: &PackageVersion, limits: &Limits) -> Result<(Excerpt, usize), Error> {
    let mut violations = Violations::default();
    let has_tarball = !package.sha512.is_empty();
    if has_tarball && !hash::is_hex(&package.sha512, DIGITS) {
        violations.add("package.sha512", format!("must be empty or {DIGITS} lower-case hexadecimal digits"));
    }
    let bytes = usize::try_from(package.bytes).unwrap_or(usize::MAX);
    if bytes > limits.packed_bytes || has_tarball != (bytes > 0) {
        violations.add("package.bytes", format!("must be from 1 to {} with a hash, and 0 without one", limits.packed_bytes));
    }
    if package.tags.len() > MAX_TAGS || package.tags.iter().any(|tag| tag.is_empty() || tag.len() > MAX_TAG || tag.contains('\0')) {
        violations.add("package.tags", format!("must be at most {MAX_TAGS} tags with 1 to {MAX_TAG} bytes"));
    }
    let excerpt = Excerpt::read(&package.name, &package.version, package.tags.clone(), &package.document);
    if let Err(error) = &excerpt {
        let field = match error {
            npm::Error::Field { field, .. } if ["name", "version"].contains(&field.as_str()) => format!("package.{field}"),
            _ => "package.document".to_owned(),
        };
        violations.add(field, error.to_string());
    }
    violations.check(SERVICE)?;
    Ok((excerpt.map_err(Error::from)?, bytes))
}
