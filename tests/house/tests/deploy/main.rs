//! Compares the deployment with the product: the image, the compose file, the dashboards and the scripts refer only to settings, files,
//! services and metrics that exist.

mod compose;
mod image;
mod install;
mod monitoring;
mod run;
mod scripts;
mod tls;

use std::{collections::BTreeMap, fs};

use house::root;
use serde_yaml_ng::Value;

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

/// The strings of a list; empty for any other value.
fn strings(value: &Value) -> Vec<String> {
    value.as_sequence().map(|list| list.iter().filter_map(Value::as_str).map(str::to_owned).collect()).unwrap_or_default()
}
