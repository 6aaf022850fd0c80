//! The process of the executable: limits, one request on the input, one answer on the output, and the end.
//!
//! Before it reads, the process gives up what it does not need. It has a bounded memory, processor time and stack, no core dump and no more
//! file handles. One that does not bundle ends when one file has used too much processor time. On Linux a filter refuses every system call
//! but the few of computing: it can open no file and no connection, start no program and no thread, and send no signal.

mod clock;
mod limits;

use std::{
    io::{self, Write},
    process::ExitCode,
    thread,
    time::Duration,
};

use compiler_client::{
    frame,
    message::{Answer, EditRequest, OutlineRequest, PackagesRequest, Request, SiteRequest},
    worker::PROGRESS,
};
use prost::Message;

pub use self::clock::SLOWNESS;
use crate::{
    compile::compile,
    edit::edit,
    outline::outline,
    packages::{self, Threads},
    panics, site,
};

/// Parsers and printers recurse over the source.
const STACK: usize = 64 << 20;

/// Runs `work` in the sandbox. What it returns is the status of the process, which ends when a file has used `file_time` of processor time.
/// A build without optimization gets [`SLOWNESS`] times as much.
pub fn run(work: fn() -> io::Result<()>, file_time: Duration) -> ExitCode {
    run_in(limits::MEMORY, move || clock::watch(file_time), move |()| work())
}

/// Bundles packages in the sandbox.
pub fn run_packages() -> ExitCode {
    run_bundler(|threads| {
        let request: PackagesRequest = read()?;
        write(&packages::bundle(request, threads))
    })
}

/// Builds a site in the sandbox.
pub fn run_site() -> ExitCode {
    run_bundler(|threads| {
        let request: SiteRequest = read()?;
        write(&site::build(request, threads, &mut progress))
    })
}

/// Runs `work` in the sandbox of what bundles. The bundler's threads start before the filter, which lets none start.
pub fn run_bundler(work: fn(&Threads) -> io::Result<()>) -> ExitCode {
    abort_on_panic();
    run_in(limits::PACKAGES_MEMORY, || Threads::start(STACK), move |threads| work(&threads))
}

fn run_in<T: 'static>(
    memory: u64,
    prepare: impl FnOnce() -> io::Result<T> + Send + 'static,
    work: impl FnOnce(T) -> io::Result<()> + Send + 'static,
) -> ExitCode {
    let result = limits::set(memory).and_then(|()| {
        let sandboxed = move || {
            let prepared = prepare()?;
            enter()?;
            work(prepared)
        };
        let thread = thread::Builder::new().name("compile".to_owned()).stack_size(STACK).spawn(sandboxed);
        thread?.join().unwrap_or_else(|_| Err(io::Error::other("the compiler panicked")))
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("backlot-compiler: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A panic of one thread ends the process, unless it is caught; the others would wait for it.
fn abort_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        if !panics::is_caught() {
            std::process::abort();
        }
    }));
}

/// Reads one request, and writes its answer.
///
/// # Errors
/// If the input is no request, or the answer is too large.
pub fn answer() -> io::Result<()> {
    let request: Request = read()?;
    let answer: Answer = compile(request, &mut progress);
    write(&answer)
}

/// Reads one request for changed modules, and writes its answer.
///
/// # Errors
/// As [`answer`].
pub fn answer_edit() -> io::Result<()> {
    let request: EditRequest = read()?;
    write(&edit(request, &mut progress))
}

/// Reads one request for outlines, and writes its answer.
///
/// # Errors
/// As [`answer`].
pub fn answer_outline() -> io::Result<()> {
    let request: OutlineRequest = read()?;
    write(&outline(request, &mut progress))
}

fn read<M: Message + Default>() -> io::Result<M> {
    frame::read_message(&mut io::stdin().lock(), frame::MAX_REQUEST)
}

fn write(answer: &impl Message) -> io::Result<()> {
    frame::write(&mut io::stdout().lock(), &answer.encode_to_vec(), frame::MAX_ANSWER)
}

/// A file begins. The caller reads the last line if the process dies.
pub fn progress(path: &str) {
    clock::begin_file();
    // One write, because each wakes the caller.
    let line = format!("{PROGRESS}{}\n", path.replace('\n', " "));
    let _ = io::stderr().write_all(line.as_bytes());
}

#[cfg(target_os = "linux")]
fn enter() -> io::Result<()> {
    fetcher::filter::enter(&[], &[])
}

/// Other systems have the limits alone.
#[cfg(not(target_os = "linux"))]
fn enter() -> io::Result<()> {
    Ok(())
}
