//! Plans what the model gets of a project and of its conversation: reads what the rules of [`crate::context`] need, and applies them. The rules
//! run on threads for blocking work, because those of requests are shared with other turns.

mod everything;
mod rules;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use chassis::task::blocking_and_wait;
use proto::{
    agent_streaming::ContextPlanned,
    id::{ProjectId, TurnId, UserId},
    project_storage::{FileEntry, FileKind, ProjectLimits},
};
use tokio::time::timeout;

use self::rules::Known;
use crate::{
    check::{staged::StagedFiles, tree::SourceTree},
    context::{
        choose::{self, PinError},
        fold::Record,
        rank,
    },
    digest::sha256,
    model::{conversation::Conversation, message::ToolSpec, prompt::Prompt},
    outline::{self, Outlines},
    store::{Pool, StoreError, context},
    upstream::Upstream,
    workspace::overlay::{BaseError, BaseFiles, Content, Overlay},
};

/// How long a plan waits for the outlines of the files. They are computed to their end in any case, so a later turn finds them.
const OUTLINE_WAIT: Duration = Duration::from_secs(3);
/// Larger files have no outline.
const OUTLINE_BYTES: u32 = 512 * 1024;

/// The limits of a prompt, in tokens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ContextLimits {
    /// `BACKLOT_CONTEXT_TOKENS`: of the list of files and their contents.
    pub(crate) files: u32,
    /// `BACKLOT_CONVERSATION_TOKENS`: of the turns that the model gets word for word.
    pub(crate) conversation: u32,
    /// `BACKLOT_MODEL_WINDOW_TOKENS`: of a whole request with its answer.
    pub(crate) window: u32,
    /// Of the answer.
    pub(crate) output: u32,
}

/// What a plan is made of.
pub(crate) struct Material {
    pub(crate) user: UserId,
    /// Absent if the project does not exist yet.
    pub(crate) project: Option<ProjectId>,
    pub(crate) files: Vec<FileEntry>,
    pub(crate) limits: ProjectLimits,
    pub(crate) base: Arc<dyn BaseFiles>,
    /// Before the request.
    pub(crate) conversation: Conversation,
    pub(crate) system: String,
    pub(crate) tools: Vec<&'static ToolSpec>,
    /// What the person asks for.
    pub(crate) prompt: String,
    /// The steps that are carried out.
    pub(crate) plan: Option<String>,
    pub(crate) pinned: Vec<String>,
    pub(crate) excluded: Vec<String>,
}

/// A plan, and the prompt that it is the plan of.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    pub(crate) event: ContextPlanned,
    pub(crate) prompt: Prompt,
    /// The texts of the prompt with their ids.
    pub(crate) parts: Vec<(String, String)>,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlanError {
    #[error("the pinned path {0} does not exist")]
    PinMissing(String),
    #[error(transparent)]
    Pin(#[from] PinError),
    #[error("{0}")]
    TooLong(String),
    #[error(transparent)]
    Files(#[from] BaseError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Makes a plan.
///
/// # Errors
/// What the request pins cannot be shown, the prompt is too long for the model, or a file or the database could not be read.
pub(crate) async fn plan(db: &Pool, upstream: &Upstream, limits: ContextLimits, material: Material) -> Result<Plan, PlanError> {
    check_pins(&material, limits.files)?;
    let known = Known { records: records(db, &material).await?, outlines: outlines(upstream, &material).await };
    let (material, known) = (Arc::new(material), Arc::new(known));
    let (of, with) = (Arc::clone(&material), Arc::clone(&known));
    let (ranked, wanted) = blocking_and_wait(move || {
        let ranked = rules::rank(&of, &with);
        let wanted = choose::wanted(&ranked, of.limits.file_bytes);
        (ranked, wanted)
    })
    .await;
    let mut overlay = Overlay::new(material.files.clone(), material.limits);
    let contents = texts(&mut overlay, &*material.base, &wanted).await?;
    let of = Arc::clone(&material);
    let (plan, rest) = blocking_and_wait(move || rules::plan(&of, &known, limits, (&ranked, &contents))).await?;
    let files = everything::tokens(&material, &mut overlay).await?;
    let full_prompt_tokens = files.map_or(0, |files| files.saturating_add(rest));
    Ok(Plan { event: ContextPlanned { full_prompt_tokens, ..plan.event }, ..plan })
}

/// The texts of a prompt with their ids: the system prompt, the list of files, the conversation as JSON, and the request with the files that
/// come with it.
fn parts(prompt: &Prompt) -> Vec<(String, String)> {
    let history = serde_json::to_string(&prompt.history).unwrap_or_default();
    let texts = [prompt.system.clone(), prompt.tree.clone(), history, prompt.request.clone()];
    texts.into_iter().map(|text| (sha256(&text), text)).collect()
}

/// The prompt of the texts of a [`Plan`]. `None` if they are other ones.
#[must_use]
pub(crate) fn prompt(texts: Vec<String>) -> Option<Prompt> {
    let [system, tree, history, request] = texts.try_into().ok()?;
    Some(Prompt { system, tree, history: serde_json::from_str(&history).ok()?, request })
}

/// Checks what is pinned before a file is read.
fn check_pins(material: &Material, budget: u32) -> Result<(), PlanError> {
    let files = || material.files.iter().filter(|file| file.kind() != FileKind::Folder);
    let missing = |pin: &&String| !files().any(|file| rank::covers(std::slice::from_ref(*pin), &file.path));
    if let Some(pin) = material.pinned.iter().find(missing) {
        return Err(PlanError::PinMissing(pin.clone()));
    }
    let pinned: Vec<&FileEntry> = files().filter(|file| rank::covers(&material.pinned, &file.path)).collect();
    Ok(choose::check_pins(&pinned, material.limits.file_bytes, budget)?)
}

/// What is known of the turns of the conversation, by their ids.
async fn records(db: &Pool, material: &Material) -> Result<HashMap<String, Record>, StoreError> {
    let Some(project) = material.project else { return Ok(HashMap::new()) };
    let mut turns: Vec<TurnId> = material.conversation.messages.iter().filter_map(|message| message.turn_id.parse().ok()).collect();
    turns.dedup();
    let ended = context::ended(db, project, &turns).await?;
    Ok(ended.into_iter().map(|turn| (turn.id.to_string(), Record { outcome: turn.state.as_str().to_owned(), files: turn.files })).collect())
}

/// The outlines of the readable files. `None` if they are not known in time.
async fn outlines(upstream: &Upstream, material: &Material) -> Option<Outlines> {
    let of = |file: &&FileEntry| file.kind() != FileKind::Folder && file.size_bytes <= OUTLINE_BYTES && choose::is_readable(&file.path);
    let files: Vec<FileEntry> = material.files.iter().filter(of).cloned().collect();
    if files.is_empty() {
        return Some(BTreeMap::new());
    }
    let (upstream, user, base) = (upstream.clone(), material.user, Arc::clone(&material.base));
    let mut overlay = Overlay::new(files, material.limits);
    let task = chassis::task::spawn(async move {
        let tree = SourceTree::new(overlay.blobs());
        outline::outlines(&upstream, &tree, user, &mut StagedFiles { overlay: &mut overlay, base: &*base }).await
    });
    match timeout(OUTLINE_WAIT, task).await {
        Ok(Ok(Ok(outlines))) => Some(outlines),
        Ok(Ok(Err(fault))) => {
            tracing::debug!(reason = fault.reason, "the outlines of the files are not known: {fault}");
            None
        }
        Ok(Err(_)) | Err(_) => None,
    }
}

/// The texts of files. Others are left out.
async fn texts(overlay: &mut Overlay, base: &dyn BaseFiles, paths: &[String]) -> Result<BTreeMap<String, String>, BaseError> {
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let read = overlay.read(base, &paths).await?;
    let texts = read.into_iter().filter_map(|(path, content)| match content {
        // PostgreSQL stores no text with this character.
        Content::Text(text) if !text.contains('\0') => Some((path, text.to_string())),
        Content::Text(_) | Content::Binary(_) | Content::Asset => None,
    });
    Ok(texts.collect())
}
