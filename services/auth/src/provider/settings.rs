//! The settings of providers. No fault shows a secret.

use std::{collections::BTreeSet, ops::RangeInclusive, time::Duration};

use chassis::{
    config::{Env, Secret, Setting},
    outbound::Guard,
};
use serde::Deserialize;
use url::{Host, Url};

use super::strength::Strength;

const GITHUB_ID: &str = "BACKLOT_GITHUB_CLIENT_ID";
const GITHUB_SECRET: &str = "BACKLOT_GITHUB_CLIENT_SECRET";
const GITHUB_URL: &str = "BACKLOT_GITHUB_URL";
const GITHUB_API_URL: &str = "BACKLOT_GITHUB_API_URL";
const OIDC: &str = "BACKLOT_OIDC_PROVIDERS";
const TIMEOUT: &str = "BACKLOT_PROVIDER_TIMEOUT";
/// The name of GitHub as a provider.
const GITHUB: &str = "github";
const MAX_NAME: usize = 32;
const MAX_TITLE: usize = 40;
const MAX_ISSUER: usize = 500;
const MAX_PROVIDERS: usize = 20;
const MAX_AGES: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(365 * 86_400);
const MAX_ACR_VALUES: usize = 10;
const MAX_ACR_VALUE: usize = 200;

/// Which providers there are.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) providers: Vec<Provider>,
    /// For one request to a provider.
    pub(crate) timeout: Duration,
    /// Where requests may go. It allows the hosts of the providers.
    pub(crate) guard: Guard,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Provider {
    /// Part of the redirect URI: letters a to z, digits and hyphens.
    pub(crate) name: String,
    /// For people.
    pub(crate) title: String,
    pub(crate) client_id: String,
    pub(crate) client_secret: Secret,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    GitHub { site: Url, api: Url },
    Oidc { issuer: String, strength: Strength },
}

impl Provider {
    /// Its addresses in the settings.
    fn addresses(&self) -> Vec<Url> {
        match &self.kind {
            Kind::GitHub { site, api } => vec![site.clone(), api.clone()],
            Kind::Oidc { issuer, .. } => Url::parse(issuer).into_iter().collect(),
        }
    }
}

/// The issuers of [`OIDC`].
#[derive(Debug, Clone, Default)]
struct Issuers(Vec<Provider>);

/// An issuer as the setting has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Entry {
    name: String,
    title: Option<String>,
    issuer: String,
    client_id: String,
    client_secret: String,
    max_age: Option<String>,
    acr_values: Option<Vec<String>>,
}

impl Setting for Issuers {
    const SECRET: bool = true;

    fn parse(text: &str) -> Result<Self, String> {
        let form = "must be a JSON array of objects with name, issuer, clientId and clientSecret, and perhaps title, maxAge and acrValues";
        // The text of the error may have a secret.
        let entries: Vec<Entry> =
            serde_json::from_str(text).map_err(|error| format!("{form} (line {}, column {})", error.line(), error.column()))?;
        if entries.len() > MAX_PROVIDERS {
            return Err(format!("must have at most {MAX_PROVIDERS} issuers"));
        }
        let mut names = BTreeSet::from([GITHUB.to_owned()]);
        let mut issuers = BTreeSet::new();
        let providers = entries.into_iter().map(|entry| {
            let provider = provider(entry)?;
            if !names.insert(provider.name.clone()) {
                return Err(format!("must have different names, and none may be {GITHUB}"));
            }
            let Kind::Oidc { issuer, .. } = &provider.kind else { unreachable!("an entry is an issuer") };
            if issuers.insert(issuer.clone()) { Ok(provider) } else { Err("must have different issuers".to_owned()) }
        });
        providers.collect::<Result<_, String>>().map(Self)
    }
}

fn provider(entry: Entry) -> Result<Provider, String> {
    let Entry { name, title, issuer, client_id, client_secret, max_age, acr_values } = entry;
    let is_name = (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !is_name {
        return Err(format!("must have names of 1 to {MAX_NAME} letters a to z, digits and hyphens"));
    }
    let title = title.unwrap_or_else(|| name.clone());
    if !(1..=MAX_TITLE).contains(&title.chars().count()) || title.chars().any(proto::text::is_misleading) {
        return Err(format!("must have titles of 1 to {MAX_TITLE} visible characters"));
    }
    if client_id.is_empty() || client_secret.is_empty() {
        return Err("must have a clientId and a clientSecret for each issuer".to_owned());
    }
    let is_issuer = issuer.len() <= MAX_ISSUER && issuer.parse().is_ok_and(|url: Url| check(&url).is_ok() && url.query().is_none());
    if !is_issuer {
        return Err(format!(
            "must have issuers with https:// (http:// only on this machine), without user, query and fragment, at most {MAX_ISSUER} bytes"
        ));
    }
    let strength = strength(max_age.as_deref(), acr_values)?;
    Ok(Provider { name, title, client_id, client_secret: Secret::new(client_secret), kind: Kind::Oidc { issuer, strength } })
}

/// What an issuer must say about a sign-in there.
fn strength(max_age: Option<&str>, acr_values: Option<Vec<String>>) -> Result<Strength, String> {
    let max_age = max_age.map(|text| Duration::parse(text).ok().filter(|age| MAX_AGES.contains(age)));
    if max_age == Some(None) {
        return Err("must have a maxAge of 1s to 365d, such as 12h".to_owned());
    }
    let is_value = |text: &String| (1..=MAX_ACR_VALUE).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    let are_values = |values: &Vec<String>| (1..=MAX_ACR_VALUES).contains(&values.len()) && values.iter().all(is_value);
    if acr_values.as_ref().is_some_and(|values| !are_values(values)) {
        return Err(format!("must have 1 to {MAX_ACR_VALUES} acrValues of 1 to {MAX_ACR_VALUE} visible ASCII characters without spaces"));
    }
    Ok(Strength { max_age: max_age.flatten(), acr_values: acr_values.into_iter().flatten().collect() })
}

/// The secret of a client is sent to this address, so only this machine may have it without TLS.
fn check(url: &Url) -> Result<(), String> {
    let is_local = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    let is_plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    let is_encrypted = url.scheme() == "https" && url.has_host();
    if is_plain && (is_encrypted || url.scheme() == "http" && is_local) {
        Ok(())
    } else {
        Err("must be https:// (http:// only on this machine), without user and fragment".to_owned())
    }
}

impl Settings {
    /// Reads the environment and records its faults there.
    pub(crate) fn read(env: &mut Env) -> Self {
        let issuers: Option<Issuers> = env.optional(
            OIDC,
            "issuers of OpenID Connect with which people sign in: a JSON array of objects with name, issuer, clientId, clientSecret, title for \
             the button, and maxAge and acrValues that a sign-in there must have",
        );
        let github = github(env);
        let timeout: Duration = env.get(TIMEOUT, "10s", "how long a provider of sign-ins may take to answer");
        env.require_positive([(TIMEOUT, timeout)]);
        let providers: Vec<_> = github.into_iter().chain(issuers.unwrap_or_default().0).collect();
        let guard = providers.iter().flat_map(Provider::addresses).fold(Guard::read(env), |guard, url| guard.allowing_host_of(&url));
        Self { providers, timeout, guard }
    }
}

fn github(env: &mut Env) -> Option<Provider> {
    let client_id: Option<String> = env.optional(GITHUB_ID, "client id of an OAuth app at GitHub, with which people sign in");
    let client_secret: Option<Secret> = env.optional(GITHUB_SECRET, "client secret of the OAuth app at GitHub");
    let site: Url = env.get(GITHUB_URL, "https://github.com", "where GitHub is, for a GitHub Enterprise Server");
    let api: Option<Url> = env.derived(
        GITHUB_API_URL,
        "https://api.github.com, or api/v3 below BACKLOT_GITHUB_URL",
        "where the API of GitHub is, for a GitHub Enterprise Server",
    );
    let default = if env.is_set(GITHUB_URL) { site.join("api/v3").ok() } else { Url::parse("https://api.github.com").ok() };
    let api = api.or(default)?;
    for (name, url) in [(GITHUB_URL, &site), (GITHUB_API_URL, &api)] {
        if let Err(problem) = check(url) {
            env.fault(name, problem);
        }
    }
    match (client_id, client_secret) {
        (Some(client_id), Some(client_secret)) => {
            let (name, title) = (GITHUB.to_owned(), "GitHub".to_owned());
            Some(Provider { name, title, client_id, client_secret, kind: Kind::GitHub { site, api } })
        }
        (None, None) => None,
        (id, _) => {
            let (missing, other) = if id.is_some() { (GITHUB_SECRET, GITHUB_ID) } else { (GITHUB_ID, GITHUB_SECRET) };
            env.fault(missing, format!("is required with {other}"));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Settings, String> {
        let mut env = Env::of(pairs.iter().copied());
        let settings = Settings::read(&mut env);
        env.check().map(|()| settings).map_err(|faults| faults.to_string())
    }

    fn oidc(text: &str) -> Result<Settings, String> {
        read(&[(OIDC, text)])
    }

    #[test]
    fn without_settings_there_are_no_providers() {
        let settings = read(&[]).expect("no faults");
        assert!(settings.providers.is_empty() && settings.timeout == Duration::from_secs(10));
    }

    #[test]
    fn github_comes_first_and_an_issuer_keeps_its_spelling() {
        let text = r#"[{"name":"google","title":"Google","issuer":"https://accounts.google.com","clientId":"a","clientSecret":"b"},
                       {"name":"corp","issuer":"http://127.0.0.1:8081/realms/x","clientId":"a","clientSecret":"b"}]"#;
        let settings = read(&[(GITHUB_ID, "id"), (GITHUB_SECRET, "hunter2"), (OIDC, text)]).expect("no faults");
        let names: Vec<_> = settings.providers.iter().map(|one| (one.name.as_str(), one.title.as_str())).collect();
        assert_eq!(names, [("github", "GitHub"), ("google", "Google"), ("corp", "corp")]);
        assert_eq!(settings.providers[1].kind, Kind::Oidc { issuer: "https://accounts.google.com".into(), strength: Strength::default() });
        let api = |pairs: &[(&str, &str)]| {
            let all = [&[(GITHUB_ID, "id"), (GITHUB_SECRET, "hunter2")][..], pairs].concat();
            let Kind::GitHub { api, .. } = read(&all).expect("no faults").providers[0].kind.clone() else { panic!("GitHub") };
            api.to_string()
        };
        assert_eq!(api(&[]), "https://api.github.com/");
        assert_eq!(api(&[(GITHUB_URL, "https://git.example")]), "https://git.example/api/v3");
        assert_eq!(api(&[(GITHUB_API_URL, "https://api.git.example/x")]), "https://api.git.example/x");
        assert!(!format!("{settings:?}").contains("hunter2"));
    }

    #[test]
    fn an_issuer_may_have_to_say_how_old_and_how_strong_a_sign_in_is() {
        let text = r#"[{"name":"a","issuer":"https://a.example","clientId":"a","clientSecret":"b",
                        "maxAge":"12h","acrValues":["gold","urn:x:silver"]}]"#;
        let Kind::Oidc { strength, .. } = oidc(text).expect("no faults").providers[0].kind.clone() else { panic!("an issuer") };
        let acr_values = ["gold".to_owned(), "urn:x:silver".to_owned()].into();
        assert_eq!(strength, Strength { max_age: Some(Duration::from_secs(43_200)), acr_values });
    }

    /// GitHub does not say when and how a person signed in there, so no setting can require it.
    #[test]
    fn github_has_no_age_and_no_class_of_a_sign_in() {
        let entry = r#"[{"name":"github","issuer":"https://a.example","clientId":"a","clientSecret":"b","maxAge":"12h"}]"#;
        assert!(oidc(entry).map(drop).expect_err("github").contains("none may be github"));
        for name in ["BACKLOT_GITHUB_MAX_AGE", "BACKLOT_GITHUB_ACR_VALUES"] {
            let mut env = Env::of([(GITHUB_ID, "id"), (GITHUB_SECRET, "secret"), (name, "12h")]);
            Settings::read(&mut env);
            env.reject_unknown();
            assert!(env.check().expect_err(name).to_string().contains(name));
        }
    }

    /// Row A25 of the reference, for providers.
    #[test]
    fn a25_every_invalid_setting_of_providers_is_a_fault_without_the_secret() {
        let entry = |name: &str, issuer: &str, more: &str| {
            format!(r#"[{{"name":"{name}","issuer":"{issuer}","clientId":"a","clientSecret":"hunter2"{more}}}]"#)
        };
        for (text, problem) in [
            ("hunter2".to_owned(), "must be a JSON array"),
            (r#"{"name":"hunter2"}"#.to_owned(), "must be a JSON array"),
            (r#"[{"name":"a","clientSecret":["hunter2"]}]"#.to_owned(), "must be a JSON array"),
            (entry("a", "https://a.example", r#","hunter2":1"#), "must be a JSON array"),
            (entry("", "https://a.example", ""), "must have names"),
            (entry("A/../b", "https://a.example", ""), "must have names"),
            (entry(&"a".repeat(33), "https://a.example", ""), "must have names"),
            (entry("github", "https://a.example", ""), "must have different names"),
            (entry("a", "http://a.example", ""), "must have issuers"),
            (entry("a", "https://me:hunter2@a.example", ""), "must have issuers"),
            (entry("a", "https://a.example?hunter2", ""), "must have issuers"),
            (entry("a", "https://a.example#hunter2", ""), "must have issuers"),
            (entry("a", "a.example", ""), "must have issuers"),
            (entry("a", "https://a.example", r#","title":"""#), "must have titles"),
            (entry("a", "https://a.example", r#","maxAge":"hunter2""#), "must have a maxAge"),
            (entry("a", "https://a.example", r#","maxAge":"0s""#), "must have a maxAge"),
            (entry("a", "https://a.example", r#","maxAge":"366d""#), "must have a maxAge"),
            (entry("a", "https://a.example", r#","maxAge":3600"#), "must be a JSON array"),
            (entry("a", "https://a.example", r#","acrValues":[]"#), "must have 1 to 10 acrValues"),
            (entry("a", "https://a.example", r#","acrValues":["a hunter2"]"#), "must have 1 to 10 acrValues"),
            (entry("a", "https://a.example", r#","acrValues":[""]"#), "must have 1 to 10 acrValues"),
            (entry("a", "https://a.example", r#","title":"a\u202eb""#), "must have titles"),
            (r#"[{"name":"a","issuer":"https://a.example","clientId":"","clientSecret":"hunter2"}]"#.to_owned(), "must have a clientId"),
        ] {
            let faults = oidc(&text).map(drop).expect_err(&text);
            assert!(faults.starts_with(&format!("{OIDC}: {problem}")), "{text}: {faults}");
            assert!(!faults.contains("hunter2"), "{text}: {faults}");
        }
        let twice = entry("a", "https://a.example", "").replace(']', ",") + &entry("b", "https://a.example", "").replace('[', "");
        assert!(oidc(&twice).map(drop).expect_err("twice").contains("must have different issuers"));
        for (pairs, fault) in [
            (&[(GITHUB_ID, "id")][..], "BACKLOT_GITHUB_CLIENT_SECRET: is required"),
            (&[(GITHUB_SECRET, "hunter2")], "BACKLOT_GITHUB_CLIENT_ID: is required"),
            (&[(GITHUB_URL, "http://git.example")], "BACKLOT_GITHUB_URL: must be https://"),
            (&[(GITHUB_API_URL, "https://me@git.example")], "BACKLOT_GITHUB_API_URL: must be https://"),
            (&[(TIMEOUT, "0s")], "BACKLOT_PROVIDER_TIMEOUT: must be longer"),
        ] {
            let faults = read(pairs).map(drop).expect_err(fault);
            assert!(faults.starts_with(fault) && !faults.contains("hunter2"), "{faults}");
        }
    }
}
