//! The compose file: it can configure every role and refers only to what exists.

use std::collections::{BTreeMap, BTreeSet};

use backlot::{process::Process, role::Role, settings};
use chassis::config::Env;
use house::root;
use serde_yaml_ng::Value;

use crate::{
    image::{image_environment, is_pinned},
    mapping, read, strings, yaml,
};

/// Services whose images have no program for a health check.
const NO_PROBE: [&str; 2] = ["otel-collector", "jaeger"];
const SECRET: &str = "BACKLOT_CLUSTER_SECRET";
const COMPOSE_FILES: [&str; 3] = ["docker-compose.yml", "deploy/compose.replicas.yml", "deploy/compose.tls.yml"];

#[test]
fn every_role_is_a_service_with_a_valid_environment() {
    let compose = Compose::read();
    for role in Role::ALL {
        let service = compose.service(role.name());
        assert_eq!(strings(&service["command"]), [role.name()]);
        let environment = environment(service);
        let known: BTreeSet<_> = settings::of_role(role).into_iter().map(|doc| doc.name).collect();
        let unknown: Vec<_> = environment.keys().filter(|name| !known.contains(*name)).collect();
        assert!(unknown.is_empty(), "{}: no such settings: {unknown:?}", role.name());

        // The environment that Docker would pass, if only the secret is set.
        let mut values = image_environment();
        values.extend(environment.iter().map(|(name, value)| (name.clone(), interpolated(value))));
        values.insert(SECRET.to_owned(), "0d1c7e1f92ab4c5e8f60b3a2d4c5e6f7".to_owned());
        let mut env = Env::of(values);
        env.known_elsewhere(&settings::of_all());
        let _ = Process::read(&mut env, role);
        env.reject_unknown();
        if let Err(faults) = env.check() {
            panic!("{}: {faults}", role.name());
        }
    }
}

#[test]
fn roles_have_the_addresses_of_services_and_engines() {
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
fn the_secret_is_required() {
    let compose = Compose::read();
    for role in Role::ALL {
        let value = &environment(compose.service(role.name()))[SECRET];
        assert!(value.starts_with("${BACKLOT_CLUSTER_SECRET:?"), "{}: {value}", role.name());
    }
}

#[test]
fn images_are_pinned_and_services_have_health_checks() {
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
            assert!(compose.services.contains_key(&other), "{name} depends on {other}, which does not exist");
        }
        for port in strings(&service["ports"]) {
            assert!(port.starts_with("127.0.0.1:"), "{name} publishes {port} on all addresses");
        }
    }
    let published: Vec<_> = compose.services.values().flat_map(|service| strings(&service["ports"])).collect();
    let hosts: BTreeSet<_> = published.iter().filter_map(|port| port.rsplit_once(':')).map(|(host, _)| host).collect();
    assert_eq!(hosts.len(), published.len(), "a port is published twice: {published:?}");
}

#[test]
fn one_service_builds_the_image_of_all_roles_and_none_pulls_it() {
    let compose = Compose::read();
    let of_image: Vec<_> = compose.services.iter().filter(|(_, service)| service["image"] == "backlot:local").collect();
    assert_eq!(of_image.len(), Role::ALL.len());
    let builds: Vec<_> = of_image.iter().filter(|(_, service)| service.get("build").is_some()).map(|(name, _)| name.as_str()).collect();
    assert_eq!(builds, ["gateway"], "only one service may build the tag");
    for (name, service) in of_image {
        assert_eq!(service["pull_policy"], "never", "{name}");
    }
    let frontend = read("deploy/Dockerfile").lines().any(|line| line.starts_with("# syntax="));
    assert!(!frontend, "a syntax directive would pull a frontend image");
}

#[test]
fn logs_memory_and_temporary_files_are_limited() {
    let compose = Compose::read();
    for (name, service) in &compose.services {
        let options = &service["logging"]["options"];
        assert!(options["max-size"].is_string() && options["max-file"].is_string(), "{name}: the log has no limit");
        assert!(service["mem_limit"].is_string(), "{name}: the memory has no limit");
        for mount in strings(&service["tmpfs"]) {
            assert!(mount.contains(":size="), "{name}: {mount}");
        }
    }
    assert!(compose.service("postgres")["shm_size"].is_string(), "parallel queries need more than 64 MB of shared memory");
}

#[test]
fn the_observability_profile_also_enables_the_export_of_traces() {
    let compose = Compose::read();
    let is_in_profile = |service: &Value| strings(&service["profiles"]) == ["observability"];
    let profile: BTreeSet<_> =
        compose.services.iter().filter(|(_, service)| is_in_profile(service)).map(|(name, _)| name.as_str()).collect();
    assert_eq!(profile, ["grafana", "jaeger", "otel-collector", "prometheus"].into());
    for (name, service) in compose.services.iter().filter(|(_, service)| !is_in_profile(service)) {
        let waits = service["depends_on"].as_mapping().into_iter().flatten().filter_map(|(key, _)| key.as_str());
        assert!(waits.into_iter().all(|other| !profile.contains(other)), "{name} depends on a service of the profile");
    }
    for role in Role::ALL {
        let endpoint = environment(compose.service(role.name()))["OTEL_EXPORTER_OTLP_ENDPOINT"].clone();
        assert_eq!(interpolated(&endpoint), "", "{}: without the profile there is no collector", role.name());
        assert!(endpoint.contains("${COMPOSE_PROFILES:+http://otel-collector:4317}"), "{}: {endpoint}", role.name());
    }
}

#[test]
fn replicas_publish_port_ranges_and_are_all_scraped() {
    let (compose, replicas) = (Compose::read(), mapping(&yaml("deploy/compose.replicas.yml")["services"]));
    let names: BTreeSet<_> = replicas.keys().map(String::as_str).collect();
    assert_eq!(names, Role::ALL.map(Role::name).into());
    for (name, service) in &replicas {
        assert!(compose.services.contains_key(name) && service["scale"].as_u64() >= Some(2), "{name}");
        let Value::Tagged(ports) = &service["ports"] else { panic!("{name}: the ports must replace those of the compose file") };
        let published = strings(&ports.value);
        let ranges = published.iter().all(|port| port.starts_with("127.0.0.1:") && port.contains('-'));
        assert!(ranges && (published.is_empty() != (name == "gateway")), "{name}: {published:?}");
    }
    let prometheus = yaml("deploy/prometheus/prometheus.yml");
    let discovered = strings(&prometheus["scrape_configs"][0]["dns_sd_configs"][0]["names"]);
    assert_eq!(discovered, ["gateway"]);
}

#[test]
fn mounted_files_and_volumes_exist() {
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
fn the_example_lists_exactly_the_variables_of_the_compose_files() {
    let taken: BTreeSet<_> = COMPOSE_FILES.into_iter().flat_map(|file| variables(&read(file))).collect();
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
fn a25_no_secret_of_the_compose_files_has_a_default() {
    let mut found = BTreeSet::new();
    for file in COMPOSE_FILES {
        for value in read(file).split("${").skip(1).filter_map(|rest| rest.split('}').next()) {
            let name: String = value.chars().take_while(|c| c.is_ascii_uppercase() || *c == '_').collect();
            if !["SECRET", "PASSWORD", "KEY", "TOKEN"].iter().any(|word| name.contains(word)) {
                continue;
            }
            let rest = &value[name.len()..];
            let has_no_default = rest.starts_with(":?") || matches!(rest, "" | "-" | ":-") || rest == ":-$POSTGRES_PASSWORD";
            assert!(has_no_default, "{file}: {value}");
            found.insert(name);
        }
    }
    for name in ["BACKLOT_CLUSTER_SECRET", "POSTGRES_PASSWORD", "GRAFANA_PASSWORD"] {
        assert!(found.contains(name), "{name}");
    }
}

/// The variables that a compose file takes from `.env`. `$$` is a dollar of a command.
pub(crate) fn variables(text: &str) -> BTreeSet<String> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let values = lines.flat_map(|line| line.split("${").skip(1));
    values.map(|rest| rest.split([':', '-', '}']).next().unwrap_or_default().to_owned()).collect()
}

pub(crate) struct Compose {
    whole: Value,
    pub(crate) services: BTreeMap<String, Value>,
}

impl Compose {
    pub(crate) fn read() -> Self {
        let mut whole = yaml("docker-compose.yml");
        // A merged mapping may contain another merge key.
        (0..2).for_each(|_| whole.apply_merge().expect("merge keys"));
        let services = mapping(&whole["services"]);
        Self { whole, services }
    }

    fn service(&self, name: &str) -> &Value {
        self.services.get(name).unwrap_or_else(|| panic!("there is no service {name}"))
    }
}

fn environment(service: &Value) -> BTreeMap<String, String> {
    mapping(&service["environment"]).into_iter().map(|(name, value)| (name, value.as_str().expect("text").to_owned())).collect()
}

/// The value of `${NAME:-default}`, `${NAME-default}` and `${NAME:+value}` in compose if no variable is set.
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
