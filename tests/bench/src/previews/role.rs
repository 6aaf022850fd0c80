//! The role compile in a process of its own, and its callers.

use anyhow::{Context as _, Result, ensure};
use chassis::{
    client::{self, MAX_MESSAGE_BYTES, ServiceChannel},
    context::Context,
    identity::Caller,
};
use futures::{SinkExt as _, channel::mpsc};
use proto::{
    build_input::{lists, parts},
    compile::{
        AddPackagesRequest, BuildPageRequest, BuildSiteRequest, CheckTreeRequest, Content, Files, GetModuleRequest, Page, Start,
        build_page_request, build_page_response, build_site_request, build_site_response, check_tree_request, check_tree_response,
        compile_service_client::CompileServiceClient, site_file,
    },
};
use tonic::Streaming;

use super::project::Project;
use crate::environment::{Environment, Process};

type Client = CompileServiceClient<ServiceChannel>;

/// A running compile, with its database.
pub(crate) struct Role {
    pub(crate) process: Process,
    gateway: Client,
    operator: Client,
}

/// What the service asks for.
enum Question {
    Tree,
    Contents(Vec<String>),
}

/// The messages that answer questions.
struct Answers<Q> {
    sender: mpsc::Sender<Q>,
    files: fn(Files) -> Q,
    content: fn(Content) -> Q,
}

impl Role {
    /// Starts the role with the compiler of this build. Roles with the same `name` have the same database.
    pub(crate) async fn start(environment: &Environment, name: &str, registry: &str) -> Result<Self> {
        let url = environment.url(name);
        let settings = [("DATABASE_URL", url.as_str()), ("BACKLOT_NPM_REGISTRY", registry)];
        let process = environment.role(name, "compile", &settings).await?;
        let (address, secret) = (process.url.parse()?, environment.secret());
        let client = |caller| {
            let channel = client::connect(caller, Caller::Compile, &address, &secret);
            Client::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES)
        };
        let (gateway, operator) = (client(Caller::Gateway), client(Caller::Operator));
        Ok(Self { process, gateway, operator })
    }

    /// The CPU time of the process and of the compilers that it ran, in seconds.
    pub(crate) fn cpu(&self) -> Result<f64> {
        Ok(crate::proc::cpu_with_exited_children(self.process.id()).context("no /proc")?.as_secs_f64())
    }

    /// Keeps the packages of a project, so that the registry is not part of a measurement. Returns the number of versions.
    pub(crate) async fn keep_packages(&self, project: &Project) -> Result<u32> {
        use proto::compile::add_packages_response::Part;
        let manifest = project.content("package.json")?.clone();
        let request = Context::background().stream_request(AddPackagesRequest { manifest, ..AddPackagesRequest::default() });
        let mut answers = self.operator.clone().add_packages(request).await?.into_inner();
        let mut versions = 0;
        while let Some(answer) = answers.message().await? {
            if let Some(Part::Resolved(resolved)) = answer.part {
                versions = resolved.versions;
            }
        }
        Ok(versions)
    }

    /// Builds the page, which must have no errors.
    pub(crate) async fn page(&self, project: &Project) -> Result<Page> {
        use build_page_request::Part;
        use build_page_response::Part as Answered;
        let (mut sender, messages) = mpsc::channel(64);
        sender.send(BuildPageRequest { part: Some(Part::Start(start(project)?)) }).await?;
        let stream = self.gateway.clone().build_page(Context::background().stream_request(messages)).await?.into_inner();
        let files = |files| BuildPageRequest { part: Some(Part::Files(files)) };
        let content = |content| BuildPageRequest { part: Some(Part::Content(content)) };
        let mut built = None;
        let read = |part: proto::compile::BuildPageResponse| match part.part {
            Some(Answered::NeedTree(_)) => Some(Question::Tree),
            Some(Answered::NeedContents(need)) => Some(Question::Contents(need.blob_ids)),
            Some(Answered::Page(page)) => {
                built = Some(page);
                None
            }
            None => None,
        };
        talk(project, Answers { sender, files, content }, stream, read).await?;
        let page = built.context("no page")?;
        ensure!(!page.html.is_empty(), "the page has errors: {:?}", page.findings);
        Ok(page)
    }

    /// Reads a module of a page.
    pub(crate) async fn module(&self, name: &str) -> Result<usize> {
        let request = Context::background().request(GetModuleRequest { name: name.to_owned() });
        Ok(self.gateway.clone().get_module(request).await?.into_inner().body.len())
    }

    /// Checks all files, which must have no errors.
    pub(crate) async fn check(&self, project: &Project) -> Result<()> {
        use check_tree_request::Part;
        use check_tree_response::Part as Answered;
        let (mut sender, messages) = mpsc::channel(64);
        sender.send(CheckTreeRequest { part: Some(Part::Start(start(project)?)) }).await?;
        let stream = self.gateway.clone().check_tree(Context::background().stream_request(messages)).await?.into_inner();
        let files = |files| CheckTreeRequest { part: Some(Part::Files(files)) };
        let content = |content| CheckTreeRequest { part: Some(Part::Content(content)) };
        let mut found = None;
        let read = |part: proto::compile::CheckTreeResponse| match part.part {
            Some(Answered::NeedTree(_)) => Some(Question::Tree),
            Some(Answered::NeedContents(need)) => Some(Question::Contents(need.blob_ids)),
            Some(Answered::Findings(findings)) => {
                found = Some(findings.findings);
                None
            }
            None => None,
        };
        talk(project, Answers { sender, files, content }, stream, read).await?;
        let found = found.context("no findings")?;
        ensure!(found.is_empty(), "findings: {found:?}");
        Ok(())
    }

    /// Builds the site. Returns the bytes of its files.
    pub(crate) async fn site(&self, project: &Project) -> Result<usize> {
        use build_site_request::Part;
        use build_site_response::Part as Answered;
        let (mut sender, messages) = mpsc::channel(64);
        sender.send(BuildSiteRequest { part: Some(Part::Start(start(project)?)) }).await?;
        let stream = self.gateway.clone().build_site(Context::background().stream_request(messages)).await?.into_inner();
        let files = |files| BuildSiteRequest { part: Some(Part::Files(files)) };
        let content = |content| BuildSiteRequest { part: Some(Part::Content(content)) };
        let (mut bytes, mut findings) = (0, Vec::new());
        let read = |part: proto::compile::BuildSiteResponse| match part.part {
            Some(Answered::NeedTree(_)) => Some(Question::Tree),
            Some(Answered::NeedContents(need)) => Some(Question::Contents(need.blob_ids)),
            Some(Answered::Findings(found)) => {
                findings = found.findings;
                None
            }
            Some(Answered::File(file)) => {
                bytes += match file.content {
                    Some(site_file::Content::Data(data)) => data.len(),
                    Some(site_file::Content::TreePath(path)) => project.content(&path).map_or(0, bytes::Bytes::len),
                    None => 0,
                };
                None
            }
            None => None,
        };
        talk(project, Answers { sender, files, content }, stream, read).await?;
        ensure!(bytes > 0, "there is no site: {findings:?}");
        Ok(bytes)
    }
}

fn start(project: &Project) -> Result<Start> {
    Ok(Start { tree_id: project.tree_id()?, ..Start::default() })
}

/// Answers the questions of the service until its stream ends.
async fn talk<Q, A>(
    project: &Project,
    mut answers: Answers<Q>,
    mut stream: Streaming<A>,
    mut read: impl FnMut(A) -> Option<Question>,
) -> Result<()> {
    while let Some(message) = stream.message().await? {
        match read(message) {
            Some(Question::Tree) => {
                for list in lists(project.list()) {
                    answers.sender.send((answers.files)(list)).await?;
                }
            }
            Some(Question::Contents(ids)) => {
                for id in ids {
                    for part in parts(&id, project.blob(&id)?) {
                        answers.sender.send((answers.content)(part)).await?;
                    }
                }
            }
            None => {}
        }
    }
    Ok(())
}
