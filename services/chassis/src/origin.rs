//! The origin of the installation as browsers see it. The gateway serves it, and links in mails begin with it.

use url::Url;

/// The name of the setting, its default in words and its help text, for all roles that read it.
pub const PUBLIC_URL: &str = "BACKLOT_PUBLIC_URL";
pub const PUBLIC_URL_DEFAULT: &str = "the address in BACKLOT_LISTEN, with http";
pub const PUBLIC_URL_HELP: &str = "URL of the HTTP listener for browsers, without a path: http:// or https://, a host, perhaps a port";

/// Checks that a URL is an origin and nothing more.
///
/// # Errors
/// The rule that it breaks.
pub fn check(url: &Url) -> Result<(), String> {
    let plain = matches!(url.scheme(), "http" | "https") && url.host().is_some() && url.username().is_empty() && url.password().is_none();
    if plain && url.path() == "/" && url.query().is_none() && url.fragment().is_none() {
        Ok(())
    } else {
        Err("must be http:// or https:// with a host, an optional port, and nothing else".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_no_path_query_fragment_or_password() {
        for (text, valid) in [
            ("https://apps.example", true),
            ("http://127.0.0.1:8080/", true),
            ("https://apps.example/x", false),
            ("https://apps.example/?x", false),
            ("https://apps.example/#x", false),
            ("https://me@apps.example", false),
            ("ftp://apps.example", false),
            ("mailto:a@b", false),
        ] {
            assert_eq!(check(&text.parse().unwrap()).is_ok(), valid, "{text}");
        }
    }
}
