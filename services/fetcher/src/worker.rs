//! The process: one job on the input, a conversation with the caller, and the end. It ends with its caller, which closes the input.

use std::{
    io::{self, BufWriter, Write as _},
    process::ExitCode,
    sync::Arc,
    thread,
};

use compiler_client::frame;
use prost::Message;
use tokio::{
    runtime::Builder,
    sync::mpsc::{Receiver, channel},
};

use crate::{
    message::{Event, Job, MAX_EVENT, Reply},
    package_limits,
    registry::Registry,
    requests::{Requests, Waiting},
    sandbox, task,
};

/// Events that wait until they are written.
const EVENTS: usize = 16;

/// Does one job. What it returns is the status of the process.
#[must_use]
pub fn run() -> ExitCode {
    match work() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("backlot-compiler: {error}");
            ExitCode::FAILURE
        }
    }
}

fn work() -> io::Result<()> {
    sandbox::limit()?;
    // An error means that a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let job: Job = read()?;
    let registry = Registry::new(&job.registry);
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (events, written) = channel(EVENTS);
    let waiting = Arc::<Waiting>::default();
    let passing = Arc::clone(&waiting);
    let writer = thread::Builder::new().name("write".to_owned()).spawn(move || write(written))?;
    thread::Builder::new().name("read".to_owned()).spawn(move || pass(&passing))?;
    sandbox::enter()?;
    let limits = package_limits();
    let requests = Requests::new(registry, limits, events, waiting);
    runtime.block_on(task::perform(job.task, &requests, &limits)).map_err(io::Error::other)?;
    drop(requests);
    writer.join().unwrap_or_else(|_| Err(io::Error::other("the thread that writes panicked")))
}

fn read<M: Message + Default>() -> io::Result<M> {
    frame::read_message(&mut io::stdin().lock(), frame::MAX_REQUEST)
}

/// Passes replies on until the caller closes the input. The process then ends, whatever it does.
fn pass(waiting: &Waiting) {
    while let Ok(reply) = read::<Reply>() {
        waiting.pass(reply);
    }
    std::process::exit(1);
}

fn write(mut events: Receiver<Event>) -> io::Result<()> {
    let mut output = BufWriter::new(io::stdout().lock());
    while let Some(event) = events.blocking_recv() {
        let message = event.encode_to_vec();
        output.write_all(&frame::header(message.len(), MAX_EVENT)?)?;
        output.write_all(&message)?;
        if events.is_empty() {
            output.flush()?;
        }
    }
    output.flush()
}
