//! Starts the service with what it needs, and calls it as users and as other services do.

use chassis::{
    client::{self, MAX_MESSAGE_BYTES, ServiceChannel},
    config::Env,
    context::Context,
    identity::{Caller, Grant},
    secret::ClusterSecret,
    task,
    testing::{self, Issuer, TestDatabase},
};
use project_storage::testing::{self as storage, Actor, Commit, FileRef, Folder, NewRevision, StoreId, delete_unused_store};
use proto::{
    auth::Plan,
    error::Fault,
    id::{ProjectId, SessionId, TurnId, UserId},
    project_storage::{
        BeginTurnRequest, CommitTurnRequest, CommitTurnResponse, CreateProjectRequest, DeleteFile, EndTurnRequest, FileChange, FileContent,
        GetTurnTreeRequest, ListMessagesRequest, LoadProjectRequest, LoadProjectResponse, Message, MessageOrder, MessagePart, Project,
        RenameFile, SaveProjectRequest, SaveProjectResponse, TurnEnd, file_change::Action, file_content::Data,
        project_storage_service_client::ProjectStorageServiceClient,
    },
};
use rate_limit::Policies;
use sqlx::PgConnection;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Request, Response, Status};

const SECRET: &str = "a secret that only this test's services share";
/// Limits that no test reaches.
const UNLIMITED: &str = "policies: [{name: save, limit: 10000, window: 1s}, {name: general, limit: 10000, window: 1s}]";

pub(crate) type Client = ProjectStorageServiceClient<ServiceChannel>;

/// A database, an issuer of tokens, rate-limit, and one replica over them.
pub(crate) struct Cluster {
    pub(crate) database: TestDatabase,
    issuer: Issuer,
    rate_limit_url: String,
    uri: http::Uri,
    settings: Settings,
    _running: DropGuard,
}

/// Settings of a replica besides its addresses.
pub(crate) type Settings = &'static [(&'static str, &'static str)];

impl Cluster {
    /// Starts a cluster with limits that no test reaches.
    pub(crate) async fn start() -> Self {
        Self::with_policies(Policies::shipped().with(UNLIMITED).expect("policies")).await
    }

    pub(crate) async fn with_policies(policies: Policies) -> Self {
        Self::start_with(policies, &[]).await
    }

    pub(crate) async fn with_settings(settings: Settings) -> Self {
        Self::start_with(Policies::shipped().with(UNLIMITED).expect("policies"), settings).await
    }

    pub(crate) async fn start_with(policies: Policies, settings: Settings) -> Self {
        chassis::install_crypto();
        // The cause of an INTERNAL error is only in the log. Only the first test of a process sets it up.
        let _ = tracing_subscriber::fmt().with_test_writer().with_max_level(tracing_subscriber::filter::LevelFilter::WARN).try_init();
        let stop = CancellationToken::new();
        let listener = testing::listener().await;
        let rate_limit_url = format!("http://{}", listener.local_addr().expect("address"));
        let mut env = Env::of([("BACKLOT_CLUSTER_SECRET", SECRET)]);
        let mut config = rate_limit::Config::read(&mut env);
        config.policies = policies;
        task::spawn(rate_limit::serve(config, listener, stop.clone()));
        let database = testing::postgres(&project_storage::testing::MIGRATOR).await;
        let issuer = Issuer::start().await;
        let uri = replica(&database, &issuer, (&rate_limit_url, settings), &stop).await;
        Self { database, issuer, rate_limit_url, uri, settings, _running: stop.drop_guard() }
    }

    /// Starts another replica on the same database. It stops when the guard is dropped.
    pub(crate) async fn replica(&self) -> (http::Uri, DropGuard) {
        let stop = CancellationToken::new();
        let uri = replica(&self.database, &self.issuer, (&self.rate_limit_url, self.settings), &stop).await;
        (uri, stop.drop_guard())
    }

    /// A user on the free plan who calls through the gateway.
    pub(crate) fn person(&self) -> Person {
        self.person_on(Plan::Free)
    }

    pub(crate) fn person_on(&self, plan: Plan) -> Person {
        let id = UserId::generate();
        Person { id, token: self.issuer.token(id, plan), client: self.client(Caller::Gateway) }
    }

    /// The user with an access token of this session.
    pub(crate) fn in_session(&self, person: &Person, session: SessionId) -> Person {
        let exp = chassis::clock::now().unix_timestamp().unsigned_abs() + 300;
        Person { token: self.issuer.token_of(session, person.id, Plan::Free, exp), ..person.clone() }
    }

    /// The user with the access token of a key.
    pub(crate) fn with_key(&self, person: &Person, grant: &Grant) -> Person {
        Person { token: self.issuer.token_of_key(person.id, Plan::Free, grant), ..person.clone() }
    }

    /// Ends a session, as auth reports it.
    pub(crate) fn end_session(&self, session: SessionId) {
        self.issuer.end(session);
    }

    pub(crate) fn client(&self, caller: Caller) -> Client {
        self.client_at(caller, &self.uri)
    }

    pub(crate) fn client_at(&self, caller: Caller, uri: &http::Uri) -> Client {
        let channel = client::connect(caller, Caller::ProjectStorage, uri, &ClusterSecret::of_bytes(SECRET.as_bytes()));
        Client::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES).max_encoding_message_size(MAX_MESSAGE_BYTES)
    }

    pub(crate) fn uri(&self) -> &http::Uri {
        &self.uri
    }

    /// A client that calls as agent-streaming.
    pub(crate) fn agent(&self) -> Client {
        self.client(Caller::AgentStreaming)
    }

    /// Writes the first revision of a project directly into the database, past the limits and rules for new files.
    pub(crate) async fn write_first(&self, person: &Person, project: &str, files: &[(&str, &[u8])]) -> String {
        let mut db = storage::connection(&self.database.pool).await.expect("a connection");
        self.write_first_in(&mut db, person, project, files).await
    }

    /// As [`Cluster::write_first`], in the transaction of a connection.
    pub(crate) async fn write_first_in(&self, db: &mut PgConnection, person: &Person, project: &str, files: &[(&str, &[u8])]) -> String {
        let project: ProjectId = project.parse().expect("an id");
        let pool = &self.database.pool;
        let store = sqlx::query_scalar("SELECT store_id FROM projects WHERE id = $1").bind(project.0).fetch_one(pool).await;
        let (mut tree, mut objects) = (Folder::default(), Vec::new());
        for (path, content) in files {
            let oid = storage::blob_id(content).expect("an id");
            tree.put(path, FileRef { oid, size: u32::try_from(content.len()).expect("small") }).expect("no clash");
            objects.push(storage::blob(oid, content));
        }
        let root = tree.write(&mut objects);
        let (author, time) = (person.id.to_string(), chassis::clock::now().unix_timestamp());
        let commit = storage::commit(&Commit { tree: root, parents: &[], author: &author, time, message: "Save" });
        let oid = commit.oid;
        objects.push(commit);
        objects.sort_by_key(|object| object.oid);
        objects.dedup_by_key(|object| object.oid);
        let new = NewRevision {
            project,
            store: StoreId(store.expect("a store")),
            expected: None,
            oid,
            tree: root,
            parents: &[],
            actor: Actor::Person,
            user: person.id,
            turn: None,
            message: "",
            stat: storage::stat(&storage::diff(&Folder::default(), &tree)),
            objects: &objects,
            request: None,
            plan: None,
            max_bytes: i64::MAX,
            undoes: None,
            lock_version: 0,
            totals: project_storage::testing::Totals { files: tree.files(), bytes: tree.bytes() },
            pending: None,
        };
        storage::advance(db, &new).await.expect("written").expect("the project had no revision");
        oid.to_string()
    }

    /// Gives a user a role in every project: 1 is a viewer, 2 an editor.
    pub(crate) async fn join(&self, person: &Person, role: i16) {
        sqlx::query("INSERT INTO members (project_id, user_id, role) SELECT id, $1, $2 FROM projects")
            .bind(person.id.0)
            .bind(role)
            .execute(&self.database.pool)
            .await
            .expect("a member");
    }

    /// Adds revisions to a project's log that have the tree of the head.
    pub(crate) async fn repeat_head(&self, project: &str, count: i32) {
        let project: ProjectId = project.parse().expect("an id");
        let sql = "INSERT INTO ref_log
                       SELECT l.project_id, l.name, l.seq + n,
                              set_byte(set_byte(set_byte(l.oid, 0, n % 256), 1, n / 256), 2, 255 - get_byte(l.oid, 2)),
                              l.tree, ARRAY[l.oid], l.actor, l.user_id, NULL, '', 0, 0, 0, 0, l.created_at + n * interval '1 microsecond'
                       FROM refs r JOIN ref_log l USING (project_id, name, seq), generate_series(1, $2) n WHERE r.project_id = $1";
        sqlx::query(sql).bind(project.0).bind(count).execute(&self.database.pool).await.expect("revisions");
        let sql = "UPDATE refs r SET seq = l.seq, oid = l.oid FROM (
                       SELECT DISTINCT ON (project_id) project_id, name, seq, oid FROM ref_log WHERE project_id = $1 ORDER BY project_id, seq DESC
                   ) l WHERE r.project_id = l.project_id AND r.name = l.name";
        sqlx::query(sql).bind(project.0).execute(&self.database.pool).await.expect("a head");
    }

    /// Does what the sweep does some time after stores are unused and their leases have expired.
    pub(crate) async fn delete_unused_stores(&self) {
        let pool = &self.database.pool;
        for sql in [
            "UPDATE stores SET unused_since = unused_since - interval '1 hour' WHERE unused_since IS NOT NULL",
            "DELETE FROM pending_writes",
        ] {
            sqlx::query(sql).execute(pool).await.expect("changed");
        }
        while delete_unused_store(pool).await.expect("swept") > 0 {}
    }

    /// Rows of a table, without what templates have stored.
    pub(crate) async fn rows_of_projects(&self, table: &str) -> i64 {
        let condition = match table {
            "stores" => "WHERE id NOT IN (SELECT store_id FROM templates)",
            "objects" => "WHERE store_id NOT IN (SELECT store_id FROM templates)",
            _ => "",
        };
        let count = sqlx::query_scalar(sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table} {condition}")));
        count.fetch_one(&self.database.pool).await.expect("a count")
    }

    /// The number that a statement on the service's database returns.
    pub(crate) async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.database.pool).await.expect("a count")
    }
}

async fn replica(
    database: &TestDatabase,
    issuer: &Issuer,
    (rate_limit_url, settings): (&str, Settings),
    stop: &CancellationToken,
) -> http::Uri {
    let auth_url = issuer.uri.to_string();
    let fixed = [
        ("BACKLOT_PROJECT_STORAGE_DATABASE_URL", database.url.as_str()),
        ("BACKLOT_CLUSTER_SECRET", SECRET),
        ("BACKLOT_RATE_LIMIT_URL", rate_limit_url),
        ("BACKLOT_AUTH_URL", auth_url.as_str()),
        ("BACKLOT_DATABASE_CONNECTIONS", "8"),
    ];
    let mut env = Env::of(fixed.iter().chain(settings).copied());
    let config = project_storage::Config::read(&mut env);
    env.check().expect("settings");
    let listener = testing::listener().await;
    let uri = format!("http://{}", listener.local_addr().expect("address")).parse().expect("uri");
    task::spawn(project_storage::serve(config, listener, stop.clone()));
    uri
}

/// A user with an access token.
#[derive(Clone)]
pub(crate) struct Person {
    pub(crate) id: UserId,
    pub(crate) token: String,
    pub(crate) client: Client,
}

impl Person {
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        with_token(message, &self.token)
    }

    /// A request whose answer is a stream without a time limit.
    pub(crate) fn stream_request<T>(&self, message: T) -> Request<T> {
        let mut request = Context::background().stream_request(message);
        request.metadata_mut().insert("authorization", format!("Bearer {}", self.token).parse().expect("text"));
        request
    }

    pub(crate) async fn create(&self) -> Project {
        let request = self.request(CreateProjectRequest::default());
        answer(self.client.clone().create_project(request).await).expect("a project").project.expect("a project")
    }

    pub(crate) async fn send(&self, save: SaveProjectRequest) -> Result<SaveProjectResponse, Box<Fault>> {
        answer(self.client.clone().save_project(self.request(save)).await)
    }

    pub(crate) async fn save(&self, project: &str, changes: Vec<FileChange>) -> Result<SaveProjectResponse, Box<Fault>> {
        self.send(SaveProjectRequest { project_id: project.into(), changes, ..Default::default() }).await
    }

    pub(crate) async fn load(&self, project: &str) -> Result<LoadProjectResponse, Box<Fault>> {
        self.load_at(project, "").await
    }

    pub(crate) async fn load_at(&self, project: &str, revision: &str) -> Result<LoadProjectResponse, Box<Fault>> {
        let request = LoadProjectRequest { project_id: project.into(), revision: revision.into(), ..Default::default() };
        self.load_page(request).await
    }

    pub(crate) async fn load_page(&self, request: LoadProjectRequest) -> Result<LoadProjectResponse, Box<Fault>> {
        answer(self.client.clone().load_project(self.request(request)).await)
    }

    /// All files at the head as `path=text`.
    pub(crate) async fn files(&self, project: &str) -> Vec<String> {
        listing(&self.load(project).await.expect("a project"))
    }
}

pub(crate) fn listing(loaded: &LoadProjectResponse) -> Vec<String> {
    let text = |content: &Option<FileContent>| match content.as_ref().and_then(|c| c.data.as_ref()) {
        Some(Data::Text(text)) => text.clone(),
        Some(Data::Binary(bytes)) => format!("{} bytes", bytes.len()),
        None => "no content".to_owned(),
    };
    loaded.files.iter().map(|file| format!("{}={}", file.path, text(&file.content))).collect()
}

/// A turn, called as by agent-streaming.
pub(crate) struct Turn {
    pub(crate) id: String,
    pub(crate) agent: Client,
}

impl Turn {
    pub(crate) fn new(cluster: &Cluster) -> Self {
        Self { id: TurnId::generate().to_string(), agent: cluster.agent() }
    }

    /// Begins the turn in place of another one.
    pub(crate) async fn replace(&self, person: &Person, project: &str, replaced: &Turn, prompt: &str) -> Result<String, Box<Fault>> {
        let message = BeginTurnRequest {
            turn_id: self.id.clone(),
            project_id: project.into(),
            prompt: prompt.into(),
            replaces_turn_id: replaced.id.clone(),
            ..BeginTurnRequest::default()
        };
        answer(self.agent.clone().begin_turn(with_token(message, &person.token)).await).map(|r| r.project_id)
    }

    pub(crate) async fn begin(&self, person: &Person, project: &str, prompt: &str) -> Result<String, Box<Fault>> {
        let message =
            BeginTurnRequest { turn_id: self.id.clone(), project_id: project.into(), prompt: prompt.into(), ..BeginTurnRequest::default() };
        answer(self.agent.clone().begin_turn(with_token(message, &person.token)).await).map(|r| r.project_id)
    }

    pub(crate) fn result(&self, base: &str, changes: Vec<FileChange>) -> CommitTurnRequest {
        CommitTurnRequest {
            turn_id: self.id.clone(),
            base_revision: base.into(),
            changes,
            digest: vec![7; 32].into(),
            answer: "done".into(),
            message: "Build a clock".into(),
            parts: Vec::new(),
        }
    }

    pub(crate) async fn end(&self, end: TurnEnd, partial: &str) -> Result<(), Box<Fault>> {
        self.end_with_reason(end, partial, "").await
    }

    pub(crate) async fn end_with_reason(&self, end: TurnEnd, partial: &str, reason: &str) -> Result<(), Box<Fault>> {
        self.end_with_parts(end, (partial, Vec::new()), reason).await
    }

    pub(crate) async fn end_with_parts(
        &self,
        end: TurnEnd,
        (partial, parts): (&str, Vec<MessagePart>),
        reason: &str,
    ) -> Result<(), Box<Fault>> {
        let message = EndTurnRequest {
            turn_id: self.id.clone(),
            end: end.into(),
            partial_answer: partial.into(),
            failure_reason: reason.into(),
            parts,
        };
        answer(self.agent.clone().end_turn(without_user(message)).await).map(drop)
    }

    pub(crate) async fn tree(&self, revision: &str) -> Result<(String, Vec<String>), Box<Fault>> {
        let message = GetTurnTreeRequest { turn_id: self.id.clone(), revision: revision.into() };
        let tree = answer(self.agent.clone().get_turn_tree(without_user(message)).await)?;
        assert_eq!(tree.limits.expect("limits").files_per_save, 200);
        Ok((tree.revision, tree.files.into_iter().map(|f| f.path).collect()))
    }
}

pub(crate) async fn conversation(person: &Person, project: &str) -> Vec<Message> {
    let request = ListMessagesRequest { project_id: project.into(), order: MessageOrder::OldestFirst.into(), ..Default::default() };
    answer(person.client.clone().list_messages(person.request(request)).await).expect("a conversation").messages
}

pub(crate) async fn commit(client: &Client, message: CommitTurnRequest) -> Result<CommitTurnResponse, Box<Fault>> {
    answer(client.clone().commit_turn(without_user(message)).await)
}

/// A request without a user.
pub(crate) fn without_user<T>(message: T) -> Request<T> {
    Context::background().request(message)
}

pub(crate) fn with_token<T>(message: T, token: &str) -> Request<T> {
    let mut request = without_user(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().expect("text"));
    request
}

pub(crate) fn answer<T>(result: Result<Response<T>, Status>) -> Result<T, Box<Fault>> {
    result.map(Response::into_inner).map_err(|status| Box::new(Fault::from_status(&status)))
}

/// The reason of an error.
pub(crate) fn reason<T: std::fmt::Debug>(result: Result<T, Box<Fault>>) -> String {
    result.expect_err("an error").reason
}

pub(crate) fn content(text: &str) -> FileContent {
    FileContent { data: Some(Data::Text(text.into())) }
}

fn change(path: &str, action: Action) -> FileChange {
    FileChange { path: path.into(), action: Some(action), etag: String::new() }
}

pub(crate) fn write(path: &str, text: &str) -> FileChange {
    change(path, Action::Write(content(text)))
}

pub(crate) fn create(path: &str, text: &str) -> FileChange {
    change(path, Action::Create(content(text)))
}

pub(crate) fn update(path: &str, text: &str) -> FileChange {
    change(path, Action::Update(content(text)))
}

pub(crate) fn delete(path: &str) -> FileChange {
    change(path, Action::Delete(DeleteFile {}))
}

pub(crate) fn rename(path: &str, to: &str) -> FileChange {
    change(path, Action::Rename(RenameFile { new_path: to.into() }))
}
