//! The token of a link in a mail. The address of the link has it, so the first answer moves it into a cookie of the page and redirects to the
//! address without it: the token stays in no history, bookmark or screenshot. The page puts it into its form.

use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use url::form_urlencoded;

use super::cookie::{PageCookie, is_value};

/// Seconds between the link and its page.
const LIFETIME: u32 = 600;

/// What a query says about a token.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    Nothing,
    /// Something that is no token, such as a part of one.
    Malformed,
    Token(String),
}

/// The token in a query.
pub(crate) fn in_query(query: Option<&str>) -> Sent {
    match form_urlencoded::parse(query.unwrap_or_default().as_bytes()).find(|(name, _)| name == "token") {
        Some((_, token)) if is_value(&token) => Sent::Token(token.into_owned()),
        Some(_) => Sent::Malformed,
        None => Sent::Nothing,
    }
}

/// The cookie of the page at `path`, which no other page reads. With https only this host itself can set it: browsers accept the prefix only
/// for the path `/`, so the name has the page.
fn cookie(path: &str, is_secure: bool) -> PageCookie<'_> {
    if is_secure {
        let page = path.trim_start_matches("/account/").replace('/', "-");
        PageCookie { name: format!("__Host-backlot_link_{page}").into(), path: "/", is_secure }
    } else {
        PageCookie { name: "backlot_link".into(), path, is_secure }
    }
}

/// The token in the cookie of the page at `path`.
pub(crate) fn in_cookie(path: &str, headers: &HeaderMap, is_secure: bool) -> Option<String> {
    cookie(path, is_secure).read(headers)
}

/// Moves the token into the cookie of the page at `path`.
pub(crate) fn redirect(path: &'static str, token: &str, secure: bool) -> Response {
    let mut response = (StatusCode::SEE_OTHER, [(header::LOCATION, HeaderValue::from_static(path))]).into_response();
    cookie(path, secure).set(&mut response, token, LIFETIME);
    response
}

/// Removes the cookie of the page at `path`.
pub(crate) fn forget(response: &mut Response, path: &str, secure: bool) {
    cookie(path, secure).forget(response);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_token_is_found_in_the_query_and_in_the_cookie() {
        for (query, token) in [
            (Some("token=abc-_1"), Sent::Token("abc-_1".into())),
            (Some("a=1&token=abc"), Sent::Token("abc".into())),
            (Some("token="), Sent::Malformed),
            (Some("token=a%20b"), Sent::Malformed),
            (Some("token=a%0d%0ab"), Sent::Malformed),
            (Some("token=a;b"), Sent::Malformed),
            (Some("other=abc"), Sent::Nothing),
            (None, Sent::Nothing),
        ] {
            assert_eq!(in_query(query), token, "{query:?}");
        }
        assert_eq!(in_query(Some(&format!("token={}", "a".repeat(257)))), Sent::Malformed);
        for (cookie, token) in [("backlot_link=abc", Some("abc")), ("a=1; backlot_link=abc", Some("abc")), ("backlot_link=", None)] {
            let headers = HeaderMap::from_iter([(header::COOKIE, cookie.parse().unwrap())]);
            assert_eq!(in_cookie("/account/verify", &headers, false).as_deref(), token, "{cookie}");
        }
        for (cookie, token) in [
            ("__Host-backlot_link_reset-confirm=abc", Some("abc")),
            ("__Host-backlot_link_verify=abc; __Host-backlot_link_reset-confirm=other", Some("other")),
            ("__Host-backlot_link_verify=abc", None),
            ("__Host-backlot_link=abc", None),
            ("backlot_link=abc", None),
        ] {
            let headers = HeaderMap::from_iter([(header::COOKIE, cookie.parse().unwrap())]);
            assert_eq!(in_cookie("/account/reset/confirm", &headers, true).as_deref(), token, "{cookie}");
        }
    }

    #[test]
    fn with_https_a_cookie_belongs_to_the_host_and_its_name_to_one_page() {
        let mut names = BTreeSet::new();
        for page in [
            "/account/verify",
            "/account/verify-email",
            "/account/reset/confirm",
            "/account/remove-factor",
            "/account/sign-up",
            "/account/new-email",
        ] {
            let PageCookie { name, path, is_secure } = cookie(page, true);
            assert!(name.starts_with("__Host-backlot_link_") && path == "/" && is_secure, "{page}: {name}");
            assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)), "{page}: {name}");
            assert!(names.insert(name), "{page} has a cookie of its own");
            assert_eq!(cookie(page, false).path, page, "browsers send it to this page only");
        }
    }

    #[test]
    fn the_redirect_has_the_token_only_in_the_cookie() {
        let response = redirect("/account/verify", "abc", true);
        assert_eq!(
            (response.status(), &response.headers()[header::LOCATION]),
            (StatusCode::SEE_OTHER, &HeaderValue::from_static("/account/verify"))
        );
        let cookie = response.headers()[header::SET_COOKIE].to_str().unwrap();
        assert_eq!(cookie, "__Host-backlot_link_verify=abc; Path=/; Max-Age=600; HttpOnly; SameSite=Lax; Secure");
        let mut response = response;
        response.headers_mut().clear();
        forget(&mut response, "/account/verify", true);
        let cookie = response.headers()[header::SET_COOKIE].to_str().unwrap();
        assert_eq!(cookie, "__Host-backlot_link_verify=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax; Secure");
    }
}
