//! The executable as an operator uses it: its output, its exit codes, and the start and stop of a whole cluster.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    os::unix::fs::MetadataExt as _,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use backlot::{role::Role, settings};

/// The executable with these settings. It inherits only PATH, which is needed to find PostgreSQL.
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
fn all_faults_are_reported_at_once_before_a_port_is_bound() {
    let data = tempfile::tempdir().expect("folder");
    let taken = TcpListener::bind("127.0.0.1:0").expect("listener");
    let address = taken.local_addr().expect("address").to_string();
    let settings = [
        // It is in use, which would be an error if the port were bound.
        ("BACKLOT_PREVIEW_LISTEN", address.as_str()),
        ("BACKLOT_LISTEN", "here"),
        ("BACKLOT_LEASE", "soon"),
        ("BACKLOT_CLUSTER_SECRET", "hunter2"),
        ("BACKLOT_TRACE_RATIO", "7"),
        ("BACKLOT_AUTH_URL", "http://127.0.0.1:1"),
        ("BACKLOT_LISTNE", "typo"),
    ];
    let output = run(&mut backlot(data.path(), &settings), &["up"]);
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(64), "{errors}");
    assert!(output.stdout.is_empty());
    for (name, value) in &settings[1..] {
        assert_eq!(errors.lines().filter(|line| line.starts_with(&format!("{name}: "))).count(), 1, "{name}: {errors}");
        assert!(*name != "BACKLOT_CLUSTER_SECRET" || !errors.contains(value), "the secret is printed: {errors}");
    }
    assert_eq!(errors.lines().count(), settings.len() - 1, "{errors}");
    assert!(errors.contains("did you mean BACKLOT_LISTEN?"));
}

/// A secret of a cluster that is strong enough.
const SECRET: (&str, &str) = ("BACKLOT_CLUSTER_SECRET", "0d1c7e1f92ab4c5e8f60b3a2d4c5e6f7");
const DATABASE: (&str, &str) = ("DATABASE_URL", "postgres://127.0.0.1:1/shop");
/// A fault of its own, so that no process serves if it accepts a secret that it should refuse.
const INVALID: (&str, &str) = ("BACKLOT_TRACE_RATIO", "7");

/// Values of a secret setting with which nothing starts: short ones, known ones, those of another form. It is empty for a secret of which
/// only the server on the other side knows whether it is right.
fn bad_secrets(name: &str) -> &'static [&'static str] {
    match name {
        "BACKLOT_CLUSTER_SECRET" | "BACKLOT_CLUSTER_SECRET_PREVIOUS" => {
            &["hunter2", "changeme-changeme-changeme-changeme-", "0123456789abcdef0123456789abcdef", "abcdefghijklmnopqrstuvwxyzABCDEF"]
        }
        "BACKLOT_ROLE_KEYS" => &["hunter2", "backlot-keys-1.hunter2"],
        "REDIS_URL" => &["hunter2", "http://me:hunter2@127.0.0.1"],
        "SENTRY_DSN" => &["hunter2"],
        "BACKLOT_SMTP_URL" => &["hunter2", "smtp://me:hunter2@mail.example", "smtps://hunter2@mail.example"],
        "BACKLOT_OIDC_PROVIDERS" => &["hunter2", r#"[{"name":"x","issuer":"https://x.example","clientId":"hunter2","clientSecret":""}]"#],
        "BACKLOT_GITHUB_CLIENT_SECRET" | "ANTHROPIC_API_KEY" | "OPENAI_API_KEY" | "DATABASE_PASSWORD" | "REDIS_PASSWORD" => &[],
        name if name.ends_with("DATABASE_URL") => {
            &["hunter2", "mysql://me:hunter2@127.0.0.1/shop", "postgres://me:hunter2/x@127.0.0.1/shop"]
        }
        name => panic!("the secret {name} has no row here"),
    }
}

/// Asserts that the command does not start, and names the setting without its value.
fn assert_refused(command: &str, settings: &[(&str, &str)], name: &str, problem: &str) {
    let data = tempfile::tempdir().expect("folder");
    let output = run(&mut backlot(data.path(), &[settings, &[INVALID]].concat()), &[command]);
    let errors = text(&output.stderr);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(64), 0), "{command} with {name}: {errors}");
    let line = errors.lines().find(|line| line.starts_with(&format!("{name}: "))).unwrap_or_else(|| panic!("{command}, {name}: {errors}"));
    assert!(line.contains(problem), "{command}: {line}");
    let is_shown = |value: &str| errors.contains("hunter2") || value.len() > 8 && errors.contains(value);
    assert!(!settings.iter().any(|(set, value)| *set == name && is_shown(value)), "{command} shows the value of {name}: {errors}");
}

/// Row A25 of the reference: each command with each of its secrets, by the list of settings, so that a new secret joins by itself.
#[test]
fn a25_nothing_starts_without_its_secrets_or_with_a_bad_one() {
    let roles = Role::ALL.map(|role| (role.name(), settings::of_role(role)));
    std::thread::scope(|scope| {
        for (command, docs) in roles.into_iter().chain([("up", settings::of_up())]) {
            scope.spawn(move || {
                for doc in docs.iter().filter(|doc| doc.secret) {
                    for value in bad_secrets(&doc.name) {
                        // The keys of a role are in place of the secret.
                        let base = if doc.name == "BACKLOT_ROLE_KEYS" { &[DATABASE][..] } else { &[DATABASE, SECRET] };
                        let base = base.iter().copied().filter(|(name, _)| *name != doc.name);
                        let settings: Vec<_> = base.chain([(doc.name.as_str(), *value)]).collect();
                        assert_refused(command, &settings, &doc.name, "");
                    }
                }
                let has = |name: &str| docs.iter().any(|doc| doc.name == name);
                if command != "up" {
                    // `up` makes a secret, and starts a database.
                    assert_refused(command, &[DATABASE], SECRET.0, "is not set and there is no");
                }
                if command != "up" && has(DATABASE.0) {
                    assert_refused(command, &[SECRET], DATABASE.0, "is required");
                }
                if has("BACKLOT_GITHUB_CLIENT_SECRET") {
                    let id = ("BACKLOT_GITHUB_CLIENT_ID", "an app");
                    assert_refused(command, &[DATABASE, SECRET, id], "BACKLOT_GITHUB_CLIENT_SECRET", "is required with");
                }
            });
        }
    });
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// Runs `backlot up` with a data folder on its own disk. `prepare` is a shell script with the folder as `$1`. Returns the exit code and the
/// errors, or `None` if this user may not mount a disk.
fn up_on_disk(options: &str, prepare: &str, below: &str) -> Option<(Option<i32>, String)> {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join(below);
    let script = format!(
        "mount -t tmpfs -o mode=755,{options} tmpfs \"$1\" || exit 99; {prepare}; exec env -i \"PATH=$PATH\" \"BACKLOT_DATA_DIR=$2\" \
         BACKLOT_LISTEN=127.0.0.1:0 BACKLOT_PREVIEW_LISTEN=127.0.0.1:0 BACKLOT_GRPC_LISTEN=127.0.0.1:0 BACKLOT_NO_DOWNLOAD=1 \"$0\" up"
    );
    let mut command = Command::new("unshare");
    if !is_root() {
        command.arg("--map-root-user");
    }
    command.args(["--mount", "bash", "-c", &script, env!("CARGO_BIN_EXE_backlot")]);
    let output = command.arg(folder.path()).arg(&data).stdin(Stdio::null()).output().expect("unshare runs");
    let errors = text(&output.stderr).replace(&data.display().to_string(), "FOLDER");
    (output.status.code() != Some(99) && !errors.starts_with("unshare")).then_some((output.status.code(), errors))
}

#[test]
fn a_folder_that_cannot_be_used_is_named_with_the_cause() {
    let key = "mkdir -p \"$1/data\" && touch \"$1/data/lock\" && head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \\n' >\"$1/data/cluster.key\" \
               && chmod 600 \"$1/data/cluster.key\"";
    let fill = "head -c 4000000 /dev/zero >\"$1/full\" 2>/dev/null || true";
    for (what, options, prepare, below, code, cause) in [
        ("a read-only disk", "size=1m,ro", "true".to_owned(), "", 64, "it is read-only"),
        ("a new folder on a read-only disk", "size=1m,ro", "true".to_owned(), "data", 64, "it is read-only"),
        (
            "a cluster's folder on a disk that became read-only",
            "size=1m",
            format!("{key}; mount -o remount,ro \"$1\""),
            "data",
            64,
            "it is read-only",
        ),
        ("a full disk", "size=1m", fill.to_owned(), "", 64, "the disk is full"),
        ("a cluster's folder on a disk that became full", "size=1m", format!("{key}; {fill}"), "data", 64, "the disk is full"),
        ("a disk without room for a database", "size=4m", "true".to_owned(), "data", 1, "the disk is full"),
        ("a file", "size=1m", "touch \"$1/data\"".to_owned(), "data", 64, "it is not a folder"),
        ("a folder in a file", "size=1m", "touch \"$1/data\"".to_owned(), "data/below", 64, "it is not a folder"),
    ] {
        if code == 1 && !is_root() {
            // A user who is root only in a user namespace cannot give the folder to the user of PostgreSQL.
            continue;
        }
        let Some((status, errors)) = up_on_disk(options, &prepare, below) else {
            eprintln!("skipped: this user may not mount a disk");
            return;
        };
        let line =
            errors.lines().find(|line| line.contains("the folder FOLDER cannot be used: ")).unwrap_or_else(|| panic!("{what}: {errors}"));
        assert!(line.contains(cause), "{what}: {errors}");
        assert_eq!(status, Some(code), "{what}: {errors}");
    }
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

/// Starts a server that refuses every PostgreSQL client with this error. Returns its address.
fn refusing_server(code: &str, message: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listener");
    let address = listener.local_addr().expect("address").to_string();
    let fields = format!("SFATAL\0VFATAL\0C{code}\0M{message}\0\0");
    let length = u32::try_from(fields.len() + 4).expect("short").to_be_bytes();
    let refusal = [b"E", &length[..], fields.as_bytes()].concat();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // A client first requests TLS and then sends its startup message. Errors mean that the client has disconnected.
            let _ = stream.read(&mut [0; 1024]).and_then(|_| stream.write_all(b"N"));
            let _ = stream.read(&mut [0; 1024]).and_then(|_| stream.write_all(&refusal));
        }
    });
    address
}

/// The lines that `backlot` writes to standard error, and whether it was still running after the first line.
fn errors_of(arguments: &[&str], settings: &[(&str, &str)]) -> (Vec<String>, bool) {
    let data = tempfile::tempdir().expect("folder");
    let mut child = backlot(data.path(), settings).args(arguments).stderr(Stdio::piped()).spawn().expect("backlot runs");
    let mut lines = BufReader::new(child.stderr.take().expect("stderr")).lines().map(|line| line.expect("text"));
    let first = lines.next();
    let ran = child.try_wait().expect("a child").is_none();
    let lines = first.into_iter().chain(lines).collect();
    assert_eq!(child.wait().expect("a child").code(), Some(1), "{lines:?}");
    (lines, ran)
}

#[test]
fn a_database_that_cannot_be_used_is_reported_once() {
    let secret = ("BACKLOT_CLUSTER_SECRET", "0d1c7e1f92ab4c5e8f60b3a2d4c5e6f7");
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("address").to_string();
    let wrong = refusing_server("28P01", "password authentication failed for user \"me\"");
    let up: &[(&str, &str)] = &FREE_PORTS;
    let role = [("BACKLOT_GRPC_LISTEN", "127.0.0.1:0"), secret, ("BACKLOT_RATE_LIMIT_URL", "http://127.0.0.1:1")];
    for (arguments, settings) in [(&["up"], up), (&["auth"], &role)] {
        let with = |address: &str| {
            let url = format!("postgres://me:hunter2@{address}/shop");
            errors_of(arguments, &[settings, &[("DATABASE_URL", url.as_str())]].concat())
        };
        // The server may still start, so backlot waits for it and reports that.
        let (lines, ran) = with(&closed);
        let errors = lines.join("\n");
        let about_it: Vec<_> = lines.iter().filter(|line| line.contains(&closed)).collect();
        let [first, last] = about_it[..] else { panic!("{arguments:?}: {errors}") };
        let place = format!("{closed}/shop_auth");
        assert!(ran && first.contains(&place) && first.contains("refused") && first.contains("waiting for it, at most 10 s"), "{errors}");
        assert!(last.starts_with("backlot: ") && last.contains(&place) && last.contains("gave up after 10 s"), "{errors}");
        assert!(last.matches("refused").count() == 1 && !errors.contains("hunter2") && !errors.contains("readyz"), "{errors}");

        // The password is wrong, so there is nothing to wait for.
        let errors = with(&wrong).0.join("\n");
        let text = format!("cannot connect to PostgreSQL at {wrong}/shop_auth: password authentication failed for user \"me\"");
        assert!(
            errors.matches(&text).count() == 1 && !errors.contains("waiting") && !errors.contains("hunter2"),
            "{arguments:?}: {errors}"
        );
        assert_eq!(errors.matches("password authentication").count(), 1, "{errors}");
    }
}

/// Starts `backlot` and sends SIGTERM after the first line that contains `waiting`. Returns the exit code and the lines.
fn stopped_at(command: &str, settings: &[(&str, &str)], waiting: &str) -> (Option<i32>, Vec<String>) {
    let data = tempfile::tempdir().expect("folder");
    let mut child = backlot(data.path(), settings).arg(command).stderr(Stdio::piped()).spawn().expect("backlot runs");
    let mut lines = Vec::new();
    for line in BufReader::new(child.stderr.take().expect("stderr")).lines().map(|line| line.expect("text")) {
        let is_waiting = line.contains(waiting) && !lines.iter().any(|line: &String| line.contains(waiting));
        lines.push(line);
        if is_waiting {
            let sent = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("kill");
            assert!(sent.success());
        }
    }
    (child.wait().expect("a child").code(), lines)
}

#[test]
fn a_stop_signal_ends_every_wait_of_a_start() {
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("address").to_string();
    // The system accepts connections for it, and nothing answers.
    let silent = TcpListener::bind("127.0.0.1:0").expect("listener");
    let redis = format!("redis://{}", silent.local_addr().expect("address"));
    let database = format!("postgres://me@{closed}/shop");
    let nowhere = "http://127.0.0.1:1";
    let role = [
        SECRET,
        ("DATABASE_URL", database.as_str()),
        ("BACKLOT_GRPC_LISTEN", "127.0.0.1:0"),
        ("BACKLOT_AUTH_URL", nowhere),
        ("BACKLOT_RATE_LIMIT_URL", nowhere),
        ("BACKLOT_PROJECT_STORAGE_URL", nowhere),
        ("BACKLOT_COMPILE_URL", nowhere),
    ];
    let up = [&FREE_PORTS[..], &[("DATABASE_URL", database.as_str())]].concat();
    let limiter = [SECRET, ("REDIS_URL", redis.as_str()), ("BACKLOT_GRPC_LISTEN", "127.0.0.1:0"), ("BACKLOT_AUTH_URL", nowhere)];
    for (command, settings, waiting) in [
        ("auth", &role[..], "waiting for it"),
        ("project-storage", &role[..], "waiting for it"),
        ("agent-streaming", &role[..], "waiting for it"),
        ("compile", &role[..], "waiting for it"),
        ("up", &up[..], "waiting for it"),
        ("rate-limit", &limiter[..], "listening"),
    ] {
        let (code, lines) = stopped_at(command, settings, waiting);
        let log = lines.join("\n");
        assert_eq!(code, Some(0), "{command}: {log}");
        assert!(log.contains("stopped before the start was complete"), "{command}: {log}");
        assert!(!log.contains("gave up") && !log.contains("continuing without it"), "the wait went on: {command}: {log}");
    }
}

#[test]
fn help_lists_the_settings_and_creates_no_folder() {
    let data = tempfile::tempdir().expect("folder");
    let folder = data.path().join("absent");
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
fn tokens_and_keys_are_one_line_and_a_probe_without_a_role_fails() {
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
    let other_role = run(&mut backlot(data.path(), &[("BACKLOT_ROLE_KEYS", keys.trim())]), &["gateway"]);
    let errors = text(&other_role.stderr);
    assert!(other_role.status.code() == Some(64) && errors.contains("BACKLOT_ROLE_KEYS: has the keys of auth"), "{errors}");
    let all = run(&mut backlot(data.path(), &[("BACKLOT_ROLE_KEYS", keys.trim())]), &["up"]);
    assert!(all.status.code() == Some(64) && text(&all.stderr).contains("BACKLOT_ROLE_KEYS: is for roles that run in separate processes"));

    let unused = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("address").to_string();
    for (role, setting) in [("gateway", "BACKLOT_LISTEN"), ("auth", "BACKLOT_GRPC_LISTEN")] {
        let output = run(&mut backlot(data.path(), &[(setting, &unused)]), &["health", role]);
        assert_eq!(output.status.code(), Some(1), "{role}: {}", text(&output.stderr));
    }
}

#[test]
fn admin_commands_explain_themselves_and_what_is_missing() {
    let data = tempfile::tempdir().expect("folder");
    for (arguments, texts) in [
        (&["--help"][..], &["users", "sessions", "signing-keys", "impersonate", "audit", "--operator", "BACKLOT_AUTH_URL"][..]),
        (&["users", "--help"], &["create", "list", "show", "disable", "enable", "plan"]),
        (&["users", "create", "--help"], &["--plan", "--password-stdin", "--json", "only once"]),
        (&["audit", "export", "--help"], &["--since", "--until"]),
        (&["impersonate", "--help"], &["--reason", "--minutes"]),
        (&["signing-keys", "replace", "--help"], &["--now", "15 minutes"]),
    ] {
        let output = run(backlot(data.path(), &[]).arg("admin"), arguments);
        let help = text(&output.stdout);
        assert!(output.status.success() && texts.iter().all(|text| help.contains(text)), "{arguments:?}: {help}");
    }
    let secret = ("BACKLOT_CLUSTER_SECRET", "0d1c7e1f92ab4c5e8f60b3a2d4c5e6f7");
    let unused = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("address");
    let nobody = format!("http://{unused}");
    let (nowhere, user) = (("BACKLOT_AUTH_URL", nobody.as_str()), ("USER", "grace"));
    for (settings, arguments, code, cause) in [
        (&[secret, nowhere][..], &["users", "disable", "ada@example.com"][..], 64, "USER: is not set; give your name"),
        (&[nowhere, user], &["users", "list"], 64, "is not set and there is no"),
        (&[secret, ("BACKLOT_AUTH_URL", "no where"), user], &["users", "list"], 1, "BACKLOT_AUTH_URL: no where is no URL"),
        (&[secret, nowhere], &["users", "list"], 1, "(UNAVAILABLE)"),
        (&[secret, nowhere], &["users", "disable", "ada@example.com", "--operator", "grace"], 1, "(UNAVAILABLE)"),
        (&[secret, nowhere, user], &["audit", "export", "--since", "yesterday"], 2, "must be a time such as"),
        (&[secret, nowhere, user], &["impersonate", "ada@example.com", "--reason", "x", "--minutes", "61"], 2, "61"),
        (&[secret, nowhere, user], &["users", "create", "ada@example.com", "a password"], 2, "unexpected argument"),
        (&[secret, nowhere], &["signing-keys", "replace"], 64, "USER: is not set; give your name"),
    ] {
        let output = run(backlot(data.path(), settings).arg("admin"), arguments);
        let errors = text(&output.stderr);
        assert!(output.status.code() == Some(code) && errors.contains(cause), "{arguments:?}: {:?} {errors}", output.status.code());
        assert!(output.stdout.is_empty(), "{arguments:?}");
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
        // The log goes to a file, because a full pipe would block the process.
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

    /// Waits for the exit. Returns the exit code and the duration.
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
fn a_cluster_starts_stops_and_restarts_after_a_kill() {
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
    let elsewhere = run(&mut backlot(data.path(), &[("BACKLOT_GRPC_LISTEN", grpc[1].trim_start_matches("http://"))]), &["health", "auth"]);
    assert!(!elsewhere.status.success() && text(&elsewhere.stderr).contains("another service than auth"), "{}", text(&elsewhere.stderr));
    let output = run(&mut backlot(data.path(), &[("BACKLOT_LISTEN", &address)]), &["health"]);
    assert!(output.status.success(), "{}", text(&output.stderr));

    let second = run(&mut backlot(data.path(), &FREE_PORTS), &["up"]);
    assert_eq!(second.status.code(), Some(1));
    let errors = text(&second.stderr);
    assert!(errors.contains(&format!("is in use by process {}", cluster.child.id())), "{errors}");

    cluster.signal("-KILL");
    assert_eq!(cluster.wait().0, None);
    let restarted = Up::start(data.path());
    restarted.signal("-TERM");
    let (code, took) = restarted.wait();
    assert_eq!(code, Some(0));
    let log = std::fs::read_to_string(data.path().join("test.log")).expect("log");
    assert!(!log.contains("already exists"), "the log has notices of the database: {log}");
    let metrics = list["metricsUrl"].as_str().expect("metrics").rsplit_once(':').expect("a port").0;
    for (name, url) in [("gateway", "http://127.0.0.1:"), ("previews", "http://127.0.0.1:"), ("metrics", metrics)] {
        let row = log.lines().find(|line| line.trim_start().starts_with(name)).unwrap_or_else(|| panic!("{name}: {log}"));
        assert!(row.contains(url) && row.ends_with("/metrics") == (name == "metrics"), "{row}");
    }
    let ends: Vec<_> = log.lines().rev().take(2).collect();
    assert!(ends[1].contains("stopping") && ends[1].contains("SIGTERM") && ends[0].ends_with("backlot: stopped"), "{log}");
    assert!(took < Duration::from_secs(30), "{took:?}");
    assert!(!data.path().join("endpoints.json").exists());
}
