//! The executable as an operator meets it: what it prints, what it exits with, and the life of a whole cluster.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

/// The executable with these settings and nothing else but the PATH, where PostgreSQL is found.
fn backlot(data: &Path, settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_backlot"));
    command.env_clear().env("BACKLOT_DATA_DIR", data).envs(settings.iter().copied()).stdin(Stdio::null());
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn run(command: &mut Command, arguments: &[&str]) -> Output {
    command.args(arguments).output().expect("backlot runs")
}

#[test]
fn every_fault_is_told_at_once_before_a_port_is_bound() {
    let data = tempfile::tempdir().expect("folder");
    let taken = TcpListener::bind("127.0.0.1:0").expect("listener");
    let address = taken.local_addr().expect("address").to_string();
    let settings = [
        // Would be an error too, if it came to binding.
        ("BACKLOT_PREVIEW_LISTEN", address.as_str()),
        ("BACKLOT_LISTEN", "here"),
        ("BACKLOT_LEASE", "soon"),
        ("BACKLOT_CLUSTER_SECRET", "hunter2"),
        ("BACKLOT_TRACE_RATIO", "7"),
        ("BACKLOT_AUTH_URL", "http://127.0.0.1:1"),
        ("BACKLOT_LISTNE", "typo"),
    ];
    let output = run(&mut backlot(data.path(), &settings), &["up"]);
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(64), "{told}");
    assert!(output.stdout.is_empty());
    for (name, value) in &settings[1..] {
        assert_eq!(told.lines().filter(|line| line.starts_with(&format!("{name}: "))).count(), 1, "{name}: {told}");
        assert!(*name != "BACKLOT_CLUSTER_SECRET" || !told.contains(value), "a secret is shown: {told}");
    }
    assert_eq!(told.lines().count(), settings.len() - 1, "{told}");
    assert!(told.contains("did you mean BACKLOT_LISTEN?"));
}

#[test]
fn a_role_needs_its_database() {
    let data = tempfile::tempdir().expect("folder");
    for role in ["auth", "agent-streaming", "project-storage"] {
        let output = run(&mut backlot(data.path(), &[]), &[role]);
        assert_eq!(output.status.code(), Some(64), "{role}");
        assert!(text(&output.stderr).starts_with("DATABASE_URL: "), "{role}: {}", text(&output.stderr));
    }
}

#[test]
fn help_lists_the_settings_and_makes_nothing() {
    let data = tempfile::tempdir().expect("folder");
    let folder = data.path().join("unmade");
    for (arguments, setting) in [
        (&["--help"][..], "BACKLOT_NO_DOWNLOAD"),
        (&["up", "--help"], "BACKLOT_DATA_DIR [default: .backlot]"),
        (&["gateway", "--help"], "BACKLOT_PUBLIC_URL"),
        (&["agent-streaming", "--help"], "BACKLOT_MODEL"),
        (&["rate-limit", "--help"], "BACKLOT_POLICIES"),
    ] {
        let output = run(&mut backlot(&folder, &[]), arguments);
        assert!(output.status.success() && text(&output.stdout).contains(setting), "{arguments:?}: {}", text(&output.stdout));
    }
    assert!(!folder.exists());
}

#[test]
fn a_token_is_one_line_and_a_probe_of_nothing_fails() {
    let data = tempfile::tempdir().expect("folder");
    let secret = [("BACKLOT_CLUSTER_SECRET", "0d1c7e1f92ab4c5e8f60b3a2d4c5e6f7")];
    let output = run(&mut backlot(data.path(), &secret), &["token", "--for", "rate-limit"]);
    let token = text(&output.stdout);
    assert!(output.status.success() && token.lines().count() == 1 && token.trim().split('.').count() == 3, "{token}");
    assert!(!run(&mut backlot(data.path(), &secret), &["token", "--for", "gateway"]).status.success());
    assert!(!run(&mut backlot(data.path(), &[]), &["token", "--for", "auth"]).status.success());

    let output = run(&mut backlot(data.path(), &secret), &["keys", "auth"]);
    let keys = text(&output.stdout);
    assert!(output.status.success() && keys.lines().count() == 1 && keys.starts_with("backlot-keys-1."), "{keys}");
    let of_another = run(&mut backlot(data.path(), &[("BACKLOT_ROLE_KEYS", keys.trim())]), &["gateway"]);
    let told = text(&of_another.stderr);
    assert!(of_another.status.code() == Some(64) && told.contains("BACKLOT_ROLE_KEYS: holds the keys of auth"), "{told}");
    let all = run(&mut backlot(data.path(), &[("BACKLOT_ROLE_KEYS", keys.trim())]), &["up"]);
    assert!(all.status.code() == Some(64) && text(&all.stderr).contains("BACKLOT_ROLE_KEYS: is for roles that run one by one"));

    let nobody = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("address").to_string();
    for (role, setting) in [("gateway", "BACKLOT_LISTEN"), ("auth", "BACKLOT_GRPC_LISTEN")] {
        let output = run(&mut backlot(data.path(), &[(setting, &nobody)]), &["health", role]);
        assert_eq!(output.status.code(), Some(1), "{role}: {}", text(&output.stderr));
    }
}

/// A running `backlot up`; killed when dropped.
struct Up {
    child: Child,
    url: String,
}

const FREE_PORTS: [(&str, &str); 4] = [
    ("BACKLOT_LISTEN", "127.0.0.1:0"),
    ("BACKLOT_PREVIEW_LISTEN", "127.0.0.1:0"),
    ("BACKLOT_METRICS_LISTEN", "127.0.0.1:0"),
    ("BACKLOT_GRPC_LISTEN", "127.0.0.1:0"),
];

impl Up {
    fn start(data: &Path) -> Self {
        // Into a file: a pipe that nobody reads would stop whoever writes to it.
        let path = data.join("test.log");
        let log = File::create(&path).expect("log");
        let mut child = backlot(data, &FREE_PORTS).arg("up").stdout(Stdio::piped()).stderr(log).spawn().expect("backlot runs");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("stdout")).read_line(&mut line).expect("a line");
        let Some(url) = line.strip_prefix("backlot ready: ") else {
            panic!("backlot ended: {}", std::fs::read_to_string(path).unwrap_or_default());
        };
        Self { child, url: url.trim_end().to_owned() }
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status().expect("kill");
        assert!(sent.success());
    }

    /// The exit code, and how long it took.
    fn wait(mut self) -> (Option<i32>, Duration) {
        let started = Instant::now();
        let status = self.child.wait().expect("a child");
        (status.code(), started.elapsed())
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_cluster_starts_stops_and_survives_a_kill() {
    let data = tempfile::tempdir().expect("folder");
    let cluster = Up::start(data.path());
    let address = cluster.url.strip_prefix("http://").expect("a URL").to_owned();

    let list = std::fs::read_to_string(data.path().join("endpoints.json")).expect("the list");
    let list: serde_json::Value = serde_json::from_str(&list).expect("JSON");
    assert_eq!(list["url"], cluster.url.as_str());
    assert_eq!(list["pid"], cluster.child.id());
    let grpc: Vec<_> =
        ["auth", "agentStreaming", "projectStorage", "rateLimit"].map(|name| list["grpc"][name].as_str().expect(name).to_owned()).into();
    for (role, url) in ["auth", "agent-streaming", "project-storage", "rate-limit"].iter().zip(&grpc) {
        let output = run(&mut backlot(data.path(), &[("BACKLOT_GRPC_LISTEN", url.trim_start_matches("http://"))]), &["health", role]);
        assert!(output.status.success(), "{role}: {}", text(&output.stderr));
    }
    let output = run(&mut backlot(data.path(), &[("BACKLOT_LISTEN", &address)]), &["health"]);
    assert!(output.status.success(), "{}", text(&output.stderr));

    let second = run(&mut backlot(data.path(), &FREE_PORTS), &["up"]);
    assert_eq!(second.status.code(), Some(1));
    let told = text(&second.stderr);
    assert!(told.contains(&format!("is in use by process {}", cluster.child.id())), "{told}");

    cluster.signal("-KILL");
    assert_eq!(cluster.wait().0, None);
    let again = Up::start(data.path());
    again.signal("-TERM");
    let (code, took) = again.wait();
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(30), "{took:?}");
    assert!(!data.path().join("endpoints.json").exists());
}
