//! One worker process for one request.

use std::{
    os::unix::process::ExitStatusExt as _,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use prost::Message;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
    time,
};

use crate::{
    frame,
    message::{
        Answer, EditAnswer, EditRequest, OutlineAnswer, OutlineRequest, PackagesAnswer, PackagesRequest, Request, SiteAnswer, SiteRequest,
    },
    resident::{self, MAX_RESIDENT},
};

/// The bytes of a worker's error output that are read.
pub(crate) const MAX_DIAGNOSTICS: u64 = 64 << 10;
/// What a worker writes to its error output before each file.
pub const PROGRESS: &str = "file: ";
/// The processor time of a worker. It ends with a signal then.
pub const PROCESSOR_TIME: Duration = Duration::from_secs(20);
/// The status of a worker of which one file has used too much processor time.
pub const FILE_TIME_EXCEEDED: i32 = 124;

/// The argument of a worker that compiles a tree.
pub const TREE: &str = "tree";

/// The argument of a worker that bundles packages.
pub const PACKAGES: &str = "packages";

/// The argument of a worker that outlines files.
pub const OUTLINE: &str = "outline";

/// The argument of a worker that compiles changed modules.
pub const EDIT: &str = "edit";

/// The argument of a worker that builds a site.
pub const SITE: &str = "site";

/// The argument of a process that fetches packages. See [`crate::session`].
pub const FETCH: &str = "fetch";

/// Workers with more addresses than they may have resident memory.
const BUNDLERS: [&str; 2] = [PACKAGES, SITE];

/// Variables with the certificates that a process which fetches packages trusts.
const CERTIFICATES: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// Settings of glibc for a process that ends soon: one arena, which grows in large steps and gives nothing back.
const ALLOCATOR: (&str, &str) = (
    "GLIBC_TUNABLES",
    "glibc.malloc.arena_max=1:glibc.malloc.top_pad=4194304:glibc.malloc.trim_threshold=268435456:glibc.malloc.mmap_threshold=33554432",
);

/// How workers are started.
#[derive(Clone, Debug)]
pub struct Workers {
    /// The path of the executable `backlot-compiler`.
    pub executable: PathBuf,
    /// From start to answer. The worker is killed then.
    pub deadline: Duration,
    /// The processor time of one file, in whole milliseconds, and at least one. A worker that bundles has only [`PROCESSOR_TIME`], and one that
    /// fetches packages a limit of its own.
    pub file_time: Duration,
}

/// Why there is no answer. `file` is the last file that the worker began, if it is known.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The executable is missing, or the machine has no processes left.
    #[error("the compiler did not start: {0}")]
    Start(#[source] std::io::Error),
    #[error("the request has {size} bytes, more than {limit}")]
    RequestTooLarge { size: usize, limit: usize },
    #[error("the answer is larger than {} bytes", frame::MAX_ANSWER)]
    AnswerTooLarge,
    /// The deadline, [`Workers::file_time`], or [`PROCESSOR_TIME`].
    #[error("no answer after {deadline:?}{}", at(file))]
    Timeout { deadline: Duration, file: Option<String> },
    /// The limit of its addresses, or that of its resident memory.
    #[error("the compiler needs more memory than a worker has{}", at(file))]
    OutOfMemory { file: Option<String> },
    #[error("the source is nested too deeply{}", at(file))]
    StackOverflow { file: Option<String> },
    #[error("the compiler ended with {status}{}", at(file))]
    Crash { status: ExitStatus, file: Option<String> },
    #[error("the answer is no message: {0}")]
    Answer(#[source] prost::DecodeError),
}

fn at(file: &Option<String>) -> String {
    file.as_ref().map(|file| format!(", in {file}")).unwrap_or_default()
}

impl Workers {
    /// Compiles a tree in a worker. The worker has ended when this returns, and ends if the future is dropped.
    ///
    /// # Errors
    /// If the request is too large, or the worker does not answer: it crashed, or it exceeded its time, memory, stack or output.
    pub async fn compile(&self, request: &Request) -> Result<Answer, Error> {
        self.ask(TREE, request).await
    }

    /// Compiles changed modules in a worker.
    ///
    /// # Errors
    /// As [`Self::compile`].
    pub async fn edit(&self, request: &EditRequest) -> Result<EditAnswer, Error> {
        self.ask(EDIT, request).await
    }

    /// Bundles packages in a worker, which has more addresses than one that compiles a tree, and as much memory.
    ///
    /// # Errors
    /// As [`Self::compile`].
    pub async fn bundle(&self, request: &PackagesRequest) -> Result<PackagesAnswer, Error> {
        self.ask(PACKAGES, request).await
    }

    /// Builds a site in a worker, which has the limits of one that bundles packages.
    ///
    /// # Errors
    /// As [`Self::compile`].
    pub async fn build_site(&self, request: &SiteRequest) -> Result<SiteAnswer, Error> {
        self.ask(SITE, request).await
    }

    /// Outlines files in a worker.
    ///
    /// # Errors
    /// As [`Self::compile`].
    pub async fn outline(&self, request: &OutlineRequest) -> Result<OutlineAnswer, Error> {
        self.ask(OUTLINE, request).await
    }

    async fn ask<A: Message + Default>(&self, argument: &str, request: &impl Message) -> Result<A, Error> {
        let size = request.encoded_len();
        let too_large = |_| Error::RequestTooLarge { size, limit: frame::MAX_REQUEST };
        let header = frame::header(size, frame::MAX_REQUEST).map_err(too_large)?;
        let mut bytes = Vec::with_capacity(size + header.len());
        bytes.extend_from_slice(&header);
        request.encode_raw(&mut bytes);
        let mut child = self.start(argument).map_err(Error::Start)?;
        let watched = BUNDLERS.contains(&argument).then(|| child.id()).flatten();
        let answer = self.exchange(&mut child, &bytes, watched).await?;
        A::decode(answer.as_slice()).map_err(Error::Answer)
    }

    /// The worker gets no handle but its three streams, and no environment but the settings of its allocator; one that fetches packages also
    /// gets [`CERTIFICATES`].
    pub(crate) fn start(&self, argument: &str) -> std::io::Result<Child> {
        let mut command = Command::new(&self.executable);
        command.arg(argument).arg(self.file_time.as_millis().max(1).to_string()).env_clear().current_dir("/").kill_on_drop(true);
        command.env(ALLOCATOR.0, ALLOCATOR.1);
        if argument == FETCH {
            command.envs(CERTIFICATES.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
    }

    /// `watched` is the worker whose resident memory is bounded here.
    async fn exchange(&self, child: &mut Child, request: &[u8], watched: Option<u32>) -> Result<Vec<u8>, Error> {
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(mut stdin), Some(stdout), Some(stderr)) = (stdin, stdout, stderr) else {
            return Err(Error::Start(std::io::ErrorKind::BrokenPipe.into()));
        };
        // A worker that ended early refuses the rest of the request; its status says why.
        let send = async move {
            let _ = stdin.write_all(request).await;
        };
        let mut diagnostics = Vec::new();
        let work = async {
            let (((), answer), ()) = tokio::join!(join(send, receive(stdout)), drain(stderr, &mut diagnostics));
            (answer, child.wait().await)
        };
        let bounded = async {
            tokio::select! {
                ended = work => Some(ended),
                () = resident::exceeded(watched, MAX_RESIDENT) => None,
            }
        };
        let outcome = time::timeout(self.deadline, bounded).await;
        let file = last_file(&diagnostics);
        let (answer, status) = match outcome {
            Ok(Some(ended)) => ended,
            Ok(None) => {
                let _ = child.kill().await;
                return Err(Error::OutOfMemory { file });
            }
            Err(_) => {
                let _ = child.kill().await;
                return Err(Error::Timeout { deadline: self.deadline, file });
            }
        };
        match (answer, status.map_err(Error::Start)?) {
            (Received::Whole(answer), status) if status.success() => Ok(answer),
            (Received::TooLarge, _) => Err(Error::AnswerTooLarge),
            (_, status) if status.code() == Some(FILE_TIME_EXCEEDED) => Err(Error::Timeout { deadline: self.file_time, file }),
            (_, status) => Err(explain(status, &diagnostics, file)),
        }
    }
}

async fn join<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) -> (A, B) {
    tokio::join!(a, b)
}

enum Received {
    Whole(Vec<u8>),
    TooLarge,
    Nothing,
}

async fn receive(mut output: impl AsyncRead + Unpin) -> Received {
    let mut header = [0; 4];
    if output.read_exact(&mut header).await.is_err() {
        return Received::Nothing;
    }
    let Ok(length) = frame::length(header, frame::MAX_ANSWER) else { return Received::TooLarge };
    let mut answer = Vec::new();
    match output.take(length as u64).read_to_end(&mut answer).await {
        Ok(read) if read == length => Received::Whole(answer),
        _ => Received::Nothing,
    }
}

/// Keeps the last bytes, and reads the others so that the worker does not wait.
async fn drain(mut output: impl AsyncRead + Unpin, last: &mut Vec<u8>) {
    let mut part = vec![0; 8 << 10];
    while let Ok(read @ 1..) = output.read(&mut part).await {
        last.extend_from_slice(&part[..read]);
        let surplus = last.len().saturating_sub(MAX_DIAGNOSTICS as usize);
        last.drain(..surplus);
    }
}

fn last_file(diagnostics: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(diagnostics);
    text.lines().rev().find_map(|line| line.strip_prefix(PROGRESS)).map(str::to_owned)
}

/// Rust's runtime names a full memory and a full stack before it aborts.
pub(crate) fn explain(status: ExitStatus, diagnostics: &[u8], file: Option<String>) -> Error {
    if status.signal() == Some(libc::SIGXCPU) {
        return Error::Timeout { deadline: PROCESSOR_TIME, file };
    }
    let text = String::from_utf8_lossy(diagnostics);
    let text: String = text.lines().filter(|line| !line.starts_with(PROGRESS)).collect::<Vec<_>>().join("\n");
    if text.contains("memory allocation of") || text.contains("AllocErr") || text.contains("out of memory") {
        Error::OutOfMemory { file }
    } else if text.contains("has overflowed its stack") {
        Error::StackOverflow { file }
    } else {
        Error::Crash { status, file }
    }
}
