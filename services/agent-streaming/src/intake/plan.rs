//! Plans a turn without starting it: what the model would get, and how many tokens that is.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use chassis::context::Context;
use futures::{FutureExt as _, future::BoxFuture};
use proto::{
    agent_streaming::ContextPlanned,
    error::Violations,
    id::{ProjectId, TurnId},
    project_storage::{File, FileContent, FileKind, file_content::Data},
};

use crate::{
    app::App,
    context::choose,
    drive::instructions::{self, Given},
    error::{Error, SERVICE},
    intake::{
        earlier_plan,
        select::{self, Selected},
    },
    model::conversation::{self, Conversation},
    own_keys::choice::Models,
    planning::{self, Material, PlanError},
    turn::mode::Mode,
    upstream::Upstream,
    workspace::{
        overlay::{BaseError, BaseFiles},
        tools::policy,
    },
};

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
    let steps = earlier_plan::find(app, context, request.plan_turn, (Some(project), None)).await?;
    let named = steps.as_ref().map_or(request.agent.as_str(), |plan| plan.agent(&agents, &request.agent));
    let selection = select::select_agent(&agents, (named, &request.prompt))?;
    let models = Models::of_turn(&app.db, &app.providers, user, Some(project)).await?;
    let selected = select::with_model(&agents, &models, selection, &request.model)?;
    let agent = agents.get(&selected.selection.agent).ok_or_else(|| Error::agent_not_found(&selected.selection.agent))?;
    let (upstream, limit) = (&app.upstream, conversation::LIMIT);
    let (listed, messages, found) = tokio::try_join!(
        upstream.list_files(context, project, request.base_revision),
        upstream.list_messages(context, project, limit.unsigned_abs() as usize),
        upstream.project(context, project),
    )?;
    let files: Vec<_> = listed.files.into_iter().filter(|file| file.kind() != FileKind::Folder).collect();
    let limits = found.limits.unwrap_or_default();
    let base = RevisionFiles {
        upstream: upstream.clone(),
        context: context.clone(),
        project,
        revision: listed.revision.clone(),
        sizes: files.iter().map(|file| (file.path.clone(), file.size_bytes)).collect(),
        text_limit: limits.file_bytes,
    };
    let tools = policy::of_turn(&selected.tools, request.mode, &app.tools_denied);
    let given = Given { mode: request.mode, tools, mounted: Some(agents.skills()) };
    let instructions = instructions::read(given, &base, &files).await.map_err(|error| refused(error.into()))?;
    let material = Material {
        user,
        project: Some(project),
        files,
        limits,
        base: Arc::new(base),
        conversation: Conversation::newest(messages, limit),
        system: instructions.system(agent),
        tools: instructions.tools(),
        prompt: request.prompt,
        plan: steps.map(|plan| plan.steps),
        pinned: request.pinned,
        excluded: request.excluded,
    };
    let planned = planning::plan(&app.db, upstream, app.limits.context, material).await.map_err(refused)?;
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

/// The files of a revision, as a turn of its reader would read them.
struct RevisionFiles {
    upstream: Upstream,
    context: Context,
    project: ProjectId,
    revision: String,
    /// The bytes of each file.
    sizes: HashMap<String, u32>,
    /// The most bytes of a text.
    text_limit: u32,
}

impl RevisionFiles {
    async fn some(&self, paths: &[&str]) -> Result<Vec<File>, BaseError> {
        let read = self.upstream.read_files(&self.context, self.project, &self.revision, paths).await.map_err(BaseError)?;
        let file = |(path, content): (&&str, Bytes)| File {
            path: (*path).to_owned(),
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
            let sized = paths.iter().filter_map(|path| Some((path.as_str(), *self.sizes.get(path)?)));
            let (assets, texts): (Vec<_>, Vec<_>) = sized.partition(|(_, bytes)| choose::is_asset(*bytes, self.text_limit));
            let texts: Vec<&str> = texts.into_iter().map(|(path, _)| path).collect();
            let mut files = if texts.is_empty() { Vec::new() } else { self.some(&texts).await? };
            files.extend(assets.into_iter().map(|(path, size_bytes)| File { path: path.to_owned(), size_bytes, ..File::default() }));
            Ok(files)
        }
        .boxed()
    }

    fn read_large<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Option<File>, BaseError>> {
        async move { Ok(self.some(&[path]).await?.pop()) }.boxed()
    }
}
