//! An operator who reads and dismisses reports on templates and features a template, over gRPC as `backlot token` allows it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use backlot::role::Role;
use chassis::{
    client::{self, ServiceChannel},
    context::Context,
    identity::Caller,
    secret::ClusterSecret,
};
use proto::{
    error::{DEFAULT_DOMAIN, Fault},
    project_storage::{
        DismissTemplateReportsRequest, ListTemplateReportsRequest, ModerateTemplateRequest,
        project_storage_service_client::ProjectStorageServiceClient,
    },
};
use test_support::canary::Stopwatch;
use tokio::time::{Duration, sleep};
use tonic::{Code, Status};

use super::record::Record;
use crate::deployment::{self, Deployment};

/// The time between two rounds of the operator.
const PAUSE: Duration = Duration::from_millis(400);

type Storage = ProjectStorageServiceClient<ServiceChannel>;

/// Connects to each replica of project-storage.
///
/// # Panics
/// An address is no URI.
#[must_use]
pub fn connect(deployment: &Deployment) -> Vec<Storage> {
    let secret = ClusterSecret::of_bytes(deployment::SECRET.as_bytes());
    let connect = |uri: String| client::connect(Caller::Operator, Caller::ProjectStorage, &uri.parse().expect("a URI"), &secret);
    let replicas = deployment.of(Role::ProjectStorage);
    replicas.map(|node| ProjectStorageServiceClient::new(connect(format!("http://{}", node.address)))).collect()
}

/// Works until stopped, with one replica after the other. A replica that is down is an expected failure.
pub async fn work(replicas: Vec<Storage>, record: Arc<Record>, stop: Arc<AtomicBool>) {
    for mut storage in replicas.iter().cloned().cycle() {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let sent = Stopwatch::start();
        let listed = storage.list_template_reports(Context::background().request(ListTemplateReportsRequest::default())).await;
        let reports = listed.map(|answer| answer.into_inner().reports);
        let template = reports.as_ref().ok().and_then(|reports| reports.first()).map(|report| report.template_id.clone());
        if let Ok([_, .., oldest]) = reports.as_deref() {
            let (template_id, user_id) = (oldest.template_id.clone(), oldest.user_id.clone());
            let (request, sent) = (DismissTemplateReportsRequest { template_id, user_id }, Stopwatch::start());
            let dismissed = storage.dismiss_template_reports(Context::background().request(request)).await;
            answered(&record, "dismiss a report", dismissed.map(drop), sent);
        }
        answered(&record, "list reports", reports.map(drop), sent);
        let template_id = template.unwrap_or_else(|| uuid::Uuid::now_v7().to_string());
        let (request, sent) = (ModerateTemplateRequest { template_id, featured: Some(true), hidden: None }, Stopwatch::start());
        let moderated = storage.moderate_template(Context::background().request(request)).await;
        answered(&record, "feature a template", moderated.map(drop), sent);
        sleep(PAUSE).await;
    }
}

/// Counts an answer. One that a fault does not explain is a violation.
pub(crate) fn answered(record: &Record, what: &str, answer: Result<(), Status>, sent: Stopwatch) {
    let Err(status) = answer else { return record.succeeded(format!("{what}: OK")) };
    let Fault { reason, domain, .. } = Fault::from_status(&status);
    // When a connection breaks during a call, the client library makes a status of its own, whose code depends on the moment.
    let is_from_service = domain != DEFAULT_DOMAIN;
    match status.code() {
        // The publisher has deleted it meanwhile.
        Code::NotFound => record.succeeded(format!("{what}: {reason}")),
        Code::Unavailable | Code::DeadlineExceeded => record.failed(format!("{what}: {reason}"), sent),
        _ if !is_from_service => record.failed(format!("{what}: {reason}"), sent),
        _ => record.violation(format!("{what}: {status}")),
    }
}
