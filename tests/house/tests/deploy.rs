//! What is deployed against what there is: the image, the compose file and the dashboards name only settings, files, services
//! and metrics that exist, and every role can be configured by them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use backlot::{
    role::Process,
    settings::{self, Role},
};
use chassis::config::Env;
use serde_yaml_ng::Value;

/// Images without any program that could ask after their health.
const NO_PROBE: [&str; 2] = ["otel-collector", "jaeger"];
const SECRET: &str = "BACKLOT_CLUSTER_SECRET";

#[test]
fn every_role_is_a_service_that_can_be_configured_by_its_environment() {
    let compose = Compose::read();
    for role in Role::ALL {
        let service = compose.service(role.name());
        assert_eq!(strings(&service["command"]), [role.name()]);
        let environment = environment(service);
        let known: BTreeSet<_> = settings::of_role(role).into_iter().map(|doc| doc.name).collect();
        let unknown: Vec<_> = environment.keys().filter(|name| !known.contains(*name)).collect();
        assert!(unknown.is_empty(), "{}: no such settings: {unknown:?}", role.name());

        // As docker would start it, with nothing but a secret in the shell.
        let mut values = image_environment();
        values.extend(environment.iter().map(|(name, value)| (name.clone(), interpolated(value))));
        values.insert(SECRET.to_owned(), "0d1c7e1f92ab4c5e8f60b3a2d4c5e6f7".to_owned());
        let mut env = Env::of(values);
        env.known_elsewhere(&settings::of_all());
        let _ = Process::read(&mut env, role);
        env.unknown();
        if let Err(faults) = env.check() {
            panic!("{}: {faults}", role.name());
        }
    }
}

#[test]
fn roles_find_each_other_and_their_engines() {
    let compose = Compose::read();
    for role in Role::ALL {
        let environment = environment(compose.service(role.name()));
        let reads: BTreeSet<_> = settings::of_role(role).into_iter().map(|doc| doc.name).collect();
        for peer in Role::SERVICES {
            let name = peer.url_setting().expect("a service");
            let wanted = reads.contains(name).then(|| format!("http://{}:9090", peer.name()));
            assert_eq!(environment.get(name), wanted.as_ref(), "{}: {name}", role.name());
        }
        for (name, engine) in [("DATABASE_URL", "@postgres:5432/"), ("REDIS_URL", "//redis:6379")] {
            let given = environment.get(name).is_some_and(|value| value.contains(engine));
            assert_eq!(given, reads.contains(name), "{}: {name}", role.name());
        }
    }
}

#[test]
fn without_a_secret_nothing_starts() {
    let compose = Compose::read();
    for role in Role::ALL {
        let value = &environment(compose.service(role.name()))[SECRET];
        assert!(value.starts_with("${BACKLOT_CLUSTER_SECRET:?"), "{}: {value}", role.name());
    }
}

#[test]
fn services_are_pinned_probed_and_wait_for_what_exists() {
    let compose = Compose::read();
    for (name, service) in &compose.services {
        let image = service["image"].as_str().unwrap_or_default();
        assert!(image == "backlot:local" || is_pinned(image), "{name}: {image}");
        let probe = strings(&service["healthcheck"]["test"]);
        assert_eq!(probe.is_empty(), NO_PROBE.contains(&name.as_str()), "{name}: health check");
        if Role::ALL.iter().any(|role| role.name() == name) {
            assert_eq!(probe, ["CMD", "backlot", "health", name], "{name}");
        }
        let waits: Vec<_> = match &service["depends_on"] {
            Value::Mapping(map) => map.keys().filter_map(Value::as_str).map(str::to_owned).collect(),
            other => strings(other),
        };
        for other in waits {
            assert!(compose.services.contains_key(&other), "{name} waits for {other}");
        }
        for port in strings(&service["ports"]) {
            assert!(port.starts_with("127.0.0.1:"), "{name} publishes {port} beyond this machine");
        }
    }
    let published: Vec<_> = compose.services.values().flat_map(|service| strings(&service["ports"])).collect();
    let hosts: BTreeSet<_> = published.iter().filter_map(|port| port.rsplit_once(':')).map(|(host, _)| host).collect();
    assert_eq!(hosts.len(), published.len(), "a port is published twice: {published:?}");
}

#[test]
fn one_build_makes_the_image_of_all_roles_and_nothing_of_it_is_pulled() {
    let compose = Compose::read();
    let of_image: Vec<_> = compose.services.iter().filter(|(_, service)| service["image"] == "backlot:local").collect();
    assert_eq!(of_image.len(), Role::ALL.len());
    let builds: Vec<_> = of_image.iter().filter(|(_, service)| service.get("build").is_some()).map(|(name, _)| name.as_str()).collect();
    assert_eq!(builds, ["gateway"], "builds of one tag get in each other's way");
    for (name, service) in of_image {
        assert_eq!(service["pull_policy"], "never", "{name}");
    }
    let frontend = read("deploy/Dockerfile").lines().any(|line| line.starts_with("# syntax="));
    assert!(!frontend, "a frontend would have to be pulled");
}

#[test]
fn nothing_grows_without_a_limit() {
    let compose = Compose::read();
    for (name, service) in &compose.services {
        let options = &service["logging"]["options"];
        assert!(options["max-size"].is_string() && options["max-file"].is_string(), "{name}: its log");
        assert!(service["mem_limit"].is_string(), "{name}: its memory");
        for mount in strings(&service["tmpfs"]) {
            assert!(mount.contains(":size="), "{name}: {mount}");
        }
    }
    assert!(compose.service("postgres")["shm_size"].is_string(), "parallel queries need more than 64 MB of shared memory");
}

#[test]
fn what_shows_traces_and_metrics_is_a_profile_that_also_turns_on_the_export() {
    let compose = Compose::read();
    let is_in_profile = |service: &Value| strings(&service["profiles"]) == ["observability"];
    let profile: BTreeSet<_> =
        compose.services.iter().filter(|(_, service)| is_in_profile(service)).map(|(name, _)| name.as_str()).collect();
    assert_eq!(profile, ["grafana", "jaeger", "otel-collector", "prometheus"].into());
    for (name, service) in compose.services.iter().filter(|(_, service)| !is_in_profile(service)) {
        let waits = service["depends_on"].as_mapping().into_iter().flatten().filter_map(|(key, _)| key.as_str());
        assert!(waits.into_iter().all(|other| !profile.contains(other)), "{name} needs the profile");
    }
    for role in Role::ALL {
        let endpoint = environment(compose.service(role.name()))["OTEL_EXPORTER_OTLP_ENDPOINT"].clone();
        assert_eq!(interpolated(&endpoint), "", "{}: a collector that is not there", role.name());
        assert!(endpoint.contains("${COMPOSE_PROFILES:+http://otel-collector:4317}"), "{}: {endpoint}", role.name());
    }
}

#[test]
fn more_replicas_publish_no_port_twice_and_all_are_scraped() {
    let (compose, replicas) = (Compose::read(), mapping(&yaml("deploy/compose.replicas.yml")["services"]));
    let names: BTreeSet<_> = replicas.keys().map(String::as_str).collect();
    assert_eq!(names, Role::ALL.map(Role::name).into());
    for (name, service) in &replicas {
        assert!(compose.services.contains_key(name) && service["scale"].as_u64() >= Some(2), "{name}");
        let Value::Tagged(ports) = &service["ports"] else { panic!("{name}: its ports are added to those of the compose file") };
        let published = strings(&ports.value);
        let ranges = published.iter().all(|port| port.starts_with("127.0.0.1:") && port.contains('-'));
        assert!(ranges && (published.is_empty() != (name == "gateway")), "{name}: {published:?}");
    }
    let prometheus = yaml("deploy/prometheus/prometheus.yml");
    let discovered = strings(&prometheus["scrape_configs"][0]["dns_sd_configs"][0]["names"]);
    assert_eq!(discovered, ["gateway"]);
}

#[test]
fn what_is_mounted_is_there() {
    let compose = Compose::read();
    for (name, service) in &compose.services {
        for volume in strings(&service["volumes"]) {
            let source = volume.split(':').next().unwrap_or_default();
            match source.strip_prefix("./") {
                Some(path) => assert!(root().join(path).exists(), "{name} mounts {path}"),
                None => assert!(
                    !compose.whole["volumes"][source].is_null() || compose.whole["volumes"].get(source).is_some(),
                    "{name}: {source}"
                ),
            }
        }
    }
    for (service, path) in [("prometheus", "deploy/prometheus/prometheus.yml"), ("otel-collector", "deploy/otel/collector.yaml")] {
        assert!(root().join(path).is_file(), "{service}");
    }
}

#[test]
fn the_example_lists_exactly_what_the_compose_file_takes() {
    let text = read("docker-compose.yml");
    let taken: BTreeSet<_> = text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .flat_map(|line| line.split("${").skip(1))
        .map(|rest| rest.split([':', '-', '}']).next().unwrap_or_default().to_owned())
        .collect();
    let example = read(".env.example");
    let listed: BTreeSet<_> = example
        .lines()
        .map(|line| line.trim_start_matches('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name.to_owned())
        .filter(|name| name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'))
        .collect();
    assert_eq!(listed, taken);
}

#[test]
fn the_image_is_pinned_and_runs_a_role_as_nobody_special() {
    let text = read("deploy/Dockerfile");
    let instructions = instructions(&text);
    let of = |word: &str| -> Vec<&str> { instructions.iter().filter_map(|line| line.strip_prefix(word)).map(str::trim).collect() };
    let bases = of("FROM ");
    assert!(bases.len() >= 2, "build and run are stages of their own");
    assert!(bases.iter().all(|base| base.split_whitespace().next().is_some_and(is_pinned)), "{bases:?}");
    assert_eq!(of("ENTRYPOINT "), [r#"["backlot"]"#]);
    let command = of("CMD ")[0].trim_matches(|c| "[]\" ".contains(c));
    assert!(Role::ALL.iter().any(|role| role.name() == command), "{command}");
    assert!(of("USER ").last().is_some_and(|user| !user.starts_with("root") && !user.starts_with('0')));
    assert_eq!(of("STOPSIGNAL "), ["SIGTERM"]);

    let build = of("RUN ").into_iter().find(|line| line.contains("cargo build")).expect("a build");
    let profile = build.split("--profile ").nth(1).and_then(|rest| rest.split_whitespace().next()).expect("a profile");
    assert!(read("Cargo.toml").contains(&format!("[profile.{profile}]")), "{profile}");
    assert!(build.contains("--locked") && build.contains(&format!("target/{profile}/backlot")));
    let toolchain = bases[0].trim_start_matches("rust:").split('-').next().unwrap_or_default();
    let oldest = read("Cargo.toml")
        .lines()
        .find_map(|line| line.strip_prefix("rust-version = "))
        .expect("rust-version")
        .trim_matches('"')
        .to_owned();
    assert!(minor(toolchain) >= minor(&oldest), "the image builds with {toolchain}, the workspace needs {oldest}");

    let known: BTreeSet<_> = settings::of_all().into_iter().map(|doc| doc.name).collect();
    let environment = image_environment();
    assert!(environment.keys().all(|name| known.contains(name)), "{environment:?}");
    let exposed: BTreeSet<_> = of("EXPOSE ")[0].split_whitespace().map(str::to_owned).collect();
    let listens = environment.iter().filter(|(name, _)| name.ends_with("LISTEN")).filter_map(|(_, value)| value.rsplit(':').next());
    assert_eq!(exposed, listens.map(str::to_owned).collect());
}

#[test]
fn alerts_and_dashboards_ask_for_metrics_that_exist() {
    let instruments = instruments();
    let dashboards = read("deploy/grafana/dashboards/backlot.json");
    let _: serde_json::Value = serde_json::from_str(&dashboards).expect("JSON");
    for (file, text) in [("alerts", read("deploy/prometheus/alerts.yml")), ("dashboard", dashboards)] {
        let words = text.split(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'));
        let asked: BTreeSet<_> =
            words.filter(|word| ["_count", "_bucket", "_total", "_sum"].iter().any(|end| word.ends_with(end))).collect();
        assert!(!asked.is_empty(), "{file}: no metric");
        for metric in asked {
            assert!(instruments.contains(metric), "{file}: {metric} is none of {instruments:?}");
        }
    }
}

#[test]
fn the_collector_and_prometheus_name_what_there_is() {
    let compose = Compose::read();
    let collector = yaml("deploy/otel/collector.yaml");
    for (name, pipeline) in mapping(&collector["service"]["pipelines"]) {
        for kind in ["receivers", "processors", "exporters"] {
            for part in strings(&pipeline[kind]) {
                assert!(collector[kind].get(part.as_str()).is_some(), "{name}: {part} is not among the {kind}");
            }
        }
    }
    let prometheus = yaml("deploy/prometheus/prometheus.yml");
    for job in prometheus["scrape_configs"].as_sequence().expect("jobs") {
        let fixed = strings(&job["static_configs"][0]["targets"]);
        let discovered = strings(&job["dns_sd_configs"][0]["names"]);
        assert_ne!(fixed.is_empty(), discovered.is_empty(), "{job:?}");
        for target in fixed.into_iter().chain(discovered) {
            let host = target.split(':').next().unwrap_or_default();
            assert!(compose.services.contains_key(host), "Prometheus reads {target}");
        }
    }
    let rules = strings(&prometheus["rule_files"]);
    assert_eq!(rules, ["/etc/prometheus/alerts.yml"]);
    for rule in yaml("deploy/prometheus/alerts.yml")["groups"][0]["rules"].as_sequence().expect("rules") {
        assert!(rule["alert"].is_string() && rule["expr"].is_string() && rule["annotations"]["summary"].is_string(), "{rule:?}");
    }
}

#[test]
fn the_launcher_announces_the_postgresql_that_will_be_used() {
    let folder = tempfile::tempdir().expect("folder");
    let path_of = |major: u32| folder.path().join(format!("pg{major}"));
    for major in [13, 98, 99] {
        fs::create_dir(path_of(major)).expect("folder");
        for (program, text) in [("initdb", String::new()), ("postgres", format!("echo 'postgres (PostgreSQL) {major}.4 (Some 1)'"))] {
            let file = path_of(major).join(program);
            fs::write(&file, format!("#!/bin/sh\n{text}\n")).expect("program");
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("mode");
        }
    }
    let data = folder.path().join("data");
    fs::create_dir_all(data.join("postgres/data")).expect("folder");
    // The first on the PATH is too old, the next one is not the newest.
    for (made_by, announced) in [(None, Some(99)), (Some("98"), Some(98)), (Some("99"), Some(99)), (Some("97"), None), (Some("13"), None)] {
        if let Some(major) = made_by {
            fs::write(data.join("postgres/data/PG_VERSION"), format!("{major}\n")).expect("version");
        }
        let path = [13, 98, 99].map(|major| path_of(major).display().to_string()).join(":");
        let script = "export PATH=\"$1:$PATH\"; source deploy/scripts/common.sh; used_postgres \"$2\" || true";
        let mut bash = std::process::Command::new("bash");
        let output = bash.args(["-c", script, "bash", &path]).arg(&data).current_dir(root()).output().expect("bash");
        let told = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let wanted = announced.map(|major| path_of(major).display().to_string()).unwrap_or_default();
        assert_eq!(told, wanted, "data made by {made_by:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

struct Compose {
    whole: Value,
    services: BTreeMap<String, Value>,
}

impl Compose {
    fn read() -> Self {
        let mut whole = yaml("docker-compose.yml");
        // What is merged merges something itself.
        (0..2).for_each(|_| whole.apply_merge().expect("merge keys"));
        let services = mapping(&whole["services"]);
        Self { whole, services }
    }

    fn service(&self, name: &str) -> &Value {
        self.services.get(name).unwrap_or_else(|| panic!("there is no service {name}"))
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("a crate in a folder of the repository's root")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn yaml(path: &str) -> Value {
    serde_yaml_ng::from_str(&read(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn mapping(value: &Value) -> BTreeMap<String, Value> {
    let map = value.as_mapping().expect("a mapping");
    map.iter().map(|(key, value)| (key.as_str().expect("a name").to_owned(), value.clone())).collect()
}

/// The texts of a list; of anything else none.
fn strings(value: &Value) -> Vec<String> {
    value.as_sequence().map(|list| list.iter().filter_map(Value::as_str).map(str::to_owned).collect()).unwrap_or_default()
}

fn environment(service: &Value) -> BTreeMap<String, String> {
    mapping(&service["environment"]).into_iter().map(|(name, value)| (name, value.as_str().expect("text").to_owned())).collect()
}

/// The value that compose makes of `${NAME:-default}`, `${NAME-default}` and `${NAME:+value}` when nothing is set.
fn interpolated(value: &str) -> String {
    let Some((before, rest)) = value.split_once("${") else { return value.to_owned() };
    let mut open = 1;
    let closing = |c: char| {
        open += i32::from(c == '{') - i32::from(c == '}');
        open == 0
    };
    let (variable, after) = rest.split_at(rest.find(closing).expect("a closed variable"));
    let default = variable.find('-').filter(|at| !variable[..*at].contains(['+', '?'])).map_or("", |at| &variable[at + 1..]);
    format!("{before}{}{}", interpolated(default), interpolated(&after[1..]))
}

/// A tag that begins with a version of at least two numbers; its digest may follow.
fn is_pinned(image: &str) -> bool {
    let (image, digest) = image.split_once('@').unwrap_or((image, ""));
    if !digest.is_empty() && digest.strip_prefix("sha256:").is_none_or(|hex| hex.len() != 64) {
        return false;
    }
    let Some((_, tag)) = image.rsplit_once(':') else { return false };
    let version = tag.trim_start_matches('v').split('-').next().unwrap_or_default();
    version.contains('.') && version.split('.').all(|part| part.parse::<u32>().is_ok())
}

fn minor(version: &str) -> u32 {
    version.split('.').nth(1).and_then(|part| part.parse().ok()).unwrap_or_else(|| panic!("{version} is no version"))
}

/// The instructions of a Dockerfile, each on one line.
fn instructions(text: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#') && !line.trim().is_empty());
    let joined = lines.collect::<Vec<_>>().join("\n").replace("\\\n", " ");
    joined.lines().map(str::to_owned).collect()
}

fn image_environment() -> BTreeMap<String, String> {
    let text = read("deploy/Dockerfile");
    let lines = instructions(&text);
    let pairs = lines.iter().filter_map(|line| line.strip_prefix("ENV ")).flat_map(str::split_whitespace);
    pairs.map(|pair| pair.split_once('=').expect("NAME=value")).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The names under which Prometheus knows the instruments of the source: `a.b` in seconds is `a_b_seconds_bucket` and so on.
fn instruments() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for entry in
        ignore::WalkBuilder::new(root()).build().filter_map(Result::ok).filter(|entry| entry.path().extension().is_some_and(|e| e == "rs"))
    {
        let text = fs::read_to_string(entry.path()).expect("source");
        for (kind, ends) in [
            ("f64_histogram(\"", &["_seconds_bucket", "_seconds_count", "_seconds_sum"][..]),
            ("u64_counter(\"", &["_total"]),
            ("f64_counter(\"", &["_total"]),
        ] {
            for name in text.split(kind).skip(1).filter_map(|rest| rest.split('"').next()) {
                names.extend(ends.iter().map(|end| name.replace('.', "_") + end));
            }
        }
    }
    names
}
