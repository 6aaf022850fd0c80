//! Errors of packages as findings of `package.json`, with what to do.

use compiler_client::{
    message::{Finding, Package, finding::code, packages::package_of, tools::packages_of},
    text::Text,
    worker,
};
use npm::{Code, known};

use super::{page_packages::PagePackages, plan::Plan, registry::NO_REGISTRY};
use crate::{error::Error, store::StoreError};

/// The file that names packages.
const FILE: &str = "package.json";

/// Why packages cannot be provided.
pub(super) enum Stop {
    /// The page shows it.
    Refused(Refusal),
    Failed(Error),
}

impl Stop {
    /// For an operator, who gets it as an error.
    pub(super) fn into_error(self) -> Error {
        match self {
            Self::Refused(Refusal(error)) => Error::Package { help: for_operator(&error), error },
            Self::Failed(error) => error,
        }
    }
}

impl From<npm::Error> for Stop {
    fn from(error: npm::Error) -> Self {
        Self::Refused(Refusal(error))
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        match error {
            Error::Compiler(worker::Error::RequestTooLarge { limit, .. }) => {
                let subject = "the set of packages that the page imports".to_owned();
                Self::Refused(Refusal(npm::Error::TooLarge { subject, limit: limit as u64, unit: "bytes" }))
            }
            error => Self::Failed(error),
        }
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

pub(super) struct Refusal(pub(super) npm::Error);

impl Refusal {
    /// The finding. It is not kept: what the registry lacks today it can have tomorrow.
    pub(super) fn provided(&self, manifest: &[u8]) -> PagePackages {
        let error = &self.0;
        let (code, help) = match error {
            npm::Error::NoPackage { package, .. } => {
                (code::UNKNOWN_PACKAGE, format!("Correct the name of {} in package.json, or remove it.", name(package)))
            }
            npm::Error::NoVersion { package, .. } => {
                (code::UNKNOWN_PACKAGE, format!("Set a version of {} that exists in package.json, such as \"latest\".", name(package)))
            }
            npm::Error::Syntax { .. } => (code::INVALID_DEPENDENCY, String::new()),
            npm::Error::Field { .. } => (code::INVALID_DEPENDENCY, "Correct the entry in package.json.".to_owned()),
            npm::Error::PeerConflict { .. } | npm::Error::OverrideConflict { .. } => {
                (code::PACKAGE_CONFLICT, "Change one of the versions in package.json.".to_owned())
            }
            npm::Error::TooLarge { .. } => (code::PACKAGES_TOO_LARGE, "Remove dependencies that the page does not need.".to_owned()),
            npm::Error::Registry { .. } => (code::REGISTRY_UNAVAILABLE, "Open the page again later.".to_owned()),
            npm::Error::Integrity { .. } | npm::Error::Archive { .. } => {
                (code::DAMAGED_PACKAGE, "Set another version, or write the lock file anew.".to_owned())
            }
        };
        let finding = Finding { help, ..at(manifest, package(error), code, &error.to_string()) };
        PagePackages { findings: vec![finding], is_temporary: true, ..PagePackages::default() }
    }
}

/// What an operator can do whose command has this error.
fn for_operator(error: &npm::Error) -> &'static str {
    match error {
        npm::Error::NoPackage { .. } => "; check its name",
        npm::Error::NoVersion { .. } => "; check its range. Without a registry only the versions of `backlot vendor list` count",
        npm::Error::Registry { problem, .. } if problem.starts_with(NO_REGISTRY) => {
            "; set BACKLOT_NPM_REGISTRY of compile, or import a file that `backlot vendor export` has written where there is a registry"
        }
        npm::Error::Registry { .. } => {
            "; check BACKLOT_NPM_REGISTRY and the network of compile, and repeat the command. What is kept is not fetched again"
        }
        _ => "",
    }
}

/// The package that an error is about.
fn package(error: &npm::Error) -> &str {
    match error {
        npm::Error::NoPackage { package, .. }
        | npm::Error::NoVersion { package, .. }
        | npm::Error::PeerConflict { package, .. }
        | npm::Error::OverrideConflict { package, .. }
        | npm::Error::Registry { package, .. }
        | npm::Error::Integrity { package, .. }
        | npm::Error::Archive { package, .. } => name(package),
        npm::Error::Field { field, .. } => field.rsplit('.').next().unwrap_or_default(),
        npm::Error::Syntax { .. } | npm::Error::TooLarge { .. } => "",
    }
}

/// The name in `name@version`.
pub(super) fn name(label: &str) -> &str {
    label.char_indices().skip(1).find(|(_, c)| *c == '@').map_or(label, |(at, _)| &label[..at])
}

/// A finding where `package.json` names the package, or at its start.
fn at(manifest: &[u8], package: &str, code: &str, message: &str) -> Finding {
    let manifest = String::from_utf8_lossy(manifest);
    let lines = Text::new(&manifest);
    let offset = manifest.find(&format!("\"{package}\"")).unwrap_or_default();
    lines.finding(code, FILE, &lines.place(offset), message)
}

/// Whether the modules of the page import an installed package.
fn is_imported(plan: &Plan, package: &str) -> bool {
    plan.specifiers.iter().any(|specifier| packages_of(specifier).contains(&package))
}

/// A package that needs compiled code or Node.js. It stops a page that imports it; what another package brings along may never run.
fn no_browser(finding: &npm::Finding, plan: &Plan, manifest: &[u8]) -> Finding {
    let found = at(manifest, &finding.package, code::NO_BROWSER_PACKAGE, &finding.message);
    let help = finding.instead.as_ref().map(|instead| format!("Use instead: {instead}.")).unwrap_or_default();
    Finding { help, is_warning: !is_imported(plan, &finding.package), ..found }
}

/// Packages of the page that need compiled code, by their names.
pub(super) fn native(packages: &[String], plan: &Plan, manifest: &[u8]) -> Vec<Finding> {
    let found = packages.iter().map(|package| known::finding(package).unwrap_or_else(|| known::native(package)));
    found.map(|finding| no_browser(&finding, plan, manifest)).collect()
}

/// Leaves out warnings about files of packages that no module of the page imports. They may never run.
pub(super) fn leave_out_brought_along(findings: &mut Vec<Finding>, plan: &Plan) {
    let of_own = |finding: &Finding| {
        let file = finding.file.rsplit_once("node_modules/");
        file.is_none_or(|(_, file)| is_imported(plan, package_of(file)))
    };
    findings.retain(|finding| !finding.is_warning || of_own(finding));
}

/// Adds findings that are not there.
pub(super) fn add(findings: &mut Vec<Finding>, more: Vec<Finding>) {
    for finding in more {
        if !findings.contains(&finding) {
            findings.push(finding);
        }
    }
}

/// What a person should know of the packages that the page imports. A package that `package.json` names and that is not installed stops
/// the page.
pub(super) fn notes(findings: &[npm::Finding], plan: &Plan, manifest: &[u8]) -> Vec<Finding> {
    let is_left_out = |finding: &npm::Finding| matches!(finding.code, Code::UnsupportedSource | Code::InvalidName);
    let left_out = |finding: &npm::Finding| {
        let found = at(manifest, &finding.package, code::INVALID_DEPENDENCY, &finding.message);
        Finding { help: finding.instead.clone().unwrap_or_default(), is_warning: !plan.absent.contains(&finding.package), ..found }
    };
    let shown = findings.iter().filter(|finding| is_left_out(finding) || is_imported(plan, &finding.package));
    let mut notes: Vec<_> =
        shown.map(|finding| if is_left_out(finding) { left_out(finding) } else { no_browser(finding, plan, manifest) }).collect();
    let text = String::from_utf8_lossy(manifest);
    for package in &plan.absent {
        let is_explained = findings.iter().any(|finding| is_left_out(finding) && finding.package == *package);
        if !is_explained && text.contains(&format!("\"{package}\"")) {
            let message = format!("the package {package} is not installed: it is optional, and does not run in a browser");
            notes.push(at(manifest, package, code::NO_BROWSER_PACKAGE, &message));
        }
    }
    notes
}

/// Adds a finding for each specifier that has neither an address nor a finding.
pub(super) fn complete(findings: &mut Vec<Finding>, packages: &[Package], specifiers: &[String]) {
    for specifier in specifiers {
        let is_there = packages.iter().any(|package| package.specifier == *specifier);
        let is_explained = || findings.iter().any(|finding| !finding.is_warning && finding.message.contains(specifier.as_str()));
        if !is_there && !is_explained() {
            findings.push(at(b"", "", code::NOT_BUNDLED, &format!("{specifier} cannot be bundled")));
        }
    }
}

/// A warning that packages were not checked. It is not kept.
pub(super) fn unchecked(manifest: &[u8], problem: &str) -> PagePackages {
    let found = at(manifest, "", code::REGISTRY_UNAVAILABLE, &format!("The packages were not checked: {problem}"));
    let finding = Finding { help: "Check again later.".to_owned(), is_warning: true, ..found };
    PagePackages { findings: vec![finding], is_temporary: true, ..PagePackages::default() }
}

/// Packages that are imported in a project without `package.json`.
pub(crate) fn without_manifest(specifiers: &[String]) -> PagePackages {
    let finding = |specifier: &String| {
        let package = package_of(specifier);
        let found = at(b"", "", code::MISSING_PACKAGE, &format!("the package {package} is imported, and the project has no package.json"));
        Finding { help: format!("Add a package.json with {{\"dependencies\": {{\"{package}\": \"latest\"}}}}."), ..found }
    };
    PagePackages { findings: specifiers.iter().map(finding).collect(), ..PagePackages::default() }
}
