//! The process that fetches packages: what it has, and what its end costs.

use std::{collections::BTreeSet, fs, os::unix::fs::symlink, path::Path, time::Duration};

use bytes::Bytes;
use chassis::testing::{self, Signal, compiler};
use compiler_client::worker::Workers;
use fetcher::message::{Content, Event, Job, MAX_EVENT, Resolve, Task};
use flate2::{Compression, write::GzEncoder};
use serde_json::json;

use crate::{
    harness::{database, replica},
    packages::{brief, code, project},
    upstream::{Answer, Upstream},
};

/// The variables that it may have.
const VARIABLES: [&str; 3] = ["GLIBC_TUNABLES", "SSL_CERT_FILE", "SSL_CERT_DIR"];

/// The one process with this executable that fetches.
fn process(executable: &Path) -> u32 {
    let start = format!("{}\0fetch\0", executable.display());
    let numbers = fs::read_dir("/proc").expect("processes").filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let is_it = |number: &u32| fs::read(format!("/proc/{number}/cmdline")).is_ok_and(|line| line.starts_with(start.as_bytes()));
    let found: Vec<u32> = numbers.filter(is_it).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found[0]
}

/// The numbers of the open files, and what they are.
fn open_files(process: &str) -> Vec<(u32, String)> {
    let entries = fs::read_dir(format!("/proc/{process}/fd")).expect("open files").filter_map(Result::ok);
    let target = |entry: &fs::DirEntry| Some(fs::read_link(entry.path()).ok()?.to_string_lossy().into_owned());
    entries.filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, target(&entry)?))).collect()
}

/// `inherited`: what was open before the test started a service. It is open in each process that the test starts.
fn has_only_what_it_needs(process: u32, inherited: &BTreeSet<(u32, String)>) {
    let environment = fs::read(format!("/proc/{process}/environ")).expect("the environment");
    for variable in environment.split(|byte| *byte == 0).filter(|variable| !variable.is_empty()) {
        let text = String::from_utf8_lossy(variable);
        // glibc writes ends into the text of its settings.
        if text.starts_with("glibc.") {
            continue;
        }
        assert!(VARIABLES.contains(&text.split('=').next().unwrap_or_default()), "{text}");
    }
    let own: BTreeSet<(u32, String)> = open_files("self").into_iter().collect();
    for (number, target) in open_files(&process.to_string()) {
        if number < 3 {
            assert!(target.starts_with("pipe:"), "{number} is {target}");
        } else {
            let is_inherited = inherited.contains(&(number, target.clone()));
            let is_shared = own.iter().any(|(_, shared)| *shared == target);
            let is_its_own = target.starts_with("anon_inode:") || (target.starts_with("socket:") && !is_shared);
            assert!(is_its_own || is_inherited, "{number} is {target}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_killed_costs_its_requests() {
    let inherited = open_files("self").into_iter().collect();
    let (database, upstream) = (database().await, Upstream::start().await);
    let folder = tempfile::tempdir().expect("a folder");
    let executable = folder.path().join("compiler");
    symlink(compiler(), &executable).expect("a link");
    let path = executable.to_str().expect("UTF-8");
    let replica = replica(&database, &[("BACKLOT_NPM_REGISTRY", upstream.url.as_str()), ("BACKLOT_COMPILER", path)]).await;
    upstream.answer("/slow", Answer::Silence);
    let own = project(r#"{"dependencies": {"slow": "1"}}"#, &["slow"]);
    let kill = async {
        upstream.asked("/slow").await;
        let process = process(&executable);
        has_only_what_it_needs(process, &inherited);
        testing::signal(process, Signal::Kill).expect("a process");
    };
    let (built, ()) = tokio::join!(replica.build(&own), kill);
    let page = built.expect("a page").page;
    assert_eq!((brief(&page.findings), page.html.as_str()), (vec!["REGISTRY_UNAVAILABLE package.json:1".to_owned()], ""));
    assert!(page.findings[0].message.contains("the process that fetches ended"), "{page:?}");
    upstream.publish("slow", "1.0.0", &json!({}), &[("index.js", "exports.a = 'here at last';")]);
    let page = replica.build(&own).await.expect("a page").page;
    assert_eq!(brief(&page.findings), Vec::<String>::new());
    assert!(code(&replica, &page).await.contains("here at last"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_ends_with_its_caller() {
    let workers = Workers { executable: compiler().to_owned(), deadline: Duration::from_secs(600), file_time: Duration::from_secs(1) };
    let (_session, mut input, mut output) = workers.fetch().expect("a process");
    let manifest = Bytes::from_static(br#"{"dependencies": {"a": "1"}}"#);
    let task = Task::Resolve(Resolve { manifest, ..Resolve::default() });
    input.write(&Job { registry: "http://127.0.0.1:9".to_owned(), task: Some(task) }).await.expect("a job");
    let event: Event = output.read(MAX_EVENT).await.expect("an event");
    assert!(matches!(event.content, Some(Content::Request(_))), "{event:?}");
    drop(input);
    output.read::<Event>(MAX_EVENT).await.expect_err("the end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tarball_that_grows_without_measure_is_refused() {
    let (database, upstream) = (database().await, Upstream::start().await);
    let replica = replica(&database, &[("BACKLOT_NPM_REGISTRY", upstream.url.as_str())]).await;
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    let zeros = vec![0_u8; 64 << 20];
    let mut header = tar::Header::new_ustar();
    header.set_size(zeros.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, "package/index.js", zeros.as_slice()).expect("an entry");
    let bomb = archive.into_inner().and_then(GzEncoder::finish).expect("an archive");
    upstream.publish_tarball("bomb", "1.0.0", &json!({}), bomb);
    let page = replica.build(&project(r#"{"dependencies": {"bomb": "1"}}"#, &["bomb"])).await.expect("a page").page;
    assert_eq!((brief(&page.findings), page.html.as_str()), (vec!["FILE_TOO_LARGE node_modules/bomb/index.js:1".to_owned()], ""));
    upstream.publish("a", "1.0.0", &json!({}), &[("index.js", "exports.a = 'still alive';")]);
    let page = replica.build(&project(r#"{"dependencies": {"a": "1"}}"#, &["a"])).await.expect("a page").page;
    assert!(code(&replica, &page).await.contains("still alive"), "{page:?}");
}
