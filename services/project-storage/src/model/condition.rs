//! `If-Match` (RFC 9110, section 13.1.1): a request changes the project only if its ETag is one that the client has seen.

use ring::digest::{Context, SHA256};

use crate::{error::Error, model::project::Project};

/// Bytes of the digest in an ETag.
const ETAG_BYTES: usize = 16;

impl Project {
    /// The project's ETag. It changes with the head, the name, the metadata, and with everything else that the owner can set. The conversation
    /// does not change it; otherwise each turn would fail the next save.
    pub(crate) fn etag(&self) -> String {
        let mut digest = Context::new(&SHA256);
        if let Some((head, number)) = self.head {
            digest.update(head.as_bytes());
            digest.update(&number.to_be_bytes());
        }
        digest.update(self.name.as_bytes());
        // Neither a name nor an entry has NUL.
        for text in self.metadata.iter().flat_map(|(key, value)| [key, value]) {
            digest.update(b"\0");
            digest.update(text.as_bytes());
        }
        let digest = digest.finish();
        format!("\"{}\"", data_encoding::HEXLOWER.encode(&digest.as_ref()[..ETAG_BYTES]))
    }
}

/// A list of ETags of which the project must have one; empty for no condition.
#[derive(Debug, Clone, Default)]
pub(crate) struct Condition(pub(crate) String);

impl Condition {
    /// Whether there is no condition.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.trim().is_empty()
    }

    /// Checks a project; `None` is a project that does not exist yet and has no ETag.
    ///
    /// # Errors
    /// [`Error::EtagMismatch`].
    pub(crate) fn check(&self, project: Option<&Project>) -> Result<(), Error> {
        let current = project.map(Project::etag).unwrap_or_default();
        // The comparison is strong: an ETag that begins with W/ never matches.
        let matches = |part: &str| part == current || part == "*";
        let holds = !current.is_empty() && self.0.split(',').map(str::trim).any(matches);
        if self.is_empty() || holds { Ok(()) } else { Err(Error::EtagMismatch { current }) }
    }
}

#[cfg(test)]
mod tests {
    use proto::{
        auth::Plan,
        id::{ProjectId, UserId},
    };
    use time::{Duration, OffsetDateTime};
    use uuid::Uuid;

    use super::*;
    use crate::{
        git::Oid,
        model::project::{StoreId, User},
    };

    fn project() -> Project {
        let owner = User { id: UserId::generate(), plan: Plan::Free };
        Project::new(owner, None, "A shop".into(), OffsetDateTime::UNIX_EPOCH)
    }

    #[test]
    fn an_etag_changes_with_head_and_name_only() {
        let base = project();
        let same = Project {
            id: ProjectId::generate(),
            store: StoreId(Uuid::now_v7()),
            updated_at: base.updated_at + Duration::DAY,
            edited_at: base.edited_at + Duration::DAY,
            plan: Plan::Unspecified,
            ..base.clone()
        };
        assert_eq!(base.etag(), same.etag());
        let renamed = Project { name: "A shop!".into(), ..base.clone() };
        let saved = Project { head: Some((Oid::EMPTY_TREE, 1)), ..base.clone() };
        let saved_again = Project { head: Some((Oid::EMPTY_TREE, 2)), ..base.clone() };
        let with_metadata = |key: &str, value: &str| Project { metadata: [(key.into(), value.into())].into(), ..base.clone() };
        let (tagged, other) = (with_metadata("a", "bc"), with_metadata("ab", "c"));
        let etags: std::collections::BTreeSet<_> =
            [&base, &renamed, &saved, &saved_again, &tagged, &other].into_iter().map(Project::etag).collect();
        assert_eq!(etags.len(), 6);
        assert!(etags.iter().all(|etag| etag.len() == 34 && etag.starts_with('"') && etag.ends_with('"')));
    }

    #[test]
    fn a_condition_holds_for_one_of_its_etags() {
        let project = project();
        let etag = project.etag();
        for (list, holds) in [
            (String::new(), true),
            (" ".into(), true),
            ("*".into(), true),
            (etag.clone(), true),
            (format!("\"0000\", {etag}"), true),
            (format!("{etag},\"0000\""), true),
            (format!("W/{etag}"), false),
            (etag.trim_matches('"').into(), false),
            ("\"0000\"".into(), false),
            ("\"\"".into(), false),
            (",".into(), false),
        ] {
            assert_eq!(Condition(list.clone()).check(Some(&project)).is_ok(), holds, "{list}");
        }
        assert!(Condition::default().check(None).is_ok());
        assert!(
            Condition("*".into()).check(None).is_err() && Condition(etag).check(None).is_err(),
            "a project that does not exist has no ETag"
        );
    }
}
