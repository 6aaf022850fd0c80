//! Which models a turn can use, and with which key.

use proto::id::{ProjectId, UserId};
use uuid::Uuid;

use crate::{
    model::provider::{Kind, Providers},
    store::{Pool, StoreError, provider_keys},
};

/// The models of the cluster, and those of stored keys.
pub(crate) struct Models<'a> {
    pub(crate) cluster: &'a Providers,
    /// In the order in which they are taken.
    own: Vec<(Uuid, Kind)>,
}

impl<'a> Models<'a> {
    /// The models of a turn of a person on a project. A draft has no project yet.
    pub(crate) async fn of_turn(db: &Pool, cluster: &'a Providers, user: UserId, project: Option<ProjectId>) -> Result<Self, StoreError> {
        Ok(Self { cluster, own: provider_keys::usable(db, user, project).await? })
    }

    pub(crate) fn has(&self, model: &str) -> bool {
        self.key(model).is_some() || self.cluster.get(model).is_some()
    }

    /// The stored key that a model is used with: that of the project, else that of the person. `None`: that of the cluster.
    pub(crate) fn key(&self, model: &str) -> Option<Uuid> {
        let (provider, _) = self.cluster.parts(model)?;
        self.own.iter().find(|(_, kind)| kind.name() == provider).map(|(id, _)| *id)
    }
}

#[cfg(test)]
mod tests {
    use chassis::config::Env;

    use super::*;
    use crate::model::provider::ProviderConfig;

    #[test]
    fn a_stored_key_brings_the_models_of_its_provider() {
        let providers = |pairs: &[(&str, &str)]| Providers::new(&ProviderConfig::read(&mut Env::of(pairs.iter().copied()), 1));
        let (project, person) = (Uuid::now_v7(), Uuid::now_v7());
        let bare = providers(&[]);
        let models = Models { cluster: &bare, own: vec![(project, Kind::OpenAi), (person, Kind::OpenAi), (person, Kind::Anthropic)] };
        assert_eq!((models.key("openai/gpt"), models.key("anthropic/claude")), (Some(project), Some(person)));
        assert_eq!(
            (models.key("demo/demo"), models.has("demo/demo"), models.has("gemini/x"), models.has("openai/")),
            (None, true, false, false)
        );
        let none = Models { cluster: &bare, own: Vec::new() };
        assert!(!none.has("openai/gpt") && none.has("demo/demo"));
        let listed = providers(&[
            ("BACKLOT_MODELS", "demo/demo,openai/a"),
            ("OPENAI_BASE_URL", "http://127.0.0.1:1/v1"),
            ("BACKLOT_MODEL", "openai/a"),
        ]);
        let models = Models { cluster: &listed, own: vec![(person, Kind::OpenAi), (person, Kind::Anthropic)] };
        assert_eq!(
            (models.key("openai/a"), models.key("openai/b"), models.key("anthropic/x")),
            (Some(person), None, None),
            "the operator's list"
        );
    }
}
