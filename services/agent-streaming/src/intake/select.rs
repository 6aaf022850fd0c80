//! Selects the agent and the model of a turn, and selects them again from what was recorded.

use chassis::seeded_bug;
use proto::{
    agent_streaming::{AgentCandidate, AgentSelected, MatchedTerm},
    id::TurnId,
};
use uuid::Uuid;

#[cfg(feature = "seeded-bugs")]
use crate::seeded_bugs;
use crate::{
    error::Error,
    intake::choose,
    model::agents::{Agent, Agents, Model},
    own_keys::choice::Models,
    selection::{Candidate, Decision, Rule, Selector},
    store::{Pool, agents, turns},
    turn::Turn,
};

/// The agent of a new turn, why, and its model.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Selected {
    pub(crate) selection: AgentSelected,
    /// `provider/model`.
    pub(crate) model: String,
    /// The tools of the agent.
    pub(crate) tools: Vec<String>,
    /// The version of the skills.
    pub(crate) skills: String,
    /// The stored key that the model is used with. Absent: that of the cluster.
    pub(crate) provider_key: Option<Uuid>,
}

/// What the selected agent brings with it, for a request that names a model or, with an empty name, none.
pub(crate) fn with_model(agents: &Agents, models: &Models<'_>, selection: AgentSelected, model: &str) -> Result<Selected, Error> {
    let agent = agents.get(&selection.agent).ok_or_else(|| Error::agent_not_found(&selection.agent))?;
    let model = match model {
        "" => preferred(models, agent),
        named if models.has(named) => named.to_owned(),
        named => return Err(Error::model_not_found(named)),
    };
    let provider_key = models.key(&model);
    Ok(Selected { selection, model, tools: agent.tools.clone(), skills: agents.skills().version().to_owned(), provider_key })
}

/// Selects the agent for a request: the name of an agent, empty if the request names none, and the prompt.
pub(crate) fn select_agent(agents: &Agents, (name, prompt): (&str, &str)) -> Result<AgentSelected, Error> {
    let decision = match name {
        "" => agents.select(prompt),
        name => Decision::named(name),
    };
    let agent = agents.get(&decision.agent).ok_or_else(|| Error::agent_not_found(&decision.agent))?;
    let selection = wire(decision, agents.version(), &agent.version);
    seeded_bug!(let selection = seeded_bugs::select_by_the_process(selection));
    Ok(selection)
}

/// The model of an agent. The turn does not fail because the cluster lacks the one that its agent prefers.
fn preferred(models: &Models<'_>, agent: &Agent) -> String {
    let providers = models.cluster;
    let wanted = match &agent.model {
        Model::Named(name) => Some(name.as_str()),
        Model::Small => providers.small_model(),
        Model::Large => providers.large_model(),
        Model::Default => None,
    };
    wanted.filter(|model| models.has(model)).unwrap_or_else(|| providers.default_model()).to_owned()
}

/// What was recorded when the turn was accepted.
pub(crate) fn recorded(turn: &Turn) -> AgentSelected {
    let old = || AgentSelected { agent: turn.agent.clone(), rule: turn.agent_rule.clone(), ..AgentSelected::default() };
    turn.selection.clone().unwrap_or_else(old)
}

/// The recorded selection of a turn, and the one that its prompt and its catalogue give now.
pub(crate) async fn replay(db: &Pool, id: TurnId) -> Result<(AgentSelected, AgentSelected), Error> {
    let turn = turns::find_of_anyone(db, id).await?.ok_or(Error::TurnNotFound)?;
    let recorded = turn.selection.ok_or(Error::TurnNotFound)?;
    let catalogue = agents::find_catalogue(db, &recorded.catalogue).await?.ok_or(Error::TurnNotFound)?;
    let decision =
        if recorded.rule == Rule::Named.name() { Decision::named(&turn.agent) } else { Selector::new(&catalogue).select(&turn.prompt) };
    let version = |agent: &str| catalogue.agent_version(agent).unwrap_or_default().to_owned();
    let of_agent = version(&decision.agent);
    let mut replayed = wire(decision, &catalogue.version(), &of_agent);
    // What a model chose is taken as recorded: asked again, it might choose another agent.
    if let Some(choice) = &recorded.choice {
        choose::apply(&mut replayed, choice.clone(), version);
    }
    Ok((recorded, replayed))
}

fn wire(decision: Decision, catalogue: &str, version: &str) -> AgentSelected {
    AgentSelected {
        agent: decision.agent,
        rule: decision.rule.name().to_owned(),
        candidates: decision.candidates.into_iter().map(candidate).collect(),
        margin: decision.margin,
        catalogue: catalogue.to_owned(),
        version: version.to_owned(),
        choice: None,
    }
}

fn candidate(candidate: Candidate) -> AgentCandidate {
    let terms = candidate.terms.into_iter().map(|(term, weight)| MatchedTerm { term, weight });
    AgentCandidate { agent: candidate.name, score: candidate.score, terms: terms.collect() }
}
