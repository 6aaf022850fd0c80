//! The state that all parts of the service share.

use std::{io, sync::Arc, time::Duration};

use chassis::{client, identity::Caller, page::PageTokens};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    config::Config,
    drive::attempt::StepLimits,
    folds::Folds,
    log::{doorbell::Doorbell, journal::Journal},
    model::{agents::LiveAgents, provider::Providers},
    own_keys::OwnKeys,
    planning::ContextLimits,
    store,
    upstream::Upstream,
    watch::{followers::Followers, tail::Tails},
};

/// The limits of one process and of each of its turns, from the settings.
pub(crate) struct Limits {
    pub(crate) lease: Duration,
    pub(crate) begin_timeout: Duration,
    pub(crate) disconnect_grace: Duration,
    /// Turns that this process drives at once.
    pub(crate) max_turns: usize,
    pub(crate) max_steps: u32,
    pub(crate) step: StepLimits,
    pub(crate) max_output_tokens: u32,
    pub(crate) context: ContextLimits,
}

/// What RPCs, background tasks and turns share.
pub(crate) struct App {
    pub(crate) db: store::Pool,
    pub(crate) journal: Journal,
    pub(crate) tails: Tails,
    pub(crate) followers: Followers,
    pub(crate) folds: Folds,
    pub(crate) doorbell: Doorbell,
    /// Notified when the outbox has a new entry.
    pub(crate) outbox: Notify,
    pub(crate) upstream: Upstream,
    pub(crate) agents: Arc<LiveAgents>,
    pub(crate) providers: Providers,
    pub(crate) own_keys: OwnKeys,
    /// Tools that no agent gets.
    pub(crate) tools_denied: Vec<String>,
    pub(crate) pages: PageTokens,
    pub(crate) limits: Limits,
    /// Cancelled when the process starts to drain.
    pub(crate) stop: CancellationToken,
}

/// The parts through which an event reaches the log, the viewers of this process and the other replicas.
#[derive(Clone)]
pub(crate) struct Events {
    pub(crate) journal: Journal,
    pub(crate) tails: Tails,
    pub(crate) doorbell: Doorbell,
}

impl App {
    /// # Errors
    /// The folder of agents cannot be read.
    pub(crate) fn new(config: &Config, db: store::Pool, events: Events, stop: CancellationToken) -> io::Result<Self> {
        let Events { journal, tails, doorbell } = events;
        let to = |callee, uri| client::connect(Caller::AgentStreaming, callee, uri, &config.cluster_secret);
        let own_keys = OwnKeys::new(db.clone(), &config.cluster_secret, &config.outbound, &config.providers);
        Ok(Self {
            db,
            journal,
            tails,
            followers: Followers::default(),
            folds: Folds::new(),
            doorbell,
            outbox: Notify::new(),
            upstream: Upstream::new(
                to(Caller::ProjectStorage, &config.project_storage_url),
                to(Caller::Auth, &config.auth_url),
                to(Caller::RateLimit, &config.rate_limit_url),
                (to(Caller::Compile, &config.compile_url), config.build_timeout),
            ),
            agents: Arc::new(LiveAgents::load(config.agents_dir.as_deref())?),
            providers: Providers::new(&config.providers),
            own_keys,
            tools_denied: config.tools_denied.clone(),
            pages: PageTokens::new(&config.cluster_secret),
            limits: Limits {
                lease: config.lease,
                begin_timeout: config.begin_timeout,
                disconnect_grace: config.disconnect_grace,
                max_turns: config.max_turns,
                max_steps: config.max_steps,
                step: StepLimits { bytes: config.max_step_bytes, calls: config.max_step_calls, time: config.step_timeout },
                max_output_tokens: config.max_output_tokens,
                context: ContextLimits {
                    files: config.context_tokens,
                    conversation: config.conversation_tokens,
                    window: config.model_window_tokens,
                    output: config.max_output_tokens,
                },
            },
            stop,
        })
    }
}
