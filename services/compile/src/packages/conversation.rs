//! The conversation with a process that fetches: a job, its requests, and the result. One process does one job, which can be about many
//! versions. It alone talks to the registry and reads what the registry sends; this side has the database and the limits of each person.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use compiler_client::{
    session::{Input, Output},
    worker,
};
use fetcher::{
    MEMORY, PROCESSOR_TIME,
    message::{self, Artifact, Content, Done, Event, File, Job, MAX_EVENT, MAX_PART, Reply, Task, Verdict, Version, Versions},
    refusal,
};
use futures::{StreamExt as _, stream::FuturesUnordered};
use npm::{Excerpt, RegistryError};
use prost::Message as _;
use tokio::{
    sync::mpsc::{Receiver, Sender, channel},
    time::timeout,
};

use super::{
    exchange::Exchange,
    fetcher::{Answer, Fetcher, ObtainError},
    refusal::Stop,
};
use crate::{error::Error, store::StoreError};

/// Requests of one process at the same time.
const MAX_OPEN: usize = 64;
/// Parts of one request that wait until they are counted.
const PARTS: usize = 4;
/// The most bytes of an event besides the last one: a part, and texts. Those that wait are not counted as memory of the person.
const MAX_UNCOUNTED: usize = MAX_PART + (64 << 10);
/// About the bytes that a file takes in memory besides its texts.
const FILE_BYTES: usize = 128;

/// What a job has found.
#[derive(Debug, Default)]
pub(super) struct JobResult {
    pub(super) done: Done,
    /// Contents by package and name.
    pub(super) files: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
}

/// A version that a process has read, with its tarball if it is needed and a hash of it was published.
#[derive(Debug)]
pub(super) struct FoundVersion {
    pub(super) excerpt: Excerpt,
    pub(super) tarball: Option<Bytes>,
}

/// The versions of a job, and who gets them as they are found.
pub(super) struct WantedVersions {
    versions: Vec<Version>,
    found: Sender<FoundVersion>,
    /// Tarballs of versions that were not found yet.
    tarballs: Mutex<HashMap<(String, String), Bytes>>,
}

impl WantedVersions {
    pub(super) fn new(versions: Vec<Version>, found: Sender<FoundVersion>) -> Self {
        Self { versions, found, tarballs: Mutex::default() }
    }

    /// Keeps a tarball until its version is found.
    fn keep(&self, of: &Artifact, tarball: &Bytes) {
        if self.versions.iter().any(|wanted| wanted.needs_tarball && wanted.name == of.name && wanted.version == of.version) {
            let mut tarballs = self.tarballs.lock().unwrap_or_else(PoisonError::into_inner);
            tarballs.insert((of.name.clone(), of.version.clone()), tarball.clone());
        }
    }

    /// Passes a version on. `None` if the process has found what it was not asked for.
    fn version(&self, number: u64, found: message::Excerpt) -> Option<FoundVersion> {
        let Version { name, version, .. } = self.versions.get(usize::try_from(number).ok()?)?.clone();
        let tarball = self.tarballs.lock().unwrap_or_else(PoisonError::into_inner).remove(&(name.clone(), version.clone()));
        let excerpt = Excerpt { name, version, tags: found.tags, document: found.document.to_vec() };
        Some(FoundVersion { excerpt, tarball })
    }
}

/// Starts a process, and does the job with it. The process ends when this returns or is dropped.
///
/// # Errors
/// The job is refused, the database fails, too many processes run, or the process does not start, does not answer in time, or ends early.
pub(super) async fn perform(fetcher: &Fetcher, task: Task, limit: Duration) -> Result<JobResult, Stop> {
    converse(Conversation { fetcher, wanted: None }, task, limit).await
}

/// As [`perform`], for versions, which are passed on as they are found.
///
/// # Errors
/// As [`perform`], or nobody takes what is found.
pub(super) async fn find(fetcher: &Fetcher, wanted: WantedVersions, limit: Duration) -> Result<(), Stop> {
    let task = Task::Versions(Versions { versions: wanted.versions.clone() });
    converse(Conversation { fetcher, wanted: Some(wanted) }, task, limit).await.map(drop)
}

async fn converse(conversation: Conversation<'_>, task: Task, limit: Duration) -> Result<JobResult, Stop> {
    let fetcher = conversation.fetcher;
    let _place = fetcher.process().await?;
    let workers = &fetcher.shared.fetchers;
    let (session, input, output) = workers.fetch().map_err(|error| match error {
        worker::Error::Start(cause) => Error::CompilerMissing { path: workers.executable.clone(), cause },
        error => Error::Compiler(error),
    })?;
    let job = Job { registry: fetcher.shared.registry.address().to_owned(), task: Some(task) };
    match timeout(limit, conversation.run(&job, input, output)).await {
        Ok(Ok(found)) => {
            session.stop().await;
            found
        }
        Ok(Err(error)) => {
            let ended = session.end().await;
            tracing::warn!("a process that fetches packages did not answer: {ended} ({error})");
            Err(explained(ended).into())
        }
        Err(_) => Err(Error::Timeout(limit).into()),
    }
}

/// A process that ended early, as an error of the packages.
fn explained(ended: worker::Error) -> npm::Error {
    let subject = "the packages of the project".to_owned();
    match ended {
        worker::Error::OutOfMemory { .. } => npm::Error::TooLarge { subject, limit: MEMORY, unit: "bytes of memory" },
        worker::Error::Timeout { .. } => {
            npm::Error::TooLarge { subject, limit: PROCESSOR_TIME.as_secs(), unit: "seconds of processor time" }
        }
        worker::Error::Crash { status, .. } => registry_error(format!("the process that fetches ended with {status}")),
        error => registry_error(error.to_string()),
    }
}

fn registry_error(problem: String) -> npm::Error {
    npm::Error::Registry { package: "package.json".to_owned(), problem }
}

struct Conversation<'f> {
    fetcher: &'f Fetcher,
    /// Of a job for versions.
    wanted: Option<WantedVersions>,
}

impl Conversation<'_> {
    /// The outer error is that of the streams.
    async fn run(&self, job: &Job, mut input: Input, mut output: Output) -> io::Result<Result<JobResult, Stop>> {
        input.write(job).await?;
        let (asks, asked) = channel(MAX_OPEN);
        let (replies, outgoing) = channel(MAX_OPEN);
        tokio::select! {
            found = self.read(&mut output, &asks, &replies) => found,
            error = write(&mut input, outgoing) => Err(error),
            Err(error) = self.answer_all(asked) => Ok(Err(error.into())),
        }
    }

    async fn read(&self, output: &mut Output, asks: &Sender<Exchange>, replies: &Sender<Reply>) -> io::Result<Result<JobResult, Stop>> {
        let (mut open, mut files) = (HashMap::<u64, Sender<Content>>::new(), Files::default());
        loop {
            let event: Event = output.read(MAX_EVENT).await?;
            if event.encoded_len() > MAX_UNCOUNTED && !matches!(event.content, Some(Content::Done(_) | Content::Excerpt(_))) {
                return Err(unexpected());
            }
            let Event { id, content } = event;
            match content.ok_or_else(unexpected)? {
                Content::Request(wanted) => {
                    open.retain(|_, parts| !parts.is_closed());
                    if open.len() >= MAX_OPEN {
                        return Err(unexpected());
                    }
                    let (sender, parts) = channel(PARTS);
                    open.insert(id, sender);
                    let exchange = Exchange { id, wanted, parts, replies: replies.clone() };
                    asks.send(exchange).await.map_err(|_| unexpected())?;
                }
                Content::File(file) => {
                    files.add(file, self.fetcher.shared.limits.total_bytes)?;
                    if let Err(error) = self.fetcher.cover(files.bytes) {
                        return Ok(Err(error.into()));
                    }
                }
                Content::Excerpt(excerpt) => {
                    let wanted = self.wanted.as_ref().ok_or_else(unexpected)?;
                    let found = wanted.version(id, excerpt).ok_or_else(unexpected)?;
                    if wanted.found.send(found).await.is_err() {
                        return Ok(Err(Error::UnexpectedMessage("the caller is gone").into()));
                    }
                }
                Content::Done(done) => return Ok(found(done, files).map_err(Stop::from)),
                content => {
                    if let Some(parts) = open.get(&id) {
                        // A request that was refused reads no further.
                        let _ = parts.send(content).await;
                    }
                }
            }
        }
    }

    /// Answers requests until the database fails.
    async fn answer_all(&self, mut asked: Receiver<Exchange>) -> Result<(), StoreError> {
        let mut open = FuturesUnordered::new();
        loop {
            tokio::select! {
                Some(exchange) = asked.recv() => open.push(self.answer(exchange)),
                Some(answered) = open.next() => answered?,
                else => return Ok(()),
            }
        }
    }

    /// A request that the database fails for has no reply.
    async fn answer(&self, mut exchange: Exchange) -> Result<(), StoreError> {
        let obtained = match self.fetcher.obtain(&mut exchange).await {
            Ok(obtained) => Ok(obtained),
            Err(ObtainError::Registry(error)) => Err(error),
            Err(ObtainError::Store(error)) => return Err(error),
        };
        if let (Some(wanted), Ok(Answer::Kept(bytes) | Answer::Fetched(bytes))) = (&self.wanted, &obtained) {
            wanted.keep(&exchange.wanted, bytes);
        }
        // Nobody waits for the reply if the process has ended.
        let _ = exchange.replies.send(reply(exchange.id, obtained)).await;
        Ok(())
    }
}

fn found(mut done: Done, files: Files) -> Result<JobResult, npm::Error> {
    match done.refusal.take() {
        Some(error) => Err(refusal::decode(error)),
        None => Ok(JobResult { done, files: files.packages }),
    }
}

fn reply(id: u64, obtained: Result<Answer, RegistryError>) -> Reply {
    let (verdict, content, problem) = match obtained {
        Ok(Answer::Kept(bytes)) => (Verdict::Given, bytes, String::new()),
        Ok(Answer::Fetched(_)) => (Verdict::Accepted, Bytes::new(), String::new()),
        Err(RegistryError::NotFound) => (Verdict::NotFound, Bytes::new(), String::new()),
        Err(RegistryError::Failed(problem)) => (Verdict::Failed, Bytes::new(), problem),
    };
    Reply { id, verdict: verdict.into(), content, problem, addresses: Vec::new() }
}

/// Writes replies until the process takes no more.
async fn write(input: &mut Input, mut replies: Receiver<Reply>) -> io::Error {
    while let Some(reply) = replies.recv().await {
        if let Err(error) = input.write(&reply).await {
            return error;
        }
    }
    unexpected()
}

/// Files that the process has unpacked.
#[derive(Default)]
struct Files {
    packages: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    bytes: u64,
}

impl Files {
    /// `limit` is for the contents. The names and the entries may have as many bytes.
    fn add(&mut self, file: File, limit: u64) -> io::Result<()> {
        self.bytes += (file.package.len() + file.name.len() + file.content.len() + FILE_BYTES) as u64;
        if self.bytes > limit.saturating_mul(2) {
            return Err(unexpected());
        }
        self.packages.entry(file.package).or_default().entry(file.name).or_default().extend_from_slice(&file.content);
        Ok(())
    }
}

/// The process says what it never should.
fn unexpected() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "an unexpected message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_without_content_count() {
        let (mut files, limit) = (Files::default(), FILE_BYTES as u64 / 2);
        assert!(files.add(File::default(), limit).is_ok());
        assert!(files.add(File::default(), limit).is_err());
    }
}
