//! The addresses of the cluster: `<data>/endpoints.json` for programs, and the start table for people.

use std::{
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::listeners::{Bound, Listeners};
use crate::{health::reachable, role::Role, settings::BrowserUrls};

/// The content of `endpoints.json`: base URLs without a slash at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoints {
    /// The gateway.
    pub url: String,
    /// The gateway's listener for previews.
    pub preview_url: String,
    /// The URL of the metrics for Prometheus, if they are served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics_url: Option<String>,
    pub grpc: Grpc,
    /// The id of the process.
    pub pid: u32,
}

/// The base URLs of the services.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Grpc {
    pub auth: String,
    pub agent_streaming: String,
    pub project_storage: String,
    pub rate_limit: String,
    pub compile: String,
}

impl Grpc {
    /// The URL of a service. The gateway has none.
    #[must_use]
    pub fn of(&self, role: Role) -> Option<&str> {
        match role {
            Role::Gateway => None,
            Role::Auth => Some(&self.auth),
            Role::AgentStreaming => Some(&self.agent_streaming),
            Role::ProjectStorage => Some(&self.project_storage),
            Role::RateLimit => Some(&self.rate_limit),
            Role::Compile => Some(&self.compile),
        }
    }
}

impl Endpoints {
    pub(super) fn of(listeners: &Listeners) -> Self {
        let url = |bound: &Bound| format!("http://{}", reachable(bound.address));
        let [auth, agent_streaming, project_storage, rate_limit, compile] = listeners.grpc.each_ref().map(url);
        let grpc = Grpc { auth, agent_streaming, project_storage, rate_limit, compile };
        let metrics_url = listeners.metrics.as_ref().map(|bound| format!("{}/metrics", url(bound)));
        Self { url: url(&listeners.main), preview_url: url(&listeners.preview), metrics_url, grpc, pid: std::process::id() }
    }

    /// Writes the list for other programs, atomically.
    pub(super) fn write(&self, data: &Path) -> io::Result<()> {
        let (path, draft) = (path(data), data.join("endpoints.json.draft"));
        fs::write(&draft, serde_json::to_vec_pretty(self).map_err(io::Error::other)?)?;
        fs::rename(draft, path)
    }

    /// Reads the list of a running cluster. `None` if there is none that can be read.
    pub(crate) fn read(data: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(path(data)).ok()?).ok()
    }

    /// Removes the list when the cluster has stopped.
    pub(super) fn remove(data: &Path) {
        // It may be absent already.
        let _ = fs::remove_file(path(data));
    }
}

fn path(data: &Path) -> PathBuf {
    data.join("endpoints.json")
}

/// The table of addresses that is printed when the cluster is ready.
pub(super) fn table(listeners: &Listeners, urls: &BrowserUrls, rows: &[(&str, String)]) -> String {
    let address = |bound: &Bound, scheme: &str, path: &str| {
        let note = bound.replaced.map(|port| format!("   (port {port} is in use)")).unwrap_or_default();
        format!("{scheme}{}{path}{note}", reachable(bound.address))
    };
    let for_browsers = |bound: &Bound, url: &Option<String>| {
        let url = url.as_ref().map(|url| format!("   (browsers: {url})")).unwrap_or_default();
        format!("{}{url}", address(bound, "http://", ""))
    };
    let mut all =
        vec![("gateway", for_browsers(&listeners.main, &urls.main)), ("previews", for_browsers(&listeners.preview, &urls.preview))];
    all.push(("metrics", listeners.metrics.as_ref().map_or("none".to_owned(), |bound| address(bound, "http://", "/metrics"))));
    all.extend(Role::SERVICES.iter().zip(&listeners.grpc).map(|(role, bound)| (role.name(), address(bound, "grpc ", ""))));
    all.extend(rows.iter().map(|(name, text)| (*name, text.clone())));
    all.iter().fold(String::new(), |mut table, (name, text)| {
        // Writing to a String cannot fail.
        let _ = writeln!(table, "  {name:<16} {text}");
        table
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_can_be_written_and_read() {
        let [auth, agent_streaming, project_storage, rate_limit, compile] = ["a", "s", "p", "r", "c"].map(str::to_owned);
        let grpc = Grpc { auth, agent_streaming, project_storage, rate_limit, compile };
        let [url, preview_url, metrics] = [1, 2, 3].map(|port| format!("http://127.0.0.1:{port}"));
        let endpoints = Endpoints { url, preview_url, metrics_url: Some(metrics), grpc, pid: 7 };
        let data = tempfile::tempdir().expect("folder");
        endpoints.write(data.path()).expect("written");
        let text = fs::read_to_string(path(data.path())).expect("list");
        assert!(text.contains("\"previewUrl\"") && text.contains("\"agentStreaming\""), "{text}");
        assert_eq!(Endpoints::read(data.path()), Some(endpoints.clone()));
        assert_eq!(Role::ALL.map(|role| endpoints.grpc.of(role)), [None, Some("a"), Some("s"), Some("p"), Some("r"), Some("c")]);
        Endpoints::remove(data.path());
        assert_eq!(Endpoints::read(data.path()), None);
        assert_eq!(data.path().read_dir().expect("folder").count(), 0);
    }
}
