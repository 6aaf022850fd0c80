//! The mails of a run. Auth has no mail server here, so they are files in its outbox.

use std::path::{Path, PathBuf};

use chassis::task;

use crate::deployment::timeline::Millis;

/// A link that somebody waits for.
#[derive(Debug, Clone)]
pub struct WantedLink {
    /// The recipient of its mail.
    pub to: String,
    /// The page that it leads to, as a path.
    pub page: &'static str,
    /// Older mails are those of other requests.
    pub since: Millis,
}

/// The token of a link, if its mail was sent.
pub async fn token(outbox: &Path, wanted: &WantedLink) -> Option<String> {
    let (outbox, wanted) = (outbox.to_owned(), wanted.clone());
    task::blocking(move || find(&outbox, &wanted)).await.ok().flatten()
}

/// The names of the files begin with the milliseconds of their times, with 15 digits.
fn find(outbox: &Path, wanted: &WantedLink) -> Option<String> {
    let (first, recipient) = (format!("{:015}", wanted.since), format!("\r\nTo: {}\r\n", wanted.to));
    let is_recent = |path: &PathBuf| path.file_name().is_some_and(|name| name >= first.as_str());
    let files = std::fs::read_dir(outbox).ok()?.filter_map(|entry| Some(entry.ok()?.path())).filter(is_recent);
    let mails = files.filter(|path| path.extension().is_some_and(|end| end == "eml"));
    let texts = mails.filter_map(|path| std::fs::read_to_string(path).ok());
    texts.filter(|text| text.contains(&recipient)).find_map(|text| token_in(&text, wanted.page))
}

/// The token in the plain text of a mail, which has the link in a line of its own.
fn token_in(text: &str, page: &str) -> Option<String> {
    let (_, rest) = text.split_once(&format!("{page}?token="))?;
    rest.split_whitespace().next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_that_of_its_recipient_page_and_time() {
        let folder = tempfile::tempdir().unwrap();
        let mail =
            |to: &str, link: &str| format!("From: Backlot <b@localhost>\r\nTo: {to}\r\n\r\nOpen:\r\nhttp://localhost/{link}\r\n\r\nBye");
        for (name, text) in [
            ("000000000000900-a.eml", mail("ada@example.com", "account/verify?token=old")),
            ("000000000001000-b.eml", mail("eve@example.com", "account/verify?token=eve")),
            ("000000000001001-c.eml", mail("ada@example.com", "account/reset")),
            ("000000000001002-d.part", mail("ada@example.com", "account/verify?token=half")),
            ("000000000001003-e.eml", mail("ada@example.com", "account/verify?token=new")),
        ] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let found = |to: &str, page, since| find(folder.path(), &WantedLink { to: to.to_owned(), page, since });
        assert_eq!(found("ada@example.com", "/account/verify", 1_000).as_deref(), Some("new"));
        assert_eq!(found("eve@example.com", "/account/verify", 1_000).as_deref(), Some("eve"));
        assert_eq!(found("ada@example.com", "/account/verify", 1_004), None, "an earlier request");
        assert_eq!(found("ada@example.com", "/account/reset", 1_000), None, "a page without a token");
        assert_eq!(find(&folder.path().join("none"), &WantedLink { to: String::new(), page: "/", since: 0 }), None);
    }
}
