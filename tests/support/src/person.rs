//! A user of the public HTTP API, authenticated by cookie like a browser or by token like a program.

use anyhow::{Context, Result, ensure};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

use crate::{
    document,
    sse::{Frame, Viewer},
};

pub const PASSWORD: &str = "correct horse battery staple 7";

/// A signed-in user.
#[derive(Clone)]
pub struct Person {
    pub http: reqwest::Client,
    pub url: String,
    pub email: String,
    pub user_id: String,
    /// The session cookie as `name=value`.
    pub cookie: String,
    pub token: Option<String>,
}

impl Person {
    /// Creates an account and keeps its cookie.
    ///
    /// # Errors
    /// If the sign-up is refused.
    pub async fn sign_up(url: &str) -> Result<Self> {
        Self::sign_up_with(url, "").await
    }

    /// The same with the token of an invite. Without a token there is no invite.
    ///
    /// # Errors
    /// If the sign-up is refused.
    pub async fn sign_up_with(url: &str, invite: &str) -> Result<Self> {
        let email = format!("{}@example.com", uuid::Uuid::now_v7().simple());
        let http = reqwest::Client::builder().no_proxy().build()?;
        let body = json!({ "email": email, "password": PASSWORD, "inviteToken": invite });
        let response = http.post(format!("{url}/api/auth/signup")).json(&body).send().await?;
        let cookie = response.headers().get("set-cookie").and_then(|v| v.to_str().ok()).map(str::to_owned);
        let status = response.status();
        let answer: Value = response.json().await?;
        ensure!(status.is_success(), "{status} {answer}");
        let cookie = cookie.context("no cookie")?.split(';').next().unwrap_or_default().to_owned();
        let user_id = answer["user"]["id"].as_str().context("no user id")?.to_owned();
        Ok(Self { http, url: url.to_owned(), email, user_id, cookie, token: None })
    }

    /// Requests an access token.
    ///
    /// # Errors
    /// If the session has ended.
    pub async fn access_token(&self) -> Result<String> {
        let answer = self.post("/api/auth/token", json!({})).await?;
        Ok(answer["accessToken"].as_str().context("no token")?.to_owned())
    }

    /// The same user with a bearer token instead of the cookie.
    ///
    /// # Errors
    /// If the session has ended.
    pub async fn with_token(&self) -> Result<Self> {
        Ok(Self { token: Some(self.access_token().await?), ..self.clone() })
    }

    /// Builds a request with the credential of the user.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.url));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request.header("cookie", &self.cookie),
        }
    }

    /// # Errors
    /// If the status is not 2xx. The error contains the problem.
    pub async fn get(&self, path: &str) -> Result<Value> {
        json_of(self.request(Method::GET, path).send().await?).await
    }

    /// # Errors
    /// If the status is not 2xx. The error contains the problem.
    pub async fn post(&self, path: &str, body: Value) -> Result<Value> {
        json_of(self.request(Method::POST, path).json(&body).send().await?).await
    }

    /// Sends a request that must be refused. Returns the status and the problem.
    ///
    /// # Errors
    /// If the request is not refused with a problem, or the OpenAPI document does not list the reason.
    pub async fn refused(&self, method: Method, path: &str, body: Value) -> Result<(StatusCode, Value)> {
        let response = self.request(method.clone(), path).json(&body).send().await?;
        let status = response.status();
        ensure!(!status.is_success(), "{path} was not refused");
        let problem = response.json().await.context("no problem document")?;
        document::check(&self.url, (method.as_str(), path), status, &problem).await?;
        Ok((status, problem))
    }

    /// Starts a turn and follows it with one request.
    ///
    /// # Errors
    /// If the turn is refused.
    pub async fn stream(&self, body: Value) -> Result<Viewer> {
        Viewer::open(self.request(Method::POST, "/api/agent/stream").json(&body).send().await?).await
    }

    /// Follows a turn from the event after `after`.
    ///
    /// # Errors
    /// If the turn cannot be followed.
    pub async fn follow(&self, turn: &str, after: u32) -> Result<Viewer> {
        Viewer::open(self.request(Method::GET, &format!("/api/turns/{turn}/events?after={after}")).send().await?).await
    }

    /// Runs a turn to its end.
    ///
    /// # Errors
    /// If the turn is refused or its stream breaks.
    pub async fn turn(&self, body: Value) -> Result<EndedTurn> {
        let frames = self.stream(body).await?.rest().await?;
        let first = frames.first().context("no event")?.json();
        let project = first["data"]["projectId"].as_str().context("turn.accepted comes first")?.to_owned();
        let turn = first["turnId"].as_str().context("no turn id")?.to_owned();
        Ok(EndedTurn { frames, project, turn })
    }

    /// The texts of the files of a project by path.
    ///
    /// # Errors
    /// If the project cannot be loaded.
    pub async fn files(&self, project: &str) -> Result<std::collections::BTreeMap<String, String>> {
        let loaded = self.get(&format!("/api/projects/load?projectId={project}")).await?;
        let files = loaded["files"].as_array().cloned().unwrap_or_default();
        Ok(files
            .iter()
            .map(|f| (f["path"].as_str().unwrap_or_default().to_owned(), f["content"]["text"].as_str().unwrap_or_default().to_owned()))
            .collect())
    }
}

/// A turn that has ended.
pub struct EndedTurn {
    pub frames: Vec<Frame>,
    pub project: String,
    pub turn: String,
}

impl EndedTurn {
    /// The type of the last event.
    #[must_use]
    pub fn outcome(&self) -> String {
        self.frames.last().map(Frame::kind).unwrap_or_default()
    }
}

async fn json_of(response: Response) -> Result<Value> {
    let status = response.status();
    let text = response.text().await?;
    ensure!(status.is_success(), "{status} {text}");
    Ok(if text.is_empty() { Value::Null } else { serde_json::from_str(&text)? })
}
