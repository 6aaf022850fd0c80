//! The settings of this service.

use std::{
    fs, io,
    num::NonZero,
    path::{Path, PathBuf},
    sync::Arc,
    thread::available_parallelism,
    time::Duration,
};

use chassis::{
    config::{BoundedNumber, Env, Setting},
    identity::Caller,
    postgres,
    secret::ClusterSecret,
    server,
};

use crate::{breached::BreachedPasswords, email::Email, mail, password::Cost, place::Places, provider, rotation};

const BREACHED_FILE: &str = "BACKLOT_AUTH_BREACHED_PASSWORDS_FILE";
const PLACES_FILE: &str = "BACKLOT_AUTH_PLACES_FILE";
/// Bytes of the file of places, which is in memory.
const MAX_PLACES_FILE: u64 = 1 << 30;
/// The least memory of a password hash, that of OWASP.
const MIN_MEMORY_KIB: u32 = 19_456;

/// Who may create an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignUp {
    /// Everybody. A new address gets a session at once; an address that has an account is refused with EMAIL_TAKEN.
    Open,
    /// Everybody who proves the address: the account is created when the link of a mail is used. The answer is the same for every address.
    Verify,
    /// Everybody with an invite of an operator.
    Invite,
    /// Only an operator, who has the cluster secret.
    Closed,
}

impl Setting for SignUp {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "open" => Ok(Self::Open),
            "verify" => Ok(Self::Verify),
            "invite" => Ok(Self::Invite),
            "closed" => Ok(Self::Closed),
            _ => Err("must be `open`, `verify`, `invite` or `closed`".to_owned()),
        }
    }
}

/// What a network that tries a list of passwords can do about its refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignInChallenge {
    /// It waits.
    Off,
    /// It waits, or solves a challenge for each sign-in.
    UnderAttack,
}

impl Setting for SignInChallenge {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            "under-attack" => Ok(Self::UnderAttack),
            _ => Err("must be `off` or `under-attack`".to_owned()),
        }
    }
}

/// Whether each person needs a second factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SecondFactor {
    /// A person may add one.
    Optional,
    /// Without one a session may add one, and do little else.
    Required,
}

impl Setting for SecondFactor {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "optional" => Ok(Self::Optional),
            "required" => Ok(Self::Required),
            _ => Err("must be `optional` or `required`".to_owned()),
        }
    }
}

/// The domains whose addresses may sign up, as the DNS uses them; empty for all of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Domains(Vec<String>);

impl Domains {
    /// Whether only addresses of some domains may sign up.
    pub(crate) const fn is_restricted(&self) -> bool {
        !self.0.is_empty()
    }

    pub(crate) fn allow(&self, email: &Email) -> bool {
        self.0.is_empty() || self.0.iter().any(|domain| domain == email.host())
    }
}

impl Setting for Domains {
    fn parse(text: &str) -> Result<Self, String> {
        let domain = |name: String| {
            let email: Email =
                format!("a@{name}").parse().map_err(|_| "must be domains such as example.com, separated by commas".to_owned())?;
            Ok(email.host().to_owned())
        };
        Vec::<String>::parse(text)?.into_iter().map(domain).collect::<Result<_, String>>().map(Self)
    }
}

/// What `serve` needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    pub(crate) server: server::Config,
    /// The service's own database.
    pub postgres: postgres::Config,
    /// Signs caller tokens and encrypts the stored signing keys.
    pub(crate) cluster_secret: ClusterSecret,
    /// The service that counts attempts.
    pub(crate) rate_limit_url: http::Uri,
    /// Who may create an account; `None` follows from the mail server and the domains.
    sign_up: Option<SignUp>,
    /// Whose addresses may sign up.
    pub(crate) sign_up_domains: Domains,
    pub(crate) sign_in_challenge: SignInChallenge,
    pub(crate) second_factor: SecondFactor,
    /// The least characters of a new password.
    pub(crate) password_min: usize,
    /// What no new password may be; `None` without a file.
    pub(crate) breached: Option<Arc<BreachedPasswords>>,
    /// The places of networks; none without a file.
    pub(crate) places: Places,
    pub(crate) mail: mail::settings::Settings,
    /// With whose accounts people sign in.
    pub(crate) providers: provider::settings::Settings,
    /// The cost of new password hashes. A weaker hash is replaced when its owner signs in.
    pub(crate) hash_cost: Cost,
    /// Passwords that are hashed at the same time, each in its own memory.
    pub(crate) hash_threads: usize,
    /// Passwords that may wait for a thread. Any more are refused with OVERLOADED.
    pub(crate) hash_queue: usize,
    /// How long a password may wait for a thread.
    pub(crate) hash_wait: Duration,
    /// How long a key signs access tokens before the next key replaces it.
    pub(crate) key_rotation: Duration,
}

impl Config {
    /// Reads the environment and records its faults there.
    pub fn read(env: &mut Env) -> Self {
        let cores = available_parallelism().map_or(2, NonZero::get);
        let hash_threads: Option<BoundedNumber<usize, 1, 256>> =
            env.derived("BACKLOT_HASH_THREADS", "one per core, at most 256", "passwords that are hashed at the same time");
        let config = Self {
            server: server::Config::read(env),
            postgres: postgres::Config::read(env, crate::error::SERVICE),
            cluster_secret: ClusterSecret::read(env, Caller::Auth),
            rate_limit_url: env.get("BACKLOT_RATE_LIMIT_URL", "http://127.0.0.1:9093", "where rate-limit listens"),
            sign_up: env.derived(
                "BACKLOT_SIGNUP",
                "open; verify with BACKLOT_SMTP_URL or BACKLOT_SIGNUP_DOMAINS",
                "who may create an account: `open` means everybody, `verify` everybody who proves the address with the link of a mail, `invite` \
                 everybody with an invite (`backlot admin invites`), `closed` only an operator (`backlot admin users`)",
            ),
            sign_up_domains: env.get(
                "BACKLOT_SIGNUP_DOMAINS",
                "",
                "domains whose addresses may sign up or become that of an account, without their subdomains, separated by commas; all if empty; not with \
                 BACKLOT_SIGNUP=open, which proves no address; operators and people with an invite may use every address",
            ),
            sign_in_challenge: env.get(
                "BACKLOT_SIGN_IN_CHALLENGE",
                "off",
                "`under-attack`: a network that tries a list of passwords may solve a challenge (proof of work) for each sign-in; `off`: it can only wait",
            ),
            second_factor: env.get(
                "BACKLOT_SECOND_FACTOR",
                "optional",
                "`required`: a person without an authenticator app and without a passkey can only add one, sign out and delete the account; `optional`: a \
                 person may add one",
            ),
            password_min: password_min(env),
            breached: breached(env),
            places: places(env),
            mail: mail::settings::Settings::read(env),
            providers: provider::settings::Settings::read(env),
            hash_cost: hash_cost(env),
            hash_threads: hash_threads.map_or(cores.min(256), |threads| threads.0),
            hash_queue: env
                .get::<BoundedNumber<usize, 0, 100_000>>(
                    "BACKLOT_HASH_QUEUE",
                    "512",
                    "passwords that may wait to be hashed; more are refused",
                )
                .0,
            hash_wait: env.get("BACKLOT_HASH_WAIT", "5s", "how long a password may wait to be hashed"),
            key_rotation: env.get("BACKLOT_KEY_ROTATION", "90d", "how long a key signs access tokens before the next key replaces it"),
        };
        config.check(env);
        config
    }

    fn check(&self, env: &mut Env) {
        env.require_positive([("BACKLOT_HASH_WAIT", self.hash_wait)]);
        let ten_years = 3_650 * rotation::MIN_INTERVAL * 24;
        if !(rotation::MIN_INTERVAL..=ten_years).contains(&self.rotation_interval()) {
            env.out_of_bounds("BACKLOT_KEY_ROTATION", "must be from 1h to 3650d");
        }
        if self.sign_up == Some(SignUp::Open) && self.sign_up_domains.is_restricted() {
            let problem = "must be `verify`, `invite` or `closed` with BACKLOT_SIGNUP_DOMAINS, because `open` proves no address";
            env.fault("BACKLOT_SIGNUP", problem);
        }
    }

    /// Who may create an account. With a mail server the address has to be proved. With domains, too: anybody can type an address of them.
    pub(crate) fn sign_up(&self) -> SignUp {
        let is_proved = self.mail.smtp.is_some() || self.sign_up_domains.is_restricted();
        self.sign_up.unwrap_or(if is_proved { SignUp::Verify } else { SignUp::Open })
    }

    /// Sets what links in mails begin with, unless a setting does, for a launcher that knows the address of the gateway.
    pub fn set_default_site(&mut self, site: &str) {
        self.mail.set_default_site(site);
    }

    /// [`Config::key_rotation`] as the rules use it.
    pub(crate) fn rotation_interval(&self) -> time::Duration {
        time::Duration::try_from(self.key_rotation).unwrap_or(time::Duration::MAX)
    }
}

fn hash_cost(env: &mut Env) -> Cost {
    let name = "BACKLOT_ARGON2_MEMORY_KIB";
    let memory_kib =
        env.get::<BoundedNumber<u32, 8, 4_194_304>>(name, "19456", "memory of one password hash (Argon2id), in KiB; at least 19456").0;
    let iterations =
        env.get::<BoundedNumber<u32, 1, 100>>("BACKLOT_ARGON2_ITERATIONS", "2", "passes of one password hash over its memory").0;
    let text = "allow password hashes of less memory than 19456 KiB, for tests: a thief of the database guesses them faster";
    let insecure: bool = env.get("BACKLOT_INSECURE_HASHES", "0", text);
    if memory_kib < MIN_MEMORY_KIB && !insecure {
        env.out_of_bounds(name, format!("must be at least {MIN_MEMORY_KIB}, unless BACKLOT_INSECURE_HASHES is 1"));
    }
    Cost { memory_kib, iterations }
}

fn password_min(env: &mut Env) -> usize {
    let text = "the least characters of a new password, 8 to 64 (15 or more where it is the only factor: NIST SP 800-63B-4); shorter ones of before stay valid";
    env.get::<BoundedNumber<usize, 8, 64>>("BACKLOT_PASSWORD_MIN_LENGTH", "15", text).0
}

/// The file is opened here, so that its faults are those of the setting.
fn breached(env: &mut Env) -> Option<Arc<BreachedPasswords>> {
    let path: Option<PathBuf> = env.optional(
        BREACHED_FILE,
        "file of SHA-1 hashes of passwords from data breaches, in ascending order, one a line, such as that of Have I Been Pwned; new passwords must not be on it",
    );
    let path = path?;
    match BreachedPasswords::open(&path) {
        Ok(list) => Some(Arc::new(list)),
        Err(problem) => {
            env.fault(BREACHED_FILE, format!("{} {}", path.display(), chassis::error::chain(&problem)));
            None
        }
    }
}

/// The file is read here, so that its faults are those of the setting.
fn places(env: &mut Env) -> Places {
    let path: Option<PathBuf> = env.optional(
        PLACES_FILE,
        "MaxMind DB file with the places of networks, of the type City or Country, such as GeoLite2 or DB-IP, at most 1 GiB; with it sessions and mails show the place of a sign-in",
    );
    let Some(path) = path else { return Places::default() };
    read_places(&path).unwrap_or_else(|problem| {
        env.fault(PLACES_FILE, format!("{} {problem}", path.display()));
        Places::default()
    })
}

fn read_places(path: &Path) -> Result<Places, String> {
    let unreadable = |error: io::Error| format!("cannot be read: {error}");
    let found = fs::metadata(path).map_err(unreadable)?;
    if !found.is_file() {
        return Err("is not a file".to_owned());
    }
    if found.len() > MAX_PLACES_FILE {
        return Err(format!("has {} bytes; it must have at most 1 GiB", found.len()));
    }
    Places::of_file(fs::read(path).map_err(unreadable)?).map_err(|error| chassis::error::chain(&error))
}

#[cfg(test)]
mod tests {
    use chassis::testing::mmdb;

    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Config, String> {
        let base = [("BACKLOT_AUTH_DATABASE_URL", "postgres://db/auth"), ("BACKLOT_CLUSTER_SECRET", "0d1c7e1f92ab4c5e8f60b3a2d4c5e6f7")];
        let mut env = Env::of(base.iter().chain(pairs).copied());
        let config = Config::read(&mut env);
        env.check().map(|()| config).map_err(|faults| faults.to_string())
    }

    #[test]
    fn the_default_hash_cost_is_the_minimum_of_owasp() {
        let config = read(&[]).expect("no faults");
        assert_eq!(config.password_min, 15, "that of NIST SP 800-63B-4 for a password as the only factor");
        assert_eq!(config.hash_cost, Cost { memory_kib: 19_456, iterations: 2 });
        assert_eq!(config.second_factor, SecondFactor::Optional);
        assert_eq!(read(&[("BACKLOT_SECOND_FACTOR", "required")]).expect("no faults").second_factor, SecondFactor::Required);
        assert_eq!((config.sign_up(), &config.sign_up_domains), (SignUp::Open, &Domains::default()));
        assert_eq!(config.rotation_interval(), time::Duration::days(90));
        assert!(config.hash_threads >= 1);
        assert_eq!(read(&[("BACKLOT_SIGNUP", "closed")]).expect("no faults").sign_up(), SignUp::Closed);
    }

    #[test]
    fn a_hash_of_less_memory_than_the_minimum_must_be_allowed_explicitly() {
        let memory = ("BACKLOT_ARGON2_MEMORY_KIB", "19455");
        let faults = read(&[memory]).map(drop).expect_err("too little");
        assert_eq!(faults, "BACKLOT_ARGON2_MEMORY_KIB: must be at least 19456, unless BACKLOT_INSECURE_HASHES is 1, is \"19455\"");
        assert_eq!(read(&[memory, ("BACKLOT_INSECURE_HASHES", "1")]).expect("allowed").hash_cost.memory_kib, 19_455);
        assert_eq!(read(&[("BACKLOT_ARGON2_MEMORY_KIB", "19456")]).expect("enough").hash_cost.memory_kib, 19_456);
    }

    #[test]
    fn with_a_mail_server_a_sign_up_proves_its_address() {
        let mail = [
            ("BACKLOT_SMTP_URL", "smtps://me:pw@mail.example.com"),
            ("BACKLOT_MAIL_FROM", "no-reply@example.com"),
            ("BACKLOT_PUBLIC_URL", "https://apps.example"),
        ];
        let with = |mode: &[(&'static str, &'static str)]| read(&[&mail[..], mode].concat()).expect("no faults").sign_up();
        assert_eq!(with(&[]), SignUp::Verify);
        for (text, mode) in [("open", SignUp::Open), ("verify", SignUp::Verify), ("closed", SignUp::Closed)] {
            assert_eq!(with(&[("BACKLOT_SIGNUP", text)]), mode);
            assert_eq!(read(&[("BACKLOT_SIGNUP", text)]).expect("no faults").sign_up(), mode, "{text} needs no mail server");
        }
    }

    /// T-132.
    #[test]
    fn a_restriction_to_domains_needs_proofs_of_addresses() {
        let domains = ("BACKLOT_SIGNUP_DOMAINS", "example.com");
        assert_eq!(read(&[domains]).expect("no faults").sign_up(), SignUp::Verify);
        for (text, mode) in [("verify", SignUp::Verify), ("invite", SignUp::Invite), ("closed", SignUp::Closed)] {
            assert_eq!(read(&[domains, ("BACKLOT_SIGNUP", text)]).expect("no faults").sign_up(), mode);
        }
        let open = ("BACKLOT_SIGNUP", "open");
        let faults = read(&[domains, open]).map(drop).expect_err("no proof");
        assert!(faults.starts_with("BACKLOT_SIGNUP: must be `verify`, `invite` or `closed` with BACKLOT_SIGNUP_DOMAINS"), "{faults}");
        assert_eq!(read(&[("BACKLOT_SIGNUP_DOMAINS", ","), open]).expect("no domains").sign_up(), SignUp::Open);
    }

    #[test]
    fn a_domain_allows_its_own_addresses() {
        let domains = read(&[("BACKLOT_SIGNUP_DOMAINS", "Example.com, bücher.example")]).expect("no faults").sign_up_domains;
        for (email, allowed) in [
            ("ada@example.com", true),
            ("ada@EXAMPLE.COM", true),
            ("ada@ｅｘａｍｐｌｅ.com", true),
            ("ada@bücher.example", true),
            ("ada@xn--bcher-kva.example", true),
            ("ada@mail.example.com", false),
            ("ada@example.com.evil.example", false),
            ("example.com@evil.example", false),
            ("ada@notexample.com", false),
        ] {
            let email = email.parse().expect(email);
            assert_eq!((domains.allow(&email), Domains::default().allow(&email)), (allowed, true), "{email:?}");
        }
        assert!(domains.is_restricted() && !Domains::default().is_restricted());
    }

    #[test]
    fn a_file_of_places_is_read_or_a_fault() {
        let folder = tempfile::tempdir().expect("folder");
        let whole = mmdb::file("GeoLite2-City", &[("1.1.1.0/24", mmdb::record("Berlin", "Germany"))]);
        let read_file = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            fs::write(&path, bytes).expect("written");
            let path = path.to_str().expect("text");
            (path.to_owned(), read(&[(PLACES_FILE, path)]).map(|config| config.places))
        };
        let (_, places) = read_file("whole", &whole);
        assert_eq!(places.expect("no faults").of("1.1.1.0/24").as_deref(), Some("Berlin, Germany"));
        assert_eq!(read(&[]).expect("no faults").places.of("1.1.1.0/24"), None);

        let damaged = "is damaged or no MaxMind DB file: ";
        for (name, bytes, problem) in [
            ("empty", &b""[..], damaged),
            ("a text", &b"1.1.1.0/24,Berlin"[..], damaged),
            ("without its end", &whole[..whole.len() / 2], damaged),
            ("without its beginning", &whole[whole.len() / 2..], damaged),
            (
                "of providers",
                mmdb::file("GeoLite2-ASN", &[]).as_slice(),
                "is a database of the type \"GeoLite2-ASN\"; the type must contain City or Country",
            ),
        ] {
            let (path, places) = read_file(name, bytes);
            let faults = places.map(drop).expect_err(name);
            assert!(faults.starts_with(&format!("{PLACES_FILE}: {path} {problem}")) && faults.lines().count() == 1, "{faults}");
        }
        let missing = folder.path().join("missing");
        for (path, problem) in [(folder.path(), "is not a file"), (missing.as_path(), "cannot be read: ")] {
            let path = path.to_str().expect("text");
            let faults = read(&[(PLACES_FILE, path)]).map(drop).expect_err(path);
            assert!(faults.starts_with(&format!("{PLACES_FILE}: {path} {problem}")), "{faults}");
        }
        let large = folder.path().join("large");
        fs::File::create(&large).and_then(|file| file.set_len(MAX_PLACES_FILE + 1)).expect("a sparse file");
        let faults = read(&[(PLACES_FILE, large.to_str().expect("text"))]).map(drop).expect_err("too large");
        assert!(faults.ends_with("has 1073741825 bytes; it must have at most 1 GiB"), "{faults}");
    }

    #[test]
    fn a_list_of_breached_passwords_is_opened_or_a_fault() {
        let folder = tempfile::tempdir().expect("folder");
        let (whole, other) = (folder.path().join("whole"), folder.path().join("other"));
        fs::write(&whole, "5BAA61E4C9B93F3F0682250B6CF8331B7EE68FD8:52256179\r\n").expect("written");
        fs::write(&other, "password\n").expect("written");
        let read_file = |path: &Path| read(&[(BREACHED_FILE, path.to_str().expect("text"))]).map(|config| config.breached);
        let list = read_file(&whole).expect("no faults").expect("a list");
        assert!(list.contains("password").expect("read") && !list.contains("another").expect("read"));
        assert!(read(&[]).expect("no faults").breached.is_none());
        for (path, problem) in [
            (folder.path().join("missing"), "cannot be read: "),
            (folder.path().to_owned(), "is not a file"),
            (other, "has something else than a SHA-1 hash"),
        ] {
            let faults = read_file(&path).map(drop).expect_err("a fault");
            assert!(faults.starts_with(&format!("{BREACHED_FILE}: {} {problem}", path.display())), "{faults}");
            assert_eq!(faults.lines().count(), 1, "{faults}");
        }
    }

    #[test]
    fn every_invalid_value_is_a_fault() {
        for (name, value) in [
            ("BACKLOT_SIGNUP", "invited"),
            ("BACKLOT_SIGNUP_DOMAINS", "example.com,a b"),
            ("BACKLOT_SIGN_IN_CHALLENGE", "on"),
            ("BACKLOT_SECOND_FACTOR", "yes"),
            ("BACKLOT_PASSWORD_MIN_LENGTH", "7"),
            ("BACKLOT_PASSWORD_MIN_LENGTH", "65"),
            ("BACKLOT_ARGON2_MEMORY_KIB", "7"),
            ("BACKLOT_ARGON2_MEMORY_KIB", "19455"),
            ("BACKLOT_INSECURE_HASHES", "maybe"),
            ("BACKLOT_ARGON2_ITERATIONS", "0"),
            ("BACKLOT_HASH_THREADS", "0"),
            ("BACKLOT_HASH_QUEUE", "100001"),
            ("BACKLOT_HASH_WAIT", "0s"),
            ("BACKLOT_KEY_ROTATION", "59m"),
            ("BACKLOT_KEY_ROTATION", "18446744073709551615s"),
            ("BACKLOT_RATE_LIMIT_URL", "nowhere"),
        ] {
            let faults = read(&[(name, value)]).map(drop).expect_err(name);
            assert!(faults.starts_with(name) && faults.lines().count() == 1, "{faults}");
            assert!(faults.ends_with(&format!(", is {value:?}")) || value == "nowhere", "{faults}");
        }
    }
}
