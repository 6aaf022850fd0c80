//! A cluster of the services that a turn needs, and its users.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use chassis::{
    config::Env,
    identity::Grant,
    testing::{self, Gate},
};
use proto::{
    agent_streaming::{
        GetTurnRequest, StartTurnRequest, StreamTurnEventsRequest, Turn, TurnEvent, TurnState,
        agent_streaming_service_client::AgentStreamingServiceClient, turn_event::Kind,
    },
    auth::Plan,
    error::Fault,
    id::{SessionId, UserId},
    project_storage::{
        FileChange, FileContent, ListMessagesRequest, LoadProjectRequest, LoadProjectResponse, Message, SaveProjectRequest,
        UploadFileRequest, file_change::Action, file_content::Data, project_storage_service_client::ProjectStorageServiceClient,
    },
};
use sqlx::{Connection as _, PgConnection};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tonic::{
    Request, Status,
    metadata::AsciiMetadataValue,
    service::{Interceptor, interceptor::InterceptedService},
    transport::Channel,
};

use crate::model::Model;

pub(crate) const LEASE: Duration = Duration::from_millis(1500);
/// Longer than any wait of these tests on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(30);
pub(crate) const SECRET: &str = "a cluster secret that only tests of agent-streaming have";

pub(crate) struct Cluster {
    issuer: testing::Issuer,
    pub(crate) model: Model,
    /// Between agent-streaming and project-storage.
    pub(crate) gate: Gate,
    pub(crate) database: String,
    /// The database of project-storage.
    files: String,
    storage: SocketAddr,
    settings: Vec<(String, String)>,
    /// Compile, with `TEST_COMPILE`.
    pub(crate) compile: Option<Process>,
    _other_services: Vec<Process>,
}

/// A service in a runtime of its own, which can be stopped like in a crash.
pub(crate) struct Process {
    runtime: Option<Runtime>,
    pub(crate) address: SocketAddr,
    stop: CancellationToken,
    ended: Option<tokio::task::JoinHandle<()>>,
}

impl Process {
    fn start<F, Fut>(serve: F) -> Self
    where
        F: FnOnce(tokio::net::TcpListener, CancellationToken) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let token = stop.clone();
        let ended = runtime.spawn(async move { serve(tokio::net::TcpListener::from_std(listener).unwrap(), token).await });
        Self { runtime: Some(runtime), address, stop, ended: Some(ended) }
    }

    /// Stops the process without a drain.
    pub(crate) fn crash(mut self) {
        self.end();
    }

    /// Starts the drain.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    pub(crate) async fn ended(mut self) {
        self.ended.take().unwrap().await.unwrap();
    }

    fn end(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

impl Cluster {
    /// Starts all services except agent-streaming. `settings` are those of agent-streaming.
    pub(crate) async fn start(settings: &[(&str, &str)]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        chassis::install_crypto();
        let (issuer, model) = (testing::Issuer::start().await, Model::start().await);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let database = testing::database_url(&format!("agent_{number}")).await;
        let files = testing::database_url(&format!("files_{number}")).await;

        // The users of these tests call without a gateway.
        let common =
            pairs(&[("BACKLOT_CLUSTER_SECRET", SECRET), ("BACKLOT_AUTH_URL", &issuer.uri.to_string()), ("BACKLOT_EDGE_PER_SECOND", "0")]);
        let limits = Process::start({
            let mut env = Env::of(common.clone());
            let mut config = rate_limit::Config::read(&mut env);
            env.check().unwrap();
            // No request of these tests is rate limited.
            let mut wide = "policies:\n  - {name: general, limit: 10000, window: 1s}\n".to_owned();
            if !settings.iter().any(|(name, _)| *name == "TEST_SHIPPED_POLICIES") {
                wide.push_str("  - {name: agent, limit: 100000, window: 1s, algorithm: gcra}\n");
            }
            config.policies = rate_limit::Policies::shipped().with(&wide).unwrap();
            move |listener, stop| async move { rate_limit::serve(config, listener, stop).await.unwrap() }
        });
        let limits_url = format!("http://{}", limits.address);
        let storage = Process::start({
            let mut env = Env::of(
                [common.clone(), pairs(&[("BACKLOT_PROJECT_STORAGE_DATABASE_URL", &files), ("BACKLOT_RATE_LIMIT_URL", &limits_url)])]
                    .concat(),
            );
            let config = project_storage::Config::read(&mut env);
            env.check().unwrap();
            move |listener, stop| async move { project_storage::serve(config, listener, stop).await.unwrap() }
        });
        let gate = Gate::before(storage.address).await;
        let compile = if settings.iter().any(|(name, _)| *name == "TEST_COMPILE") { Some(compile(number, &common).await) } else { None };
        // Nothing listens there.
        let compile_url = compile.as_ref().map_or_else(|| "http://127.0.0.1:1".to_owned(), |role| format!("http://{}", role.address));
        let own = pairs(&[
            ("BACKLOT_AGENT_STREAMING_DATABASE_URL", &database),
            ("BACKLOT_PROJECT_STORAGE_URL", &gate.uri),
            ("BACKLOT_RATE_LIMIT_URL", &limits_url),
            ("BACKLOT_COMPILE_URL", &compile_url),
            ("OPENAI_BASE_URL", &model.url),
            ("BACKLOT_MODEL", "openai/test"),
            ("BACKLOT_LEASE", "1500ms"),
            ("BACKLOT_DRAIN_TIMEOUT", "500ms"),
        ]);
        let given: Vec<_> = pairs(settings).into_iter().filter(|(name, _)| !name.starts_with("TEST_")).collect();
        let own: Vec<_> = own.into_iter().filter(|(name, _)| given.iter().all(|(given, _)| given != name)).collect();
        let settings = [common, own, given].concat();
        let address = storage.address;
        Self { issuer, model, gate, database, files, storage: address, settings, compile, _other_services: vec![limits, storage] }
    }

    /// Starts a replica of agent-streaming.
    pub(crate) fn replica(&self) -> Process {
        self.replica_with(&[])
    }

    /// Starts a replica with other settings.
    pub(crate) fn replica_with(&self, settings: &[(&str, &str)]) -> Process {
        let mut env = Env::of([self.settings.clone(), pairs(settings)].concat());
        let config = agent_streaming::Config::read(&mut env);
        env.check().unwrap();
        Process::start(move |listener, stop| async move { agent_streaming::serve(config, listener, stop).await.unwrap() })
    }

    /// A connection to project-storage's database.
    pub(crate) async fn files_db(&self) -> PgConnection {
        PgConnection::connect(&self.files).await.unwrap()
    }

    /// A connection to the database of this service.
    pub(crate) async fn turns_db(&self) -> PgConnection {
        PgConnection::connect(&self.database).await.unwrap()
    }

    /// The number of turns that project-storage has begun for a project.
    pub(crate) async fn begun(&self, project: &str) -> i64 {
        let mut db = self.files_db().await;
        let count = sqlx::query_scalar("SELECT count(*) FROM turns WHERE project_id::text = $1");
        count.bind(project).fetch_one(&mut db).await.unwrap()
    }

    /// The number of stored turns that are not begun.
    pub(crate) async fn unbegun(&self) -> i64 {
        let mut db = self.turns_db().await;
        let count = sqlx::query_scalar("SELECT count(*) FROM turns WHERE project_id IS NULL AND ended_at IS NULL");
        count.fetch_one(&mut db).await.unwrap()
    }

    /// The same user, who proved more than ten minutes ago who they are.
    pub(crate) fn with_old_proof(&self, user: &User) -> User {
        let proved = chassis::clock::now() - Duration::from_secs(601);
        let token = self.issuer.token_proved_at(user.id, Plan::Pro, proved.unix_timestamp().unsigned_abs());
        User { token, ..user.clone() }
    }

    /// A program of the user with a refresh token.
    pub(crate) fn program(&self, user: &User) -> User {
        User { token: self.issuer.token_proved_at(user.id, Plan::Pro, 0), ..user.clone() }
    }

    pub(crate) fn user(&self) -> User {
        let id = UserId::generate();
        User { id, token: self.issuer.token(id, Plan::Pro), storage: self.storage }
    }

    /// The user with an access token of this session.
    pub(crate) fn in_session(&self, user: &User, session: SessionId) -> User {
        let exp = chassis::clock::now().unix_timestamp().unsigned_abs() + 300;
        User { token: self.issuer.token_of(session, user.id, Plan::Pro, exp), ..user.clone() }
    }

    /// Ends a session, as auth reports it.
    pub(crate) fn end_session(&self, session: SessionId) {
        self.issuer.end(session);
    }

    /// Reports that a session has changed, as auth does when its account gets another second factor.
    pub(crate) fn change_session(&self, session: SessionId) {
        self.issuer.change(session);
    }

    /// A gate before auth.
    pub(crate) async fn gate_before_auth(&self) -> Gate {
        Gate::before(self.issuer.uri.authority().unwrap().as_str().parse().unwrap()).await
    }

    /// The user with the access token of a key.
    pub(crate) fn with_key(&self, user: &User, grant: &Grant) -> User {
        User { token: self.issuer.token_of_key(user.id, Plan::Pro, grant), ..user.clone() }
    }
}

/// Starts compile with the compiler of this build.
async fn compile(number: u32, common: &[(String, String)]) -> Process {
    let database = testing::database_url(&format!("compile_{number}")).await;
    let compiler = testing::compiler().to_str().unwrap();
    let own = pairs(&[
        ("BACKLOT_COMPILE_DATABASE_URL", &database),
        ("BACKLOT_COMPILER", compiler),
        // Other tests run beside this one.
        ("BACKLOT_COMPILE_WORKER_TIMEOUT", "300s"),
        ("BACKLOT_DATABASE_CONNECTIONS", "4"),
    ]);
    let common = common.iter().filter(|(name, _)| name == "BACKLOT_CLUSTER_SECRET").cloned().collect();
    let mut env = Env::of([common, own].concat());
    let config = compile::Config::read(&mut env);
    env.check().unwrap();
    Process::start(move |listener, stop| async move { compile::serve(config, listener, stop).await.unwrap() })
}

fn pairs(settings: &[(&str, &str)]) -> Vec<(String, String)> {
    settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// A user with an access token.
#[derive(Clone)]
pub(crate) struct User {
    pub(crate) id: UserId,
    pub(crate) token: String,
    storage: SocketAddr,
}

/// Adds the access token to requests.
#[derive(Clone)]
pub(crate) struct Bearer(AsciiMetadataValue);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

pub(crate) type UserChannel = InterceptedService<Channel, Bearer>;

impl User {
    fn channel(&self, address: SocketAddr, window: Option<u32>) -> UserChannel {
        let endpoint = Channel::from_shared(format!("http://{address}")).unwrap().initial_stream_window_size(window);
        InterceptedService::new(endpoint.connect_lazy(), Bearer(format!("Bearer {}", self.token).parse().unwrap()))
    }

    /// The clients of this user for a replica.
    pub(crate) fn at(&self, replica: &Process) -> Person {
        self.person(replica, None)
    }

    /// As [`Self::at`], with a window of that many bytes for each stream.
    pub(crate) fn with_window(&self, replica: &Process, bytes: u32) -> Person {
        self.person(replica, Some(bytes))
    }

    fn person(&self, replica: &Process, window: Option<u32>) -> Person {
        let turns = AgentStreamingServiceClient::new(self.channel(replica.address, window));
        let files = ProjectStorageServiceClient::new(self.channel(self.storage, window));
        Person { turns, files }
    }
}

#[derive(Clone)]
pub(crate) struct Person {
    pub(crate) turns: AgentStreamingServiceClient<UserChannel>,
    pub(crate) files: ProjectStorageServiceClient<UserChannel>,
}

/// Saves files, and returns the project and the revision.
pub(crate) async fn save(person: &Person, draft: &str, files: &[(&str, &str)]) -> (String, String) {
    let change = |(path, text): &(&str, &str)| {
        let action = Action::Write(FileContent { data: Some(Data::Text((*text).to_owned())) });
        FileChange { path: (*path).to_owned(), action: Some(action), etag: String::new() }
    };
    let request =
        SaveProjectRequest { draft_id: draft.to_owned(), changes: files.iter().map(change).collect(), ..SaveProjectRequest::default() };
    let saved = person.files.clone().save_project(request).await.unwrap().into_inner();
    (saved.project.unwrap().id, saved.revision.unwrap().id)
}

/// Uploads a file of any size.
pub(crate) async fn upload(person: &Person, project: &str, path: &str, content: &[u8]) {
    let first = UploadFileRequest {
        project_id: project.to_owned(),
        path: path.to_owned(),
        size_bytes: content.len() as u64,
        ..UploadFileRequest::default()
    };
    let part = |part: &[u8]| UploadFileRequest { data: part.to_vec().into(), ..UploadFileRequest::default() };
    let parts: Vec<_> = std::iter::once(first).chain(content.chunks(256 * 1024).map(part)).collect();
    person.files.clone().upload_file(futures::stream::iter(parts)).await.unwrap();
}

pub(crate) fn prompt(draft: &str, prompt: &str) -> StartTurnRequest {
    StartTurnRequest { draft_id: draft.into(), prompt: prompt.into(), ..StartTurnRequest::default() }
}

impl Person {
    pub(crate) async fn try_start(&mut self, request: StartTurnRequest) -> Result<Turn, Fault> {
        // The replica may have started a moment ago.
        let turn = testing::eventually(SOON, || {
            let (mut turns, request) = (self.turns.clone(), request.clone());
            async move {
                match turns.start_turn(request).await {
                    Err(status) if status.message().contains("transport error") || status.message().contains("tcp connect") => None,
                    answer => Some(answer),
                }
            }
        });
        turn.await.map(|answer| answer.into_inner().turn.unwrap()).map_err(|status| Fault::from_status(&status))
    }

    pub(crate) async fn start(&mut self, request: StartTurnRequest) -> Turn {
        self.try_start(request).await.unwrap()
    }

    pub(crate) async fn turn(&mut self, id: &str) -> Turn {
        self.turns.get_turn(GetTurnRequest { turn_id: id.into() }).await.unwrap().into_inner().turn.unwrap()
    }

    /// All events after a cursor, and the end of the stream.
    pub(crate) async fn follow(&mut self, id: &str, after: u32) -> (Vec<TurnEvent>, Result<(), Fault>) {
        self.follow_until(id, after, |_| false).await
    }

    /// As [`Self::follow`], but disconnects after the first event for which `leave` is true.
    pub(crate) async fn follow_until(
        &mut self,
        id: &str,
        after: u32,
        leave: impl Fn(&TurnEvent) -> bool,
    ) -> (Vec<TurnEvent>, Result<(), Fault>) {
        let mut events = Vec::new();
        let request = StreamTurnEventsRequest { turn_id: id.into(), after, ..Default::default() };
        let mut stream = match self.turns.stream_turn_events(request).await {
            Ok(stream) => stream.into_inner(),
            Err(status) => return (events, Err(Fault::from_status(&status))),
        };
        loop {
            match tokio::time::timeout(SOON, stream.message()).await.expect("the stream goes on") {
                Ok(Some(batch)) => {
                    for event in batch.events {
                        let left = leave(&event);
                        events.push(event);
                        if left {
                            return (events, Ok(()));
                        }
                    }
                }
                Ok(None) => return (events, Ok(())),
                Err(status) => return (events, Err(Fault::from_status(&status))),
            }
        }
    }

    /// Follows a turn from its start to its end.
    pub(crate) async fn see(&mut self, id: &str) -> Vec<TurnEvent> {
        let (events, end) = self.follow(id, 0).await;
        end.unwrap();
        assert_whole(&events);
        events
    }

    /// Starts a turn and follows it to its end.
    pub(crate) async fn run(&mut self, request: StartTurnRequest) -> (Turn, Vec<TurnEvent>) {
        let turn = self.start(request).await;
        let events = self.see(&turn.id).await;
        (self.turn(&turn.id).await, events)
    }

    pub(crate) async fn load(&mut self, project: &str) -> LoadProjectResponse {
        let request = LoadProjectRequest { project_id: project.into(), ..LoadProjectRequest::default() };
        self.files.load_project(request).await.unwrap().into_inner()
    }

    /// The files of a revision.
    pub(crate) async fn load_revision(&mut self, project: &str, revision: &str) -> LoadProjectResponse {
        let request = LoadProjectRequest { project_id: project.into(), revision: revision.into(), ..LoadProjectRequest::default() };
        self.files.load_project(request).await.unwrap().into_inner()
    }

    /// The conversation, the newest message first.
    pub(crate) async fn messages(&mut self, project: &str) -> Vec<Message> {
        let request = ListMessagesRequest { project_id: project.into(), ..ListMessagesRequest::default() };
        self.files.list_messages(request).await.unwrap().into_inner().messages
    }

    pub(crate) async fn wait_for(&mut self, id: &str, state: TurnState) -> Turn {
        let turns = &self.turns;
        testing::eventually(SOON, || {
            let (mut turns, request) = (turns.clone(), GetTurnRequest { turn_id: id.into() });
            async move { turns.get_turn(request).await.unwrap().into_inner().turn.filter(|turn| turn.state() == state) }
        })
        .await
    }
}

/// Asserts that the events are numbered from 1 without gaps, and that only the last one is terminal.
pub(crate) fn assert_whole(events: &[TurnEvent]) {
    assert!(events.iter().zip(1..).all(|(event, seq)| event.seq == seq), "{events:?}");
    assert_eq!(events.iter().filter(|event| event.is_terminal()).count(), 1, "{events:?}");
    assert!(events.last().unwrap().is_terminal());
}

pub(crate) fn types(events: &[TurnEvent]) -> Vec<&'static str> {
    events.iter().map(|event| proto::event::type_name(event.kind.as_ref().unwrap())).collect()
}

pub(crate) fn failure(events: &[TurnEvent]) -> &str {
    match &events.last().unwrap().kind {
        Some(Kind::TurnFailed(failed)) => &failed.reason,
        other => panic!("not failed: {other:?}"),
    }
}
