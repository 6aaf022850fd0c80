//! The observations of a round: the calls of the model, the frames that viewers received, and the answers that clients received.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use test_support::{canary::Stopwatch, sse::Frame};

use super::prompt::Prompt;
use crate::deployment::timeline::Millis;

/// The suffix of the kinds of answers that are not counted as failures.
const STARVED: &str = " on a starved machine";

/// A call of the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The turn's number, as in its prompt.
    pub number: u64,
    pub step: u32,
    pub at: Millis,
    /// A hash of all messages that were sent to the model.
    pub input_hash: u64,
}

/// One connection of a viewer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// The cursor of the request.
    pub after: u32,
    pub opened: Millis,
    pub frames: Vec<Frame>,
    /// When each frame arrived.
    pub arrived: Vec<Millis>,
    pub end: End,
}

impl View {
    /// The number of the last event that it received.
    #[must_use]
    pub fn last(&self) -> u32 {
        self.frames.last().map_or(self.after, |frame| frame.id)
    }
}

/// How a viewer's connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// A clean end, which is only allowed after the turn has ended.
    Clean,
    /// The connection broke.
    Broken,
    /// The viewer disconnected.
    Disconnected,
    /// The viewer received invalid bytes.
    Invalid(String),
}

/// The answer to a cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancel {
    Done(Millis),
    TooLate,
    /// There was no conclusive answer.
    Unknown,
}

/// A turn as its client sees it.
#[derive(Debug, Clone)]
pub struct WatchedTurn {
    pub prompt: Prompt,
    pub person: usize,
    /// When its start was first requested, and when it was answered.
    pub started: (Millis, Millis),
    pub turn: String,
    /// The turn whose prompt it replaces.
    pub replaces: Option<String>,
    pub views: Vec<View>,
    pub cancel: Option<Cancel>,
    /// Its viewer received the terminal event.
    pub finished: bool,
}

/// A revision that a user saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedRevision {
    pub project: String,
    /// Its id.
    pub id: String,
    pub number: u32,
    /// The conflicted turn that it resolves. The revision includes the merged files of the turn.
    pub resolves: Option<String>,
    /// Path and content.
    pub file: (String, String),
}

/// A page of a compiled project, as it was read last. The project does not change after that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompiledPage {
    pub project: String,
    /// The URL of its preview.
    pub url: reqwest::Url,
    pub html: String,
}

/// An account that its person has deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletedAccount {
    pub user: String,
    /// The turns that it started.
    pub turns: Vec<String>,
}

/// The use of a credential of which it is known whether it is valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialUse {
    /// The credential and its account.
    pub what: String,
    pub is_valid: bool,
    /// The reason if it was refused.
    pub refusal: Option<String>,
}

/// A credential whose end was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedCredential {
    pub what: String,
    pub ended: Millis,
    /// When all gateways refused it.
    pub refused: Millis,
}

/// A program with refresh tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    pub session: String,
    pub has_ended: bool,
}

/// What a person knows of an account at the end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownAccount {
    pub user: String,
    /// The address that signs in.
    pub email: String,
    /// A link has proved the address.
    pub is_verified: bool,
    /// A sign-in needs an authenticator app.
    pub has_app: bool,
    /// A sign-in needs a passkey.
    pub has_passkey: bool,
}

/// What was observed of credentials.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    pub uses: Vec<CredentialUse>,
    pub ended: Vec<EndedCredential>,
    pub programs: Vec<Program>,
    pub accounts: Vec<KnownAccount>,
}

/// The elements of lists by the paths of their files, the oldest first.
pub type Lists = BTreeMap<String, Vec<u64>>;

/// A read of the lists of a project, or a save that appends to some of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListOperation {
    /// A number that grows with every operation that begins or ends.
    pub began: u64,
    /// `None` for an operation without a final answer, which may take effect at any time.
    pub ended: Option<u64>,
    /// The lists before it: all for a read, and for a save those that it changes.
    pub seen: Lists,
    /// What a save appends. It is empty for a read.
    pub appended: Lists,
    pub outcome: ListOutcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListOutcome {
    /// The number of the revision that it made or read.
    Done(u32),
    /// It has no effect.
    Refused,
    /// It may have an effect.
    Unknown,
}

impl ListOutcome {
    #[must_use]
    pub fn number(self) -> Option<u32> {
        match self {
            Self::Done(number) => Some(number),
            Self::Refused | Self::Unknown => None,
        }
    }
}

/// All operations on the lists of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListHistory {
    pub project: String,
    pub operations: Vec<ListOperation>,
    /// The number of the newest revision and its lists, which were read after the operations.
    pub last: (u32, Lists),
}

/// The records of a round.
pub struct Records {
    pub calls: Vec<Call>,
    pub watched: Vec<WatchedTurn>,
    pub saved: Vec<SavedRevision>,
    pub lists: Vec<ListHistory>,
    pub compiled: Vec<CompiledPage>,
    pub violations: Vec<String>,
}

/// Collects the observations of a round.
#[derive(Default)]
pub struct Record {
    calls: Mutex<Vec<Call>>,
    watched: Mutex<Vec<WatchedTurn>>,
    saved: Mutex<Vec<SavedRevision>>,
    lists: Mutex<Vec<ListHistory>>,
    compiled: Mutex<Vec<CompiledPage>>,
    credentials: Mutex<Credentials>,
    /// Of all rounds.
    deleted: Mutex<Vec<DeletedAccount>>,
    /// Answers that a well-behaved client must never get.
    violations: Mutex<Vec<String>>,
    /// The number of answers by kind.
    answers: Mutex<BTreeMap<String, u64>>,
    requests: AtomicU64,
    succeeded: AtomicU64,
    pub reconnects: AtomicU64,
    next_number: AtomicU64,
}

impl Record {
    /// Returns a number that is higher than all earlier ones.
    pub fn number(&self) -> u64 {
        self.next_number.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub fn called(&self, call: Call) {
        lock(&self.calls).push(call);
    }

    pub fn watched(&self, watched: WatchedTurn) {
        lock(&self.watched).push(watched);
    }

    pub fn saved(&self, saved: SavedRevision) {
        lock(&self.saved).push(saved);
    }

    pub fn compiled(&self, page: CompiledPage) {
        lock(&self.compiled).push(page);
    }

    /// Adds an observation of a credential.
    pub fn credentials(&self, add: impl FnOnce(&mut Credentials)) {
        add(&mut lock(&self.credentials));
    }

    /// Takes the observations of credentials since the last call.
    #[must_use]
    pub fn take_credentials(&self) -> Credentials {
        std::mem::take(&mut *lock(&self.credentials))
    }

    pub fn deleted(&self, account: DeletedAccount) {
        lock(&self.deleted).push(account);
    }

    /// The accounts that were deleted in all rounds so far.
    #[must_use]
    pub fn deleted_accounts(&self) -> Vec<DeletedAccount> {
        lock(&self.deleted).clone()
    }

    pub fn lists(&self, history: ListHistory) {
        lock(&self.lists).push(history);
    }

    /// Records something that must not happen under any fault.
    pub fn violation(&self, text: impl Into<String>) {
        lock(&self.violations).push(text.into());
    }

    /// Counts a request with a final answer.
    pub fn succeeded(&self, kind: String) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.succeeded.fetch_add(1, Ordering::Relaxed);
        self.answered(kind);
    }

    /// Counts a request that has to be repeated, unless the machine was starved during it.
    pub fn failed(&self, kind: String, sent: Stopwatch) {
        if sent.is_starved() {
            return self.answered(kind + STARVED);
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.answered(kind);
    }

    fn answered(&self, kind: String) {
        *lock(&self.answers).entry(kind).or_default() += 1;
    }

    /// The number of requests and the number of successful ones.
    #[must_use]
    pub fn requests(&self) -> (u64, u64) {
        (self.requests.load(Ordering::Relaxed), self.succeeded.load(Ordering::Relaxed))
    }

    /// The number of transient refusals, without those on a starved machine.
    #[must_use]
    pub fn server_errors(&self) -> u64 {
        let is_counted = |kind: &str| kind.contains(": 5") && !kind.ends_with(STARVED);
        lock(&self.answers).iter().filter(|(kind, _)| is_counted(kind)).map(|(_, times)| times).sum()
    }

    #[must_use]
    pub fn answers(&self) -> BTreeMap<String, u64> {
        lock(&self.answers).clone()
    }

    /// Takes the observations since the last call.
    #[must_use]
    pub fn take(&self) -> Records {
        Records {
            calls: take(&self.calls),
            watched: take(&self.watched),
            saved: take(&self.saved),
            lists: take(&self.lists),
            compiled: take(&self.compiled),
            violations: take(&self.violations),
        }
    }

    /// The number of calls of the model for a turn so far.
    #[must_use]
    pub fn calls_of(&self, number: u64) -> usize {
        lock(&self.calls).iter().filter(|call| call.number == number).count()
    }
}

fn take<T>(records: &Mutex<Vec<T>>) -> Vec<T> {
    std::mem::take(&mut *lock(records))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
