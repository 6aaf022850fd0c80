//! A process that fetches makes connections, and nothing else outside of itself. This program starts itself, tries what it must not do, and
//! says what happened. It is no part of the executable.

use std::{
    env, fs, io,
    io::Write as _,
    net::{TcpListener, TcpStream},
    os::unix::{net::UnixDatagram, process::parent_id},
    process::{Command, ExitCode, Output, Stdio},
    thread,
};

/// Returns whether it was refused.
type Attempt = fn() -> bool;

/// The attempts, by name.
const ATTEMPTS: [(&str, Attempt); 8] = [
    ("read a file", || refused(fs::read("/etc/passwd"))),
    ("read the environment of the caller", || refused(fs::read(format!("/proc/{}/environ", parent_id())))),
    ("list a folder", || refused(fs::read_dir("/"))),
    ("remove a file", || refused(fs::remove_file("/tmp/backlot-fetcher-none"))),
    ("start a program", || refused(Command::new("/bin/true").status())),
    // As a process is started, by the same system call.
    ("start a thread", || refused(thread::Builder::new().spawn(|| ()))),
    ("open a socket of another kind", || refused(UnixDatagram::unbound())),
    ("listen", || refused(TcpListener::bind("127.0.0.1:0"))),
];

/// "Operation not permitted".
const NOT_PERMITTED: i32 = 1;

fn refused<T>(result: io::Result<T>) -> bool {
    result.err().and_then(|error| error.raw_os_error()) == Some(NOT_PERMITTED)
}

fn attempt() -> io::Result<()> {
    fetcher::testing::confine()?;
    let mut report = String::new();
    for (name, attempt) in ATTEMPTS {
        let result = if attempt() { "refused" } else { "done" };
        report += &format!("{name}: {result}\n");
    }
    let connects = if refused(TcpStream::connect("127.0.0.1:9")) { "refused" } else { "done" };
    report += &format!("connect: {connects}\n");
    io::stdout().write_all(report.as_bytes())
}

fn fill() -> io::Result<()> {
    fetcher::testing::confine()?;
    let mut all = Vec::new();
    loop {
        all.push(Vec::<u8>::with_capacity(1 << 20));
        std::hint::black_box(&all);
    }
}

fn exit(result: io::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn main() -> ExitCode {
    match env::args().nth(1).as_deref() {
        Some("attempt") => exit(attempt()),
        Some("fill") => exit(fill()),
        _ if cfg!(target_os = "linux") => check(),
        _ => ExitCode::SUCCESS,
    }
}

fn start(work: &str) -> Output {
    let own = env::current_exe().expect("this program");
    Command::new(own).arg(work).env_clear().stdin(Stdio::null()).output().expect("a child")
}

fn check() -> ExitCode {
    let output = start("attempt");
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    let expected: String = ATTEMPTS.iter().map(|(name, _)| format!("{name}: refused\n")).collect();
    assert_eq!(report, expected + "connect: done\n", "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success());
    let output = start("fill");
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("memory allocation of"), "{output:?}");
    ExitCode::SUCCESS
}
