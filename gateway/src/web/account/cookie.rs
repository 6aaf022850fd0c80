//! Short secrets of pages in cookies: the token of a link, and the secret of a sign-in at a provider.

use std::borrow::Cow;

use axum::{
    http::{HeaderMap, HeaderValue, header},
    response::Response,
};

/// Characters of a value. Longer ones are not from this cluster.
const MAX_VALUE: usize = 256;

/// Which cookie, and for which pages.
#[derive(Debug, Clone)]
pub(crate) struct PageCookie<'a> {
    pub(crate) name: Cow<'a, str>,
    pub(crate) path: &'a str,
    pub(crate) is_secure: bool,
}

impl PageCookie<'_> {
    pub(crate) fn read(self, headers: &HeaderMap) -> Option<String> {
        let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
        let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(name, _)| self.name == *name).map(|(_, value)| value.to_owned()).filter(|value| is_value(value))
    }

    /// The browser comes from another site, so the cookie is not `Strict`: browsers would not send it after a redirect.
    pub(crate) fn set(self, response: &mut Response, value: &str, seconds: u32) {
        let Self { name, path, is_secure } = self;
        let secure = if is_secure { "; Secure" } else { "" };
        let line = format!("{name}={value}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}");
        if let Ok(mut value) = HeaderValue::try_from(line) {
            value.set_sensitive(true);
            response.headers_mut().append(header::SET_COOKIE, value);
        }
    }

    pub(crate) fn forget(self, response: &mut Response) {
        self.set(response, "", 0);
    }
}

pub(crate) fn is_value(text: &str) -> bool {
    (1..=MAX_VALUE).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
}
