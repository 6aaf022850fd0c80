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
            Intent::SayOrEdit => match self.of_message(&asked.message).await? {
                Some(turn) if self.prompt_of(&turn).await?.as_ref() == Some(&asked.text) => return Ok(Plan::Attach(Box::new(turn))),
                turn => turn.map(|turn| turn.id),
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
        if !message.is_empty()
            && let Some(turn) = self.of_message(message).await?
        {
            return Ok(Some(turn.id));
        }
        let Some(latest) = self.latest(false).await? else { return Ok(None) };
        if message.parse::<MessageId>().is_ok()
            && let Some(stored) = self.find(&latest.project_id, |stored| stored.id == message).await?
        {
            return Ok(Some(stored.turn_id).filter(|turn| !turn.is_empty()));
        }
        Ok((!answer.is_empty()).then_some(latest.id))
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
        let project = match self.chat {
            Chat::Project(id) => Some(id.clone()),
            Chat::Draft(_) => self.latest(false).await?.map(|latest| latest.project_id),
        };
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

    /// What the person said, if the conversation still shows it.
    async fn prompt_of(&self, turn: &Turn) -> Result<Option<String>, Failure> {
        let said = |message: &Message| message.turn_id == turn.id && message.role() == MessageRole::User;
        Ok(self.find(&turn.project_id, said).await?.map(|message| message.text))
    }

    async fn find(&self, project: &str, wanted: impl Fn(&Message) -> bool) -> Result<Option<Message>, Failure> {
        let mut page_token = String::new();
        for _ in 0..PAGES {
            let request = ListMessagesRequest { project_id: project.to_owned(), page_size: MESSAGES, page_token, order: 0 };
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
