//! `backlot certs`: the certificates of the roles, for `BACKLOT_TLS`. The files are those of [`chassis::tls`], and `ca.key`, which only
//! this command reads.

mod authority;

use std::{
    collections::BTreeSet,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, anyhow};
use chassis::{
    clock,
    config::{Env, SettingDoc},
    identity::Caller,
    secret,
    tls::{self, CA_FILE, Files, LoadError},
};
use clap::Subcommand;
use time::{Duration, OffsetDateTime};

use self::authority::{Authority, Pair};

const CA_KEY_FILE: &str = "ca.key";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make the CA and the certificates of roles that do not exist yet, or have no key.
    Make {
        /// A further DNS name of every role, for programs that connect to a service without the gateway. Can be repeated.
        #[arg(long = "name", value_name = "DNS-NAME", value_parser = dns_name)]
        names: Vec<String>,
        /// How long a certificate is valid.
        #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u16).range(1..=3650))]
        days: u16,
    },
    /// Replace the certificates that expire soon. Running roles use the new ones for new connections.
    Renew {
        /// Replace certificates that expire within this many days.
        #[arg(long, value_name = "DAYS", default_value_t = 30)]
        within: u16,
        /// How long a new certificate is valid.
        #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u16).range(1..=3650))]
        days: u16,
    },
    /// Print when the certificates expire. Exit with 1 if one cannot be used or expires soon.
    Check {
        /// Fail if a certificate expires within this many days.
        #[arg(long, value_name = "DAYS", default_value_t = 30)]
        within: u16,
    },
}

fn dns_name(text: &str) -> Result<String, String> {
    if tls::is_dns_name(text) {
        return Ok(text.to_owned());
    }
    Err("must be a DNS name such as auth.internal: at most 253 characters, in labels of 1 to 63 letters, digits and hyphens".to_owned())
}

/// Runs a command.
///
/// # Errors
/// The environment is invalid, a file cannot be used, or a certificate expires soon.
pub(crate) fn command(mut env: Env, command: Command) -> Result<()> {
    let data = secret::data_dir(&mut env);
    let folder = Folder(tls::dir(&mut env, &data));
    env.check()?;
    let now = clock::now();
    let lines = match command {
        Command::Make { names, days } => folder.make(&names, now, Duration::days(days.into()))?,
        Command::Renew { within, days } => folder.renew(now, Duration::days(within.into()), Duration::days(days.into()))?,
        Command::Check { within } => {
            let (lines, advice) = folder.check(now, Duration::days(within.into()));
            print(&lines)?;
            return advice.map_or(Ok(()), |advice| Err(anyhow!(advice)));
        }
    };
    print(&lines)
}

fn print(lines: &[String]) -> Result<()> {
    let mut out = io::stdout().lock();
    lines.iter().try_for_each(|line| writeln!(out, "{line}")).context("cannot write")
}

/// The settings of the command.
#[must_use]
pub(crate) fn settings() -> Vec<SettingDoc> {
    let mut env = Env::describe();
    let data = secret::data_dir(&mut env);
    tls::dir(&mut env, &data);
    env.settings().to_vec()
}

/// The folder of the certificates.
struct Folder(PathBuf);

impl Folder {
    fn make(&self, names: &[String], now: OffsetDateTime, valid: Duration) -> Result<Vec<String>> {
        secret::make_data_dir(&self.0).with_context(|| format!("cannot make {}", self.0.display()))?;
        let mut lines = Vec::new();
        if !self.0.join(CA_FILE).exists() {
            let Pair { certificate, key } = Authority::create(now)?;
            write(&self.0.join(CA_KEY_FILE), &key, 0o600)?;
            write(&self.0.join(CA_FILE), &certificate, 0o644)?;
            lines.push(format!("made {}", self.0.join(CA_FILE).display()));
        }
        let authority = self.authority()?;
        for role in Caller::NAMED {
            let files = Files::of(&self.0, role);
            match (files.certificate.exists(), files.key.exists()) {
                (true, true) => {}
                // Its key is lost. The new one has the same names.
                (true, false) => {
                    let names = [&tls::dns_names(&files.first_certificate()?), names].concat();
                    lines.push(self.issue(&authority, role, &names, (now, valid))?);
                }
                (false, _) => lines.push(self.issue(&authority, role, names, (now, valid))?),
            }
        }
        if lines.is_empty() {
            lines.push("all certificates exist; `backlot certs renew` replaces those that expire soon".to_owned());
        }
        Ok(lines)
    }

    fn renew(&self, now: OffsetDateTime, within: Duration, valid: Duration) -> Result<Vec<String>> {
        let authority = self.authority()?;
        let mut lines = Vec::new();
        for (role, files) in self.present() {
            match files.not_after(role) {
                Ok(end) if end > (now + within).unix_timestamp() => continue,
                // An expired certificate is refused.
                Ok(_) | Err(LoadError::Refused { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            let names = tls::dns_names(&files.first_certificate()?);
            lines.push(self.issue(&authority, role, &names, (now, valid))?);
        }
        if lines.is_empty() {
            lines.push(format!("no certificate expires within {} days", within.whole_days()));
        }
        Ok(lines)
    }

    /// A line for each certificate, and what to do unless all of them can be used and are valid for longer than `within`.
    fn check(&self, now: OffsetDateTime, within: Duration) -> (Vec<String>, Option<&'static str>) {
        let (mut lines, mut advice) = (Vec::new(), BTreeSet::new());
        for (role, files) in self.present() {
            let found = files.not_after(role);
            let what = match &found {
                Ok(end) if *end > (now + within).unix_timestamp() => None,
                Ok(_) | Err(LoadError::Refused { .. }) => Some(Advice::Renew),
                Err(LoadError::Missing(_)) => Some(Advice::Make),
                Err(_) => Some(Advice::Mend),
            };
            advice.extend(what);
            lines.push(match found {
                Ok(end) => format!("{} expires {}", role.name(), date(end)),
                Err(error) => format!("{} {error}", role.name()),
            });
        }
        if lines.is_empty() {
            advice.insert(Advice::Make);
            lines.push(format!("{} has no certificates; make them with `backlot certs make`", self.0.display()));
        }
        (lines, advice.first().map(|advice| advice.text()))
    }

    /// The roles that have a certificate or a key here. A machine with one role has only those of the role.
    fn present(&self) -> impl Iterator<Item = (Caller, Files)> + '_ {
        let all = Caller::NAMED.into_iter().map(|role| (role, Files::of(&self.0, role)));
        all.filter(|(_, files)| files.certificate.exists() || files.key.exists())
    }

    fn authority(&self) -> Result<Authority> {
        let path = self.0.join(CA_KEY_FILE);
        let key = fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}: only the CA that has it can make certificates", path.display()))?;
        Authority::open(&key).with_context(|| format!("{} is not a key of `backlot certs`", path.display()))
    }

    /// Writes a certificate and its key, and checks them as the role will.
    fn issue(&self, authority: &Authority, role: Caller, names: &[String], (now, valid): (OffsetDateTime, Duration)) -> Result<String> {
        let Pair { certificate, key } = authority.issue(role, names, (now, now + valid))?;
        let files = Files::of(&self.0, role);
        // A role that reads between the two keeps its previous certificate, because the new key is not the key of the old certificate.
        write(&files.key, &key, 0o600)?;
        write(&files.certificate, &certificate, 0o644)?;
        let end = files.not_after(role).with_context(|| format!("{CA_KEY_FILE} is not the key of {CA_FILE}"))?;
        Ok(format!("made {}, which expires {}", files.certificate.display(), date(end)))
    }
}

/// What mends certificates that cannot be used. The first one of several comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Advice {
    /// No command does it.
    Mend,
    Make,
    Renew,
}

impl Advice {
    const fn text(self) -> &'static str {
        match self {
            Self::Mend => "mend what the lines above say, and check again",
            Self::Make => "run `backlot certs make`",
            Self::Renew => "run `backlot certs renew`",
        }
    }
}

fn date(seconds: i64) -> String {
    OffsetDateTime::from_unix_timestamp(seconds).map_or_else(|_| "never".to_owned(), |time| time.date().to_string())
}

/// Replaces a file at once, so that a reader never sees a part of it.
fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    let draft = path.with_extension(format!("draft.{}", std::process::id()));
    let written = OpenOptions::new().write(true).create_new(true).mode(mode).open(&draft).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.and_then(|()| fs::rename(&draft, path)).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use chassis::tls::Mode;

    use super::*;

    const DAY: Duration = Duration::days(1);

    fn folder() -> (tempfile::TempDir, Folder) {
        let temporary = tempfile::tempdir().expect("folder");
        let folder = Folder(temporary.path().join("tls"));
        (temporary, folder)
    }

    #[test]
    fn every_role_can_use_its_certificate_and_only_its_owner_can_read_the_keys() {
        let (_temporary, folder) = folder();
        let lines = folder.make(&["auth.internal".to_owned()], clock::now(), DAY * 365).expect("made");
        assert_eq!(lines.len(), 1 + Caller::NAMED.len());
        for role in Caller::NAMED {
            let files = Files::of(&folder.0, role);
            let seconds = tls::Tls::load(Mode::Require, role, files.clone()).expect("usable").seconds_left();
            assert!((364 * 86_400..=365 * 86_400).contains(&seconds), "{seconds}");
            let names = tls::dns_names(&files.first_certificate().expect("certificate"));
            assert_eq!(names, [role.name(), "localhost", "auth.internal"]);
        }
        for file in fs::read_dir(&folder.0).expect("folder").map(|entry| entry.expect("entry").path()) {
            let mode = fs::metadata(&file).expect("file").permissions().mode() & 0o777;
            let is_key = file.extension().is_some_and(|end| end == "key");
            assert_eq!(mode, if is_key { 0o600 } else { 0o644 }, "{}", file.display());
        }
        let again = folder.make(&[], clock::now(), DAY).expect("nothing to do");
        assert!(again.len() == 1 && again[0].contains("all certificates exist"), "{again:?}");
    }

    #[test]
    fn a_renewal_replaces_only_what_expires_soon_and_keeps_the_names() {
        let (_temporary, folder) = folder();
        folder.make(&["backlot.internal".to_owned()], clock::now(), DAY * 90).expect("made");
        let auth = Files::of(&folder.0, Caller::Auth);
        // The certificate of one role has expired.
        let authority = folder.authority().expect("authority");
        let expired = authority.issue(Caller::Auth, &["backlot.internal".to_owned()], (clock::now() - DAY * 9, clock::now() - DAY));
        let Pair { certificate, key } = expired.expect("issued");
        write(&auth.key, &key, 0o600).and_then(|()| write(&auth.certificate, &certificate, 0o644)).expect("written");
        let (lines, advice) = folder.check(clock::now(), DAY * 30);
        assert!(
            advice == Some("run `backlot certs renew`")
                && lines.iter().any(|line| line.starts_with("auth ") && line.contains("not accepted")),
            "{lines:?}"
        );

        let lines = folder.renew(clock::now(), DAY * 30, DAY * 365).expect("renewed");
        assert!(lines.len() == 1 && lines[0].contains("auth.pem"), "{lines:?}");
        assert_eq!(tls::dns_names(&auth.first_certificate().expect("certificate")), ["auth", "localhost", "backlot.internal"]);
        assert_eq!(folder.check(clock::now(), DAY * 30).1, None);
        assert_eq!(folder.check(clock::now(), DAY * 100).1, Some("run `backlot certs renew`"), "the others expire in 90 days");
        assert_eq!(folder.renew(clock::now(), DAY * 100, DAY * 365).expect("renewed").len(), Caller::NAMED.len() - 1);
    }

    #[test]
    fn the_key_of_another_authority_makes_nothing_that_a_role_would_use() {
        let (_temporary, folder) = folder();
        folder.make(&[], clock::now(), DAY * 90).expect("made");
        let other = Authority::create(clock::now()).expect("authority");
        write(&folder.0.join(CA_KEY_FILE), &other.key, 0o600).expect("written");
        let error = folder.renew(clock::now(), DAY * 100, DAY * 90).expect_err("another key");
        assert!(format!("{error:#}").contains("ca.key is not the key of ca.pem"), "{error:#}");
    }

    #[test]
    fn a_missing_half_of_a_pair_is_found_and_made_with_the_same_names() {
        let (_temporary, folder) = folder();
        folder.make(&["backlot.internal".to_owned()], clock::now(), DAY * 90).expect("made");
        let [auth, gateway] = [Caller::Auth, Caller::Gateway].map(|role| Files::of(&folder.0, role));
        fs::remove_file(&auth.key).and_then(|()| fs::remove_file(&gateway.certificate)).expect("removed");
        let (lines, advice) = folder.check(clock::now(), DAY);
        assert_eq!(advice, Some("run `backlot certs make`"));
        for (role, file) in [("auth ", "auth.key"), ("gateway ", "gateway.pem")] {
            assert!(lines.iter().any(|line| line.starts_with(role) && line.contains(file) && line.contains("does not exist")), "{lines:?}");
        }
        assert_eq!(folder.make(&[], clock::now(), DAY * 90).expect("made").len(), 2);
        assert_eq!(folder.check(clock::now(), DAY).1, None);
        assert_eq!(tls::dns_names(&auth.first_certificate().expect("certificate")), ["auth", "localhost", "backlot.internal"]);

        fs::set_permissions(&auth.key, fs::Permissions::from_mode(0o644)).expect("changed");
        let (lines, advice) = folder.check(clock::now(), DAY);
        assert!(advice == Some(Advice::Mend.text()) && lines.iter().any(|line| line.contains("chmod 600")), "{lines:?}");
    }

    #[test]
    fn only_dns_names_are_names() {
        for name in ["auth.internal", "localhost", "xn--bcher-kva.example", "10.example"] {
            assert_eq!(dns_name(name).as_deref(), Ok(name));
        }
        let long = format!("{}.internal", "a".repeat(64));
        for name in [
            "",
            " ",
            "a b",
            "*.internal",
            "-a.internal",
            "auth..internal",
            "auth.internal.",
            "10.0.0.1",
            "http://a",
            "a:80",
            "bücher",
            &long,
        ] {
            assert!(dns_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_folder_without_certificates_fails_the_check() {
        let (_temporary, folder) = folder();
        let (lines, advice) = folder.check(clock::now(), DAY);
        assert!(advice == Some("run `backlot certs make`") && lines[0].contains("backlot certs make"), "{lines:?}");
        assert!(folder.renew(clock::now(), DAY, DAY).is_err());
    }
}
