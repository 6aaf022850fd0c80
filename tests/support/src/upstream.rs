//! A registry in this process, with packages that a test publishes, and answers that no good registry gives.

use std::{
    collections::BTreeMap,
    fmt,
    io::Write as _,
    sync::{Arc, Mutex},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use chassis::{task, testing};
use flate2::{Compression, write::GzEncoder};
use ring::digest::{SHA512, digest};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::watch,
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// What a path answers.
#[derive(Clone)]
pub enum Answer {
    /// With the status 200.
    Body(Vec<u8>),
    /// To an address.
    Redirect(String),
    /// A body without an end.
    Flood,
    /// Nothing until the client is gone.
    Silence,
}

#[derive(Default)]
struct State {
    answers: BTreeMap<String, Answer>,
    packuments: BTreeMap<String, Value>,
    /// The paths of the requests.
    requests: Vec<String>,
}

/// A running registry. It stops when it is dropped.
pub struct Upstream {
    /// The base URL, without `/` at its end.
    pub url: String,
    state: Arc<Mutex<State>>,
    /// Changes with each request.
    arrived: watch::Receiver<()>,
    _running: DropGuard,
}

/// Without the packages, which are long.
impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Upstream {
    /// A registry without packages.
    ///
    /// # Panics
    /// No port is free.
    pub async fn start() -> Self {
        let listener = testing::listener().await;
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (state, stop) = (Arc::new(Mutex::new(State::default())), CancellationToken::new());
        let (shared, token) = (Arc::clone(&state), stop.clone());
        let (arrivals, arrived) = watch::channel(());
        task::spawn(token.run_until_cancelled_owned(async move {
            while let Ok((stream, _)) = listener.accept().await {
                task::spawn(serve(stream, Arc::clone(&shared), arrivals.clone()));
            }
        }));
        Self { url, state, arrived, _running: stop.drop_guard() }
    }

    /// Small packages with the names that a React project imports.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub async fn with_react() -> Self {
        let upstream = Self::start().await;
        let jsx = "exports.jsx = (type, props) => ({ type, props }); exports.jsxs = exports.jsx; exports.Fragment = 'fragment';";
        let hooks = "exports.marker = 'react itself'; exports.useState = (value) => [value, () => {}]; exports.lazy = (load) => load;";
        let react =
            [("package.json", r#"{"main": "index.js"}"#), ("index.js", hooks), ("jsx-runtime.js", jsx), ("jsx-dev-runtime.js", jsx)];
        upstream.publish("react", "19.0.0", &json!({}), &react);
        let dom = [
            ("package.json", r#"{"main": "index.js"}"#),
            ("index.js", "module.exports = require('react');"),
            ("client.js", "const react = require('react'); exports.createRoot = () => ({ render: () => react.marker });"),
            ("README.md", "# never part of a bundle"),
        ];
        upstream.publish("react-dom", "19.0.0", &json!({"peerDependencies": {"react": "^19.0.0"}}), &dom);
        upstream.publish_refresh();
        upstream
    }

    /// A package with the names that React Refresh has.
    pub fn publish_refresh(&self) {
        let runtime = "exports.injectIntoGlobalHook = () => 'the hook'; exports.isLikelyComponentType = exports.register = () => {};";
        self.publish("react-refresh", "0.19.0", &json!({}), &[("package.json", "{}"), ("runtime.js", runtime)]);
    }

    /// Publishes a version, with the fields of its document.
    ///
    /// # Panics
    /// The files make no archive.
    pub fn publish(&self, name: &str, version: &str, fields: &Value, files: &[(&str, &str)]) {
        self.publish_tarball(name, version, fields, tarball(files));
    }

    /// As [`Self::publish`], with any bytes for the tarball.
    ///
    /// # Panics
    /// As [`Self::answer`].
    pub fn publish_tarball(&self, name: &str, version: &str, fields: &Value, tarball: Vec<u8>) {
        let mut document = fields.clone();
        document["name"] = json!(name);
        document["version"] = json!(version);
        document["dist"] = json!({"integrity": integrity(&tarball), "tarball": "http://127.0.0.1:1/elsewhere.tgz"});
        let mut state = self.state.lock().expect("no panic");
        let packument = state.packuments.entry(name.to_owned()).or_insert_with(|| json!({"name": name, "dist-tags": {}, "versions": {}}));
        packument["versions"][version] = document;
        packument["dist-tags"]["latest"] = json!(version);
        let body = packument.to_string().into_bytes();
        state.answers.insert(format!("/{}", name.replace('/', "%2F")), Answer::Body(body));
        state.answers.insert(tarball_path(name, version), Answer::Body(tarball));
    }

    /// Sets the answer for a path.
    ///
    /// # Panics
    /// Another thread panicked while it held the packages.
    pub fn answer(&self, path: &str, answer: Answer) {
        self.state.lock().expect("no panic").answers.insert(path.to_owned(), answer);
    }

    /// Waits for a request for the path.
    ///
    /// # Panics
    /// As [`Self::answer`], or the registry has stopped.
    pub async fn asked(&self, path: &str) {
        let mut arrived = self.arrived.clone();
        while !self.state.lock().expect("no panic").requests.iter().any(|request| request == path) {
            arrived.changed().await.expect("the registry runs");
        }
    }

    /// The requests since the last call.
    ///
    /// # Panics
    /// As [`Self::answer`].
    pub fn requests(&self) -> Vec<String> {
        let mut requests = std::mem::take(&mut self.state.lock().expect("no panic").requests);
        requests.sort();
        requests
    }
}

/// The path of a tarball.
#[must_use]
pub fn tarball_path(name: &str, version: &str) -> String {
    format!("/{name}/-/{}-{version}.tgz", name.rsplit('/').next().unwrap_or_default())
}

/// The hash that a registry publishes of a tarball.
#[must_use]
pub fn integrity(tarball: &[u8]) -> String {
    format!("sha512-{}", BASE64_STANDARD.encode(digest(&SHA512, tarball)))
}

/// A tarball of a package with these files.
///
/// # Panics
/// The files make no archive.
#[must_use]
pub fn tarball(files: &[(&str, &str)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::none()));
    for (path, text) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, format!("package/{path}"), text.as_bytes()).expect("an entry");
    }
    let mut gzip = archive.into_inner().expect("an archive");
    gzip.flush().expect("an archive");
    gzip.finish().expect("an archive")
}

/// One request of a connection.
async fn serve(mut stream: TcpStream, state: Arc<Mutex<State>>, arrivals: watch::Sender<()>) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).await.is_ok() {
        head.push(byte[0]);
    }
    let path = String::from_utf8_lossy(&head).split(' ').nth(1).unwrap_or_default().to_owned();
    let answer = {
        let mut state = state.lock().expect("no panic");
        state.requests.push(path.clone());
        state.answers.get(&path).cloned()
    };
    arrivals.send_replace(());
    let close = "connection: close\r\n";
    let (head, body) = match answer {
        None => (format!("404 Not Found\r\n{close}content-length: 0"), Vec::new()),
        Some(Answer::Body(body)) => (format!("200 OK\r\n{close}content-length: {}", body.len()), body),
        Some(Answer::Redirect(to)) => (format!("302 Found\r\n{close}location: {to}\r\ncontent-length: 0"), Vec::new()),
        Some(Answer::Silence) => {
            let _ = stream.read(&mut byte).await;
            return;
        }
        Some(Answer::Flood) => (format!("200 OK\r\n{close}content-type: text/plain"), vec![b' '; 1 << 20]),
    };
    let is_flood = head.ends_with("text/plain");
    let _ = stream.write_all(format!("HTTP/1.1 {head}\r\n\r\n").as_bytes()).await;
    while stream.write_all(&body).await.is_ok() && is_flood {}
    let _ = stream.shutdown().await;
}
