//! The conversation: its pages, changes of its messages, and reactions.

use chassis::{context::Context, page};
use proto::{
    error::Violations,
    id::{MessageId, ProjectId},
    project_storage as pb,
};
use tonic::Request;
use uuid::Uuid;

use super::{decode, encode, text};
use crate::{
    app::App,
    edit,
    error::Error,
    model::{
        message::{Order, Reaction},
        page::Page,
    },
    read::conversation,
};

pub(super) async fn list(app: &App, request: Request<pb::ListMessagesRequest>) -> Result<pb::ListMessagesResponse, Error> {
    let user = decode::user(&Context::of(&request))?;
    let request = request.into_inner();
    let mut violations = Violations::default();
    let id = decode::project_id(&mut violations, &request.project_id);
    let size = page::size(request.page_size, &mut violations);
    let order = match pb::MessageOrder::try_from(request.order) {
        Ok(pb::MessageOrder::OldestFirst) => Order::OldestFirst,
        Ok(pb::MessageOrder::NewestFirst | pb::MessageOrder::Unspecified) => Order::NewestFirst,
        Err(_) => {
            violations.add("order", "must be MESSAGE_ORDER_NEWEST_FIRST or MESSAGE_ORDER_OLDEST_FIRST");
            Order::NewestFirst
        }
    };
    let id = decode::checked(violations, id)?;
    let scope = format!("ListMessages/{}/{id}", user.id);
    // The order of the token counts, not that of the request.
    let (order, after) = match app.page_tokens.open::<(Order, Uuid)>(&scope, &request.page_token)? {
        Some((order, id)) => (order, Some(MessageId(id))),
        None => (order, None),
    };
    let (messages, next) = conversation::list(app.pool(), user.id, id, order, Page { size, after }).await?;
    Ok(pb::ListMessagesResponse {
        messages: messages.into_iter().map(encode::conversation_entry).collect(),
        next_page_token: next.map(|id| app.page_tokens.seal(&scope, &(order, id.0))).unwrap_or_default(),
    })
}

/// The ids of a message and its project.
fn ids(violations: &mut Violations, project: &str, message: &str) -> Option<(ProjectId, MessageId)> {
    let project = decode::project_id(violations, project);
    let message = violations.parse("message_id", message);
    project.zip(message)
}

pub(super) async fn update(app: &App, request: Request<pb::UpdateMessageRequest>) -> Result<pb::UpdateMessageResponse, Error> {
    let user = decode::user(&Context::of(&request))?;
    let pb::UpdateMessageRequest { project_id, message_id, text } = request.into_inner();
    let mut violations = Violations::default();
    let ids = ids(&mut violations, &project_id, &message_id);
    text::TEXT.check(&mut violations, &text);
    if !text.is_empty() && proto::text::is_blank(&text) {
        violations.add("text", "must contain more than white space");
    }
    let (project, id) = decode::checked(violations, ids)?;
    let entry = edit::update(app.pool(), user.id, project, id, &text).await?;
    Ok(pb::UpdateMessageResponse { message: Some(encode::conversation_entry(entry)) })
}

pub(super) async fn delete(app: &App, request: Request<pb::DeleteMessageRequest>) -> Result<pb::DeleteMessageResponse, Error> {
    let user = decode::user(&Context::of(&request))?;
    let pb::DeleteMessageRequest { project_id, message_id } = request.into_inner();
    let mut violations = Violations::default();
    let ids = ids(&mut violations, &project_id, &message_id);
    let (project, id) = decode::checked(violations, ids)?;
    edit::delete(app.pool(), user.id, project, id).await?;
    Ok(pb::DeleteMessageResponse {})
}

pub(super) async fn set_reaction(app: &App, request: Request<pb::SetReactionRequest>) -> Result<pb::SetReactionResponse, Error> {
    let user = decode::user(&Context::of(&request))?;
    let wire = request.into_inner();
    let mut violations = Violations::default();
    let ids = ids(&mut violations, &wire.project_id, &wire.message_id);
    text::REASON.check(&mut violations, wire.reason.trim());
    let is_helpful = match pb::ReactionKind::try_from(wire.kind) {
        Ok(pb::ReactionKind::Helpful) => true,
        Ok(pb::ReactionKind::NotHelpful) => false,
        Ok(pb::ReactionKind::Unspecified) | Err(_) => {
            violations.add("kind", "must be REACTION_KIND_HELPFUL or REACTION_KIND_NOT_HELPFUL");
            false
        }
    };
    let (project, id) = decode::checked(violations, ids)?;
    let reaction = Reaction { is_helpful, reason: wire.reason.trim().to_owned() };
    let entry = edit::react(app.pool(), user.id, project, id, Some(reaction)).await?;
    Ok(pb::SetReactionResponse { message: Some(encode::conversation_entry(entry)) })
}

pub(super) async fn delete_reaction(app: &App, request: Request<pb::DeleteReactionRequest>) -> Result<pb::DeleteReactionResponse, Error> {
    let user = decode::user(&Context::of(&request))?;
    let pb::DeleteReactionRequest { project_id, message_id } = request.into_inner();
    let mut violations = Violations::default();
    let ids = ids(&mut violations, &project_id, &message_id);
    let (project, id) = decode::checked(violations, ids)?;
    let entry = edit::react(app.pool(), user.id, project, id, None).await?;
    Ok(pb::DeleteReactionResponse { message: Some(encode::conversation_entry(entry)) })
}
