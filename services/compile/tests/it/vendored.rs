//! Packages that an operator keeps: added at a replica with a registry, and imported by one without.

use chassis::{clock, context::Context};
use compile::testing::sweep;
use proto::{
    compile::{
        AddPackagesRequest, Bundle, ExportPackagesRequest, ImportPackagesRequest, KeptPackage, ListBundlesRequest, ListPackagesRequest,
        PackageVersion, add_packages_response, export_packages_response, import_packages_request::Part,
    },
    error::{ErrorCode, Fault},
};
use serde_json::json;

use crate::{
    edits::Notes,
    harness::{Replica, database, fault, react, replica},
    packages::{brief, code, project, rows},
    upstream::{Answer, Upstream, integrity, tarball, tarball_path},
};

const NONE: (&str, &str) = ("BACKLOT_NPM_REGISTRY", "none");

/// What an addition has reported.
#[derive(Debug, Default)]
struct Added {
    versions: u32,
    packages: Vec<KeptPackage>,
    bundles: Vec<Bundle>,
}

impl Added {
    /// `name@version`, sorted, with `+` for files and `=` for what was kept before.
    fn brief(&self) -> Vec<String> {
        brief_of(&self.packages)
    }
}

fn brief_of(packages: &[KeptPackage]) -> Vec<String> {
    let mark = |package: &KeptPackage| {
        let files = if package.bytes > 0 { "+" } else { "" };
        format!("{}@{}{files}{}", package.name, package.version, if package.was_kept { "=" } else { "" })
    };
    let mut brief: Vec<_> = packages.iter().map(mark).collect();
    brief.sort();
    brief
}

impl Replica {
    async fn add(&self, request: AddPackagesRequest) -> Result<Added, Fault> {
        let mut parts =
            self.operator.clone().add_packages(Context::background().stream_request(request)).await.map_err(fault)?.into_inner();
        let mut added = Added::default();
        while let Some(message) = parts.message().await.map_err(fault)? {
            match message.part.expect("a part") {
                add_packages_response::Part::Resolved(resolved) => added.versions = resolved.versions,
                add_packages_response::Part::Package(package) => added.packages.push(package),
                add_packages_response::Part::Bundle(bundle) => added.bundles.push(bundle),
            }
        }
        Ok(added)
    }

    async fn listed(&self) -> Vec<KeptPackage> {
        let request = Context::background().stream_request(ListPackagesRequest {});
        let mut lists = self.operator.clone().list_packages(request).await.expect("a list").into_inner();
        let mut found = Vec::new();
        while let Some(message) = lists.message().await.expect("a list") {
            found.extend(message.packages);
        }
        found
    }

    async fn bundles(&self) -> Vec<Bundle> {
        let request = Context::background().stream_request(ListBundlesRequest {});
        let mut lists = self.operator.clone().list_bundles(request).await.expect("a list").into_inner();
        let mut found = Vec::new();
        while let Some(message) = lists.message().await.expect("a list") {
            found.extend(message.bundles);
        }
        found
    }

    async fn export(&self) -> Vec<Part> {
        let request = Context::background().stream_request(ExportPackagesRequest {});
        let mut parts = self.operator.clone().export_packages(request).await.expect("an export").into_inner();
        let mut found = Vec::new();
        while let Some(message) = parts.message().await.expect("an export") {
            found.push(match message.part.expect("a part") {
                export_packages_response::Part::Package(package) => Part::Package(package),
                export_packages_response::Part::Data(data) => Part::Data(data),
            });
        }
        found
    }

    /// The packages that are kept, and the error that has ended the import.
    async fn import(&self, parts: Vec<Part>) -> (Vec<KeptPackage>, Option<Fault>) {
        let messages: Vec<_> = parts.into_iter().map(|part| ImportPackagesRequest { part: Some(part) }).collect();
        let request = Context::background().stream_request(tokio_stream::iter(messages));
        let mut kept = Vec::new();
        let mut answers = match self.operator.clone().import_packages(request).await {
            Ok(answers) => answers.into_inner(),
            Err(status) => return (kept, Some(fault(status))),
        };
        loop {
            match answers.message().await {
                Ok(Some(message)) => kept.extend(message.package),
                Ok(None) => return (kept, None),
                Err(status) => return (kept, Some(fault(status))),
            }
        }
    }
}

fn manifest(text: &str) -> AddPackagesRequest {
    AddPackagesRequest { manifest: text.to_owned().into(), ..AddPackagesRequest::default() }
}

const REACT: &str = r#"{"dependencies": {"react": "^19.0.0", "react-dom": "^19.0.0"}, "devDependencies": {"vite": "6"}}"#;

/// A registry with React and a tool that depends on a helper.
async fn upstream() -> Upstream {
    let upstream = Upstream::with_react().await;
    upstream.publish("helper", "1.0.0", &json!({}), &[("package.json", "{}")]);
    upstream.publish("vite", "6.0.0", &json!({"dependencies": {"helper": "1"}}), &[("package.json", "{}")]);
    upstream
}

#[tokio::test(flavor = "multi_thread")]
async fn packages_are_exported_and_imported_where_there_is_no_registry() {
    let (one, two, upstream) = (database().await, database().await, upstream().await);
    let first = replica(&one, &[("BACKLOT_NPM_REGISTRY", upstream.url.as_str())]).await;
    let request = AddPackagesRequest { specifiers: vec!["react/jsx-runtime".to_owned()], ..manifest(REACT) };
    let added = first.add(request.clone()).await.expect("an addition");
    let all = ["helper@1.0.0", "react-dom@19.0.0+", "react-refresh@0.19.0+", "react@19.0.0+", "vite@6.0.0"];
    assert_eq!((added.versions, added.brief()), (5, all.map(str::to_owned).to_vec()), "tools of development are kept without files");
    assert_eq!(added.bundles.len(), 1);
    assert_eq!(added.bundles[0].specifiers, ["react/jsx-runtime"]);
    assert!(added.bundles[0].bytes > 0 && added.bundles[0].findings.is_empty(), "{added:?}");
    assert_eq!(first.bundles().await, [Bundle { findings: Vec::new(), ..added.bundles[0].clone() }]);
    upstream.requests();
    let again = first.add(request).await.expect("an addition");
    assert!(again.packages.iter().all(|package| package.was_kept), "{again:?}");
    assert!(upstream.requests().iter().all(|path| !path.ends_with(".tgz")), "nothing is fetched again");
    let listed = first.listed().await;
    assert!(listed.is_sorted_by_key(|package| package.name.clone()) && listed.len() == 5, "{listed:?}");

    let second = replica(&two, &[NONE]).await;
    let mut own = react();
    own.insert("package.json", REACT.to_owned());
    let page = second.build(&own).await.expect("a page").page;
    assert_eq!(brief(&page.findings), ["REGISTRY_UNAVAILABLE package.json:1"]);
    let help = &page.findings[0].help;
    assert!(help.starts_with("No version of react") && help.contains("`backlot vendor add react"), "{help}");
    assert!(help.contains("@^19.0.0`") && page.error_html.contains("@^19.0.0`"), "{page:?}");
    let exported = first.export().await;
    let (kept, error) = second.import(exported.clone()).await;
    assert_eq!((brief_of(&kept), error), (all.map(str::to_owned).to_vec(), None));
    assert_eq!(second.export().await, exported, "what is imported is what was exported");
    let page = second.build(&own).await.expect("a page").page;
    assert_eq!(brief(&page.findings), Vec::<String>::new());
    assert!(code(&second, &page).await.contains("react itself"));
    let online = first.build(&own).await.expect("a page").page;
    assert_eq!(online.html, page.html, "the same page as with the registry");
    // Everything else is a cache.
    sweep(&two.pool, std::time::Duration::from_secs(3_600), 1, clock::now() + time::Duration::days(400)).await.expect("a sweep");
    assert_eq!((rows(&two.pool, "tarballs").await, rows(&two.pool, "bundles").await), (0, 0));
    own.insert("package.json", r#"{"dependencies": {"react": "latest", "react-dom": "latest"}}"#.to_owned());
    let page = second.build(&own).await.expect("a page").page;
    assert_eq!(brief(&page.findings), Vec::<String>::new(), "another project with kept packages");
    let newer = second.build(&project(r#"{"dependencies": {"react": "^20"}}"#, &["react"])).await.expect("a page").page;
    assert_eq!(brief(&newer.findings), ["UNKNOWN_PACKAGE package.json:1"]);
    let help = &newer.findings[0].help;
    assert!(help.starts_with("The kept versions of react are 19.0.0.") && help.contains("`backlot vendor add react@^20`"), "{help}");
    let (kept, error) = second.import(exported).await;
    assert!(error.is_none() && kept.iter().all(|package| package.was_kept), "{kept:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_reads_many_versions() {
    let (database, upstream, notes) = (database().await, Upstream::start().await, Notes::new());
    let executable = notes.executable();
    let path = executable.to_str().expect("UTF-8");
    let replica = replica(&database, &[("BACKLOT_NPM_REGISTRY", upstream.url.as_str()), ("BACKLOT_COMPILER", path)]).await;
    let names = ["a", "b", "c", "d", "e", "f"];
    for name in names {
        upstream.publish(name, "1.0.0", &json!({}), &[("index.js", name)]);
    }
    let all = json!({"a": "1", "b": "1", "c": "1", "d": "1", "e": "1", "f": "1"});
    let added = replica.add(manifest(&json!({"dependencies": all}).to_string())).await.expect("an addition");
    assert_eq!(added.brief(), names.map(|name| format!("{name}@1.0.0+")).to_vec());
    assert_eq!(notes.all(), ["fetch", "fetch"], "one finds the versions, and one reads them");
    // One of them can be damaged.
    upstream.publish("y", "1.0.0", &json!({}), &[("index.js", "y")]);
    upstream.publish("z", "1.0.0", &json!({}), &[("index.js", "z")]);
    upstream.answer(&tarball_path("z", "1.0.0"), Answer::Body(tarball(&[("index.js", "another")])));
    let fault = replica.add(manifest(r#"{"dependencies": {"y": "1", "z": "1"}}"#)).await.expect_err("damaged");
    assert_eq!(fault.reason, "PACKAGE_DAMAGED");
    assert!(replica.listed().await.iter().all(|package| package.name != "z"));
}

#[tokio::test(flavor = "multi_thread")]
async fn kept_packages_stand_in_for_a_registry_that_is_away() {
    let (database, upstream) = (database().await, upstream().await);
    let first = replica(&database, &[("BACKLOT_NPM_REGISTRY", upstream.url.as_str())]).await;
    first.add(manifest(REACT)).await.expect("an addition");
    upstream.publish("react", "19.5.0", &json!({}), &[("index.js", "exports.marker = 'newer';")]);
    let own = project(r#"{"dependencies": {"react": "^19.0.0"}}"#, &["react"]);
    let page = first.build(&own).await.expect("a page").page;
    assert!(code(&first, &page).await.contains("newer"), "a registry that answers counts");
    let url = upstream.url.clone();
    drop(upstream);
    let other = replica(&database, &[("BACKLOT_NPM_REGISTRY", &format!("{url}/moved"))]).await;
    let own = project(r#"{"dependencies": {"react": "^19.0.0"}}"#, &["react", "react/jsx-runtime"]);
    let page = other.build(&own).await.expect("a page").page;
    assert_eq!(brief(&page.findings), Vec::<String>::new());
    assert!(code(&other, &page).await.contains("react itself"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_kept_is_refused_with_a_reason() {
    let (database, upstream) = (database().await, upstream().await);
    let replica = replica(&database, &[("BACKLOT_NPM_REGISTRY", upstream.url.as_str()), ("BACKLOT_COMPILE_VENDOR_MIB", "1")]).await;
    upstream.publish("evil", "1.0.0", &json!({}), &[("index.js", "")]);
    upstream.answer(&tarball_path("evil", "1.0.0"), Answer::Body(tarball(&[("index.js", "evil")])));
    upstream.publish("big", "1.0.0", &json!({}), &[("index.js", &"x".repeat(1 << 20))]);
    let none = AddPackagesRequest { lock_name: "bun.lock".to_owned(), lock: "{}".into(), ..manifest("{}") };
    for (request, code, reason) in [
        (manifest(""), ErrorCode::InvalidArgument, "INVALID_FIELD"),
        (manifest("["), ErrorCode::InvalidArgument, "INVALID_FIELD"),
        (none, ErrorCode::InvalidArgument, "INVALID_FIELD"),
        (AddPackagesRequest { specifiers: vec![String::new()], ..manifest("{}") }, ErrorCode::InvalidArgument, "INVALID_FIELD"),
        (manifest(r#"{"dependencies": {"none": "1"}}"#), ErrorCode::NotFound, "PACKAGE_NOT_FOUND"),
        (manifest(r#"{"dependencies": {"react": "18"}}"#), ErrorCode::NotFound, "PACKAGE_NOT_FOUND"),
        (manifest(r#"{"dependencies": {"evil": "1"}}"#), ErrorCode::Conflict, "PACKAGE_DAMAGED"),
        (manifest(r#"{"dependencies": {"big": "1"}}"#), ErrorCode::RateLimited, "VENDOR_FULL"),
    ] {
        let fault = replica.add(request).await.expect_err(reason);
        assert_eq!((fault.code, fault.reason.as_str()), (code, reason), "{}", fault.message);
    }
    for (range, end) in [(r#"{"none": "1"}"#, "; check its name"), (r#"{"react": "18"}"#, "`backlot vendor list` count")] {
        let fault = replica.add(manifest(&format!(r#"{{"dependencies": {range}}}"#))).await.expect_err(range);
        assert!(fault.message.ends_with(end), "{}", fault.message);
    }
    let offline = crate::harness::replica(&database, &[NONE]).await;
    let refused = offline.add(manifest(REACT)).await.expect_err("no registry");
    assert_eq!(refused.reason, "REGISTRY_UNAVAILABLE");
    assert!(refused.message.contains("set BACKLOT_NPM_REGISTRY of compile, or import a file"), "{}", refused.message);
    assert_eq!(replica.listed().await, []);
    let denied = replica.client.clone().list_packages(ListPackagesRequest {}).await.expect_err("denied");
    assert_eq!(fault(denied).reason, "CALLER_DENIED");
}

/// A check reads documents alone, so it does not fetch what a lock file says instead of what is kept.
#[tokio::test(flavor = "multi_thread")]
async fn a_kept_tarball_that_is_not_that_of_the_lock_file_does_not_count_in_a_check() {
    let (database, upstream) = (database().await, Upstream::start().await);
    let replica = replica(&database, &[("BACKLOT_NPM_REGISTRY", upstream.url.as_str())]).await;
    let files = [("index.js", "exports.a = 1;")];
    upstream.publish("a", "1.0.0", &json!({}), &files);
    let text = r#"{"dependencies": {"a": "^1.0.0"}}"#;
    replica.add(manifest(text)).await.expect("an addition");
    sqlx::query("truncate tarballs, bundles").execute(&database.pool).await.expect("no cache");
    let locked = |hash: String| {
        let lock = json!({
            "lockfileVersion": 3,
            "packages": {"": {"dependencies": {"a": "^1.0.0"}}, "node_modules/a": {"version": "1.0.0", "integrity": hash}},
        });
        let mut own = project(text, &["a"]);
        own.insert("main.js", "import { none } from 'a'; console.log(none);".to_owned());
        own.insert("package-lock.json", lock.to_string());
        own
    };
    let found = replica.check(&locked(integrity(b"another tarball"))).await.expect("findings");
    assert_eq!(brief(&found), ["DAMAGED_PACKAGE package.json:1"]);
    upstream.requests();
    let found = replica.check(&locked(integrity(&tarball(&files)))).await.expect("findings");
    assert_eq!(brief(&found), ["MISSING_EXPORT main.js:1"]);
    assert!(upstream.requests().iter().all(|path| !path.ends_with(".tgz")), "nothing is fetched");
}

/// A package with a tarball, as an export has it.
fn exported() -> (PackageVersion, Vec<u8>) {
    let tarball = tarball(&[("index.js", "exports.a = 1;")]);
    let sha512: String = ring::digest::digest(&ring::digest::SHA512, &tarball).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let document = json!({"name": "a", "version": "1.0.0", "dist": {"integrity": integrity(&tarball)}}).to_string();
    let package = PackageVersion {
        name: "a".to_owned(),
        version: "1.0.0".to_owned(),
        tags: vec!["latest".to_owned()],
        document: document.into(),
        sha512,
        bytes: tarball.len() as u64,
    };
    (package, tarball)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_is_checked_package_by_package() {
    let database = database().await;
    let replica = replica(&database, &[NONE]).await;
    let (good, bytes) = exported();
    let (package, data) = (|package: PackageVersion| Part::Package(package), |data: &[u8]| Part::Data(data.to_vec().into()));
    let mut evil = bytes.clone();
    evil[20] ^= 1;
    let evil_hash: String = ring::digest::digest(&ring::digest::SHA512, &evil).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let field = |fault: &Fault| fault.violations.first().map(|violation| violation.field.clone()).unwrap_or_default();
    for (change, expected) in [
        (PackageVersion { name: "../a".to_owned(), ..good.clone() }, "package.name"),
        (PackageVersion { version: "1".to_owned(), ..good.clone() }, "package.version"),
        (PackageVersion { document: "[]".into(), ..good.clone() }, "package.document"),
        (PackageVersion { sha512: "AB".to_owned(), ..good.clone() }, "package.sha512"),
        (PackageVersion { bytes: 0, ..good.clone() }, "package.bytes"),
        (PackageVersion { bytes: 1 << 40, ..good.clone() }, "package.bytes"),
        (PackageVersion { tags: vec![String::new()], ..good.clone() }, "package.tags"),
    ] {
        let (kept, error) = replica.import(vec![package(change)]).await;
        assert_eq!((kept, field(&error.expect("refused")).as_str()), (vec![], expected));
    }
    for (parts, code, reason) in [
        (vec![data(&bytes)], ErrorCode::InvalidArgument, "UNEXPECTED_MESSAGE"),
        (vec![package(good.clone())], ErrorCode::InvalidArgument, "UNEXPECTED_MESSAGE"),
        (vec![package(good.clone()), package(good.clone())], ErrorCode::InvalidArgument, "UNEXPECTED_MESSAGE"),
        (vec![package(good.clone()), data(&[&bytes[..], b"x"].concat())], ErrorCode::InvalidArgument, "INVALID_FIELD"),
        (vec![package(good.clone()), data(&evil)], ErrorCode::Conflict, "PACKAGE_DAMAGED"),
        (vec![package(PackageVersion { sha512: evil_hash, ..good.clone() }), data(&evil)], ErrorCode::Conflict, "PACKAGE_DAMAGED"),
        (vec![package(PackageVersion { document: "{}".into(), ..good.clone() }), data(&bytes)], ErrorCode::Conflict, "PACKAGE_DAMAGED"),
    ] {
        let (kept, error) = replica.import(parts).await;
        let error = error.expect(reason);
        assert_eq!((kept, error.code, error.reason.as_str()), (vec![], code, reason), "{}", error.message);
    }
    assert_eq!(rows(&database.pool, "vendored_packages").await, 0);
    // What is complete before an error is kept.
    let (kept, error) = replica.import(vec![package(good.clone()), data(&bytes[..10]), data(&bytes[10..]), package(good.clone())]).await;
    assert_eq!((brief_of(&kept), error.map(|error| error.reason)), (vec!["a@1.0.0+".to_owned()], Some("UNEXPECTED_MESSAGE".to_owned())));
    let page = replica.build(&project(r#"{"dependencies": {"a": "*"}}"#, &["a"])).await.expect("a page").page;
    assert_eq!(brief(&page.findings), Vec::<String>::new());
}
