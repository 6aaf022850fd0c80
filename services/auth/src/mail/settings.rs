//! The settings of mails.

use std::path::PathBuf;

use chassis::{
    config::{Env, Secret},
    origin, secret,
};
use url::{Host, Url};

use super::from::From;

const SMTP_URL: &str = "BACKLOT_SMTP_URL";
const MAIL_FROM: &str = "BACKLOT_MAIL_FROM";
/// The sender where there is no mail server.
const LOCAL_SENDER: &str = "Backlot <backlot@localhost>";
/// What links begin with where nothing else is known: the default address of the gateway.
const LOCAL_SITE: &str = "http://127.0.0.1:8080";

/// Where mails go, and what they contain.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// The mail server, as lettre reads it. Without one the mails are files of `outbox`.
    pub(crate) smtp: Option<Secret>,
    pub(crate) from: From,
    pub(crate) outbox: PathBuf,
    /// What links begin with.
    site: Option<Url>,
}

impl Settings {
    /// Reads the environment and records its faults there. No fault shows the password of the server.
    pub(crate) fn read(env: &mut Env) -> Self {
        let smtp: Option<Secret> = env.optional(
            SMTP_URL,
            "mail server: smtps://user:password@host, or smtp://user:password@host?tls=required for STARTTLS; signs in percent-encoded; without \
             it mails are files in the folder outbox of BACKLOT_DATA_DIR",
        );
        let from: Option<From> = env.derived(
            MAIL_FROM,
            "Backlot <backlot@localhost>; required with BACKLOT_SMTP_URL",
            "sender of mails: an address, or a name and an address such as Backlot <no-reply@example.com>",
        );
        let site: Option<Url> = env.derived(origin::PUBLIC_URL, origin::PUBLIC_URL_DEFAULT, origin::PUBLIC_URL_HELP);
        if let Some(Err(problem)) = smtp.as_ref().map(|url| check(url.expose())) {
            env.fault(SMTP_URL, problem);
        }
        if let Some(Err(problem)) = site.as_ref().map(origin::check) {
            env.fault(origin::PUBLIC_URL, problem);
        }
        for (name, is_set) in [(MAIL_FROM, env.is_set(MAIL_FROM)), (origin::PUBLIC_URL, env.is_set(origin::PUBLIC_URL))] {
            if smtp.is_some() && !is_set {
                env.fault(name, format!("is required with {SMTP_URL}"));
            }
        }
        let from = from.or_else(|| chassis::config::Setting::parse(LOCAL_SENDER).ok());
        let Some(from) = from else { unreachable!("the sender without a mail server is valid") };
        Self { smtp, from, outbox: secret::data_dir(env).join("outbox"), site }
    }

    /// What links begin with.
    pub(crate) fn site(&self) -> Url {
        let site = self.site.clone().or_else(|| LOCAL_SITE.parse().ok());
        let Some(site) = site else { unreachable!("the default is a URL") };
        site
    }

    /// Sets what links begin with, unless a setting does, for a launcher that knows the address of the gateway.
    pub(crate) fn set_default_site(&mut self, site: &str) {
        self.site = self.site.take().or_else(|| site.parse().ok());
    }
}

/// The rules for the URL of a mail server. Their texts show no part of the URL.
fn check(text: &str) -> Result<(), &'static str> {
    let forms =
        "must be smtps://, or smtp:// with ?tls=required for STARTTLS, ?tls=opportunistic, or no parameter for a server without TLS";
    let url = Url::parse(text)
        .map_err(|_| "must be a URL such as smtps://user:password@mail.example.com; other signs in it are percent-encoded")?;
    let host = url.host().ok_or("must have a host, as in smtps://user:password@mail.example.com")?;
    let tls: Vec<_> = url.query_pairs().collect();
    let is_encrypted = match (url.scheme(), tls.as_slice()) {
        ("smtps", []) => true,
        ("smtp", []) => false,
        ("smtp", [(name, value)]) if name == "tls" && value == "required" => true,
        ("smtp", [(name, value)]) if name == "tls" && value == "opportunistic" => false,
        _ => return Err(forms),
    };
    if url.fragment().is_some() || url.path().contains('@') {
        return Err("must have its user and password before the host, with other signs than letters and digits percent-encoded");
    }
    if url.username().is_empty() != url.password().is_none() {
        return Err("must have both a user and a password, or neither");
    }
    if !is_encrypted && !is_loopback(&host) {
        return Err("would send links that open accounts unencrypted; use smtps://, or smtp:// with ?tls=required");
    }
    Ok(())
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
        // The scheme has no special rules for hosts, so an address is a name here, too.
        Host::Domain(name) => *name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: [(&str, &str); 2] = [(MAIL_FROM, "Backlot <no-reply@example.com>"), (origin::PUBLIC_URL, "https://apps.example")];

    fn read(pairs: &[(&str, &str)]) -> Result<Settings, String> {
        let mut env = Env::of(pairs.iter().copied());
        let settings = Settings::read(&mut env);
        env.check().map(|()| settings).map_err(|faults| faults.to_string())
    }

    fn smtp(url: &str) -> Result<Settings, String> {
        read(&[&BASE[..], &[(SMTP_URL, url)]].concat())
    }

    #[test]
    fn without_a_server_mails_are_files() {
        let settings = read(&[]).expect("no faults");
        assert!(settings.smtp.is_none() && settings.outbox.ends_with(".backlot/outbox"));
        assert_eq!((settings.from.name.as_str(), settings.site().as_str()), ("Backlot", "http://127.0.0.1:8080/"));
    }

    #[test]
    fn a_launcher_knows_the_address_of_links_unless_it_is_set() {
        let mut settings = read(&[]).expect("no faults");
        settings.set_default_site("http://127.0.0.1:4711");
        assert_eq!(settings.site().as_str(), "http://127.0.0.1:4711/");
        let mut settings = read(&BASE).expect("no faults");
        settings.set_default_site("http://127.0.0.1:4711");
        assert_eq!(settings.site().as_str(), "https://apps.example/");
    }

    /// Row A25 of the reference, for mails: what is missing or invalid stops the start, and no fault shows the password.
    #[test]
    fn a25_every_invalid_setting_of_mails_is_a_fault_without_the_password() {
        for url in [
            "smtps://me:hunter2@mail.example.com",
            "smtps://me%40example.com:hunter2@mail.example.com:465/backlot",
            "smtp://me:hunter2@mail.example.com?tls=required",
            "smtp://me:hunter2@127.0.0.1:1025",
            "smtp://me:hunter2@localhost",
            "smtp://me:hunter2@[::1]:25",
            "smtp://127.0.0.1:25?tls=opportunistic",
            "smtp://mail.example.com?tls=required",
        ] {
            smtp(url).map(drop).unwrap_or_else(|faults| panic!("{url}: {faults}"));
        }
        for (url, problem) in [
            ("mail.example.com", "must be a URL"),
            ("smtp:/hunter2", "must have a host"),
            ("https://me:hunter2@mail.example.com", "must be smtps://"),
            ("smtp://me:hunter2@mail.example.com?tls=maybe", "must be smtps://"),
            ("smtps://me:hunter2@mail.example.com?tls=required", "must be smtps://"),
            ("smtp://me:hunter2@mail.example.com?tls=required&x=1", "must be smtps://"),
            ("smtp://me:hunter2@mail.example.com", "would send links that open accounts unencrypted"),
            ("smtp://me:hunter2@mail.example.com?tls=opportunistic", "would send links that open accounts unencrypted"),
            ("smtp://mail.example.com", "would send links that open accounts unencrypted"),
            ("smtp://mail.example.com:25?tls=opportunistic", "would send links that open accounts unencrypted"),
            ("smtps://me@mail.example.com", "must have both"),
            ("smtps://:hunter2@mail.example.com", "must have both"),
            ("smtps://me:hunter2#x@mail.example.com", ""),
            ("smtps://mail/hunter2@mail.example.com", "must have its user"),
        ] {
            let faults = smtp(url).map(drop).expect_err(url);
            assert!(faults.starts_with("BACKLOT_SMTP_URL: ") && faults.contains(problem), "{url}: {faults}");
            assert!(!faults.contains("hunter2") && faults.lines().count() == 1, "{url}: {faults}");
        }
        let alone = read(&[(SMTP_URL, "smtps://me:hunter2@mail.example.com")]).map(drop).expect_err("alone");
        let required = ["BACKLOT_MAIL_FROM: is required with BACKLOT_SMTP_URL", "BACKLOT_PUBLIC_URL: is required with BACKLOT_SMTP_URL"];
        assert_eq!(alone.lines().collect::<Vec<_>>(), required);
        for (name, value) in [(MAIL_FROM, "nobody"), (MAIL_FROM, "a@b\r\nBcc: c@d"), (origin::PUBLIC_URL, "https://apps.example/x")] {
            let faults = read(&[(name, value)]).map(drop).expect_err(name);
            assert!(faults.starts_with(&format!("{name}: must be ")), "{faults}");
        }
    }
}
