//! A private `redis-server`: on a free port, without persistence, gone with the test process.

use std::{
    io::{self, BufRead as _, BufReader},
    net::TcpListener,
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use private_postgres::sys;

use crate::task;

const STOP_LIMIT: Duration = Duration::from_secs(5);
/// Another process may take the port between our look and the server's.
const ATTEMPTS: usize = 5;

/// A server of its own for one test. It stops when this is dropped.
#[derive(Debug)]
pub struct TestRedis {
    pub url: String,
    port: u16,
    keeper: Keeper,
}

impl TestRedis {
    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process, to be stopped and continued.
    #[must_use]
    pub fn process(&self) -> u32 {
        self.keeper.process
    }

    /// Ends the server at once, as a crash would.
    pub async fn kill(&mut self) {
        let keeper = std::mem::replace(&mut self.keeper, Keeper { process: 0, stop: None, thread: None });
        task::blocking(move || drop(keeper)).await.expect("the server ends");
    }

    /// Starts it again on the same port, empty.
    ///
    /// # Panics
    /// If the port was taken meanwhile.
    pub async fn restart(&mut self) {
        self.kill().await;
        let port = self.port;
        self.keeper = task::blocking(move || Keeper::start(port)).await.expect("redis-server starts").expect("its port is still free");
    }
}

/// A fresh, empty server.
///
/// # Panics
/// If this machine has no `redis-server`.
pub async fn redis() -> TestRedis {
    let start = task::blocking(|| {
        for _ in 0..ATTEMPTS {
            let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port();
            if let Some(keeper) = Keeper::start(port) {
                return TestRedis { url: format!("redis://127.0.0.1:{port}"), port, keeper };
            }
        }
        panic!("redis-server did not start in {ATTEMPTS} attempts");
    });
    start.await.expect("a private Redis")
}

/// The thread that owns the server: the kernel ends it with the thread that spawned it.
#[derive(Debug)]
struct Keeper {
    process: u32,
    stop: Option<mpsc::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Keeper {
    /// `None` if the server ended before it was ready.
    fn start(port: u16) -> Option<Self> {
        let (stop, stopped) = mpsc::channel::<()>();
        let (report, started) = mpsc::sync_channel(1);
        let thread = std::thread::spawn(move || match serve(port) {
            Ok(mut child) => {
                let _ = report.send(Some(child.id()));
                // Either a word or the other end gone: both mean stop.
                let _ = stopped.recv();
                let _ = child.kill();
                sys::wait(&mut child, STOP_LIMIT);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                panic!("tests need redis-server on the PATH (apt install redis-server)")
            }
            Err(_) => {
                let _ = report.send(None);
            }
        });
        let process = started.recv().expect("tests need redis-server on the PATH (apt install redis-server)")?;
        Some(Self { process, stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Starts the server and waits until it says that it is ready.
fn serve(port: u16) -> io::Result<Child> {
    let mut command = Command::new("redis-server");
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--daemonize", "no"]);
    command.current_dir(std::env::temp_dir()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
    sys::die_with_parent(&mut command, libc::SIGKILL);
    let mut child = command.spawn()?;
    let mut lines = BufReader::new(child.stdout.take().ok_or_else(|| io::Error::other("no output"))?).lines();
    let ready = lines.any(|line| line.is_ok_and(|line| line.contains("Ready to accept connections")));
    if !ready {
        sys::wait(&mut child, STOP_LIMIT);
        return Err(io::Error::other("redis-server ended"));
    }
    // Whatever it says later is read, so that it never blocks on a full pipe; this ends with the server.
    std::thread::spawn(move || lines.for_each(drop));
    Ok(child)
}
