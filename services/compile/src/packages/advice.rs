//! What helps with a package that cannot be had while no registry answers: which versions are kept, and the command that keeps another one.

use std::cmp::Reverse;

use npm::{PackageJson, semver::Version, spec::Spec};
use tokio::time::Instant;

use super::{
    Packages, PagePackages,
    refusal::{Refusal, name},
    registry::NO_REGISTRY,
};
use crate::{error::Error, vendored};

/// The most kept versions that are named.
const MAX_NAMED: usize = 5;

/// A package that cannot be had.
struct Absent {
    name: String,
    /// The versions that were asked for. Empty if they are not known.
    range: String,
}

impl Packages {
    /// What a refusal says on the page.
    ///
    /// # Errors
    /// The database fails.
    pub(super) async fn refused(&self, refusal: &Refusal, manifest: &[u8]) -> Result<PagePackages, Error> {
        let mut provided = refusal.provided(manifest);
        let registry = &self.shared.registry;
        if !registry.is_away(Instant::now()) {
            return Ok(provided);
        }
        let own = PackageJson::parse(manifest, &self.shared.limits).unwrap_or_default();
        if let Some(absent) = Absent::of(&refusal.0, &own) {
            let mut kept = vendored::versions(&self.shared.pool, &absent.name).await?;
            newest_first(&mut kept);
            let help = absent.help(&kept, !registry.address().is_empty());
            for finding in &mut provided.findings {
                finding.help.clone_from(&help);
            }
        }
        Ok(provided)
    }
}

impl Absent {
    /// `None` if the error has another cause.
    fn of(error: &npm::Error, own: &PackageJson) -> Option<Self> {
        let (label, wanted) = match error {
            npm::Error::NoVersion { package, wanted, .. } => (package, wanted.as_str()),
            npm::Error::Registry { package, problem } if problem.starts_with(NO_REGISTRY) => (package, ""),
            _ => return None,
        };
        let name = name(label);
        let range = match label[name.len()..].strip_prefix('@') {
            Some(version) => version,
            None if wanted.is_empty() => asked(own, name),
            None => wanted,
        };
        Some(Self { name: name.to_owned(), range: without_alias(range).to_owned() })
    }

    /// `kept`: the newest first.
    fn help(&self, kept: &[String], has_registry: bool) -> String {
        let known = self.known(kept);
        if has_registry {
            return format!("The registry does not answer. {known} Open the page again later.");
        }
        let own = if kept.is_empty() { "" } else { " Set a range in package.json that one of them matches, or ask the operator." };
        let command = command(&self.name, &self.range);
        format!(
            "{known}{own} The operator can add it where there is a registry: `{command}`, or `backlot vendor add --project FOLDER` for all \
             packages of a project."
        )
    }

    fn known(&self, kept: &[String]) -> String {
        if kept.is_empty() {
            return format!("No version of {} is kept.", self.name);
        }
        if kept.contains(&self.range) {
            return format!("{} {} is kept without its files.", self.name, self.range);
        }
        let named = kept[..kept.len().min(MAX_NAMED)].join(", ");
        let rest = match kept.len().saturating_sub(MAX_NAMED) {
            0 => String::new(),
            more => format!(" and {more} older"),
        };
        format!("The kept versions of {} are {named}{rest}.", self.name)
    }
}

/// What `package.json` asks for.
fn asked<'a>(own: &'a PackageJson, package: &str) -> &'a str {
    let lists = [&own.dependencies, &own.dev_dependencies, &own.optional_dependencies, &own.peer_dependencies];
    let is_it = |(name, spec): &&(String, String)| Spec::parse(spec).is_ok_and(|read| read.package(name) == package);
    lists.into_iter().flatten().find(is_it).map_or("", |(_, spec)| spec.as_str())
}

/// The range of `npm:name@range`.
fn without_alias(spec: &str) -> &str {
    let Some(alias) = spec.trim().strip_prefix("npm:") else { return spec.trim() };
    alias[name(alias).len()..].trim_start_matches('@')
}

/// An operator copies the command into a shell, and the project has written its parts. So it has only characters of names and versions, and
/// quotes where a shell needs them.
fn command(name: &str, range: &str) -> String {
    let is_of = |text: &str, others: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || others.contains(c));
    if !is_of(name, "@/._-") || name.starts_with('-') {
        return "backlot vendor add".to_owned();
    }
    if range.is_empty() || !is_of(range, ".-_+^~ <>=|*") {
        return format!("backlot vendor add {name}");
    }
    if is_of(range, ".-_+^~") { format!("backlot vendor add {name}@{range}") } else { format!("backlot vendor add '{name}@{range}'") }
}

/// Versions with the newest first. One that cannot be read is the oldest.
fn newest_first(versions: &mut [String]) {
    versions.sort_by_cached_key(|version| Reverse(Version::parse(version)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(dependencies: &str) -> PackageJson {
        let text = format!(r#"{{"dependencies": {{{dependencies}}}}}"#);
        PackageJson::parse(text.as_bytes(), &npm::Limits::default()).expect("a package.json")
    }

    fn absent(package: &str) -> npm::Error {
        npm::Error::Registry { package: package.to_owned(), problem: NO_REGISTRY.to_owned() }
    }

    fn commanded(error: &npm::Error, own: &PackageJson) -> String {
        Absent::of(error, own).map(|absent| command(&absent.name, &absent.range)).unwrap_or_default()
    }

    #[test]
    fn the_command_has_the_range_of_the_project() {
        let own = own(r#""react": "^19.0.0", "@a/b": ">=1 <3", "vue": "npm:@c/vue@~3.2", "d": "latest""#);
        for (package, expected) in [
            ("react", "backlot vendor add react@^19.0.0"),
            ("react@19.1.0", "backlot vendor add react@19.1.0"),
            ("@a/b", "backlot vendor add '@a/b@>=1 <3'"),
            ("@c/vue", "backlot vendor add @c/vue@~3.2"),
            ("d", "backlot vendor add d@latest"),
            ("other", "backlot vendor add other"),
        ] {
            assert_eq!(commanded(&absent(package), &own), expected);
        }
        let none = npm::Error::NoVersion { package: "e".to_owned(), wanted: "npm:e@2".to_owned(), by: "react".to_owned() };
        assert_eq!(commanded(&none, &own), "backlot vendor add e@2");
        let other = npm::Error::Registry { package: "react".to_owned(), problem: "it answers 500".to_owned() };
        assert!(Absent::of(&other, &own).is_none());
    }

    #[test]
    fn a_project_writes_no_command_of_a_shell() {
        for range in ["1; rm -rf ~", "$(id)", "`id`", "'", "1\n2", "1 && id"] {
            assert_eq!(command("a", range), "backlot vendor add a", "{range}");
        }
        for name in ["a'b", "--help", "a b", "a!"] {
            assert_eq!(command(name, "1"), "backlot vendor add", "{name}");
        }
    }

    #[test]
    fn help_names_the_newest_kept_versions() {
        let mut kept: Vec<_> = ["1.9.0", "1.10.0", "2.0.0-beta.1", "1.0.0", "1.0.1", "1.0.2"].map(str::to_owned).into();
        newest_first(&mut kept);
        let absent = Absent { name: "a".to_owned(), range: "^3".to_owned() };
        let help = absent.help(&kept, false);
        assert!(
            help.starts_with("The kept versions of a are 2.0.0-beta.1, 1.10.0, 1.9.0, 1.0.2, 1.0.1 and 1 older. Set a range"),
            "{help}"
        );
        assert!(help.contains("`backlot vendor add a@^3`"), "{help}");
        assert!(absent.help(&[], false).starts_with("No version of a is kept. The operator"));
        let help = absent.help(&kept, true);
        assert!(help.starts_with("The registry does not answer.") && !help.contains("vendor"), "{help}");
        let exact = Absent { range: "1.9.0".to_owned(), ..absent };
        assert!(exact.help(&kept, false).starts_with("a 1.9.0 is kept without its files."));
    }
}
