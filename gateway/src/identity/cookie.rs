//! The session cookie: its name, and how it is written and read. Its value is a secret that only auth understands.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, header};

/// Bytes of a secret. Longer values are not from this cluster.
const MAX_VALUE: usize = 256;
/// At most so many cookies of one name are read.
const MAX_COOKIES: usize = 4;

/// The cookie of one cluster. With https its name has the prefix `__Host-`, which browsers accept only with Secure and only from the host
/// itself. Plain http allows neither, and cookies ignore ports. There the name contains a number of the cluster, so that two clusters on
/// one machine do not share a cookie. While the secret of the cluster is replaced, the name of the other secret is read, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SessionCookie {
    /// The names that are read. The first one is written.
    names: Vec<String>,
    secure: bool,
}

impl SessionCookie {
    /// `keys` are those of the cluster for the name of its cookie.
    pub(crate) fn new(secure: bool, keys: &[[u8; 32]]) -> Self {
        let of_cluster = |[a, b, c, d, ..]: &[u8; 32]| format!("backlot_session_{:08x}", u32::from_be_bytes([*a, *b, *c, *d]));
        let names = if secure { vec!["__Host-backlot_session".to_owned()] } else { keys.iter().map(of_cluster).collect() };
        Self { names, secure }
    }

    /// The secrets in a request, each once. With plain HTTP a page of a sibling host can also set a cookie of this name. Browsers then send both,
    /// in any order.
    pub(crate) fn read<'a>(&self, headers: &'a HeaderMap) -> Vec<&'a str> {
        let values = headers
            .get_all(header::COOKIE)
            .iter()
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(name, _)| self.names.iter().any(|own| own == name))
            .map(|(_, value)| value)
            .filter(|value| !value.is_empty() && value.len() <= MAX_VALUE && value.bytes().all(|b| b.is_ascii_graphic()));
        let mut secrets: Vec<&str> = Vec::new();
        for value in values {
            if !secrets.contains(&value) && secrets.len() < MAX_COOKIES {
                secrets.push(value);
            }
        }
        secrets
    }

    /// `Set-Cookie` for a session with this lifetime.
    pub(crate) fn set(&self, secret: &str, lifetime: Duration) -> Option<HeaderValue> {
        self.line(secret, lifetime.as_secs())
    }

    /// `Set-Cookie` that removes the cookie.
    pub(crate) fn clear(&self) -> Option<HeaderValue> {
        self.line("", 0)
    }

    fn line(&self, value: &str, max_age: u64) -> Option<HeaderValue> {
        let secure = if self.secure { "; Secure" } else { "" };
        let name = self.names.first()?;
        let line = format!("{name}={value}; Path=/; Max-Age={max_age}; HttpOnly; SameSite=Lax{secure}");
        let mut value = HeaderValue::try_from(line).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cookie(secure: bool) -> SessionCookie {
        let mut cluster = [0; 32];
        cluster[..4].copy_from_slice(&[0x0a, 0xbc, 0xde, 0xf0]);
        SessionCookie::new(secure, &[cluster])
    }

    fn read(lines: &[&str]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::COOKIE, line.parse().unwrap());
        }
        cookie(false).read(&headers).into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn the_cookie_with_https_and_with_http() {
        let line = |secure: bool| cookie(secure).set("s3cret", Duration::from_secs(60)).unwrap().to_str().unwrap().to_owned();
        assert_eq!(line(true), "__Host-backlot_session=s3cret; Path=/; Max-Age=60; HttpOnly; SameSite=Lax; Secure");
        assert_eq!(line(false), "backlot_session_0abcdef0=s3cret; Path=/; Max-Age=60; HttpOnly; SameSite=Lax");
        assert_eq!(cookie(false).clear().unwrap(), "backlot_session_0abcdef0=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax");
    }

    #[test]
    fn the_secrets_are_found_among_others() {
        let many = (0..9).map(|n| format!("backlot_session_0abcdef0=s{n}")).collect::<Vec<_>>().join("; ");
        let long = format!("backlot_session_0abcdef0={}; backlot_session_0abcdef0=s3cret", "a".repeat(300));
        for (lines, secrets) in [
            (&["a=1; backlot_session_0abcdef0=s3cret; b=2"][..], &["s3cret"][..]),
            (&["a=1", "backlot_session_0abcdef0=x=y"], &["x=y"]),
            (&["backlot_session_0abcdef0=one; backlot_session_0abcdef0=two"], &["one", "two"]),
            (&["backlot_session_0abcdef0=one", "backlot_session_0abcdef0=one"], &["one"]),
            (&["xbacklot_session_0abcdef0=s3cret", "backlot_session_11111111=other"], &[]),
            (&["backlot_session_0abcdef0=; backlot_session_0abcdef0=s3cret"], &["s3cret"]),
            (&[&long], &["s3cret"]),
            (&[&many], &["s0", "s1", "s2", "s3"]),
        ] {
            assert_eq!(read(lines), secrets, "{lines:?}");
        }
    }

    #[test]
    fn while_the_secret_is_replaced_both_names_are_read() {
        let both = SessionCookie::new(false, &[[1; 32], [2; 32]]);
        let mut headers = HeaderMap::new();
        headers.append(
            header::COOKIE,
            "backlot_session_02020202=old; backlot_session_01010101=new; backlot_session_03030303=x".parse().unwrap(),
        );
        assert_eq!(both.read(&headers), ["old", "new"]);
        assert!(both.set("s3cret", Duration::ZERO).unwrap().to_str().unwrap().starts_with("backlot_session_01010101=s3cret;"));
    }

    #[test]
    fn debug_output_hides_the_secret() {
        assert!(!format!("{:?}", cookie(true).set("s3cret", Duration::from_secs(1))).contains("s3cret"));
    }
}
