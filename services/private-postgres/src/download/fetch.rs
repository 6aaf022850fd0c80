//! Downloads an archive over HTTP and verifies its checksum.

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use sha2::{Digest as _, Sha512};

use super::Cause;

/// The limit for an archive: twice the size of the largest one.
pub(super) const MAX_BYTES: usize = 64 * 1024 * 1024;
const MEGABYTE: usize = 1_000_000;

/// Downloads the archive. Fails if its SHA-512 in base64 is not `sha512`.
pub(super) async fn archive(url: &str, sha512: &str) -> Result<Vec<u8>, Cause> {
    let failed =
        |error: reqwest::Error| Cause::Fetch { url: url.to_owned(), why: format!("{:#}", anyhow::Error::new(error.without_url())) };
    let client =
        reqwest::Client::builder().connect_timeout(Duration::from_secs(15)).read_timeout(Duration::from_secs(30)).build().map_err(
            |error| Cause::Fetch {
                url: url.to_owned(),
                why: format!("there are no root certificates (install ca-certificates): {:#}", anyhow::Error::new(error)),
            },
        )?;
    let mut answer = client.get(url).send().await.and_then(reqwest::Response::error_for_status).map_err(failed)?;
    let mut progress = Progress::new(url, answer.content_length());
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(failed)? {
        if bytes.len() + chunk.len() > MAX_BYTES {
            return Err(Cause::TooLarge { url: url.to_owned() });
        }
        bytes.extend_from_slice(&chunk);
        progress.update(bytes.len());
    }
    progress.finish(bytes.len());
    if BASE64_STANDARD.encode(Sha512::digest(&bytes)) != sha512 {
        return Err(Cause::Checksum { url: url.to_owned() });
    }
    Ok(bytes)
}

/// The progress on standard error: one line that is redrawn on a terminal, otherwise a line for each quarter.
struct Progress {
    total: Option<usize>,
    terminal: bool,
    shown: usize,
}

impl Progress {
    fn new(url: &str, total: Option<u64>) -> Self {
        eprintln!("this machine has no PostgreSQL; downloading it from {url}");
        Self { total: total.and_then(|bytes| usize::try_from(bytes).ok()), terminal: io::stderr().is_terminal(), shown: 0 }
    }

    fn update(&mut self, bytes: usize) {
        let every = if self.terminal { MEGABYTE / 4 } else { self.total.map_or(8 * MEGABYTE, |total| total / 4 + 1) };
        if bytes - self.shown >= every {
            self.shown = bytes;
            self.write(bytes);
        }
    }

    fn finish(&self, bytes: usize) {
        self.write(bytes);
        if self.terminal {
            eprintln!();
        }
    }

    fn write(&self, bytes: usize) {
        let (lead, tail) = if self.terminal { ("\r", "") } else { ("", "\n") };
        let of = self.total.map(|total| format!(" of {:.1}", megabytes(total))).unwrap_or_default();
        // The download continues if standard error is closed.
        let _ = write!(io::stderr(), "{lead}PostgreSQL: {:.1}{of} MB{tail}", megabytes(bytes));
    }
}

#[allow(clippy::cast_precision_loss, reason = "shown with one decimal")]
fn megabytes(bytes: usize) -> f64 {
    bytes as f64 / MEGABYTE as f64
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::TcpListener,
    };

    use super::*;

    /// Starts a registry that sends this answer to one request. Returns the URL of an archive there.
    fn registry(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listener");
        let url = format!("http://{}/archive.tgz", listener.local_addr().expect("address"));
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let _ = stream.read(&mut [0; 4096]);
            stream.write_all(answer.as_bytes()).expect("answered");
        });
        url
    }

    // `printf hello | openssl dgst -sha512 -binary | base64`
    const HELLO: &str = "m3HSJL1i83hdltRq0+o9czGb+8KJDKra4t/3JRlnPKcjI8PZm6XBHXx6zG4UuMXaDEZjR1wuXDre9G9zvN7AQw==";

    #[tokio::test]
    async fn only_an_archive_with_the_pinned_checksum_is_accepted() {
        chassis::install_crypto();
        let good = registry("HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello");
        assert_eq!(archive(&good, HELLO).await.expect("fetched"), b"hello");
        let other = registry("HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhallo");
        assert!(matches!(archive(&other, HELLO).await, Err(Cause::Checksum { .. })));
        let cut = registry("HTTP/1.1 200 OK\r\ncontent-length: 9\r\nconnection: close\r\n\r\nhello");
        assert!(matches!(archive(&cut, HELLO).await, Err(Cause::Fetch { .. })));
        let absent = registry("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        assert!(matches!(archive(&absent, HELLO).await, Err(Cause::Fetch { .. })));
    }
}
