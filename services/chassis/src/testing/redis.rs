//! A private `redis-server` for tests: on a free port, without persistence. It ends with the test process.

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
/// Attempts to start. Another process may take the free port before the server binds it.
const ATTEMPTS: usize = 5;

/// The Redis server of one test. Dropping it stops the server.
#[derive(Debug)]
pub struct TestRedis {
    pub url: String,
    port: u16,
    keeper: Keeper,
}

impl TestRedis {
    /// The port of the server.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process id of the server.
    #[must_use]
    pub fn process(&self) -> u32 {
        self.keeper.process
    }

    /// Kills the server.
    pub async fn kill(&mut self) {
        let keeper = std::mem::replace(&mut self.keeper, Keeper { process: 0, stop: None, thread: None });
        task::blocking(move || drop(keeper)).await.expect("the server ends");
    }

    /// Restarts the server on the same port, without data.
    ///
    /// # Panics
    /// Another process has taken the port.
    pub async fn restart(&mut self) {
        self.kill().await;
        let port = self.port;
        self.keeper = task::blocking(move || Keeper::start(port)).await.expect("redis-server starts").expect("its port is still free");
    }
}

/// Starts an empty server.
///
/// # Panics
/// This machine has no `redis-server`.
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

/// The thread that spawned the server. The kernel kills the server when this thread ends.
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
                // A message or a closed channel: both mean stop.
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

/// Starts the server and waits until it is ready.
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
    // Reads its later output, so that the server does not block on a full pipe. The thread ends with the server.
    std::thread::spawn(move || lines.for_each(drop));
    Ok(child)
}
