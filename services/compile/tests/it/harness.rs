//! Starts the service with a database and the compiler, and talks with it as the gateway.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, LazyLock},
};

use chassis::{
    client::{self, ServiceChannel},
    config::Env,
    context::Context,
    identity::Caller,
    secret::ClusterSecret,
    task,
    testing::{self, TestDatabase, compiler},
};
use compile::testing::{MIGRATOR, blob_id};
use proto::{
    compile::{
        BuildPageRequest, BuildPageResponse, BuildSiteRequest, CheckTreeRequest, Content, FileOutline, Files, Finding, GetModuleRequest,
        GetModuleResponse, OutlineTreeRequest, Page, Start, TreeFile, build_page_request, build_page_response, build_site_request,
        build_site_response, check_tree_request, check_tree_response, compile_service_client::CompileServiceClient, outline_tree_request,
        outline_tree_response, site_file,
    },
    error::Fault,
    id::UserId,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::Status;

use crate::upstream::Upstream;

/// Whose share of the limits all builds use.
static PERSON: LazyLock<String> = LazyLock::new(|| UserId::generate().to_string());

const SECRET: &str = "0d1c7e1f92ab4c5e8f60b3a2d4c5e6f7";

/// A project, by path.
pub(crate) type Project = BTreeMap<&'static str, String>;

/// A site that was built.
#[derive(Debug, Default)]
pub(crate) struct BuiltSite {
    pub(crate) findings: Vec<Finding>,
    /// The contents by path.
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    /// The paths that have a hash of their content.
    pub(crate) hashed: BTreeSet<String>,
}

/// A React project in TypeScript.
pub(crate) fn react() -> Project {
    let files = [
        ("index.html", "<!doctype html><head></head><body><div id=root></div><script type=module src=/src/main.tsx></script></body>"),
        ("package.json", r#"{"dependencies": {"react": "^19.0.0", "react-dom": "^19.0.0"}}"#),
        ("tsconfig.json", r#"{"compilerOptions": {"jsx": "react-jsx"}}"#),
        (
            "src/main.tsx",
            "import { createRoot } from 'react-dom/client';\nimport { App } from './App';\nimport './style.css';\n\
             createRoot(document.getElementById('root')!).render(<App name=\"Ann\" />);\n",
        ),
        (
            "src/App.tsx",
            "import { greet } from './greet';\nexport function App(props: { name: string }) {\n  return <h1>{greet(props.name)}</h1>;\n}\n",
        ),
        ("src/greet.ts", "export const greet = (name: string): string => `Hello, ${name}`;\n"),
        ("src/style.css", "h1 { color: teal }\n"),
    ];
    files.into_iter().map(|(path, text)| (path, text.to_owned())).collect()
}

/// A running replica. It stops when it is dropped.
pub(crate) struct Replica {
    pub(crate) client: CompileServiceClient<ServiceChannel>,
    /// The same service as agent-streaming sees it.
    pub(crate) other: CompileServiceClient<ServiceChannel>,
    /// The same service as an operator sees it.
    pub(crate) operator: CompileServiceClient<ServiceChannel>,
    _running: Arc<DropGuard>,
    _registry: Option<Upstream>,
}

/// A page, and what the service asked for.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) page: Page,
    /// Whether the list of files was asked for.
    pub(crate) listed: bool,
    /// Ids of contents.
    pub(crate) asked: Vec<String>,
}

pub(crate) async fn database() -> TestDatabase {
    testing::postgres(&MIGRATOR).await
}

pub(crate) async fn replica(database: &TestDatabase, settings: &[(&str, &str)]) -> Replica {
    let is_set = settings.iter().any(|(name, _)| *name == "BACKLOT_COMPILER");
    let path = if is_set { "" } else { compiler().to_str().expect("a path in UTF-8") };
    let has_registry = settings.iter().any(|(name, _)| *name == "BACKLOT_NPM_REGISTRY");
    let registry = if has_registry { None } else { Some(Upstream::with_react().await) };
    let address = registry.as_ref().map(|registry| registry.url.clone()).unwrap_or_default();
    let base = [
        ("BACKLOT_NPM_REGISTRY", address.as_str()),
        ("BACKLOT_COMPILE_BUILD_TIMEOUT", "600s"),
        ("BACKLOT_COMPILE_DATABASE_URL", database.url.as_str()),
        ("BACKLOT_CLUSTER_SECRET", SECRET),
        ("BACKLOT_DATABASE_CONNECTIONS", "4"),
        // Other tests run beside this one.
        ("BACKLOT_COMPILE_WORKER_TIMEOUT", "300s"),
        ("BACKLOT_COMPILER", path),
    ];
    let mut env = Env::of(base.iter().chain(settings).copied());
    let config = compile::Config::read(&mut env);
    env.check().expect("settings");
    let listener = testing::listener().await;
    let uri: http::Uri = format!("http://{}", listener.local_addr().expect("address")).parse().expect("uri");
    let stop = CancellationToken::new();
    task::spawn(compile::serve(config, listener, stop.clone()));
    let secret = ClusterSecret::of_bytes(SECRET.as_bytes());
    let client = |caller| CompileServiceClient::new(client::connect(caller, Caller::Compile, &uri, &secret));
    Replica {
        client: client(Caller::Gateway),
        other: client(Caller::AgentStreaming),
        operator: client(Caller::Operator),
        _running: Arc::new(stop.drop_guard()),
        _registry: registry,
    }
}

pub(crate) fn start(project: &Project) -> Start {
    let listed: String = project.iter().map(|(path, text)| format!("{path} {}\n", blob_id(text.as_bytes()))).collect();
    Start { tree_id: blob_id(listed.as_bytes()), person_id: PERSON.clone(), ..Start::default() }
}

pub(crate) fn files(project: &Project) -> Files {
    let file =
        |(path, text): (&&str, &String)| TreeFile { path: (*path).to_owned(), blob_id: blob_id(text.as_bytes()), size: text.len() as u64 };
    Files { files: project.iter().map(file).collect(), is_last: true }
}

fn content(project: &Project, id: &str) -> Content {
    let text = project.values().find(|text| blob_id(text.as_bytes()) == id).expect("a content of the project");
    Content { blob_id: id.to_owned(), data: text.clone().into(), is_last: true }
}

impl Replica {
    pub(crate) async fn build(&self, project: &Project) -> Result<Built, Fault> {
        use build_page_request::Part;
        let (sender, messages) = mpsc::channel(64);
        let send = async |part| sender.send(BuildPageRequest { part: Some(part) }).await.expect("the stream is open");
        send(Part::Start(start(project))).await;
        let request = Context::background().stream_request(ReceiverStream::new(messages));
        let mut answers = self.client.clone().build_page(request).await.map_err(fault)?.into_inner();
        let (mut listed, mut asked) = (false, Vec::new());
        while let Some(answer) = answers.message().await.map_err(fault)? {
            match answer.part.expect("a part") {
                build_page_response::Part::NeedTree(_) => {
                    listed = true;
                    send(Part::Files(files(project))).await;
                }
                build_page_response::Part::NeedContents(need) => {
                    for id in &need.blob_ids {
                        send(Part::Content(content(project, id))).await;
                    }
                    asked.extend(need.blob_ids);
                }
                build_page_response::Part::Page(page) => return Ok(Built { page, listed, asked }),
            }
        }
        panic!("the stream ended without a page");
    }

    pub(crate) async fn check(&self, project: &Project) -> Result<Vec<Finding>, Fault> {
        use check_tree_request::Part;
        let (sender, messages) = mpsc::channel(64);
        let send = async |part| sender.send(CheckTreeRequest { part: Some(part) }).await.expect("the stream is open");
        send(Part::Start(start(project))).await;
        let request = Context::background().stream_request(ReceiverStream::new(messages));
        let mut answers = self.other.clone().check_tree(request).await.map_err(fault)?.into_inner();
        while let Some(answer) = answers.message().await.map_err(fault)? {
            match answer.part.expect("a part") {
                check_tree_response::Part::NeedTree(_) => send(Part::Files(files(project))).await,
                check_tree_response::Part::NeedContents(need) => {
                    for id in &need.blob_ids {
                        send(Part::Content(content(project, id))).await;
                    }
                }
                check_tree_response::Part::Findings(findings) => return Ok(findings.findings),
            }
        }
        panic!("the stream ended without findings");
    }

    /// The outlines by path, and the paths whose contents the service asked for.
    pub(crate) async fn outline(&self, project: &Project) -> Result<(BTreeMap<&'static str, FileOutline>, BTreeSet<&'static str>), Fault> {
        use outline_tree_request::Part;
        let (sender, messages) = mpsc::channel(64);
        let send = async |part| sender.send(OutlineTreeRequest { part: Some(part) }).await.expect("the stream is open");
        send(Part::Start(start(project))).await;
        let request = Context::background().stream_request(ReceiverStream::new(messages));
        let mut answers = self.other.clone().outline_tree(request).await.map_err(fault)?.into_inner();
        let path = |id: &str| *project.iter().find(|(_, text)| blob_id(text.as_bytes()) == id).expect("a content of the project").0;
        let (mut outlines, mut asked) = (BTreeMap::new(), BTreeSet::new());
        while let Some(answer) = answers.message().await.map_err(fault)? {
            match answer.part.expect("a part") {
                outline_tree_response::Part::NeedTree(_) => send(Part::Files(files(project))).await,
                outline_tree_response::Part::NeedContents(need) => {
                    for id in &need.blob_ids {
                        send(Part::Content(content(project, id))).await;
                    }
                    asked.extend(need.blob_ids.iter().map(|id| path(id)));
                }
                outline_tree_response::Part::Outlines(part) => {
                    outlines.extend(part.outlines.into_iter().map(|outline| (path(&outline.blob_id), outline)));
                }
            }
        }
        Ok((outlines, asked))
    }

    /// Builds a site. `start` is the first message.
    pub(crate) async fn site(&self, project: &Project, start: Start) -> Result<BuiltSite, Fault> {
        use build_site_request::Part;
        let (sender, messages) = mpsc::channel(64);
        let send = async |part| sender.send(BuildSiteRequest { part: Some(part) }).await.expect("the stream is open");
        send(Part::Start(start)).await;
        let request = Context::background().stream_request(ReceiverStream::new(messages));
        let mut answers = self.client.clone().build_site(request).await.map_err(fault)?.into_inner();
        let mut site = BuiltSite::default();
        while let Some(answer) = answers.message().await.map_err(fault)? {
            match answer.part.expect("a part") {
                build_site_response::Part::NeedTree(_) => send(Part::Files(files(project))).await,
                build_site_response::Part::NeedContents(need) => {
                    for id in &need.blob_ids {
                        send(Part::Content(content(project, id))).await;
                    }
                }
                build_site_response::Part::Findings(findings) => site.findings = findings.findings,
                build_site_response::Part::File(part) => {
                    let data = match part.content.expect("a content") {
                        site_file::Content::TreePath(path) => project[path.as_str()].clone().into_bytes(),
                        site_file::Content::Data(data) => data.to_vec(),
                    };
                    if part.hashed {
                        site.hashed.insert(part.path.clone());
                    }
                    site.files.entry(part.path).or_default().extend(data);
                }
            }
        }
        Ok(site)
    }

    /// Sends fixed messages, and returns the error.
    pub(crate) async fn refused(&self, parts: Vec<build_page_request::Part>) -> Fault {
        let messages = parts.into_iter().map(|part| BuildPageRequest { part: Some(part) });
        let request = Context::background().stream_request(tokio_stream::iter(messages.collect::<Vec<_>>()));
        let mut answers = self.client.clone().build_page(request).await.expect("a stream").into_inner();
        loop {
            match answers.message().await {
                Ok(Some(BuildPageResponse { part: Some(build_page_response::Part::Page(_)) }) | None) => panic!("not refused"),
                Ok(_) => {}
                Err(status) => return fault(status),
            }
        }
    }

    pub(crate) async fn module(&self, name: &str) -> Result<GetModuleResponse, Fault> {
        let request = Context::background().request(GetModuleRequest { name: name.to_owned() });
        self.client.clone().get_module(request).await.map(tonic::Response::into_inner).map_err(fault)
    }
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
pub(crate) fn fault(status: Status) -> Fault {
    Fault::from_status(&status)
}
