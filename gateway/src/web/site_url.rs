//! The addresses of published sites: made from a slug, and the slug read from the host of a request.

use std::{collections::BTreeMap, net::SocketAddr};

use chassis::config::Setting;
use url::{Host, Url};

use crate::{
    edge::origin::{is_same_site, main_url},
    web::{
        host_pattern::{HostPattern, without_port},
        preview_url::PreviewUrl,
    },
};

/// The placeholder in `BACKLOT_SITES_URL`.
const PLACEHOLDER: &str = "{site}";
/// A label that a preview could have as well.
const SAMPLE: &str = "abcdefghijklmnopqrstuvwx27";

/// Characters of a label of a host.
const LABEL_LENGTH: usize = 63;

/// Hosts of custom domains, with the slugs of their sites: `www.shop.example=shop`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Domains(BTreeMap<String, String>);

impl Setting for Domains {
    fn parse(text: &str) -> Result<Self, String> {
        let mut domains = BTreeMap::new();
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let (domain, slug) = entry.split_once('=').ok_or_else(|| format!("`{entry}` must be a host name, `=` and a slug"))?;
            let (domain, slug) = (domain.trim().to_ascii_lowercase(), slug.trim());
            if !matches!(Host::parse(&domain), Ok(Host::Domain(name)) if name == domain && !domain.is_empty()) {
                return Err(format!("`{domain}` must be a host name in ASCII, without a scheme and a port"));
            }
            if slug.is_empty() || !slug.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-') {
                return Err(format!("`{slug}` must be the slug of a site"));
            }
            if domains.insert(domain.clone(), slug.to_owned()).is_some() {
                return Err(format!("`{domain}` occurs twice"));
            }
        }
        Ok(Self(domains))
    }
}

/// Where published sites are served.
#[derive(Debug, Clone)]
pub(crate) struct SiteUrl {
    pattern: HostPattern,
    domains: Domains,
}

impl SiteUrl {
    /// From the settings.
    ///
    /// # Errors
    /// What is wrong with `BACKLOT_SITES_URL`.
    pub(crate) fn new(setting: &str, domains: &Domains) -> Result<Self, String> {
        Ok(Self { pattern: HostPattern::parse(setting, PLACEHOLDER)?, domains: domains.clone() })
    }

    /// Checks that browsers keep sites apart from the gateway and from previews.
    ///
    /// # Errors
    /// What is wrong with `BACKLOT_SITES_URL` or with a domain.
    pub(crate) fn check_apart(&self, public: (Option<&Url>, SocketAddr), previews: &PreviewUrl) -> Result<(), String> {
        let parse = |text: &str| Url::parse(text).map_err(|e| format!("is not a URL: {e}"));
        let main = main_url(public.0, public.1).ok();
        let preview = parse(&previews.sample())?;
        let sites = parse(&self.pattern.url(SAMPLE))?;
        let overlaps =
            sites.host_str().is_some_and(|host| previews.has_host(host)) || self.slug(preview.host_str().unwrap_or_default()).is_some();
        if overlaps {
            return Err("must have hosts that BACKLOT_PREVIEW_URL does not have".to_owned());
        }
        let domains = self.domains.0.keys().map(|domain| parse(&format!("http://{domain}/")));
        for mut site in std::iter::once(Ok(sites)).chain(domains).collect::<Result<Vec<_>, _>>()? {
            let Some(main) = &main else { continue };
            // A proxy may serve a host with another scheme.
            let _ = site.set_scheme(main.scheme());
            if is_same_site(&site, main) {
                let host = site.host_str().unwrap_or_default();
                return Err(format!(
                    "{host} must be another site than BACKLOT_PUBLIC_URL (another registrable domain), because everybody who publishes runs scripts \
                     there"
                ));
            }
        }
        Ok(())
    }

    /// Whether the first label of a site's host has room for a slug.
    pub(crate) fn fits(&self, slug: &str) -> bool {
        self.pattern.label_length(slug.len()) <= LABEL_LENGTH
    }

    /// The address of a site.
    pub(crate) fn url(&self, slug: &str) -> String {
        self.pattern.url(slug)
    }

    /// The slug of the site of a host, which may have a port and be in any case. The site may not exist.
    pub(crate) fn slug(&self, host: &str) -> Option<String> {
        let name = without_port(host).to_ascii_lowercase();
        let custom = self.domains.0.get(name.trim_end_matches('.')).cloned();
        custom.or_else(|| self.pattern.name(host)).filter(|slug| !slug.is_empty() && !slug.contains('.'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen() -> SocketAddr {
        "127.0.0.1:8080".parse().expect("an address")
    }

    fn sites(setting: &str, domains: &str) -> SiteUrl {
        SiteUrl::new(setting, &Domains::parse(domains).expect("domains")).expect("a setting")
    }

    #[test]
    fn a_host_names_a_site() {
        let sites = sites("https://{site}.Pages.example:8443", "www.shop.example=my-shop, Bikes.example=bikes");
        assert_eq!(sites.url("my-shop"), "https://my-shop.pages.example:8443/");
        for (host, slug) in [
            ("my-shop.pages.example:8443", Some("my-shop")),
            ("MY-SHOP.pages.example", Some("my-shop")),
            ("www.shop.example", Some("my-shop")),
            ("bikes.example:8443", Some("bikes")),
            ("bikes.example.", Some("bikes")),
            ("shop.example", None),
            ("pages.example", None),
            (".pages.example", None),
            ("a.b.pages.example", None),
            ("my-shop.pages.example.evil.example", None),
            ("", None),
        ] {
            assert_eq!(sites.slug(host).as_deref(), slug, "{host}");
        }
    }

    #[test]
    fn unusable_settings_are_refused() {
        for setting in
            ["", "x", "https://pages.example", "https://a.{site}.example", "https://{site}", "https://{site}.x/y", "ftp://{site}.x"]
        {
            assert!(SiteUrl::new(setting, &Domains::default()).is_err(), "{setting}");
        }
        for domains in [
            "shop.example",
            "=shop",
            "shop.example=",
            "shop.example=My Shop",
            "https://shop.example=shop",
            "a.example=a,A.example=b",
            "a.example:80=a",
            "ä.example=a",
            "127.0.0.1=a",
        ] {
            assert!(Domains::parse(domains).is_err(), "{domains}");
        }
        assert_eq!(Domains::parse(""), Ok(Domains::default()));
    }

    #[test]
    fn sites_are_apart_from_the_gateway_and_previews() {
        let check = |sites_url: &str, public: &str, previews: &str| {
            let previews = PreviewUrl::new(Some(previews), listen()).expect("a setting");
            sites(sites_url, "")
                .check_apart((Some(&public.parse().expect("a URL")), listen()), &previews)
                .map_err(|problem| problem.contains("PREVIEW"))
        };
        let previews = "https://{preview}.previews.example";
        assert_eq!(check("https://{site}.pages.example", "https://apps.example", previews), Ok(()));
        assert_eq!(check("https://{site}.apps.example", "https://apps.example", previews), Err(false));
        assert_eq!(check("https://{site}.pages.apps.example", "https://www.apps.example", previews), Err(false));
        assert_eq!(check("https://{site}.previews.example", "https://apps.example", previews), Err(true));
        assert_eq!(check("http://{site}.sites.localhost:8081", "http://127.0.0.1:8080", "http://{preview}.localhost:8081"), Ok(()));
        assert_eq!(check("http://{site}.localhost:8082", "http://127.0.0.1:8080", "http://{preview}.localhost:8081"), Err(true));
        assert_eq!(check("http://{site}.apps.example", "https://apps.example", previews), Err(false), "whatever the scheme");
        assert_eq!(check("http://{site}.app.localhost", "http://app.localhost:8080", "http://{preview}.x.localhost"), Err(false));
        assert_eq!(check("https://{site}.u.example", "https://apps.example", "https://view-{preview}.u.example"), Err(true));
        assert_eq!(check("https://{site}.u.example", "https://apps.example", "https://previews.u.example"), Err(true));
        let domain = sites("https://{site}.pages.example", "www.apps.example=shop");
        let previews = PreviewUrl::new(Some(previews), listen()).expect("a setting");
        let public = "https://apps.example".parse().expect("a URL");
        assert!(domain.check_apart((Some(&public), listen()), &previews).is_err());
    }
}
