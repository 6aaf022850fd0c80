//! The process of the executable: limits, one request on the input, one answer on the output, and the end.
//!
//! Before it reads, the process gives up what it does not need. It has a bounded memory, processor time and stack, no core dump and no more
//! file handles. On Linux a filter refuses every system call but the few of computing: it can open no file and no connection, start no
//! program and no thread, and send no signal.

#[cfg(target_os = "linux")]
mod filter;
mod limits;

use std::{
    io::{self, Write},
    process::ExitCode,
    thread,
};

use compiler_client::{
    frame,
    message::{Answer, Request},
    worker::PROGRESS,
};
use prost::Message;

use crate::compile::compile;

/// Parsers and printers recurse over the source.
const STACK: usize = 64 << 20;

/// Runs `work` in the sandbox. What it returns is the status of the process.
pub fn run(work: fn() -> io::Result<()>) -> ExitCode {
    let result = limits::set().and_then(|()| {
        let sandboxed = move || enter().and_then(|()| work());
        let thread = thread::Builder::new().name("compile".to_owned()).stack_size(STACK).spawn(sandboxed)?;
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the compiler panicked")))
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("backlot-compiler: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Reads one request, and writes its answer.
///
/// # Errors
/// If the input is no request, or the answer is too large.
pub fn answer() -> io::Result<()> {
    let bytes = frame::read(&mut io::stdin().lock(), frame::MAX_REQUEST)?;
    let request = Request::decode(bytes.as_slice()).map_err(io::Error::other)?;
    drop(bytes);
    let answer: Answer = compile(request, &mut |path| {
        // The caller reads the last line if the process dies.
        let _ = writeln!(io::stderr(), "{PROGRESS}{}", path.replace('\n', " "));
    });
    frame::write(&mut io::stdout().lock(), &answer.encode_to_vec(), frame::MAX_ANSWER)
}

#[cfg(target_os = "linux")]
fn enter() -> io::Result<()> {
    filter::enter()
}

/// Other systems have the limits alone.
#[cfg(not(target_os = "linux"))]
fn enter() -> io::Result<()> {
    Ok(())
}
