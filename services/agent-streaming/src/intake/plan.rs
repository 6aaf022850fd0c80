//! Plans a turn without starting it: what the model would get, and how many tokens that is.

use std::sync::Arc;

use chassis::context::Context;
use futures::{FutureExt as _, TryFutureExt as _, future::BoxFuture};
use proto::{
    agent_streaming::ContextPlanned,
    build_input::ReadContents,
    error::{ErrorCode, Fault, Violations},
    id::{ProjectId, TurnId},
    project_storage::{File, FileContent, FileKind, ProjectLimits, ReadFilesRequest, file_content::Data},
};

use crate::{
    app::App,
    drive::instructions::{self, Given},
    error::{Error, SERVICE},
    intake::{
        earlier_plan,
        select::{self, Selected},
    },
    model::{conversation, mode},
    planning::{self, Material, PlanError},
    turn::mode::Mode,
    upstream::{Upstream, fault},
    workspace::{
        overlay::{BaseError, BaseFiles},
        tools::policy,
    },
};

/// Paths of one request.
const PATHS: usize = 200;

/// A valid PlanTurn request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlanRequest {
    pub(crate) project: ProjectId,
    pub(crate) prompt: String,
    pub(crate) agent: String,
    pub(crate) model: String,
    pub(crate) base_revision: String,
    pub(crate) mode: Mode,
    /// The turn whose plan is carried out.
    pub(crate) plan_turn: Option<TurnId>,
    pub(crate) pinned: Vec<String>,
    pub(crate) excluded: Vec<String>,
}

/// What a turn would be.
pub(crate) struct Planned {
    pub(crate) selected: Selected,
    pub(crate) revision: String,
    pub(crate) event: ContextPlanned,
}

/// Plans a turn of the caller.
///
/// # Errors
/// Those of selection and of project-storage, and INVALID_FIELD for a request that cannot be planned.
pub(crate) async fn plan(app: &App, context: &Context, request: PlanRequest) -> Result<Planned, Error> {
    let (user, project, agents) = (context.user()?.id, request.project, app.agents.now());
    let selection = select::select_agent(&agents, (&request.agent, &request.prompt))?;
    let selected = select::with_model(&agents, &app.providers, selection, &request.model)?;
    let agent = agents.get(&selected.selection.agent).ok_or_else(|| Error::agent_not_found(&selected.selection.agent))?;
    let steps = earlier_plan::find(app, context, request.plan_turn, (Some(project), None)).await?;
    let files = app.upstream.list_files(context, project, request.base_revision);
    let limit = conversation::LIMIT.unsigned_abs() as usize;
    let (listed, messages) = tokio::try_join!(files, app.upstream.list_messages(context, project, limit))?;
    let base = RevisionFiles { upstream: app.upstream.clone(), context: context.clone(), project, revision: listed.revision.clone() };
    let files: Vec<_> = listed.files.into_iter().filter(|file| file.kind() != FileKind::Folder).collect();
    let tools = policy::of_turn(&selected.tools, request.mode, &app.tools_denied);
    let given = Given { mode: request.mode, tools, mounted: Some(agents.skills()) };
    let instructions = instructions::read(given, &base, &files).await.map_err(|error| refused(error.into()))?;
    let material = Material {
        user,
        project: Some(project),
        files,
        limits: ProjectLimits::default(),
        base: Arc::new(base),
        is_cut: conversation::is_cut(&messages),
        messages,
        system: instructions.system(agent),
        tools: instructions.tools(),
        request: mode::with_plan(&request.prompt, steps.as_deref()),
        pinned: request.pinned,
        excluded: request.excluded,
    };
    let planned = planning::plan(&app.db, &app.upstream, app.limits.context, &material).await.map_err(refused)?;
    Ok(Planned { selected, revision: listed.revision, event: planned.event })
}

fn refused(error: PlanError) -> Error {
    let field = match error {
        PlanError::PinMissing(_) | PlanError::Pin(_) => "pinned_paths",
        PlanError::TooLong(_) => "prompt",
        PlanError::Files(BaseError(fault)) => return Error::Refused(fault),
        PlanError::Store(error) => return Error::Store(error),
    };
    let mut violations = Violations::default();
    violations.add(field, error.to_string());
    violations.check(SERVICE).err().map_or(Error::TurnNotFound, Error::Refused)
}

/// The files of a revision, as its reader may see them.
struct RevisionFiles {
    upstream: Upstream,
    context: Context,
    project: ProjectId,
    revision: String,
}

impl RevisionFiles {
    async fn some(&self, paths: &[String]) -> Result<Vec<File>, Fault> {
        let (project_id, revision) = (self.project.to_string(), self.revision.clone());
        let request = ReadFilesRequest { project_id, revision, paths: paths.to_vec() };
        let mut stream = self.upstream.read_files(&self.context, request).await?;
        let mut contents = ReadContents::default();
        while let Some(message) = stream.message().await.map_err(|status| fault(&status))? {
            contents.add(message);
        }
        let names: Vec<&str> = paths.iter().map(String::as_str).collect();
        let missing = || Fault::new(SERVICE, ErrorCode::Internal, "INTERNAL", "project-storage has not sent all files");
        let read = contents.finish(&names).ok_or_else(missing)?;
        let file = |(path, content): (&String, bytes::Bytes)| File {
            path: path.clone(),
            size_bytes: u32::try_from(content.len()).unwrap_or(u32::MAX),
            content: Some(FileContent {
                data: Some(match String::from_utf8(content.to_vec()) {
                    Ok(text) => Data::Text(text),
                    Err(_) => Data::Binary(content),
                }),
            }),
            ..File::default()
        };
        Ok(paths.iter().zip(read).map(file).collect())
    }
}

impl BaseFiles for RevisionFiles {
    fn read<'a>(&'a self, paths: &'a [String]) -> BoxFuture<'a, Result<Vec<File>, BaseError>> {
        async move {
            let mut files = Vec::new();
            for paths in paths.chunks(PATHS) {
                files.extend(self.some(paths).await.map_err(BaseError)?);
            }
            Ok(files)
        }
        .boxed()
    }

    fn read_large<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Option<File>, BaseError>> {
        async move { self.some(&[path.to_owned()]).map_ok(|mut files| files.pop()).await.map_err(BaseError) }.boxed()
    }
}
