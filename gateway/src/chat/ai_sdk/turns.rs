//! The turns of a chat that a request refers to.

use proto::{
    agent_streaming::{GetTurnRequest, ListTurnsRequest, Turn},
    id::{MessageId, TurnId},
    project_storage::{ListMessagesRequest, Message, MessageRole},
};

use super::request::{Intent, Prompt};
use crate::{
    chat::conversation::ChatId,
    error::Failure,
    identity::authenticate::Authenticated,
    upstream::{Upstream, present},
};

/// Messages are searched from the newest, in pages of this size.
const PAGE_SIZE: i32 = 200;
const MAX_PAGES: usize = 10;

/// What to do with a message.
#[derive(Debug)]
pub(crate) enum Plan {
    /// The same message was sent before. The answer follows its turn.
    Attach(Box<Turn>),
    /// A new turn, which replaces the named one if the name is not empty.
    Start { replaces: String },
}

/// The turns of one chat that a person may see.
pub(crate) struct ChatTurns<'a> {
    pub(crate) upstream: &'a Upstream,
    pub(crate) caller: &'a Authenticated,
    pub(crate) chat: &'a ChatId,
}

impl ChatTurns<'_> {
    pub(crate) async fn plan(&self, prompt: &Prompt) -> Result<Plan, Failure> {
        let replaces = match &prompt.intent {
            // The idempotency key recognizes a repetition.
            Intent::Send => None,
            Intent::SendOrEdit => match self.turn_of(&prompt.message).await? {
                Some(id) => {
                    if self.prompt_of(&id).await?.as_ref() == Some(&prompt.text)
                        && let Some(turn) = self.turn(&id).await?
                    {
                        return Ok(Plan::Attach(Box::new(turn)));
                    }
                    Some(id)
                }
                None => None,
            },
            Intent::Regenerate { answer } => self.turn_to_replace(answer, &prompt.message).await?,
        };
        Ok(Plan::Start { replaces: replaces.unwrap_or_default() })
    }

    /// The turn to replace by another answer. The stream names an answer by the id of its turn. A front end that has loaded the conversation
    /// uses the ids of stored messages. If the ids are unknown, it is the latest turn, provided that an answer was named: a message that
    /// never started a turn replaces no other turn.
    async fn turn_to_replace(&self, answer: &str, message: &str) -> Result<Option<String>, Failure> {
        if let Some(turn) = self.turn(answer).await? {
            return Ok(Some(turn.id));
        }
        // Both may be ids of stored messages.
        for id in [message, answer] {
            if let Some(turn) = self.turn_of(id).await? {
                return Ok(Some(turn));
            }
        }
        let latest = if answer.is_empty() { None } else { self.latest(false).await? };
        Ok(latest.map(|latest| latest.id))
    }

    /// The turn of the message with this id. It is the id of the client, or that of the stored message if the front end has loaded the
    /// conversation.
    async fn turn_of(&self, id: &str) -> Result<Option<String>, Failure> {
        if id.is_empty() {
            return Ok(None);
        }
        if let Some(turn) = self.of_message(id).await? {
            return Ok(Some(turn.id));
        }
        if id.parse::<MessageId>().is_err() {
            return Ok(None);
        }
        let stored = self.find(|stored| stored.id == id && !stored.turn_id.is_empty()).await?;
        Ok(stored.map(|stored| stored.turn_id))
    }

    /// The prompt of a turn, if the conversation still shows it.
    async fn prompt_of(&self, turn: &str) -> Result<Option<String>, Failure> {
        let is_prompt = |message: &Message| message.turn_id == turn && message.role() == MessageRole::User;
        Ok(self.find(is_prompt).await?.map(|message| message.text))
    }

    /// The project of the chat, if it exists already.
    async fn project(&self) -> Result<Option<String>, Failure> {
        Ok(match self.chat {
            ChatId::Project(id) => Some(id.clone()),
            ChatId::Draft(_) => self.latest(false).await?.map(|latest| latest.project_id),
        })
    }

    /// The turn with this id, if it is one of the chat.
    pub(crate) async fn turn(&self, id: &str) -> Result<Option<Turn>, Failure> {
        if id.parse::<TurnId>().is_err() {
            return Ok(None);
        }
        let request = self.caller.context.request(GetTurnRequest { turn_id: id.to_owned() });
        let turn = match self.upstream.agents().get_turn(request).await.map_err(Failure::from) {
            Ok(answer) => present(answer.into_inner().turn)?,
            Err(failure) if failure.0.reason == "TURN_NOT_FOUND" => return Ok(None),
            Err(failure) => return Err(failure),
        };
        let project = self.project().await?;
        Ok(Some(turn).filter(|turn| project.as_ref() == Some(&turn.project_id)))
    }

    /// The newest turn, or the newest one that has not ended.
    pub(crate) async fn latest(&self, open_only: bool) -> Result<Option<Turn>, Failure> {
        let turns = self.list(ListTurnsRequest { open_only, page_size: 1, ..ListTurnsRequest::default() }).await?;
        Ok(turns.into_iter().next())
    }

    /// The turns that have not ended.
    pub(crate) async fn open(&self) -> Result<Vec<Turn>, Failure> {
        self.list(ListTurnsRequest { open_only: true, ..ListTurnsRequest::default() }).await
    }

    /// The newest turn that a message of the client started.
    async fn of_message(&self, client_message_id: &str) -> Result<Option<Turn>, Failure> {
        let client_message_id = client_message_id.to_owned();
        let turns = self.list(ListTurnsRequest { client_message_id, page_size: 1, ..ListTurnsRequest::default() }).await?;
        Ok(turns.into_iter().next())
    }

    async fn list(&self, request: ListTurnsRequest) -> Result<Vec<Turn>, Failure> {
        let (project_id, draft_id) = self.chat.fields();
        let request = self.caller.context.request(ListTurnsRequest { project_id, draft_id, ..request });
        Ok(self.upstream.agents().list_turns(request).await?.into_inner().turns)
    }

    async fn find(&self, matches: impl Fn(&Message) -> bool) -> Result<Option<Message>, Failure> {
        let Some(project) = self.project().await? else { return Ok(None) };
        let mut page_token = String::new();
        for _ in 0..MAX_PAGES {
            let request = ListMessagesRequest { project_id: project.clone(), page_size: PAGE_SIZE, page_token, order: 0 };
            let request = self.caller.context.request(request);
            let page = self.upstream.projects().list_messages(request).await?.into_inner();
            if let Some(found) = page.messages.into_iter().find(|message| matches(message)) {
                return Ok(Some(found));
            }
            if page.next_page_token.is_empty() {
                break;
            }
            page_token = page.next_page_token;
        }
        Ok(None)
    }
}
