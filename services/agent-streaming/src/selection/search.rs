//! Finds agents by the words of a query.

use super::{Profile, terms};

/// The words of a query. A query without words finds every agent.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    #[must_use]
    pub(crate) fn new(text: &str) -> Self {
        Self(terms::words_and_stems(text))
    }

    /// Whether an agent has all words: in another form, or as the beginning of a word.
    #[must_use]
    pub(crate) fn finds(&self, own: &Words) -> bool {
        self.0.iter().all(|(word, stem)| own.0.iter().any(|(own_word, own_stem)| own_word.starts_with(word.as_str()) || own_stem == stem))
    }
}

/// The words of an agent, and their basic forms.
#[derive(Debug, Clone)]
pub(crate) struct Words(Vec<(String, String)>);

impl Words {
    #[must_use]
    pub(crate) fn of(profile: &Profile) -> Self {
        Self(profile.texts().flat_map(|(_, text)| terms::words_and_stems(text)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_words_must_be_found() {
        let profile = Profile {
            name: "kanban-board".into(),
            description: "Builds boards with draggable cards.".into(),
            tags: vec!["swimlanes".into()],
            examples: vec!["A board for my café".into()],
            version: String::new(),
        };
        for (query, found) in [
            ("", true),
            ("  !", true),
            ("kanban", true),
            ("KANBAN boards", true),
            ("board drag", true),
            ("card swimlane", true),
            ("cafe", true),
            ("Café", true),
            ("kanban chess", false),
            ("anban", false),
        ] {
            assert_eq!(Query::new(query).finds(&Words::of(&profile)), found, "{query:?}");
        }
    }
}
