//! `backlot vendor`: the packages that the role compile keeps for machines without a registry. The commands call the role as an operator.
//!
//! - `archive`: the file of `export` and `import`. `warm`: the list of `warm`. `report`: what the commands print.

mod archive;
mod report;
mod warm;

use std::{
    fs::{self, File},
    io::{BufReader, BufWriter, ErrorKind, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use chassis::{
    client::ServiceChannel,
    config::{Env, SettingDoc},
    context::Context,
    task,
};
use clap::Subcommand;
use futures::stream;
use proto::compile::{
    AddPackagesRequest, ExportPackagesRequest, ImportPackagesRequest, ListBundlesRequest, ListPackagesRequest, add_packages_response,
    compile_service_client::CompileServiceClient, export_packages_response, import_packages_request,
};
use serde_json::json;
use tokio::sync::mpsc;

use self::report::Report;
use crate::{
    operator::{Access, refusal},
    role::Role,
};

/// The names of lock files, in the order in which compile uses one of several in a project.
const LOCK_FILES: [&str; 4] = ["package-lock.json", "npm-shrinkwrap.json", "pnpm-lock.yaml", "yarn.lock"];
const DEFAULT_URL: &str =
    "the address in <BACKLOT_DATA_DIR>/endpoints.json, which a running `backlot up` writes, else http://127.0.0.1:9094";
/// The parts of a file that are read ahead.
const AHEAD: usize = 4;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Keep packages with all that they depend on.
    Add {
        /// Packages, such as `react`, `react@^19` or `@scope/name@1.2.3`. Without a range it is the version `latest`.
        #[arg(value_name = "NAME[@RANGE]", required_unless_present = "project")]
        packages: Vec<String>,
        /// Keep the packages of the `package.json` in this folder, at the versions of its lock file if it has one.
        #[arg(long, value_name = "FOLDER", conflicts_with = "packages")]
        project: Option<PathBuf>,
    },
    /// List the packages that are kept, and the sets of packages that are bundled.
    List,
    /// Keep and bundle the packages of the starters, and keep others that generated projects often use.
    Warm {
        /// Only the sets with this name. It can be given more than once.
        #[arg(long = "set", value_name = "NAME")]
        sets: Vec<String>,
    },
    /// Write all packages that are kept to a file.
    Export { file: PathBuf },
    /// Keep the packages of a file that `export` has written.
    Import { file: PathBuf },
}

type Client = CompileServiceClient<ServiceChannel>;

fn access(env: &mut Env) -> Access {
    Access::read(env, Role::Compile, "BACKLOT_COMPILE_URL", (DEFAULT_URL, "where compile listens"))
}

/// The settings that the commands read.
#[must_use]
pub(crate) fn settings() -> Vec<SettingDoc> {
    let mut env = Env::describe();
    access(&mut env);
    env.settings().to_vec()
}

/// Runs a command.
///
/// # Errors
/// The environment is invalid, compile does not answer or refuses, or a file cannot be read or written.
pub(crate) fn command(mut env: Env, command: Command) -> Result<()> {
    let access = access(&mut env);
    env.check()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
    runtime.block_on(async {
        let client = CompileServiceClient::new(access.channel()?);
        match command {
            Command::Add { project: Some(folder), .. } => add(client, vec![of_project(&folder)?]).await,
            Command::Add { packages, project: None } => {
                add(client, packages.iter().map(|text| of_name(text)).collect::<Result<_>>()?).await
            }
            Command::List => list(client).await,
            Command::Warm { sets } => add(client, of_list(&sets)?).await,
            Command::Export { file } => export(client, &file).await,
            Command::Import { file } => import(client, file).await,
        }
    })
}

/// What is added by one call.
struct Addition {
    label: String,
    request: AddPackagesRequest,
}

/// `@scope/name@range`.
fn of_name(text: &str) -> Result<Addition> {
    let at = text.char_indices().skip(1).find(|(_, c)| *c == '@').map(|(at, _)| at);
    let (name, range) = at.map_or((text, "latest"), |at| (&text[..at], &text[at + 1..]));
    ensure!(!name.is_empty() && !range.is_empty(), "{text:?} must be NAME or NAME@RANGE");
    let manifest = json!({ "dependencies": { name: range } }).to_string();
    Ok(Addition { label: text.to_owned(), request: AddPackagesRequest { manifest: manifest.into(), ..AddPackagesRequest::default() } })
}

fn of_project(folder: &Path) -> Result<Addition> {
    let path = folder.join("package.json");
    let manifest = match fs::read(&path) {
        Ok(manifest) => manifest.into(),
        Err(error) if error.kind() == ErrorKind::NotFound => bail!("there is no {}; name the folder of a project", path.display()),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let mut request = AddPackagesRequest { manifest, ..AddPackagesRequest::default() };
    for name in LOCK_FILES {
        match fs::read(folder.join(name)) {
            Ok(lock) => {
                (request.lock_name, request.lock) = (name.to_owned(), lock.into());
                break;
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", folder.join(name).display())),
        }
    }
    Ok(Addition { label: folder.display().to_string(), request })
}

/// The sets of the list with these names, or all.
fn of_list(names: &[String]) -> Result<Vec<Addition>> {
    let mut sets = warm::list().context("the list of packages")?;
    if let Some(unknown) = names.iter().find(|name| !sets.iter().any(|set| set.name == **name)) {
        let known: Vec<_> = sets.iter().map(|set| set.name.as_str()).collect();
        bail!("there is no set {unknown:?}; the sets are {}", known.join(", "));
    }
    sets.retain(|set| names.is_empty() || names.contains(&set.name));
    let addition = |set: warm::Set| Addition {
        request: AddPackagesRequest {
            manifest: set.manifest.to_string().into(),
            specifiers: set.specifiers,
            tools: set.tools,
            ..AddPackagesRequest::default()
        },
        label: set.name,
    };
    Ok(sets.into_iter().map(addition).collect())
}

/// Adds one after the other. A refusal of one does not stop the others.
async fn add(mut client: Client, additions: Vec<Addition>) -> Result<()> {
    let (mut report, all, mut refused) = (Report::default(), additions.len(), 0);
    for Addition { label, request } in additions {
        if let Err(error) = add_one(&mut client, &label, request, &mut report).await {
            if all == 1 {
                return Err(error.context(label));
            }
            eprintln!("backlot: {label}: {error:#}");
            refused += 1;
        }
    }
    report.end()?;
    ensure!(refused == 0, "{refused} of {all} could not be added");
    Ok(())
}

async fn add_one(client: &mut Client, label: &str, request: AddPackagesRequest, report: &mut Report) -> Result<()> {
    use add_packages_response::Part;
    let mut parts = client.add_packages(Context::background().stream_request(request)).await.map_err(refusal)?.into_inner();
    while let Some(message) = parts.message().await.map_err(refusal)? {
        match message.part {
            Some(Part::Resolved(resolved)) => report.line(&format!("{label}: {} packages", resolved.versions))?,
            Some(Part::Package(package)) => report.package(&package)?,
            Some(Part::Bundle(bundle)) => report.bundle(&bundle)?,
            None => {}
        }
    }
    Ok(())
}

async fn list(mut client: Client) -> Result<()> {
    let mut report = Report::default();
    let mut packages =
        client.list_packages(Context::background().stream_request(ListPackagesRequest {})).await.map_err(refusal)?.into_inner();
    while let Some(message) = packages.message().await.map_err(refusal)? {
        message.packages.iter().try_for_each(|package| report.listed(package))?;
    }
    let mut bundles = client.list_bundles(Context::background().stream_request(ListBundlesRequest {})).await.map_err(refusal)?.into_inner();
    while let Some(message) = bundles.message().await.map_err(refusal)? {
        message.bundles.iter().try_for_each(|bundle| report.bundle(bundle))?;
    }
    report.end_of_list()
}

/// Writes a file beside the named one, and gives it the name when it is complete.
async fn export(client: Client, path: &Path) -> Result<()> {
    ensure!(!path.is_dir(), "{} is a folder; name a file, such as {}", path.display(), path.join("packages.tar").display());
    let draft = path.with_extension("part");
    let written = match write(client, &draft).await {
        Ok(packages) => fs::rename(&draft, path).map(|()| packages).with_context(|| format!("cannot rename {}", draft.display())),
        refused => refused,
    };
    if written.is_err() {
        // It was perhaps not made.
        let _ = fs::remove_file(&draft);
    }
    let packages = written.with_context(|| format!("{} was not written", path.display()))?;
    Report::default().line(&format!("wrote {packages} packages to {}", path.display()))
}

/// Writes all packages. Returns their number.
async fn write(mut client: Client, draft: &Path) -> Result<u64> {
    use export_packages_response::Part;
    let cannot = || format!("cannot write {}", draft.display());
    let mut writer = archive::Writer::new(BufWriter::new(File::create(draft).with_context(cannot)?)).with_context(cannot)?;
    let mut parts =
        client.export_packages(Context::background().stream_request(ExportPackagesRequest {})).await.map_err(refusal)?.into_inner();
    let mut open = None;
    while let Some(message) = parts.message().await.map_err(refusal)? {
        match message.part {
            Some(Part::Package(package)) => {
                if let Some((package, tarball)) = open.replace((package, Vec::new())) {
                    writer.package(package, &tarball).with_context(cannot)?;
                }
            }
            Some(Part::Data(data)) => {
                let (_, tarball) = open.as_mut().context("compile sent a tarball without its package")?;
                tarball.extend_from_slice(&data);
            }
            None => {}
        }
    }
    if let Some((package, tarball)) = open {
        writer.package(package, &tarball).with_context(cannot)?;
    }
    let (mut file, packages) = writer.finish().with_context(cannot)?;
    file.flush().with_context(cannot)?;
    file.get_ref().sync_all().with_context(cannot)?;
    Ok(packages)
}

fn open(path: &Path) -> Result<File> {
    let label = path.display();
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!("there is no file {label}; name one that `backlot vendor export` has written")
        }
        Err(error) => return Err(error).with_context(|| format!("cannot read {label}")),
    };
    let is_folder = file.metadata().with_context(|| format!("cannot read {label}"))?.is_dir();
    ensure!(!is_folder, "{label} is a folder; name a file that `backlot vendor export` has written");
    Ok(file)
}

async fn import(mut client: Client, path: PathBuf) -> Result<()> {
    let label = path.display().to_string();
    let file = open(&path)?;
    let (sender, receiver) = mpsc::channel(AHEAD);
    let reading = task::blocking(move || {
        archive::read(BufReader::new(file), |part| sender.blocking_send(part).context("compile has ended the import"))
    });
    let message = |part: import_packages_request::Part| ImportPackagesRequest { part: Some(part) };
    let messages = stream::unfold(receiver, move |mut receiver| async move { receiver.recv().await.map(|part| (message(part), receiver)) });
    let mut report = Report::default();
    let imported = async {
        let mut kept = client.import_packages(Context::background().stream_request(messages)).await.map_err(refusal)?.into_inner();
        while let Some(message) = kept.message().await.map_err(refusal)? {
            message.package.iter().try_for_each(|package| report.package(package))?;
        }
        anyhow::Ok(())
    };
    let imported = imported.await;
    let read = reading.await.context("the file could not be read")?;
    // A refusal ends the reading, too. A file that is cut ends the import in order.
    imported?;
    if read.as_ref().is_err_and(|error| error.is::<archive::Unusable>()) {
        return read.with_context(|| format!("cannot import {label}")).map(drop);
    }
    report.end()?;
    read.with_context(|| format!("{label} is not complete; what is listed above is kept. Write it again with `backlot vendor export`"))
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(text: &str) -> String {
        of_name(text).map(|addition| String::from_utf8_lossy(&addition.request.manifest).into_owned()).unwrap_or_default()
    }

    #[test]
    fn a_name_can_have_a_range() {
        for (text, expected) in [
            ("react", r#"{"dependencies":{"react":"latest"}}"#),
            ("react@^19", r#"{"dependencies":{"react":"^19"}}"#),
            ("@a/b", r#"{"dependencies":{"@a/b":"latest"}}"#),
            ("@a/b@1 || 2", r#"{"dependencies":{"@a/b":"1 || 2"}}"#),
            ("react@", ""),
            ("", ""),
        ] {
            assert_eq!(manifest(text), expected, "{text}");
        }
    }

    #[test]
    fn a_project_has_the_lock_file_that_counts() {
        let folder = tempfile::tempdir().expect("a folder");
        let none = of_project(folder.path()).map(drop).expect_err("no file").to_string();
        assert!(none.contains("package.json; name the folder of a project"), "{none}");
        fs::write(folder.path().join("package.json"), "{}").expect("a file");
        assert_eq!(of_project(folder.path()).expect("a project").request.lock_name, "");
        for name in ["yarn.lock", "package-lock.json"] {
            fs::write(folder.path().join(name), name).expect("a file");
            let request = of_project(folder.path()).expect("a project").request;
            assert_eq!((request.lock_name.as_str(), request.lock.as_ref()), (name, name.as_bytes()));
        }
    }

    #[test]
    fn what_is_no_file_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        for (path, expected) in [(folder.path().to_owned(), "is a folder"), (folder.path().join("a.tar"), "there is no file")] {
            let error = open(&path).map(drop).expect_err(expected).to_string();
            assert!(error.contains(expected) && error.contains(&*path.to_string_lossy()) && error.contains("vendor export"), "{error}");
        }
    }

    #[test]
    fn an_unknown_set_is_refused_with_the_names() {
        assert!(of_list(&["none".to_owned()]).map(drop).expect_err("unknown").to_string().contains("starter vue"));
        assert_eq!(of_list(&["starter vue".to_owned()]).expect("a set").len(), 1);
        assert_eq!(of_list(&[]).expect("all").len(), warm::list().expect("the list").len());
    }
}
