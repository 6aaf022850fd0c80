//! All services have the same layout: the same files with the same parts. A reader who knows one service finds the parts of every other one.

use house::source::{File, sources, uses};

const SERVICES: [&str; 5] = ["auth", "agent-streaming", "project-storage", "rate-limit", "compile"];

/// The files in `src` of a service, each with the definitions that it has.
const FILES: &[(&str, &[&str])] = &[
    ("lib.rs", &["pub async fn serve(config: Config, listener: TcpListener, shutdown: CancellationToken)", "pub enum ServeError"]),
    ("app.rs", &["pub(crate) struct App"]),
    ("access.rs", &["const RULES: &[Rule]"]),
    ("config.rs", &["pub struct Config", "pub fn read(env: &mut Env) -> Self"]),
    ("error.rs", &["enum Error", "const SERVICE: &str = Caller::"]),
    ("grpc.rs", &["pub(crate) struct Service(pub(crate) Arc<App>)"]),
    ("store.rs", &["MIGRATOR"]),
];

/// Services that have no such file, and why.
const WITHOUT: &[(&str, &str, &str)] =
    &[("rate-limit", "store.rs", "its counters are in Redis or in memory (`counter`), it has no database")];

/// Fields of `Config`, by their types.
const FIELDS: &[(&str, &str)] =
    &[("server::Config", "server"), ("postgres::Config", "postgres"), ("redis::Config", "redis"), ("ClusterSecret", "cluster_secret")];

/// Files beside `lib.rs`, `app.rs` and `grpc` that name tonic or a generated client: they call other services.
const CLIENTS: &[&str] = &[
    "services/agent-streaming/src/upstream.rs",
    "services/auth/src/limit.rs",
    "services/auth/src/stuffing.rs",
    "services/project-storage/src/background/accounts.rs",
    "services/project-storage/src/background/sessions.rs",
    "services/project-storage/src/commit/request.rs",
];

fn file<'a>(all: &'a [File], service: &str, name: &str) -> Option<&'a File> {
    let path = format!("services/{service}/src/{name}");
    all.iter().find(|file| file.path == path)
}

#[test]
fn every_service_has_the_same_files() {
    let all = sources();
    for service in SERVICES {
        for (name, parts) in FILES {
            let excused = WITHOUT.iter().any(|(of, missing, _)| (*of, *missing) == (service, *name));
            let found = file(&all, service, name);
            assert_eq!(found.is_none(), excused, "{service}: {name} is missing, or is excused without need");
            let Some(found) = found else { continue };
            for part in *parts {
                assert!(found.own().contains(part), "{} does not define `{part}`", found.path);
            }
        }
    }
}

#[test]
fn a_service_publishes_serve_and_its_settings() {
    let all = sources();
    for service in SERVICES {
        let lib = file(&all, service, "lib.rs").expect("lib.rs");
        for line in lib.own().lines().filter(|line| line.starts_with("pub ")) {
            let allowed = ["pub async fn serve(", "pub enum ServeError", "pub use ", "pub mod testing {"];
            assert!(allowed.iter().any(|start| line.starts_with(start)), "{}: `{line}`", lib.path);
        }
        let published = lib.own().lines().filter(|line| line.starts_with("pub use "));
        let of_tests = lib.own().contains("#[doc(hidden)]\npub mod testing {");
        assert!(published.count() <= 1 && (of_tests || !lib.own().contains("pub mod ")), "{}: what tests need is in `testing`", lib.path);
    }
}

#[test]
fn settings_of_one_kind_have_one_name() {
    let all = sources();
    for service in SERVICES {
        let config = file(&all, service, "config.rs").expect("config.rs");
        let fields = config.own().lines().filter_map(|line| line.trim().strip_prefix("pub ")?.strip_suffix(',')?.split_once(": "));
        for (name, kind) in fields {
            for (of_kind, expected) in FIELDS {
                assert!(kind != *of_kind || name == *expected, "{}: `{name}: {kind}` is named `{expected}` elsewhere", config.path);
            }
        }
    }
}

#[test]
fn only_the_edges_of_a_service_know_its_transport() {
    for file in sources() {
        let inside = SERVICES.iter().find_map(|service| file.path.strip_prefix(&format!("services/{service}/src/")));
        let Some(inside) = inside else { continue };
        let is_edge =
            ["lib.rs", "app.rs", "grpc.rs"].contains(&inside) || inside.starts_with("grpc/") || CLIENTS.contains(&file.path.as_str());
        // The compiler is a child process, which no network is between.
        let code = file.code().replace("compiler_client::", "");
        assert!(
            is_edge || !(uses(&code, "tonic") || code.contains("_client::")),
            "{} names tonic or a client; the adapters in `grpc` do",
            file.path
        );
    }
}
