//! Which turns of a chat a request is about.

use proto::{
    agent_streaming::{GetTurnRequest, ListTurnsRequest, Turn},
    id::{MessageId, TurnId},
    project_storage::{ListMessagesRequest, Message, MessageRole},
};

use super::{
    Chat,
    request::{Asked, Intent},
};
use crate::{app::App, auth::Signed, error::Failure, json::present};

/// Messages are looked through from the newest, so many at a time and so many times.
const MESSAGES: i32 = 200;
const PAGES: usize = 10;

/// What is to be done with a message.
#[derive(Debug)]
pub(crate) enum Plan {
    /// The very same was sent before: its turn is the answer.
    Attach(Box<Turn>),
    /// A new turn, in place of the named one if the name is not empty.
    Start { replaces: String },
}

/// The turns of one chat, as one person sees them.
pub(crate) struct Turns<'a> {
    pub(crate) app: &'a App,
    pub(crate) signed: &'a Signed,
    pub(crate) chat: &'a Chat,
}

impl Turns<'_> {
    pub(crate) async fn plan(&self, asked: &Asked) -> Result<Plan, Failure> {
        let replaces = match &asked.intent {
            // The idempotency key finds a repeat.
            Intent::Say => None,
            Intent::SayOrEdit => match self.turn_of(&asked.message).await? {
                Some(id) => {
                    if self.prompt_of(&id).await?.as_ref() == Some(&asked.text)
                        && let Some(turn) = self.turn(&id).await?
                    {
                        return Ok(Plan::Attach(Box::new(turn)));
                    }
                    Some(id)
                }
                None => None,
            },
            Intent::Regenerate { answer } => self.answered(answer, &asked.message).await?,
        };
        Ok(Plan::Start { replaces: replaces.unwrap_or_default() })
    }

    /// The turn whose answer is wanted anew. We name an answer by its turn, and a front end that loaded the conversation names a
    /// message as we store it. Where nothing of that is known the latest turn is meant, if an answer was named at all; a
    /// message that never became a turn takes no other one's place.
    async fn answered(&self, answer: &str, message: &str) -> Result<Option<String>, Failure> {
        if let Some(turn) = self.turn(answer).await? {
            return Ok(Some(turn.id));
        }
        // An answer may be named as we store it, too.
        for id in [message, answer] {
            if let Some(turn) = self.turn_of(id).await? {
                return Ok(Some(turn));
            }
        }
        let latest = if answer.is_empty() { None } else { self.latest(false).await? };
        Ok(latest.map(|latest| latest.id))
    }

    /// The turn of the message with this id, which is the client's own or, where a front end loaded the conversation, ours.
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

    /// What the person said, if the conversation still shows it.
    async fn prompt_of(&self, turn: &str) -> Result<Option<String>, Failure> {
        let said = |message: &Message| message.turn_id == turn && message.role() == MessageRole::User;
        Ok(self.find(said).await?.map(|message| message.text))
    }

    /// The chat's project, once it has one.
    async fn project(&self) -> Result<Option<String>, Failure> {
        Ok(match self.chat {
            Chat::Project(id) => Some(id.clone()),
            Chat::Draft(_) => self.latest(false).await?.map(|latest| latest.project_id),
        })
    }

    /// The turn with this id, if it is one of the chat.
    pub(crate) async fn turn(&self, id: &str) -> Result<Option<Turn>, Failure> {
        if id.parse::<TurnId>().is_err() {
            return Ok(None);
        }
        let request = self.signed.context.request(GetTurnRequest { turn_id: id.to_owned() });
        let turn = match self.app.upstream.agents().get_turn(request).await.map_err(Failure::from) {
            Ok(answer) => present(answer.into_inner().turn)?,
            Err(failure) if failure.0.reason == "TURN_NOT_FOUND" => return Ok(None),
            Err(failure) => return Err(failure),
        };
        let project = self.project().await?;
        Ok(Some(turn).filter(|turn| project.as_ref() == Some(&turn.project_id)))
    }

    /// The newest turn, of all or of those that have not ended.
    pub(crate) async fn latest(&self, open_only: bool) -> Result<Option<Turn>, Failure> {
        let turns = self.list(ListTurnsRequest { open_only, page_size: 1, ..ListTurnsRequest::default() }).await?;
        Ok(turns.into_iter().next())
    }

    /// Those that have not ended.
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
        let request = self.signed.context.request(ListTurnsRequest { project_id, draft_id, ..request });
        Ok(self.app.upstream.agents().list_turns(request).await?.into_inner().turns)
    }

    async fn find(&self, wanted: impl Fn(&Message) -> bool) -> Result<Option<Message>, Failure> {
        let Some(project) = self.project().await? else { return Ok(None) };
        let mut page_token = String::new();
        for _ in 0..PAGES {
            let request = ListMessagesRequest { project_id: project.clone(), page_size: MESSAGES, page_token, order: 0 };
            let request = self.signed.context.request(request);
            let page = self.app.upstream.projects().list_messages(request).await?.into_inner();
            if let Some(found) = page.messages.into_iter().find(|message| wanted(message)) {
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
