//! Reads pages of previews and sites.

use reqwest::{StatusCode, Url};
use serde_json::Value;
use test_support::canary::Stopwatch;
use tokio::time::sleep;

use super::{Answer, Client};

/// The text of a page, or its refusal.
type Page = Result<String, (StatusCode, Value)>;

impl Client {
    /// Reads the page of a preview without a resolver: its host is only in a header. Returns `None` if there is no answer in time, or if it
    /// is refused, which is recorded as a violation.
    pub async fn read_page(&mut self, url: &Url) -> Option<String> {
        let page = self.read(url, &[]).await?;
        self.shown(url, page)
    }

    /// Reads a compiled page or a module. A compiler that was killed costs an answer, and the request is repeated.
    pub async fn read_compiled(&mut self, url: &Url) -> Option<String> {
        let page = self.read(url, &["COMPILER_FAILED"]).await?;
        self.shown(url, page)
    }

    /// As [`Client::read_compiled`], for the preview of a running turn. Returns `None` also if the turn has ended.
    pub async fn read_running(&mut self, url: &Url) -> Option<String> {
        match self.read(url, &["COMPILER_FAILED"]).await? {
            Err((_, problem)) if problem["reason"] == "TURN_NOT_RUNNING" => None,
            page => self.shown(url, page),
        }
    }

    /// Reads an address that a site does not have.
    pub async fn read_absent(&mut self, url: &Url) -> Option<()> {
        match self.read(url, &[]).await? {
            Err((_, problem)) if problem["reason"] == "FILE_NOT_FOUND" => {}
            found => self.record.violation(format!("the site has nothing at {url}, and answers {found:?}")),
        }
        Some(())
    }

    /// The text of a page. A refusal is recorded as a violation.
    fn shown(&self, url: &Url, page: Page) -> Option<String> {
        page.inspect_err(|(status, problem)| self.record.violation(format!("the preview {url} was refused: {status} {problem}"))).ok()
    }

    /// Repeats a request that was refused with one of the reasons.
    async fn read(&mut self, url: &Url, repeated: &[&str]) -> Option<Page> {
        let clock = Stopwatch::start();
        let (host, port) = (url.host_str()?.to_owned(), url.port()?);
        while clock.elapsed() < self.turn_limit {
            let request = self.people[self.person].http.get(format!("http://127.0.0.1:{port}{}", url.path()));
            match self.send("read a preview", request.header("host", format!("{host}:{port}"))).await {
                // The request is repeated if the answer is truncated.
                Answer::Good(response) => match response.text().await {
                    Ok(text) => return Some(Ok(text)),
                    Err(_) => continue,
                },
                Answer::Refused(_, problem) if repeated.iter().any(|reason| problem["reason"] == *reason) => continue,
                Answer::Refused(status, problem) => return Some(Err((status, problem))),
                Answer::Later(pause) => sleep(pause).await,
            }
        }
        self.record.violation(format!("the preview {url} was not answered within {:?}", self.turn_limit));
        None
    }
}
