//! The gateway's settings. The doc comment of a field describes it in full, and the help text in short.

use std::{
    net::SocketAddr,
    num::{NonZeroU32, NonZeroUsize},
    time::Duration,
};

use axum::http::Uri;
use chassis::{
    config::{Env, Setting},
    edge::Edge,
    identity::Caller,
    listen::Limits,
    secret::ClusterSecret,
    server,
};
use tower_http::csrf::CsrfLayer;
use url::Url;

use crate::{
    edge::origin,
    web::{
        preview_url::PreviewUrl,
        site_url::{Domains, SiteUrl},
    },
};

/// An address, or `none`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OptionalListen(pub Option<SocketAddr>);

impl Setting for OptionalListen {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self(None)),
            address => address.parse().map(|address| Self(Some(address))).map_err(|_| "must be an address with a port, or none".to_owned()),
        }
    }
}

/// What `serve` needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where browsers and programs connect.
    pub listen: SocketAddr,
    /// Where previews are served. The listener serves nothing else.
    pub preview_listen: SocketAddr,
    /// Where Prometheus reads the metrics of this process. The listener serves nothing else, and should not be public.
    pub metrics_listen: OptionalListen,
    /// The URL of the main listener for browsers. It decides cookies and CSP. By default `http://` and the listener's address.
    pub public_url: Option<Url>,
    /// The URL of previews for browsers. With `{preview}` in the host each preview has its own origin. Without it all previews share one
    /// origin and are sandboxed. By default `http://{preview}.localhost:<port of the preview listener>`.
    pub preview_url: Option<String>,
    /// The URL of published sites for browsers, with `{site}` in the first label of its host. `None` if no sites are served. They are served by
    /// the listener of previews.
    pub sites_url: Option<String>,
    /// Further hosts of published sites.
    pub(crate) sites_domains: Domains,
    /// Origins of other sites whose pages may call the API with credentials.
    pub(crate) cors_origins: Vec<String>,
    /// Further host names of the gateway besides that of the public URL and those of loopback, without ports.
    pub(crate) hosts: Vec<String>,
    /// Whether Strict-Transport-Security holds for all hosts below that of the public URL, which may belong to others.
    pub(crate) hsts_subdomains: bool,
    /// Proxies in front of the gateway that append to `X-Forwarded-For`.
    pub(crate) trusted_hops: usize,
    pub(crate) auth_url: Uri,
    pub(crate) agent_streaming_url: Uri,
    pub(crate) project_storage_url: Uri,
    pub(crate) rate_limit_url: Uri,
    pub(crate) compile_url: Uri,
    pub(crate) cluster_secret: ClusterSecret,
    /// The edge limit, by address. It is 40 times as high for previews, since a page loads many files.
    pub(crate) edge: Edge,
    /// Requests whose response has not begun. Any more are answered with 503.
    pub(crate) max_requests: usize,
    /// Open event streams of one person at this gateway.
    pub(crate) max_streams_per_user: u32,
    /// Event streams that one person may open in ten seconds at this gateway. Clients that resume are counted here and not as requests.
    pub(crate) stream_openings: u32,
    /// Requests whose body is still arriving. Any more are answered with 503.
    pub(crate) max_waiting: usize,
    /// Bytes of bodies that are arriving. A body that needs more waits for others.
    pub(crate) receiving: usize,
    /// How long a body may take. The body of a save may take three times as long.
    pub(crate) body_timeout: Duration,
    /// How long compile takes at most.
    pub(crate) build_timeout: Duration,
    /// Limits of connections. An idle HTTP/1.1 connection counts as waiting for a head, so a proxy in front should close its idle
    /// connections earlier.
    pub(crate) limits: Limits,
    /// Bytes of path and query together. Longer ones are answered with 414. A refusal may repeat them in its text, which is sent in headers.
    pub(crate) max_target: usize,
    /// Bytes of one header's value. A longer one is answered with 431.
    pub(crate) max_header: usize,
    /// The pause after which an event stream sends a heartbeat.
    pub(crate) heartbeat: Duration,
    /// How long the gateway reports not ready before it stops accepting, so that a load balancer notices.
    pub(crate) drain_delay: Duration,
    /// How long open requests may take after that.
    pub(crate) drain: Duration,
}

const SITES_DOMAINS_HELP: &str =
    "further hosts of published sites, each with the slug of its site, separated by commas: www.shop.example=my-shop";

impl Config {
    /// Reads the environment and records its faults there.
    pub fn read(env: &mut Env) -> Self {
        let peer = |env: &mut Env, name: &'static str, default, help| env.get::<Uri>(name, default, help);
        let config = Self {
            listen: env.get("BACKLOT_LISTEN", "127.0.0.1:8080", "address of the HTTP listener; port 0 picks a free port"),
            preview_listen: env.get("BACKLOT_PREVIEW_LISTEN", "127.0.0.1:8081", "address of the listener for previews"),
            metrics_listen: env.get(
                "BACKLOT_METRICS_LISTEN",
                "127.0.0.1:9464",
                "address of the listener for /metrics; everybody who reaches it can read them; none for no listener",
            ),
            public_url: env.derived(chassis::origin::PUBLIC_URL, chassis::origin::PUBLIC_URL_DEFAULT, chassis::origin::PUBLIC_URL_HELP),
            preview_url: env.derived(
                "BACKLOT_PREVIEW_URL",
                "{preview}.localhost with http and the port of BACKLOT_PREVIEW_LISTEN",
                "URL of previews for browsers; with {preview} in its host each preview is an origin of its own, without it all share one; \
                 required if BACKLOT_PUBLIC_URL is not loopback",
            ),
            sites_url: env.optional(
                "BACKLOT_SITES_URL",
                "URL of published sites for browsers, with {site} in the first label of its host: https://{site}.pages.example; it must be another \
                 site than BACKLOT_PUBLIC_URL; the listener of previews serves them; without it nothing can be published",
            ),
            sites_domains: env.get("BACKLOT_SITES_DOMAINS", "", SITES_DOMAINS_HELP),
            cors_origins: env.get("BACKLOT_CORS_ORIGINS", "", "origins of other sites that may call the API, separated by commas"),
            hosts: env.get("BACKLOT_HOSTS", "", "host names that the gateway answers to, besides the one in BACKLOT_PUBLIC_URL and loopback; without ports, separated by commas"),
            hsts_subdomains: env.get(
                "BACKLOT_HSTS_SUBDOMAINS",
                "0",
                "with 1 browsers that know BACKLOT_PUBLIC_URL use https for all hosts below its host, too; needs a URL with https",
            ),
            trusted_hops: env.get("BACKLOT_TRUSTED_HOPS", "0", "number of proxies in front of the gateway that append to X-Forwarded-For"),
            auth_url: peer(env, "BACKLOT_AUTH_URL", "http://127.0.0.1:9090", "where auth listens"),
            agent_streaming_url: peer(env, "BACKLOT_AGENT_STREAMING_URL", "http://127.0.0.1:9091", "where agent-streaming listens"),
            project_storage_url: peer(env, "BACKLOT_PROJECT_STORAGE_URL", "http://127.0.0.1:9092", "where project-storage listens"),
            rate_limit_url: peer(env, "BACKLOT_RATE_LIMIT_URL", "http://127.0.0.1:9093", "where rate-limit listens"),
            compile_url: peer(env, "BACKLOT_COMPILE_URL", "http://127.0.0.1:9094", "where compile listens"),
            cluster_secret: ClusterSecret::read(env, Caller::Gateway),
            edge: Edge::read(env),
            max_requests: env.get::<NonZeroUsize>("BACKLOT_MAX_REQUESTS", "1024", "HTTP requests in work at the same time; any more are answered with 503").get(),
            max_streams_per_user: env
                .get::<NonZeroU32>("BACKLOT_MAX_STREAMS_PER_USER", "64", "event streams that one person may have open at the same time")
                .get(),
            stream_openings: env
                .get::<NonZeroU32>("BACKLOT_STREAM_OPENINGS", "60", "event streams that one person may open in ten seconds")
                .get(),
            max_waiting: env.get::<NonZeroUsize>("BACKLOT_MAX_WAITING", "4096", "HTTP requests whose body is still arriving; more are answered with 503").get(),
            receiving: server::receiving(env),
            body_timeout: server::body_timeout(env),
            build_timeout: server::build_timeout(env),
            limits: Limits::read(env),
            max_target: env.get::<NonZeroUsize>("BACKLOT_MAX_TARGET_BYTES", "4096", "bytes of the path and query of a request together; a longer one is answered with 414").get(),
            max_header: env.get::<NonZeroUsize>("BACKLOT_MAX_HEADER_BYTES", "8192", "bytes of the value of one header; a longer one is answered with 431").get(),
            heartbeat: env.get("BACKLOT_HEARTBEAT", "15s", "pause after which an event stream sends a heartbeat"),
            drain_delay: env.get("BACKLOT_DRAIN_DELAY", "0s", "how long the gateway reports not ready before it stops accepting"),
            drain: env.get("BACKLOT_DRAIN_TIMEOUT", "10s", "how long open calls may continue after the stop signal"),
        };
        let insecure: bool = env.get("BACKLOT_INSECURE_HTTP", "0", "allow plain HTTP on a host that is not loopback");
        config.check(env, insecure);
        config
    }

    fn check(&self, env: &mut Env, insecure: bool) {
        match origin::main_url(self.public_url.as_ref(), self.listen) {
            Err(problem) => env.fault("BACKLOT_PUBLIC_URL", problem),
            Ok(url) if url.scheme() == "http" && !origin::is_loopback(&url) && !insecure => env.fault(
                "BACKLOT_PUBLIC_URL",
                format!("{url} would send sessions unencrypted over a network; use https, or set BACKLOT_INSECURE_HTTP=1"),
            ),
            Ok(_) => {}
        }
        let speaks_http = origin::main_url(self.public_url.as_ref(), self.listen).is_ok_and(|url| url.scheme() == "http");
        if speaks_http && self.hsts_subdomains {
            env.fault("BACKLOT_HSTS_SUBDOMAINS", "needs a BACKLOT_PUBLIC_URL with https");
        }
        if speaks_http && !self.listen.ip().is_loopback() && !insecure {
            let problem = format!(
                "{} can be reached from other machines, which would send sessions unencrypted; use a BACKLOT_PUBLIC_URL with https and a proxy \
                 in front, or set BACKLOT_INSECURE_HTTP=1",
                self.listen
            );
            env.fault("BACKLOT_LISTEN", problem);
        }
        let is_remote = origin::main_url(self.public_url.as_ref(), self.listen).is_ok_and(|url| !origin::is_loopback(&url));
        if is_remote && self.public_url.is_some() && self.preview_url.is_none() {
            let problem =
                "is required with a BACKLOT_PUBLIC_URL that is not loopback: browsers on other machines cannot reach previews at localhost";
            env.fault("BACKLOT_PREVIEW_URL", problem);
        }
        if let Err(problem) = PreviewUrl::new(self.preview_url.as_deref(), self.preview_listen) {
            env.fault("BACKLOT_PREVIEW_URL", problem);
        }
        self.check_sites(env);
        for text in &self.cors_origins {
            if let Err(problem) = CsrfLayer::new().add_trusted_origin(text) {
                env.fault("BACKLOT_CORS_ORIGINS", problem.to_string());
            }
        }
        env.require_positive([("BACKLOT_HEARTBEAT", self.heartbeat)]);
    }
}

impl Config {
    fn check_sites(&self, env: &mut Env) {
        let Some(setting) = &self.sites_url else {
            if self.sites_domains != Domains::default() {
                env.fault("BACKLOT_SITES_DOMAINS", "needs BACKLOT_SITES_URL");
            }
            return;
        };
        let previews = PreviewUrl::new(self.preview_url.as_deref(), self.preview_listen);
        let checked = SiteUrl::new(setting, &self.sites_domains).and_then(|sites| match previews {
            Ok(previews) => sites.check_apart((self.public_url.as_ref(), self.listen), &previews),
            Err(_) => Ok(()),
        });
        if let Err(problem) = checked {
            env.fault("BACKLOT_SITES_URL", problem);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(pairs: &[(&str, &str)]) -> String {
        let secret = ("BACKLOT_CLUSTER_SECRET", "0d1c7e1f92ab4c5e8f60b3a2d4c5e6f7");
        let mut env = Env::of(pairs.iter().copied().chain([secret]));
        Config::read(&mut env);
        env.check().err().map(|e| e.to_string()).unwrap_or_default()
    }

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(faults(&[]), "");
    }

    #[test]
    fn the_address_of_metrics_may_be_none() {
        for valid in ["none", "127.0.0.1:0", "0.0.0.0:9464", "[::1]:9464"] {
            assert_eq!(faults(&[("BACKLOT_METRICS_LISTEN", valid)]), "", "{valid}");
        }
        for invalid in ["off", "9464", "localhost:9464", "None"] {
            assert!(faults(&[("BACKLOT_METRICS_LISTEN", invalid)]).starts_with("BACKLOT_METRICS_LISTEN: must be an address"), "{invalid}");
        }
    }

    #[test]
    fn plain_http_on_a_network_must_be_allowed_explicitly() {
        for listen in ["0.0.0.0:8080", "[::]:8080", "192.0.2.1:8080"] {
            assert!(faults(&[("BACKLOT_LISTEN", listen)]).contains("BACKLOT_LISTEN: "), "{listen}");
            assert!(faults(&[("BACKLOT_LISTEN", listen), ("BACKLOT_PUBLIC_URL", "http://localhost:8080")]).contains("BACKLOT_LISTEN: "));
        }
        let proxied = [("BACKLOT_LISTEN", "0.0.0.0:8080"), ("BACKLOT_PUBLIC_URL", "https://apps.example")];
        assert_eq!(faults(&[proxied[0], proxied[1], ("BACKLOT_PREVIEW_URL", "https://{preview}.apps.example")]), "");
        assert_eq!(faults(&[("BACKLOT_LISTEN", "0.0.0.0:8080"), ("BACKLOT_INSECURE_HTTP", "1")]), "");
        assert!(faults(&[("BACKLOT_PUBLIC_URL", "http://apps.example")]).contains("BACKLOT_INSECURE_HTTP=1"));
        let preview = ("BACKLOT_PREVIEW_URL", "http://{preview}.apps.example");
        assert_eq!(faults(&[("BACKLOT_PUBLIC_URL", "http://apps.example"), ("BACKLOT_INSECURE_HTTP", "1"), preview]), "");
        assert!(faults(&[("BACKLOT_LISTEN", "192.0.2.1:80")]).contains("BACKLOT_INSECURE_HTTP=1"));
        for url in ["https://apps.example", "http://localhost:3000", "http://127.0.0.1:1", "http://[::1]:1"] {
            assert_eq!(faults(&[("BACKLOT_PUBLIC_URL", url), preview]), "", "{url}");
        }
    }

    #[test]
    fn a_public_gateway_needs_a_public_preview_url() {
        let public = ("BACKLOT_PUBLIC_URL", "https://apps.example");
        assert!(faults(&[public]).starts_with("BACKLOT_PREVIEW_URL: is required"));
        assert_eq!(faults(&[public, ("BACKLOT_PREVIEW_URL", "https://{preview}.apps.example")]), "");
        assert_eq!(faults(&[("BACKLOT_PUBLIC_URL", "http://localhost:3000")]), "");
    }

    #[test]
    fn sites_are_another_site() {
        let public = [("BACKLOT_PUBLIC_URL", "https://apps.example"), ("BACKLOT_PREVIEW_URL", "https://{preview}.previews.example")];
        let with = |more: &[(&'static str, &'static str)]| faults(&[&public[..], more].concat());
        assert_eq!(with(&[("BACKLOT_SITES_URL", "https://{site}.pages.example"), ("BACKLOT_SITES_DOMAINS", "www.shop.example=shop")]), "");
        assert_eq!(faults(&[("BACKLOT_SITES_URL", "http://{site}.sites.localhost:8081")]), "");
        for url in ["https://{site}.apps.example", "https://{site}.previews.example", "https://pages.example", "{site}"] {
            assert!(with(&[("BACKLOT_SITES_URL", url)]).starts_with("BACKLOT_SITES_URL: "), "{url}");
        }
        assert!(with(&[("BACKLOT_SITES_DOMAINS", "www.shop.example=shop")]).starts_with("BACKLOT_SITES_DOMAINS: needs"));
        let domains = [("BACKLOT_SITES_URL", "https://{site}.pages.example"), ("BACKLOT_SITES_DOMAINS", "shop")];
        assert!(with(&domains).starts_with("BACKLOT_SITES_DOMAINS: "));
    }

    #[test]
    fn zero_is_refused_for_every_limit() {
        for name in [
            "BACKLOT_MAX_REQUESTS",
            "BACKLOT_MAX_CONNECTIONS",
            "BACKLOT_MAX_STREAMS_PER_USER",
            "BACKLOT_STREAM_OPENINGS",
            "BACKLOT_EDGE_BURST",
            "BACKLOT_MAX_TARGET_BYTES",
            "BACKLOT_MAX_HEADER_BYTES",
            "BACKLOT_MAX_WAITING",
            "BACKLOT_RECEIVING_BYTES",
            "BACKLOT_UNSENT_BYTES",
            "BACKLOT_MAX_RESETS",
            "BACKLOT_SHARE_CONNECTION",
            "BACKLOT_SHARE_ADDRESS",
            "BACKLOT_SHARE_PERSON",
            "BACKLOT_BODY_TIMEOUT",
            "BACKLOT_HEARTBEAT",
            "BACKLOT_HEADER_TIMEOUT",
            "BACKLOT_IDLE_TIMEOUT",
            "BACKLOT_WRITE_TIMEOUT",
        ] {
            let faults = faults(&[(name, "0")]);
            assert!(faults.starts_with(&format!("{name}: must be ")), "{name}: {faults}");
        }
    }

    #[test]
    fn invalid_urls_are_faults() {
        assert!(faults(&[("BACKLOT_PUBLIC_URL", "https://apps.example/backlot")]).starts_with("BACKLOT_PUBLIC_URL: "));
        assert!(faults(&[("BACKLOT_PREVIEW_URL", "https://apps.example/{preview}/x")]).starts_with("BACKLOT_PREVIEW_URL: "));
        assert!(faults(&[("BACKLOT_HSTS_SUBDOMAINS", "1")]).starts_with("BACKLOT_HSTS_SUBDOMAINS: "), "without https");
        assert!(faults(&[("BACKLOT_CORS_ORIGINS", "https://a.example,https://b.example/x")]).starts_with("BACKLOT_CORS_ORIGINS: "));
    }
}
