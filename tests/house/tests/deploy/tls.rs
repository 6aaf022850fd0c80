//! The variant with TLS between roles: each container has the certificate of its role alone.

use std::collections::{BTreeMap, BTreeSet};

use backlot::{role::Role, settings};
use chassis::identity::Caller;
use serde_yaml_ng::Value;

use crate::{compose::variables, mapping, read, strings, yaml};

const FILE: &str = "deploy/compose.tls.yml";
/// Where a role finds its files.
const FOLDER: &str = "/etc/backlot/tls";
/// The service that makes certificates.
const MAKER: &str = "certs";

fn services() -> BTreeMap<String, Value> {
    let mut whole = yaml(FILE);
    (0..2).for_each(|_| whole.apply_merge().expect("merge keys"));
    mapping(&whole["services"])
}

#[test]
fn a_container_has_only_the_certificate_of_its_role() {
    let services = services();
    let named: BTreeSet<_> = Caller::NAMED.map(Caller::name).into();
    let others: BTreeSet<_> = services.keys().map(String::as_str).filter(|name| *name != MAKER).collect();
    assert_eq!(others, named);
    for name in named {
        let volumes = services[name]["volumes"].as_sequence().expect("volumes");
        let [volume] = volumes.as_slice() else { panic!("{name}: {volumes:?}") };
        assert_eq!((&volume["type"], &volume["source"]), (&"volume".into(), &MAKER.into()), "{name}");
        assert_eq!((&volume["target"], &volume["read_only"]), (&FOLDER.into(), &true.into()), "{name}");
        assert_eq!(volume["volume"]["subpath"], format!("roles/{name}"), "{name}");
        let environment = mapping(&services[name]["environment"]);
        assert_eq!(environment["BACKLOT_TLS_DIR"], FOLDER, "{name}");
        assert_eq!(environment["BACKLOT_TLS"], "${BACKLOT_TLS:-require}", "{name}");
        assert_eq!(services[name]["depends_on"][MAKER]["condition"], "service_completed_successfully", "{name}");
    }
}

#[test]
fn certificates_are_made_for_all_roles_without_a_network_and_without_root() {
    let maker = &services()[MAKER];
    let script = strings(&maker["command"]).join("\n");
    for caller in Caller::NAMED {
        assert!(script.split_whitespace().any(|word| word.trim_end_matches(';') == caller.name()), "{}", caller.name());
    }
    assert_eq!(maker["network_mode"], "none");
    let image = read("deploy/Dockerfile");
    for volume in strings(&maker["volumes"]) {
        let (_, path) = volume.split_once(':').expect("a path");
        assert!(image.contains(&format!("install -d -o backlot -g backlot -m 711 {path}\n")), "{path}");
    }
    assert!(maker["user"].is_null() && maker["cap_add"].is_null());
}

#[test]
fn containers_beside_the_roles_have_no_more_rights_than_these() {
    let services = services();
    let additional = services.iter().filter(|(name, _)| Role::ALL.iter().all(|role| role.name() != *name));
    for (name, service) in additional {
        assert_eq!((&service["image"], &service["pull_policy"]), (&"backlot:local".into(), &"never".into()), "{name}");
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(strings(&service["cap_drop"]), ["ALL"], "{name}");
        assert_eq!(strings(&service["security_opt"]), ["no-new-privileges:true"], "{name}");
        assert!(service["mem_limit"].is_string() && service["logging"]["options"]["max-size"].is_string(), "{name}");
        assert!(service["ports"].is_null(), "{name}");
    }
}

#[test]
fn its_settings_exist() {
    let known: BTreeSet<_> = settings::of_all().into_iter().map(|doc| doc.name).collect();
    let given: Vec<_> = services().values().flat_map(|service| service["environment"].as_mapping().cloned().unwrap_or_default()).collect();
    let unknown: Vec<_> = given.iter().filter_map(|(name, _)| name.as_str()).filter(|name| !known.contains(*name)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    assert!(variables(&read(FILE)).contains("BACKLOT_TLS"));
}
