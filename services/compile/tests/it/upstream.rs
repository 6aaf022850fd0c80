//! A registry in this process, with packages that a test publishes, and answers that no good registry gives.

use std::{
    collections::BTreeMap,
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
};
use tokio_util::sync::{CancellationToken, DropGuard};

#[derive(Clone)]
pub(crate) enum Answer {
    Body(Vec<u8>),
    /// To an address.
    Redirect(String),
    /// A body without an end.
    Flood,
}

#[derive(Default)]
struct State {
    answers: BTreeMap<String, Answer>,
    packuments: BTreeMap<String, Value>,
    /// The paths of the requests.
    requests: Vec<String>,
}

/// A running registry. It stops when it is dropped.
pub(crate) struct Upstream {
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
    _running: DropGuard,
}

impl Upstream {
    pub(crate) async fn start() -> Self {
        let listener = testing::listener().await;
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (state, stop) = (Arc::new(Mutex::new(State::default())), CancellationToken::new());
        let (shared, token) = (Arc::clone(&state), stop.clone());
        task::spawn(token.run_until_cancelled_owned(async move {
            while let Ok((stream, _)) = listener.accept().await {
                task::spawn(serve(stream, Arc::clone(&shared)));
            }
        }));
        Self { url, state, _running: stop.drop_guard() }
    }

    /// Small packages with the names that a React project imports.
    pub(crate) async fn with_react() -> Self {
        let upstream = Self::start().await;
        let jsx = "exports.jsx = (type, props) => ({ type, props }); exports.jsxs = exports.jsx;";
        let react = [
            ("package.json", r#"{"main": "index.js"}"#),
            ("index.js", "exports.marker = 'react itself';"),
            ("jsx-runtime.js", jsx),
            ("jsx-dev-runtime.js", jsx),
        ];
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
    pub(crate) fn publish_refresh(&self) {
        let runtime = "exports.injectIntoGlobalHook = () => 'the hook'; exports.isLikelyComponentType = exports.register = () => {};";
        self.publish("react-refresh", "0.19.0", &json!({}), &[("package.json", "{}"), ("runtime.js", runtime)]);
    }

    /// Publishes a version, with the fields of its document.
    pub(crate) fn publish(&self, name: &str, version: &str, fields: &Value, files: &[(&str, &str)]) {
        let tarball = tarball(files);
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
    pub(crate) fn answer(&self, path: &str, answer: Answer) {
        self.state.lock().expect("no panic").answers.insert(path.to_owned(), answer);
    }

    /// The requests since the last call.
    pub(crate) fn requests(&self) -> Vec<String> {
        let mut requests = std::mem::take(&mut self.state.lock().expect("no panic").requests);
        requests.sort();
        requests
    }
}

pub(crate) fn tarball_path(name: &str, version: &str) -> String {
    format!("/{name}/-/{}-{version}.tgz", name.rsplit('/').next().unwrap_or_default())
}

pub(crate) fn integrity(tarball: &[u8]) -> String {
    format!("sha512-{}", BASE64_STANDARD.encode(digest(&SHA512, tarball)))
}

pub(crate) fn tarball(files: &[(&str, &str)]) -> Vec<u8> {
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
async fn serve(mut stream: TcpStream, state: Arc<Mutex<State>>) {
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
    let close = "connection: close\r\n";
    let (head, body) = match answer {
        None => (format!("404 Not Found\r\n{close}content-length: 0"), Vec::new()),
        Some(Answer::Body(body)) => (format!("200 OK\r\n{close}content-length: {}", body.len()), body),
        Some(Answer::Redirect(to)) => (format!("302 Found\r\n{close}location: {to}\r\ncontent-length: 0"), Vec::new()),
        Some(Answer::Flood) => (format!("200 OK\r\n{close}content-type: text/plain"), vec![b' '; 1 << 20]),
    };
    let is_flood = head.ends_with("text/plain");
    let _ = stream.write_all(format!("HTTP/1.1 {head}\r\n\r\n").as_bytes()).await;
    while stream.write_all(&body).await.is_ok() && is_flood {}
    let _ = stream.shutdown().await;
}
