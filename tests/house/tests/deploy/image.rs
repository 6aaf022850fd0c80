//! The image: its base images are pinned, its toolchain is new enough, and its settings exist.

use std::collections::{BTreeMap, BTreeSet};

use backlot::{role::Role, settings};

use crate::read;

#[test]
fn the_image_is_pinned_and_runs_a_role_without_root() {
    let text = read("deploy/Dockerfile");
    let instructions = instructions(&text);
    let of = |word: &str| -> Vec<&str> { instructions.iter().filter_map(|line| line.strip_prefix(word)).map(str::trim).collect() };
    let bases = of("FROM ");
    assert!(bases.len() >= 2, "the build and the result are separate stages");
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
fn secrets_and_history_stay_out_of_the_image() {
    let ignored: BTreeSet<_> = read(".dockerignore").lines().map(str::to_owned).collect();
    for path in [".git", ".env", "**/.backlot"] {
        assert!(ignored.contains(path), "the image would get {path}");
    }
    let last = read("deploy/Dockerfile").rsplit("\nFROM ").next().expect("a stage").to_owned();
    let copied = last.lines().filter(|line| line.starts_with("COPY "));
    assert!(copied.into_iter().all(|line| line.contains("--from=")), "the result has only what the build made");
}

/// Whether the image has a tag that begins with a version of at least two numbers. A digest is optional.
pub(crate) fn is_pinned(image: &str) -> bool {
    let (image, digest) = image.split_once('@').unwrap_or((image, ""));
    if !digest.is_empty() && digest.strip_prefix("sha256:").is_none_or(|hex| hex.len() != 64) {
        return false;
    }
    let Some((_, tag)) = image.rsplit_once(':') else { return false };
    let version = tag.trim_start_matches('v').split('-').next().unwrap_or_default();
    version.contains('.') && version.split('.').all(|part| part.parse::<u32>().is_ok())
}

fn minor(version: &str) -> u32 {
    version.split('.').nth(1).and_then(|part| part.parse().ok()).unwrap_or_else(|| panic!("{version} is not a version"))
}

/// The instructions of a Dockerfile, one per line.
fn instructions(text: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#') && !line.trim().is_empty());
    let joined = lines.collect::<Vec<_>>().join("\n").replace("\\\n", " ");
    joined.lines().map(str::to_owned).collect()
}

pub(crate) fn image_environment() -> BTreeMap<String, String> {
    let text = read("deploy/Dockerfile");
    let lines = instructions(&text);
    let pairs = lines.iter().filter_map(|line| line.strip_prefix("ENV ")).flat_map(str::split_whitespace);
    pairs.map(|pair| pair.split_once('=').expect("NAME=value")).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}
