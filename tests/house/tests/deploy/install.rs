//! The files of an installation with systemd and a proxy: their settings exist, and they name the same addresses and paths.

use std::collections::BTreeMap;

use backlot::settings::{self, Cluster};
use chassis::config::{EXIT_USAGE, Env};
use serde_json::{Value, json};

use crate::read;

const PROXIES: [&str; 2] = ["deploy/proxy/nginx.conf", "deploy/proxy/Caddyfile"];

/// The settings of the environment file, those in comments included. An empty one gets a value.
fn environment() -> BTreeMap<String, String> {
    let text = read("deploy/systemd/backlot.env");
    let pairs = text.lines().filter_map(|line| line.trim_start_matches('#').split_once('='));
    let settings = pairs.filter(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'));
    let value = |value: &str| if value.is_empty() { "0d1c7e1f92ab4c5e8f60b3a2d4c5e6f7".to_owned() } else { value.to_owned() };
    settings.map(|(name, given)| (name.to_owned(), value(given))).collect()
}

#[test]
fn the_environment_file_configures_the_whole_cluster() {
    let given = environment();
    for name in ["BACKLOT_CLUSTER_SECRET", "BACKLOT_PUBLIC_URL", "BACKLOT_PREVIEW_URL", "DATABASE_URL", "REDIS_URL"] {
        assert!(given.contains_key(name), "{name} is missing");
    }
    assert_eq!(given["BACKLOT_TRUSTED_HOPS"], "1", "one proxy is in front");
    let mut env = Env::of(given);
    Cluster::read(&mut env);
    env.known_elsewhere(&settings::of_all());
    env.reject_unknown();
    env.check().unwrap_or_else(|faults| panic!("{faults}"));
}

#[test]
fn the_unit_starts_the_executable_with_the_environment_file() {
    let (unit, page) = (read("deploy/systemd/backlot.service"), read("docs/install.md"));
    for path in ["/usr/local/bin/backlot", "/etc/backlot/backlot.env"] {
        assert!(unit.contains(path) && page.contains(path), "{path}");
    }
    assert!(unit.lines().any(|line| line == format!("RestartPreventExitStatus={EXIT_USAGE}")), "a fault of the settings stops the unit");
    let state = unit.lines().find_map(|line| line.strip_prefix("StateDirectory=")).expect("StateDirectory");
    assert_eq!(environment()["BACKLOT_DATA_DIR"], format!("/var/lib/{state}"));
}

#[test]
fn the_proxies_name_the_listeners_and_the_names_of_the_environment_file() {
    let given = environment();
    for proxy in PROXIES {
        let text = read(proxy);
        for name in ["BACKLOT_LISTEN", "BACKLOT_PREVIEW_LISTEN"] {
            assert!(text.contains(&given[name]), "{proxy}: {name} is {}", given[name]);
        }
        for name in ["BACKLOT_PUBLIC_URL", "BACKLOT_PREVIEW_URL"] {
            let host = given[name].trim_start_matches("https://").replace("{preview}", "*");
            assert!(text.contains(&host), "{proxy}: {name} names {host}");
        }
    }
}

#[test]
fn the_proxies_allow_only_current_versions_of_tls() {
    let nginx = read("deploy/proxy/nginx.conf");
    let servers: Vec<_> = nginx.split("\nserver {").skip(1).filter(|server| server.contains("ssl_certificate ")).collect();
    assert_eq!(servers.len(), 2, "the application and the previews");
    assert!(servers.iter().all(|server| server.contains("\n    ssl_protocols TLSv1.2 TLSv1.3;\n")));
    // Without `protocols`, Caddy allows TLS 1.2 and 1.3.
    assert!(!read("deploy/proxy/Caddyfile").contains("protocols"));
}

/// The problem document that a proxy answers with 403, between two quotes. It is there once.
fn refusal(text: &str, begin: &str, end: &str) -> Value {
    let (_, rest) = text.split_once(begin).expect(begin);
    let (document, rest) = rest.split_once(end).expect(end);
    assert!(!rest.contains("HTTPS_REQUIRED"), "{rest}");
    serde_json::from_str(document).unwrap_or_else(|e| panic!("{document}: {e}"))
}

#[test]
fn plain_http_redirects_only_pages_that_a_person_opens() {
    let (nginx, caddy) = (read("deploy/proxy/nginx.conf"), read("deploy/proxy/Caddyfile"));
    let of_nginx = refusal(&nginx, "map \"\" $backlot_https_required {\n    default '", "';\n}\n");
    let of_caddy = refusal(&caddy, "respond `", "` 403\n");
    assert_eq!(of_nginx, of_caddy);
    for refusal in [of_nginx, of_caddy] {
        assert_eq!(
            (&refusal["status"], &refusal["detail"], &refusal["reason"]),
            (&json!(403), &json!("use https"), &json!("HTTPS_REQUIRED"))
        );
        for member in ["type", "title", "code", "domain"] {
            assert!(refusal[member].is_string(), "{member}: {refusal}");
        }
    }

    let plain: Vec<_> = nginx.split("\nserver {").skip(1).filter(|server| server.contains("listen 80;")).collect();
    assert_eq!(plain.len(), 2, "the application and the previews");
    for (server, page) in plain.iter().zip(["$backlot_opens_page", "$backlot_reads"]) {
        let redirect = format!("    if ({page}) {{\n        return 301 https://$host$request_uri;\n    }}\n");
        assert!(server.contains(&redirect) && server.matches("return ").count() == 2, "{server}");
        // Without the types of nginx, the end of a path does not choose the media type.
        assert!(
            server.contains("    types { }\n    default_type application/problem+json;\n    return 403 $backlot_https_required;\n"),
            "{server}"
        );
        assert!(!server.contains("proxy_pass"), "{server}");
    }
    for map in [
        "map $request_method $backlot_reads {\n    default 0;\n    GET 1;\n    HEAD 1;\n}\n",
        "map \"$request_method $uri\" $backlot_opens_page {\n    default 0;\n    \"~^(GET|HEAD) /(account(/|$)|$)\" 1;\n}\n",
    ] {
        assert!(nginx.contains(map), "{map}");
    }

    // Caddy would redirect each path by itself.
    assert!(caddy.contains("\tauto_https disable_redirects\n"));
    let handles = "\thandle @page {\n\t\tredir https://{host}{uri} 301\n\t}\n\thandle {\n\t\timport https_required\n\t}\n}\n";
    for (site, page) in [
        ("http://apps.example.com", "\t@page {\n\t\tmethod GET HEAD\n\t\tpath / /account /account/*\n\t}\n"),
        ("http://*.previews.example.net", "\t@page method GET HEAD\n"),
    ] {
        assert!(caddy.contains(&format!("\n{site} {{\n{page}{handles}")), "{site}");
    }
    assert_eq!((caddy.matches("http://").count(), caddy.matches("redir ").count()), (2, 2));
    assert!(caddy.contains("(https_required) {\n\theader Content-Type application/problem+json\n\trespond `"));
}
