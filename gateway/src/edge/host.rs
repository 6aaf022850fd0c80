//! Which host names the gateway answers to: those of the settings, and loopback. Without this check another site could point its name at
//! the gateway (DNS rebinding), and its pages would be of the same origin as the gateway.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, Uri, header, uri::Authority},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use proto::error::ErrorCode;
use url::{Host, Url};

use crate::{
    edge::origin,
    error::{Failure, fault},
    web::{preview_url::PreviewUrl, site_url::SiteUrl},
};

/// Probes within a cluster may use any host name.
const PROBES: [&str; 2] = ["/healthz", "/readyz"];

/// The host names of this gateway, without ports.
#[derive(Debug, Clone)]
pub(crate) struct HostNames {
    names: Arc<Vec<String>>,
    /// Hosts of previews are never served here, also if they are names of loopback: a page of a preview can set cookies for its host.
    previews: PreviewUrl,
    /// As those of previews.
    sites: Option<SiteUrl>,
}

impl HostNames {
    /// The name in the public URL and those of the setting.
    pub(crate) fn new(public: &Url, others: &[String], previews: &PreviewUrl, sites: Option<&SiteUrl>) -> Self {
        let public = public.host_str().unwrap_or_default().to_owned();
        let names = others.iter().map(|name| name.to_ascii_lowercase()).chain([public]).collect();
        Self { names: Arc::new(names), previews: previews.clone(), sites: sites.cloned() }
    }

    fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Failure> {
        let authority = authority(uri, headers)?;
        let name = authority.host().to_ascii_lowercase();
        let is_foreign = self.previews.has_host(&name) || self.sites.as_ref().is_some_and(|sites| sites.slug(&name).is_some());
        let is_served = self.names.contains(&name) || is_loopback(&name) && !is_foreign;
        if is_served || PROBES.contains(&uri.path()) {
            return Ok(());
        }
        let text = format!("the gateway does not serve the host {name}; its hosts are set by BACKLOT_PUBLIC_URL and BACKLOT_HOSTS");
        Err(fault(ErrorCode::InvalidArgument, "HOST_UNKNOWN", text).into())
    }
}

/// The host of a request as it was sent, with its port: in the URI with HTTP/2, in a header with HTTP/1.1. Empty if there is none.
pub(crate) fn sent<'r>(uri: &'r Uri, headers: &'r HeaderMap) -> &'r str {
    let named = headers.get(header::HOST).and_then(|value| value.to_str().ok());
    uri.authority().map(Authority::as_str).or(named).unwrap_or_default()
}

/// The host of a request, with its port, if it has one that is valid.
fn authority(uri: &Uri, headers: &HeaderMap) -> Result<Authority, Failure> {
    let invalid = |text: &str| Failure::from(fault(ErrorCode::InvalidArgument, "HOST_INVALID", text));
    let mut lines = headers.get_all(header::HOST).iter();
    let authority: Option<Authority> = match (uri.authority(), lines.next(), lines.next()) {
        (_, _, Some(_)) => return Err(invalid("the request has more than one Host")),
        (Some(authority), ..) => Some(authority.clone()),
        (None, Some(line), None) => line.to_str().ok().and_then(|text| text.parse().ok()),
        (None, None, None) => return Err(invalid("the request has no Host")),
    };
    let has_valid_port = |authority: &Authority| {
        let rest = authority.as_str().strip_prefix(authority.host());
        rest.is_some_and(|rest| rest.is_empty() || authority.port_u16().is_some())
    };
    authority.filter(has_valid_port).ok_or_else(|| invalid("Host must be a name or an address, with an optional port"))
}

fn is_loopback(name: &str) -> bool {
    Host::parse(name).is_ok_and(|host| match host {
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
        Host::Domain(name) => origin::is_local_name(&name),
    })
}

/// The middleware that refuses requests for other names.
pub(crate) async fn check(State(names): State<HostNames>, request: Request, next: Next) -> Response {
    match names.check(request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

/// The middleware of previews, which find their host themselves: it refuses requests without a host, or with several.
pub(crate) async fn check_one(request: Request, next: Next) -> Response {
    match authority(request.uri(), request.headers()) {
        Ok(_) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::site_url::Domains;

    #[test]
    fn only_known_host_names_are_served() {
        let previews = PreviewUrl::new(None, "127.0.0.1:8081".parse().unwrap()).unwrap();
        let sites = SiteUrl::new("http://{site}.sites.localhost", &Domains::default()).unwrap();
        let names = HostNames::new(&"https://apps.example".parse().unwrap(), &["Internal.example".to_owned()], &previews, Some(&sites));
        let check = |target: &str, hosts: &[&str]| {
            let mut request = Request::get(target).body(()).unwrap();
            for host in hosts {
                request.headers_mut().append(header::HOST, host.parse().unwrap());
            }
            names.check(request.uri(), request.headers()).map_err(|failure| failure.0.reason.clone())
        };
        let refused = |reason: &str| Err(reason.to_owned());
        for (target, hosts, outcome) in [
            ("/", &["apps.example"][..], Ok(())),
            ("/", &["APPS.example:8443"], Ok(())),
            ("/", &["internal.example"], Ok(())),
            ("/", &["localhost:8080"], Ok(())),
            ("/", &["127.0.0.1"], Ok(())),
            ("/", &["127.9.9.9:1"], Ok(())),
            ("/", &["[::1]:8080"], Ok(())),
            ("https://apps.example/", &[], Ok(())),
            ("/healthz", &["gateway:8080"], Ok(())),
            ("/readyz", &["10.0.0.7"], Ok(())),
            ("/", &["app.localhost"], Ok(())),
            ("/", &["abcdefghijklmnopqrstuvwx27.localhost:8080"], refused("HOST_UNKNOWN")),
            ("/", &["ABCDEFGHIJKLMNOPQRSTUVWX27.LOCALHOST"], refused("HOST_UNKNOWN")),
            ("/", &["shop.sites.localhost:8080"], refused("HOST_UNKNOWN")),
            ("/", &["evil.example"], refused("HOST_UNKNOWN")),
            ("/", &["apps.example.evil.example"], refused("HOST_UNKNOWN")),
            ("/", &["10.0.0.7"], refused("HOST_UNKNOWN")),
            ("/api/auth/signup", &["localhost.evil.example"], refused("HOST_UNKNOWN")),
            ("http://evil.example/", &["apps.example"], refused("HOST_UNKNOWN")),
            ("/", &[], refused("HOST_INVALID")),
            ("/", &[""], refused("HOST_INVALID")),
            ("/", &["apps.example", "apps.example"], refused("HOST_INVALID")),
            ("/", &["apps.example/x"], refused("HOST_INVALID")),
            ("/", &["a b"], refused("HOST_INVALID")),
            ("/", &["localhost:"], refused("HOST_INVALID")),
            ("/", &["localhost:x"], refused("HOST_INVALID")),
            ("/", &["localhost:99999"], refused("HOST_INVALID")),
            ("/", &["someone@apps.example"], refused("HOST_INVALID")),
        ] {
            assert_eq!(check(target, hosts), outcome, "{target} {hosts:?}");
        }
    }
}
