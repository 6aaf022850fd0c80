//! A worker can do nothing but compute. This program starts itself as a worker whose work tries what it must not do, and says what
//! happened. It is no part of the executable.

use std::{
    env, fs, io,
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::process::ExitStatusExt as _,
    process::{Command, ExitCode, Stdio},
    thread,
    time::Duration,
};

use compiler::worker::{SLOWNESS, progress, run, run_bundler};
use compiler_client::{
    message::PackagesRequest,
    worker::{Error, FILE_TIME_EXCEEDED, PACKAGES, Workers},
};
use rustix::time::{ClockId, clock_gettime};

/// Returns whether it was refused.
type Attempt = fn() -> bool;

/// The attempts, by name.
const ATTEMPTS: [(&str, Attempt); 7] = [
    ("read a file", || refused(fs::read("/etc/passwd"))),
    ("write a file", || refused(fs::write("/tmp/backlot-compiler-probe", "x"))),
    ("list a folder", || refused(fs::read_dir("/"))),
    ("open a socket", || refused(TcpStream::connect("127.0.0.1:9"))),
    ("start a program", || refused(Command::new("/bin/true").status())),
    ("start a thread", || refused(thread::Builder::new().spawn(|| ()))),
    ("remove a file", || refused(fs::remove_file("/tmp/backlot-compiler-none"))),
];

fn refused<T>(result: io::Result<T>) -> bool {
    let error = result.err().and_then(|error| error.raw_os_error());
    // Not permitted; or no handle and no thread left, by the limits.
    cfg!(target_os = "linux") && error == Some(libc::EPERM)
}

fn attempt() -> io::Result<()> {
    let mut report = String::new();
    for (name, attempt) in ATTEMPTS {
        let result = if attempt() { "refused" } else { "done" };
        report += &format!("{name}: {result}\n");
    }
    io::stdout().write_all(report.as_bytes())
}

fn hang() -> io::Result<()> {
    let mut count = 0_u64;
    loop {
        count = std::hint::black_box(count.wrapping_add(1));
    }
}

/// Six files, each with half of its time.
fn files() -> io::Result<()> {
    let used = || Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default();
    for _ in 0..6 {
        progress("a.ts");
        let start = used();
        while used() - start < FILE_TIME * SLOWNESS / 2 {}
    }
    Ok(())
}

fn fill() -> io::Result<()> {
    let mut all = Vec::new();
    loop {
        all.push(vec![1_u8; 1 << 20]);
        std::hint::black_box(&all);
    }
}

/// More resident memory than a worker may have, without a limit of addresses. Waits for its end.
fn outgrow() -> ExitCode {
    let all = vec![1_u8; 600 << 20];
    loop {
        std::hint::black_box(&all);
        thread::park();
    }
}

/// Says that the limits are set, and waits for the end of its input.
fn wait() -> io::Result<()> {
    io::stdout().write_all(b"!\n")?;
    io::stdin().read(&mut [0]).map(drop)
}

/// The processor time of a file.
const FILE_TIME: Duration = Duration::from_millis(100);
/// More than the processor time of a process.
const NO_FILE_TIME: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    match env::args().nth(1).as_deref() {
        Some("wait") => run(wait, NO_FILE_TIME),
        Some("wait in a bundler") => run_bundler(|_| wait()),
        Some("attempt") => run(attempt, NO_FILE_TIME),
        Some("attempt in a bundler") => run_bundler(|_| attempt()),
        Some("attempt in a thread of a bundler") => run_bundler(|_| rayon::broadcast(|_| attempt()).into_iter().collect()),
        Some("hang") => run(hang, NO_FILE_TIME),
        Some("hang in a bundler") => run_bundler(|_| hang()),
        Some("hang in a file") => run(hang, FILE_TIME),
        Some("files") => run(files, FILE_TIME),
        Some("fill") => run(fill, NO_FILE_TIME),
        // As `compiler_client` starts a worker.
        Some(PACKAGES) => outgrow(),
        _ if cfg!(target_os = "linux") => check(),
        _ => ExitCode::SUCCESS,
    }
}

fn start(work: &str) -> std::process::Output {
    let own = env::current_exe().expect("this program");
    Command::new(own).arg(work).env_clear().stdin(Stdio::null()).output().expect("a child")
}

/// The soft and the hard limit of a worker, by the name that the kernel has for it.
fn limits(work: &str, name: &str) -> [String; 2] {
    let own = env::current_exe().expect("this program");
    let mut worker = Command::new(own).arg(work).env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a child");
    worker.stdout.take().expect("an output").read_exact(&mut [0]).expect("a sign");
    let limits = fs::read_to_string(format!("/proc/{}/limits", worker.id())).expect("limits");
    drop(worker.stdin.take());
    worker.wait().expect("the end");
    let line = limits.lines().find(|line| line.starts_with(name)).expect("a limit");
    let mut numbers = line[name.len()..].split_whitespace().map(str::to_owned);
    [numbers.next().expect("a number"), numbers.next().expect("a number")]
}

/// What a caller of this program as a bundler gets.
fn outgrown() -> Error {
    let executable = env::current_exe().expect("this program");
    let workers = Workers { executable, deadline: Duration::from_secs(600), file_time: FILE_TIME };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(workers.bundle(&PackagesRequest::default())).expect_err("no answer")
}

fn check() -> ExitCode {
    let expected: String = ATTEMPTS.iter().map(|(name, _)| format!("{name}: refused\n")).collect();
    // Workers for packages and for sites are bundlers.
    for work in ["attempt", "attempt in a bundler", "attempt in a thread of a bundler"] {
        let output = start(work);
        let report = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(report, expected, "{work}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{work}");
    }
    let output = start("fill");
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("memory allocation of"), "{output:?}");
    assert_eq!(start("hang in a file").status.code(), Some(FILE_TIME_EXCEEDED));
    assert!(start("files").status.success(), "the time of a file begins with the file");
    // The signal that names the limit comes before the one that does not.
    assert_eq!(limits("wait", "Max cpu time"), ["20", "25"]);
    assert_eq!(limits("wait in a bundler", "Max cpu time"), ["20", "25"]);
    let bytes = |mib: u64| [(mib << 20).to_string(), (mib << 20).to_string()];
    assert_eq!(limits("wait", "Max address space"), bytes(512));
    assert_eq!(limits("wait in a bundler", "Max address space"), bytes(896));
    let error = outgrown();
    assert!(matches!(error, Error::OutOfMemory { file: None }), "{error}");
    if env::var_os("BACKLOT_LONG").is_some() {
        for work in ["hang", "hang in a bundler"] {
            assert_eq!(start(work).status.signal(), Some(libc::SIGXCPU), "the limit of processor time: {work}");
        }
    }
    ExitCode::SUCCESS
}
