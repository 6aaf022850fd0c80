//! Filters of lists of projects, and changes of what an owner can set.

use proto::{
    id::ProjectId,
    metadata::{MAX_KEYS, Metadata},
};

use crate::{error::Error, model::project::Project};

/// Which projects a list has.
#[derive(Debug, Clone, Default)]
pub(crate) struct ProjectFilter {
    /// The deleted projects, or the others.
    pub(crate) deleted: bool,
    /// Entries that a project must have.
    pub(crate) metadata: Metadata,
    /// The only projects; `None` for all.
    pub(crate) only: Option<Vec<ProjectId>>,
    /// Lower-case texts that its name must have.
    words: Vec<String>,
}

impl ProjectFilter {
    pub(crate) fn new(deleted: bool, query: &str, metadata: Metadata) -> Self {
        Self { deleted, metadata, only: None, words: query.to_lowercase().split_whitespace().map(str::to_owned).collect() }
    }

    pub(crate) fn with_only(self, only: Option<Vec<ProjectId>>) -> Self {
        Self { only, ..self }
    }

    /// Whether names are compared.
    pub(crate) fn has_words(&self) -> bool {
        !self.words.is_empty()
    }

    pub(crate) fn admits_name(&self, name: &str) -> bool {
        let name = name.to_lowercase();
        self.words.iter().all(|word| name.contains(word))
    }
}

/// What an update sets.
#[derive(Debug, Clone, Default)]
pub(crate) struct ProjectUpdate {
    /// `None` keeps the name.
    pub(crate) name: Option<String>,
    /// An entry with an empty value is removed. Other entries stay.
    pub(crate) metadata: Metadata,
}

impl ProjectUpdate {
    /// The metadata of a project after the update; `None` if the update does not name any.
    ///
    /// # Errors
    /// [`Error::Field`] if the project would have too many entries.
    pub(crate) fn metadata_of(&self, project: &Project) -> Result<Option<Metadata>, Error> {
        if self.metadata.is_empty() {
            return Ok(None);
        }
        let mut metadata = project.metadata.clone();
        metadata.extend(self.metadata.clone());
        metadata.retain(|_, value| !value.is_empty());
        if metadata.len() > MAX_KEYS {
            let problem = format!("must leave the project at most {MAX_KEYS} keys; it would have {}", metadata.len());
            return Err(Error::Field { field: "metadata".to_owned(), problem });
        }
        Ok(Some(metadata))
    }

    /// Whether the project is already as the update asks for.
    pub(crate) fn is_done(&self, project: &Project, metadata: Option<&Metadata>) -> bool {
        self.name.as_ref().is_none_or(|name| *name == project.name) && metadata.is_none_or(|metadata| *metadata == project.metadata)
    }
}

#[cfg(test)]
mod tests {
    use proto::{auth::Plan, id::UserId};
    use time::OffsetDateTime;

    use super::*;
    use crate::model::project::User;

    fn metadata(entries: &[(&str, &str)]) -> Metadata {
        entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_name_has_every_word_in_any_case() {
        for (query, name, admits) in [
            ("", "A shop", true),
            (" SHOP  a", "A shop", true),
            ("ho", "A shop", true),
            ("shop b", "A shop", false),
            ("größe", "Die GRÖSSE", false),
            ("GRÖẞE", "die größe", true),
            ("%", "A shop", false),
        ] {
            assert_eq!(ProjectFilter::new(false, query, Metadata::new()).admits_name(name), admits, "{query} {name}");
        }
    }

    #[test]
    fn an_update_sets_and_removes_entries() {
        let owner = User { id: UserId::generate(), plan: Plan::Free };
        let mut project = Project::new(owner, None, "A".into(), OffsetDateTime::UNIX_EPOCH);
        project.metadata = metadata(&[("a", "1"), ("b", "2")]);
        let update = |entries: &[(&str, &str)]| ProjectUpdate { name: None, metadata: metadata(entries) };
        assert_eq!(update(&[]).metadata_of(&project).expect("none"), None);
        let changed = update(&[("a", ""), ("b", "3"), ("c", "4"), ("d", "")]).metadata_of(&project).expect("metadata");
        assert_eq!(changed, Some(metadata(&[("b", "3"), ("c", "4")])));
        let same = update(&[("a", "1"), ("x", "")]);
        assert!(same.is_done(&project, same.metadata_of(&project).expect("metadata").as_ref()));
        let keys: Vec<String> = (0..15).map(|n| n.to_string()).collect();
        let many = ProjectUpdate { name: None, metadata: keys.iter().map(|key| (key.clone(), "x".to_owned())).collect() };
        assert!(matches!(many.metadata_of(&project), Err(Error::Field { problem, .. }) if problem.contains("17")));
    }
}
