//! Plans what the model gets of a project and of its conversation: reads what the rules of [`crate::context`] need, and applies them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, LazyLock},
    time::Duration,
};

use proto::{
    agent_streaming::{ContextConversation, ContextPlanned, OutlinesStatus},
    id::{ProjectId, TurnId, UserId},
    project_storage::{FileEntry, FileKind, Message, ProjectLimits},
};
use tokio::time::timeout;

use crate::{
    check::{staged::StagedFiles, tree::SourceTree},
    context::{
        choose::{self, PinError},
        fold::{self, Record},
        rank::{self, Signals},
        tokens::{COUNTER, count},
    },
    digest::sha256,
    model::{
        message::{ModelMessage, ToolSpec},
        prompt::{Prompt, tree},
        size,
    },
    outline::{self, Outline},
    store::{Pool, StoreError, context},
    upstream::Upstream,
    workspace::overlay::{BaseError, BaseFiles, Content, Overlay},
};

/// How long a plan waits for the outlines of the files. They are computed to their end in any case, so a later turn finds them.
const OUTLINE_WAIT: Duration = Duration::from_secs(3);
/// Larger files have no outline.
const OUTLINE_BYTES: u32 = 512 * 1024;
/// The last turns whose changed files count as recent.
const RECENT_TURNS: usize = 3;
/// The tokens of all files are counted only in smaller projects.
const FULL_BYTES: u64 = 4 * 1024 * 1024;
/// The contents whose tokens are remembered.
const COUNTED_FILES: usize = 50_000;
/// The part of the budget for files that the list of their paths may have.
const LIST_SHARE: u32 = 3;

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
    /// The conversation before the request, the oldest message first.
    pub(crate) messages: Vec<Message>,
    /// Whether there may be older messages.
    pub(crate) is_cut: bool,
    pub(crate) system: String,
    pub(crate) tools: Vec<&'static ToolSpec>,
    pub(crate) request: String,
    pub(crate) pinned: Vec<String>,
    pub(crate) excluded: Vec<String>,
}

/// A plan, and the prompt that it is the plan of.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    pub(crate) event: ContextPlanned,
    pub(crate) prompt: Prompt,
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
pub(crate) async fn plan(db: &Pool, upstream: &Upstream, limits: ContextLimits, material: &Material) -> Result<Plan, PlanError> {
    let files: Vec<&FileEntry> = material.files.iter().filter(|file| file.kind() != FileKind::Folder).collect();
    let missing = |pin: &&String| !files.iter().any(|file| rank::covers(std::slice::from_ref(*pin), &file.path));
    if let Some(pin) = material.pinned.iter().find(missing) {
        return Err(PlanError::PinMissing(pin.clone()));
    }
    let known = records(db, material).await?;
    let outlines = outlines(upstream, material).await;
    let status = if outlines.is_some() { OutlinesStatus::Complete } else { OutlinesStatus::Unavailable };
    let outlines = outlines.unwrap_or_default();
    let recent = recent(&material.messages, &known);
    let (pinned, excluded) = (&material.pinned, &material.excluded);
    let signals = Signals { files: &material.files, request: &material.request, outlines: &outlines, recent: &recent, pinned, excluded };
    let ranked = rank::rank(&signals);
    let contents = contents(material, &choose::wanted(&ranked)).await?;

    let (list, listed) = tree::text(&material.files, excluded, limits.files / LIST_SHARE);
    let list_tokens = count(&list);
    let chosen = choose::choose(&ranked, &outlines, &contents, (&material.request, limits.files.saturating_sub(list_tokens)))?;
    let (history, conversation) = conversation(material, &known, limits.conversation);
    let event = ContextPlanned {
        budget_tokens: limits.files,
        tokens: list_tokens.saturating_add(count(&chosen.text)),
        counter: COUNTER.to_owned(),
        files_total: number(files.len()),
        files: chosen.files,
        omitted_files: number(files.len().saturating_sub(listed)),
        conversation: Some(conversation),
        outlines: status.into(),
        ..ContextPlanned::default()
    };
    let request = format!("{}{}", chosen.text, material.request);
    let prompt = Prompt { system: material.system.clone(), tree: list, history, request };
    let parts = parts(&prompt);
    let prompt_tokens = check_window(&prompt, &material.tools, limits)?;
    let rest = [count(&prompt.system), size::of_tools(&material.tools), count(&material.request), fold::tokens(&material.messages)];
    let full = all_files(material).await?.map(|files| rest.into_iter().fold(files, u32::saturating_add));
    let event = ContextPlanned {
        prompt_tokens,
        full_prompt_tokens: full.unwrap_or(0),
        part_ids: parts.into_iter().map(|(id, _)| id).collect(),
        ..event
    };
    Ok(Plan { event, prompt })
}

/// The texts of a prompt with their ids: the system prompt, the list of files, the conversation as JSON, and the request with the files that
/// come with it.
#[must_use]
pub(crate) fn parts(prompt: &Prompt) -> Vec<(String, String)> {
    let history = serde_json::to_string(&prompt.history).unwrap_or_default();
    let texts = [prompt.system.clone(), prompt.tree.clone(), history, prompt.request.clone()];
    texts.into_iter().map(|text| (sha256(&text), text)).collect()
}

/// The prompt of the texts of [`parts`]. `None` if they are other ones.
#[must_use]
pub(crate) fn prompt(texts: Vec<String>) -> Option<Prompt> {
    let [system, tree, history, request] = texts.try_into().ok()?;
    Some(Prompt { system, tree, history: serde_json::from_str(&history).ok()?, request })
}

/// The tokens of a prompt.
///
/// # Errors
/// The prompt and an answer do not fit into the window of the model.
fn check_window(prompt: &Prompt, tools: &[&'static ToolSpec], limits: ContextLimits) -> Result<u32, PlanError> {
    let parts = [
        ("the agent and its tools", count(&prompt.system).saturating_add(size::of_tools(tools))),
        ("the list of files", count(&prompt.tree)),
        ("the conversation", size::of_messages(&prompt.history)),
        ("the request with its files", count(&prompt.request)),
    ];
    let tokens = parts.iter().fold(0_u32, |sum, (_, tokens)| sum.saturating_add(*tokens));
    size::check(tokens, limits.window, limits.output).map_err(|text| {
        let (longest, most) = parts.into_iter().max_by_key(|(_, tokens)| *tokens).unwrap_or_default();
        PlanError::TooLong(format!("{text}; the longest part is {longest} with {most}"))
    })?;
    Ok(tokens)
}

/// What is known of the turns of the conversation, by their ids.
async fn records(db: &Pool, material: &Material) -> Result<HashMap<String, Record>, StoreError> {
    let Some(project) = material.project else { return Ok(HashMap::new()) };
    let mut turns: Vec<TurnId> = material.messages.iter().filter_map(|message| message.turn_id.parse().ok()).collect();
    turns.dedup();
    let ended = context::ended(db, project, &turns).await?;
    Ok(ended.into_iter().map(|turn| (turn.id.to_string(), Record { outcome: turn.state.as_str().to_owned(), files: turn.files })).collect())
}

/// The files that the last turns have changed, the newest turn first.
fn recent(messages: &[Message], known: &HashMap<String, Record>) -> Vec<Vec<String>> {
    let mut turns: Vec<&str> = messages.iter().rev().map(|message| message.turn_id.as_str()).collect();
    turns.dedup();
    let files = turns.into_iter().filter_map(|turn| known.get(turn)).map(|record| record.files.clone());
    files.filter(|files| !files.is_empty()).take(RECENT_TURNS).collect()
}

fn conversation(material: &Material, known: &HashMap<String, Record>, high: u32) -> (Vec<ModelMessage>, ContextConversation) {
    let turns = fold::turns(&material.messages, known);
    let turns = if material.is_cut { fold::anchored(&turns) } else { &turns };
    let folding = fold::fold(turns, high);
    let messages = fold::messages(turns, folding);
    let counted = ContextConversation {
        turns: number(folding.kept),
        folded_turns: number(folding.folded),
        omitted_turns: number(folding.omitted),
        tokens: size::of_messages(&messages),
    };
    (messages, counted)
}

/// The outlines of the readable files. `None` if they are not known in time.
async fn outlines(upstream: &Upstream, material: &Material) -> Option<BTreeMap<String, Outline>> {
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
async fn contents(material: &Material, paths: &[&str]) -> Result<BTreeMap<String, String>, BaseError> {
    let mut overlay = Overlay::new(material.files.clone(), material.limits);
    let read = overlay.read(&*material.base, paths).await?;
    let texts = read.into_iter().filter_map(|(path, content)| match content {
        // PostgreSQL stores no text with this character.
        Content::Text(text) if !text.contains('\0') => Some((path, text.to_string())),
        Content::Text(_) | Content::Binary(_) | Content::Asset => None,
    });
    Ok(texts.collect())
}

/// The tokens of all text files with their paths. `None` for a large project.
async fn all_files(material: &Material) -> Result<Option<u32>, BaseError> {
    let files = material.files.iter().filter(|file| file.kind() != FileKind::Folder && choose::is_readable(&file.path));
    let files: Vec<&FileEntry> = files.collect();
    if files.iter().map(|file| u64::from(file.size_bytes)).sum::<u64>() > FULL_BYTES {
        return Ok(None);
    }
    let known: HashMap<&str, u32> = files.iter().filter_map(|file| Some((file.path.as_str(), COUNTED.get(rank::blob(file))?))).collect();
    let missing: Vec<&str> = files.iter().map(|file| file.path.as_str()).filter(|path| !known.contains_key(path)).collect();
    let mut read = contents(material, &missing).await?;
    let mut sum = known.values().copied().fold(0, u32::saturating_add);
    for file in files.iter().filter(|file| !known.contains_key(file.path.as_str())) {
        // A binary file is in no prompt.
        let text = read.remove(&file.path);
        let tokens = text.map_or(0, |text| count(&text));
        COUNTED.insert(rank::blob(file).to_owned(), tokens);
        sum = sum.saturating_add(tokens);
        // Counting takes a while in a large file, and other turns share this thread.
        tokio::task::yield_now().await;
    }
    Ok(Some(files.iter().map(|file| count(&file.path)).fold(sum, u32::saturating_add)))
}

/// The tokens of contents, by their ids.
static COUNTED: LazyLock<quick_cache::sync::Cache<String, u32>> = LazyLock::new(|| quick_cache::sync::Cache::new(COUNTED_FILES));

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
