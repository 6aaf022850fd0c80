//! Prometheus, Grafana and the collector refer only to metrics and services that exist.

use std::{collections::BTreeSet, fs};

use house::root;

use crate::{compose::Compose, mapping, read, strings, yaml};

#[test]
fn alerts_and_dashboards_use_metrics_that_exist() {
    let instruments = instruments();
    let dashboards = read("deploy/grafana/dashboards/backlot.json");
    let _: serde_json::Value = serde_json::from_str(&dashboards).expect("JSON");
    for (file, text) in [("alerts", read("deploy/prometheus/alerts.yml")), ("dashboard", dashboards)] {
        let words = text.split(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'));
        let used: BTreeSet<_> =
            words.filter(|word| ["_count", "_bucket", "_total", "_sum"].iter().any(|end| word.ends_with(end))).collect();
        assert!(!used.is_empty(), "{file}: no metric");
        for metric in used {
            assert!(instruments.contains(metric), "{file}: {metric} is not among {instruments:?}");
        }
    }
}

#[test]
fn the_collector_and_prometheus_refer_to_existing_services() {
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
            assert!(compose.services.contains_key(host), "Prometheus scrapes {target}, which does not exist");
        }
    }
    let rules = strings(&prometheus["rule_files"]);
    assert_eq!(rules, ["/etc/prometheus/alerts.yml"]);
    for rule in yaml("deploy/prometheus/alerts.yml")["groups"][0]["rules"].as_sequence().expect("rules") {
        assert!(rule["alert"].is_string() && rule["expr"].is_string() && rule["annotations"]["summary"].is_string(), "{rule:?}");
    }
}

/// The names that the instruments in the source have in Prometheus: a histogram `a.b` in seconds is `a_b_seconds_bucket` and so on.
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
