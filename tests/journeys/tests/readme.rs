//! Runs every command, script and settings file of the README and of the pages in `docs/`, and calls every route that they mention. New pages
//! are found automatically.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, bail, ensure};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use test_support::{Cluster, Person};
use tokio::process::Command;

const README: &str = "README.md";

/// Command lines that this test does not run, with the reason.
const NOT_RUN: &[(&str, &str)] = &[
    ("make run", "serves until it is stopped; the tests start the same executable"),
    ("make test", "runs this test"),
    ("make bench", "runs for many minutes"),
    ("deploy/scripts/bench.sh only scale leave kill", "the same"),
    ("deploy/scripts/bench.sh only files page", "the same"),
    ("deploy/scripts/bench.sh only previews", "the same"),
    ("deploy/scripts/bench.sh only selection tokens", "the same"),
    ("deploy/scripts/bench.sh only token sign-in", "the same"),
    ("target/debug/backlot vendor warm", "fetches some hundred packages; tests/operators/vendor.rs keeps a set of the list"),
    (r#"target/debug/backlot vendor warm --set "starter vue" --set "vue apps""#, "the same"),
    ("target/debug/backlot vendor add react@^18 @tanstack/react-query", "needs a registry; tests/operators/vendor.rs adds packages"),
    ("target/debug/backlot vendor add --project my-app", "the same"),
    ("make compose-test", "needs a Docker engine; `.ci/run` runs it if there is one"),
    ("cp .env.example .env", "writes into the working tree; tests/house/tests/deploy reads both files"),
    ("docker compose up --build --wait", "needs a Docker engine; `make compose-test` runs the compose file"),
    (
        "docker compose -f docker-compose.yml -f deploy/compose.replicas.yml up --wait",
        "the same; tests/house/tests/deploy reads both files",
    ),
    ("docker compose -f docker-compose.yml -f deploy/compose.replicas.yml up --wait --scale agent-streaming=4", "the same"),
    (
        "docker compose -f docker-compose.yml -f deploy/compose.tls.yml up --wait",
        "needs a Docker engine; `make compose-test` runs both files",
    ),
    ("docker compose -f docker-compose.yml -f deploy/compose.tls.yml up certs", "the same"),
    ("docker compose -f docker-compose.yml -f deploy/compose.tls.yml run --rm operator admin users list", "the same"),
    ("docker compose -f docker-compose.yml -f deploy/compose.tls.yml cp auth:/etc/backlot/tls/ca.pem .", "the same"),
];

/// Pages whose commands no test runs, with the reason. Their syntax is checked.
const PAGES_NOT_RUN: &[(&str, &str)] = &[(
    "docs/install.md",
    "it installs a server with root, systemd, a proxy and engines of its own; tests/house/tests/deploy reads the files that it installs",
)];

/// Pages whose scripts need a client library, with the folder of the scripts that run them.
const OTHER_RUNNERS: &[(&str, &str)] = &[("docs/chat-clients.md", "tests/journeys/clients")];

/// Shell functions for the commands of a page. `curl` also prints the expected and the actual status. `grpcurl` is translated to
/// `buf curl`, because the tests install buf.
const PRELUDE: &str = r#"
curl() { command curl -w "%{stderr}STATUS $EXPECTED %{http_code} %{url_effective}\n" "$@"; }
buf() { "$BUF" "$@"; }
grpcurl() {
  local options=() data=(-d '{}')
  while [[ $1 == -* ]]; do
    case $1 in
      -plaintext) shift ;;
      -d) data=(-d "$2"); shift 2 ;;
      -H) options+=(-H "$2"); shift 2 ;;
      *) echo "the test does not support the option $1 of grpcurl" >&2; return 2 ;;
    esac
  done
  local plain=(buf curl --http2-prior-knowledge --protocol grpc)
  case $2 in
    list) "${plain[@]}" --list-services "http://$1" ;;
    describe) "${plain[@]}" --list-methods "http://$1" | grep "^$3/" ;;
    *) "${plain[@]}" "${options[@]}" "${data[@]}" "http://$1/$2" ;;
  esac
}
"#;

/// The root of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

struct Page {
    /// The path from the root, such as `docs/api.md`.
    name: String,
    text: String,
}

impl Page {
    fn read(name: &str) -> Result<Self> {
        Ok(Self { name: name.to_owned(), text: fs::read_to_string(root().join(name)).with_context(|| name.to_owned())? })
    }

    /// The languages and the bodies of the code blocks.
    fn blocks(&self) -> Result<Vec<(&str, String)>> {
        let (mut blocks, mut open): (Vec<(&str, String)>, bool) = (Vec::new(), false);
        for line in self.text.lines() {
            match line.strip_prefix("```") {
                Some(_) if open => open = false,
                Some(language) => {
                    open = true;
                    blocks.push((language, String::new()));
                }
                None if open => blocks.last_mut().context("a block")?.1.push_str(&format!("{line}\n")),
                None => {}
            }
        }
        ensure!(!open, "{}: a code block has no end", self.name);
        Ok(blocks)
    }

    /// The code blocks of a language.
    fn of(&self, wanted: &str) -> Result<Vec<String>> {
        Ok(self.blocks()?.into_iter().filter(|(language, _)| *language == wanted).map(|(_, body)| body).collect())
    }

    /// The lines of the shell blocks, without those in [`NOT_RUN`].
    fn commands(&self) -> Result<String> {
        let is_run = PAGES_NOT_RUN.iter().all(|(page, _)| *page != self.name);
        let whole = if is_run { self.of("sh")?.concat() } else { String::new() };
        Ok(whole.lines().filter(|line| NOT_RUN.iter().all(|(command, _)| command != line)).map(|line| format!("{line}\n")).collect())
    }
}

/// The README and the pages in `docs/`.
fn pages() -> Result<Vec<Page>> {
    let mut names: Vec<_> = fs::read_dir(root().join("docs"))?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".md"))
        .map(|name| format!("docs/{name}"))
        .collect();
    names.sort();
    ensure!(names.len() > 5, "only these pages were found: {names:?}");
    std::iter::once(README).chain(names.iter().map(String::as_str)).map(Page::read).collect()
}

/// Replaces the addresses and the executable in a text with those of the cluster.
fn substitute(text: &str, cluster: &Cluster) -> String {
    let ports = [("9090", "auth"), ("9091", "agent-streaming"), ("9092", "project-storage"), ("9093", "rate-limit"), ("9094", "compile")];
    let text = ports.iter().fold(text.replace("http://127.0.0.1:8080", &cluster.url), |text, (port, service)| {
        text.replace(&format!("127.0.0.1:{port}"), cluster.grpc[*service].trim_start_matches("http://"))
    });
    let text = text.replace("http://127.0.0.1:9464/metrics", &cluster.metrics);
    text.replace("target/debug/backlot", env!("CARGO_BIN_EXE_backlot-under-test"))
}

/// Sets the expected status of each command: the one in the comment above it, or a success.
fn with_statuses(script: &str) -> String {
    let named = |comment: &str| {
        let words = comment.split(|c: char| !c.is_ascii_alphanumeric());
        words
            .filter(|word| word.len() == 3 && word.starts_with(['3', '4', '5']))
            .find(|word| word.parse::<u16>().is_ok())
            .map(str::to_owned)
    };
    let line = |line: &str| match line.strip_prefix('#') {
        Some(comment) => format!("EXPECTED={}\n", named(comment).unwrap_or_else(|| "20".to_owned())),
        None if line.is_empty() => "EXPECTED=20\n".to_owned(),
        None => format!("{line}\n"),
    };
    script.lines().map(line).collect()
}

/// Runs a shell script in a folder and returns its output. Every answer must have the expected status.
async fn run(script: &str, folder: &Path, cluster: &Cluster) -> Result<String> {
    #[allow(clippy::disallowed_methods, reason = "the path of a tool, not a setting of a service")]
    let buf = std::env::var("BACKLOT_BUF").unwrap_or_else(|_| "buf".to_owned());
    let mut shell = Command::new("bash");
    let whole = format!("{PRELUDE}\nEXPECTED=20\n{}", with_statuses(&substitute(script, cluster)));
    shell.args(["-eu", "-c", &whole]).current_dir(folder).env("BUF", buf).env("BACKLOT_DATA_DIR", cluster.data_dir()).env("USER", "grace");
    let output = shell.stdin(Stdio::null()).kill_on_drop(true).output().await?;
    let (text, stderr) = (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{text}{stderr}");
    let statuses: Vec<_> = stderr.lines().filter_map(|line| line.split_once("STATUS ")).map(|(_, status)| status).collect();
    let calls = |line: &&str| line.contains("curl ") && !line.contains("buf curl ") && !line.contains("grpcurl ");
    assert_eq!(statuses.len(), script.lines().filter(calls).count(), "{stderr}");
    for status in statuses {
        let (wanted, rest) = status.split_once(' ').context("two statuses")?;
        ensure!(rest.starts_with(wanted), "{rest}, expected {wanted}: {text}{stderr}");
    }
    Ok(text)
}

/// A temporary folder with a link to `deploy`, which commands use.
fn folder() -> Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    std::os::unix::fs::symlink(fs::canonicalize(root().join("deploy"))?, folder.path().join("deploy"))?;
    Ok(folder)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_quickstart_works_as_written() -> Result<()> {
    // With the shipped limits, which must allow the whole quickstart at once.
    let cluster = Cluster::with(&[("BACKLOT_POLICIES", "")]).await?;
    let (script, folder) = (Page::read(README)?.commands()?, folder()?);
    ensure!(substitute(&script, &cluster).contains(&cluster.url), "the quickstart has the address of the gateway");
    let text = run(&script, folder.path(), &cluster).await?;
    assert_eq!(text.matches(r#""type":"turn.completed""#).count(), 3, "two turns, and the first one is followed twice: {text}");
    assert!(text.to_lowercase().contains("<!doctype html>"), "the preview shows the app: {text}");
    assert!(text.contains(r#""path":"index.html""#), "the files are listed: {text}");
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_works_as_written_after_the_quickstart() -> Result<()> {
    let quickstart = Page::read(README)?.commands()?;
    let (mut commands, mut scripts) = (0, 0);
    for page in pages()?.into_iter().filter(|page| page.name != README) {
        let own = page.commands()?;
        let has_other_runner = OTHER_RUNNERS.iter().any(|(name, _)| *name == page.name);
        let js = if has_other_runner { Vec::new() } else { page.of("js")? };
        let (yaml, markdown) = (page.of("yaml")?, page.of("markdown")?);
        if own.trim().is_empty() && [&js, &yaml, &markdown].iter().all(|blocks| blocks.is_empty()) {
            continue;
        }
        let folder = folder()?;
        let files = write_files(folder.path(), &yaml, &markdown)?;
        let compiler = (page.name == "docs/previews.md").then(|| chassis::testing::compiler().to_string_lossy().into_owned());
        let mut settings: Vec<_> = files.iter().map(|(name, path)| (*name, path.as_str())).collect();
        settings.extend(compiler.as_deref().map(|path| ("BACKLOT_COMPILER", path)));
        if page.name == "docs/publish.md" {
            settings.push(("BACKLOT_SITES_URL", "http://{site}.sites.localhost:8081"));
        }
        let cluster = Cluster::with(&settings).await.with_context(|| page.name.clone())?;
        let text = run(&format!("{quickstart}\n{own}"), folder.path(), &cluster).await.with_context(|| page.name.clone())?;
        check_searches(&page, &own, &text);
        for code in &js {
            run_in_node(code, folder.path(), &cluster).await.with_context(|| page.name.clone())?;
        }
        commands += own.lines().count();
        scripts += js.len();
        cluster.stop().await?;
    }
    ensure!(commands > 20 && scripts > 0, "{commands} lines of commands and {scripts} scripts were found");
    Ok(())
}

/// Each search of the page about searches finds something.
fn check_searches(page: &Page, commands: &str, text: &str) {
    if page.name == "docs/search.md" {
        for (command, found) in [("/search?", r#""hits":[{"#), ("/projects?", r#""projects":[{"#)] {
            assert_eq!(text.matches(found).count(), commands.matches(command).count(), "{command}: {text}");
        }
        assert!(commands.matches("/search?").count() > 3, "{commands}");
    }
}

/// Writes the policies and agents of a page to files. Returns the settings with their paths. A cluster does not start with invalid ones.
fn write_files(folder: &Path, yaml: &[String], markdown: &[String]) -> Result<BTreeMap<&'static str, String>> {
    let mut settings = BTreeMap::new();
    if let [policies] = yaml {
        let path = folder.join("policies.yaml");
        fs::write(&path, policies)?;
        settings.insert("BACKLOT_POLICIES", path.to_string_lossy().into_owned());
    }
    if !markdown.is_empty() {
        let agents = folder.join("agents");
        fs::create_dir(&agents)?;
        for (number, agent) in markdown.iter().enumerate() {
            let name = agent.lines().find_map(|line| line.strip_prefix("name: ")).with_context(|| format!("agent {number} has no name"))?;
            fs::write(agents.join(format!("{name}.md")), agent)?;
        }
        settings.insert("BACKLOT_AGENTS_DIR", agents.to_string_lossy().into_owned());
    }
    ensure!(yaml.len() < 2, "a page has at most one file of policies");
    Ok(settings)
}

/// Runs a module in Node.js with the account of the quickstart.
async fn run_in_node(code: &str, folder: &Path, cluster: &Cluster) -> Result<()> {
    let account = r#"const email = "ada@example.com", password = "correct horse battery staple 7";"#;
    let path = folder.join("page.mjs");
    // `fetch` that fails on a refusal.
    let strict = "const bare = fetch; globalThis.fetch = async (...a) => { const r = await bare(...a); if (!r.ok) throw new Error(`${r.status} ${r.url}`); return r; };";
    fs::write(&path, format!("{strict}\n{account}\n{}", substitute(code, cluster)))?;
    let output = Command::new("node").arg(&path).stdin(Stdio::null()).kill_on_drop(true).output().await.context("node")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[test]
fn every_code_block_is_run() -> Result<()> {
    let (mut lines, mut scripts) = (BTreeSet::new(), BTreeSet::new());
    for page in pages()? {
        for (language, body) in page.blocks()? {
            match language {
                "sh" => lines.extend(body.lines().map(str::to_owned)),
                "js" | "jsx" => drop(scripts.insert(page.name.clone())),
                // Settings files; the README has none.
                "yaml" | "markdown" if page.name != README => {}
                // An answer as it was received: its last line is JSON.
                "http" => {
                    let last = body.lines().next_back().unwrap_or_default().trim_start_matches("data: ").to_owned();
                    serde_json::from_str::<Value>(&last).with_context(|| format!("{}: {last}", page.name))?;
                }
                other => bail!("{}: no test runs a block of {other:?}", page.name),
            }
        }
        let has_jsx = !page.of("jsx")?.is_empty();
        ensure!(!has_jsx || OTHER_RUNNERS.iter().any(|(name, _)| *name == page.name), "{}: no test runs its jsx", page.name);
    }
    ensure!(!scripts.contains(README), "the README's scripts are not run");
    let unused: Vec<_> = NOT_RUN.iter().filter(|(command, _)| !lines.contains(*command)).collect();
    assert!(unused.is_empty(), "no page has these commands: {unused:?}");
    for (page, runner) in OTHER_RUNNERS {
        ensure!(scripts.contains(*page), "{page} has no scripts");
        let reads = |entry: fs::DirEntry| fs::read_to_string(entry.path()).is_ok_and(|text| text.contains(page));
        ensure!(fs::read_dir(root().join(runner))?.filter_map(Result::ok).any(reads), "no script in {runner} reads {page}");
    }
    Ok(())
}

#[test]
fn the_commands_that_are_not_run_are_shell() -> Result<()> {
    for (name, reason) in PAGES_NOT_RUN {
        let script = Page::read(name)?.of("sh")?.concat();
        let output = std::process::Command::new("bash").args(["-n", "-c", &script]).output()?;
        ensure!(output.status.success() && !script.is_empty(), "{name} ({reason}): {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

#[test]
fn mentioned_targets_and_files_exist() -> Result<()> {
    let makefile = fs::read_to_string(root().join("Makefile"))?;
    let mut found = 0;
    for page in pages()? {
        let prose: Vec<&str> = page.text.split("```").step_by(2).collect();
        for code in prose.iter().flat_map(|text| text.split('`').skip(1).step_by(2)) {
            let mut words = code.split_whitespace();
            let (first, second) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            if first == "make" {
                ensure!(makefile.lines().any(|line| line.starts_with(&format!("{second}:"))), "{}: `{code}`", page.name);
                found += 1;
            }
            for path in code.split_whitespace().filter(|word| ["deploy/", "tests/", "docs/"].iter().any(|folder| word.starts_with(folder)))
            {
                // A test is named by its file and its function.
                let path = path.split("::").next().unwrap_or(path);
                ensure!(root().join(path).exists(), "{}: `{path}` does not exist", page.name);
                found += 1;
            }
        }
    }
    ensure!(found > 10, "only {found} targets and files were found");
    Ok(())
}

/// A route in a document: the method, if it is mentioned, and the path with the query.
#[derive(Debug)]
struct Route {
    method: Option<Method>,
    target: String,
}

fn routes(text: &str) -> Vec<Route> {
    let ends = |c: char| c.is_whitespace() || "\"'`)<>,;|".contains(c);
    let named = text.match_indices("/api/").map(|(at, _)| {
        let method = text[..at].split(['`', '\n', '"']).next_back().unwrap_or_default().trim();
        let target = text[at..].split(ends).next().unwrap_or_default().trim_end_matches(['.', ':']);
        Route {
            method: ["GET", "POST", "PATCH", "DELETE"].contains(&method).then(|| method.parse().unwrap_or_default()),
            target: target.to_owned(),
        }
    });
    named.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn mentioned_routes_exist() -> Result<()> {
    let cluster = Cluster::start().await?;
    let person = cluster.person().await?;
    let done = person.turn(json!({ "draftId": "my-first-app", "prompt": "a page" })).await?;
    let project = person.get(&format!("/api/projects/{}", done.project)).await?;
    let revision = project["headRevision"].as_str().unwrap_or_default().to_owned();
    let templates = person.get("/api/templates?tag=html").await?;
    let template = templates["templates"][0]["id"].as_str().unwrap_or_default().to_owned();
    let robot = person.post("/api/auth/service-accounts", json!({ "displayName": "robot" })).await?;
    let robot = robot["id"].as_str().unwrap_or_default().to_owned();
    let mut called = 0;
    let documents = pages()?.into_iter().map(Ok).chain(std::iter::once(Page::read("ARCHITECTURE.md")));
    for page in documents {
        let Page { name, text } = page?;
        for Route { method, target } in routes(&text) {
            let target = ["$PROJECT", "${projectId}", "{projectId}", "${id}", "{id}"]
                .iter()
                .fold(target, |text, place| text.replace(place, &done.project));
            let target = ["$TURN", "{turnId}"].iter().fold(target, |text, place| text.replace(place, &done.turn));
            let target = ["$FIRST", "$REVISION"].iter().fold(target, |text, place| text.replace(place, &revision));
            let target = target.replace("$TEMPLATE", &template).replace("$ROBOT", &robot).replace("${query}", "pageSize=10");
            // The project is needed for the other routes, and an upload or an import is no GET.
            if target.contains("purge=true") || target.contains("message=") || target.contains("/import?") {
                continue;
            }
            // Somebody else signs out, because this person must stay signed in.
            let guest = if target.starts_with("/api/auth/signout") { Some(cluster.person().await?) } else { None };
            let caller = guest.as_ref().unwrap_or(&person);
            let (status, answer) = call(caller, method.clone().unwrap_or(Method::GET), &target).await?;
            let reason = answer["reason"].as_str().unwrap_or_default();
            assert_ne!(reason, "ROUTE_NOT_FOUND", "{name}: {target}");
            if method.is_some() {
                assert_ne!(reason, "METHOD_NOT_ALLOWED", "{name}: {target}");
            }
            if target.contains('?') || method == Some(Method::GET) {
                // The turn has ended, without a conflict.
                let is_absent = ["CONFLICT_NOT_FOUND", "TURN_NOT_RUNNING"].contains(&reason);
                assert!(status.is_success() || is_absent, "{name}: {target}: {status} {answer}");
            }
            called += 1;
        }
    }
    assert!(called > 15, "only {called} routes were found");
    cluster.stop().await
}

async fn call(person: &Person, method: Method, target: &str) -> Result<(StatusCode, Value)> {
    let mut request = person.request(method.clone(), target);
    if method != Method::GET {
        request = request.json(&json!({}));
    }
    let response = request.send().await?;
    let status = response.status();
    // The events of a project have no end.
    if response.headers().get("content-type").is_some_and(|kind| kind == "text/event-stream") {
        return Ok((status, Value::Null));
    }
    Ok((status, serde_json::from_str(&response.text().await?).unwrap_or_default()))
}
