//! The token of a link in a mail. The address of the link has it, so the first answer moves it into a cookie of the page and redirects to the
//! address without it: the token stays in no history, bookmark or screenshot. The page puts it into its form.

use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use url::form_urlencoded;

const COOKIE: &str = "backlot_link";
/// Seconds between the link and its page.
const LIFETIME: u32 = 600;
/// Characters of a token. Longer ones are not from this cluster.
const MAX_TOKEN: usize = 256;

/// The token in a query.
pub(crate) fn in_query(query: Option<&str>) -> Option<String> {
    let token = form_urlencoded::parse(query?.as_bytes()).find(|(name, _)| name == "token")?.1.into_owned();
    is_token(&token).then_some(token)
}

/// The token in the cookie of the page.
pub(crate) fn in_cookie(headers: &HeaderMap) -> Option<String> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).map(|(_, value)| value.to_owned()).filter(|token| is_token(token))
}

fn is_token(text: &str) -> bool {
    (1..=MAX_TOKEN).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
}

/// Moves the token into the cookie of the page at `path`.
pub(crate) fn redirect(path: &'static str, token: &str, secure: bool) -> Response {
    let mut response = (StatusCode::SEE_OTHER, [(header::LOCATION, HeaderValue::from_static(path))]).into_response();
    set(&mut response, path, token, LIFETIME, secure);
    response
}

/// Removes the cookie of the page at `path`.
pub(crate) fn forget(response: &mut Response, path: &str, secure: bool) {
    set(response, path, "", 0, secure);
}

/// A link in a mail is opened from another site, so the cookie is not `Strict`: browsers would not send it after the redirect.
fn set(response: &mut Response, path: &str, token: &str, lifetime: u32, secure: bool) {
    let secure = if secure { "; Secure" } else { "" };
    let line = format!("{COOKIE}={token}; Path={path}; Max-Age={lifetime}; HttpOnly; SameSite=Lax{secure}");
    if let Ok(mut value) = HeaderValue::try_from(line) {
        value.set_sensitive(true);
        response.headers_mut().append(header::SET_COOKIE, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_in_the_query_and_in_the_cookie() {
        for (query, token) in [
            (Some("token=abc-_1"), Some("abc-_1")),
            (Some("a=1&token=abc"), Some("abc")),
            (Some("token="), None),
            (Some("token=a%20b"), None),
            (Some("token=a%0d%0ab"), None),
            (Some("token=a;b"), None),
            (None, None),
        ] {
            assert_eq!(in_query(query).as_deref(), token, "{query:?}");
        }
        assert_eq!(in_query(Some(&format!("token={}", "a".repeat(257)))), None);
        for (cookie, token) in [("backlot_link=abc", Some("abc")), ("a=1; backlot_link=abc", Some("abc")), ("backlot_link=", None)] {
            let headers = HeaderMap::from_iter([(header::COOKIE, cookie.parse().unwrap())]);
            assert_eq!(in_cookie(&headers).as_deref(), token, "{cookie}");
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
        assert_eq!(cookie, "backlot_link=abc; Path=/account/verify; Max-Age=600; HttpOnly; SameSite=Lax; Secure");
    }
}
