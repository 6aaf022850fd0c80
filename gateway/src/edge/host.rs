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
};

/// Probes within a cluster may use any host name.
const PROBES: [&str; 2] = ["/healthz", "/readyz"];

/// The host names of this gateway, without ports.
#[derive(Debug, Clone)]
pub(crate) struct HostNames(Arc<Vec<String>>);

impl HostNames {
    /// The name in the public URL and those of the setting.
    pub(crate) fn new(public: &Url, others: &[String]) -> Self {
        let public = public.host_str().unwrap_or_default().to_owned();
        Self(Arc::new(others.iter().map(|name| name.to_ascii_lowercase()).chain([public]).collect()))
    }

    fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Failure> {
        let invalid = |text: &str| Failure::from(fault(ErrorCode::InvalidArgument, "HOST_INVALID", text));
        let mut lines = headers.get_all(header::HOST).iter();
        let authority: Authority = match (uri.authority(), lines.next(), lines.next()) {
            (_, _, Some(_)) => return Err(invalid("the request has more than one Host")),
            (Some(authority), ..) => authority.clone(),
            (None, Some(line), None) => line
                .to_str()
                .ok()
                .filter(|text| !text.contains('@'))
                .and_then(|text| text.parse().ok())
                .ok_or_else(|| invalid("Host must be a name or an address, with an optional port"))?,
            (None, None, None) => return Err(invalid("the request has no Host")),
        };
        let name = authority.host().to_ascii_lowercase();
        if self.0.contains(&name) || is_loopback(&name) || PROBES.contains(&uri.path()) {
            return Ok(());
        }
        let text = format!("the gateway does not serve the host {name}; its hosts are set by BACKLOT_PUBLIC_URL and BACKLOT_HOSTS");
        Err(fault(ErrorCode::InvalidArgument, "HOST_UNKNOWN", text).into())
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_host_names_are_served() {
        let names = HostNames::new(&"https://apps.example".parse().unwrap(), &["Internal.example".to_owned()]);
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
            ("/", &["someone@apps.example"], refused("HOST_INVALID")),
        ] {
            assert_eq!(check(target, hosts), outcome, "{target} {hosts:?}");
        }
    }
}
