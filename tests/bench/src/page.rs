//! A page of 50 messages from the middle of a short and of a long conversation over gRPC, compared with plain keyset SQL.

use anyhow::{Result, ensure};
use proto::project_storage::{ListMessagesRequest, MessageOrder};
use uuid::Uuid;

use crate::{
    environment::{Cluster, Environment, progress},
    files::Service,
    sample::Samples,
    seed, sql,
    table::{Goal, Table, Unit},
};

const PAGE: i32 = 50;
const TIMES: usize = 300;
const SHORT: i32 = 100;
const LONG: i32 = 1_000_000;

/// A conversation and a page in its middle.
struct Conversation {
    project: Uuid,
    /// The oldest message that is newer than the page.
    before: Uuid,
    token: String,
    baseline: Samples,
    ours: Samples,
}

pub(crate) async fn measure(_environment: &Environment, cluster: &Cluster, table: &mut Table) -> Result<()> {
    progress("page");
    let service = Service::connect(cluster).await?;
    let mut conversations = [conversation(cluster, &service, SHORT).await?, conversation(cluster, &service, LONG).await?];
    for time in 0..TIMES {
        for index in 0..2 {
            let conversation = &mut conversations[(index + time) % 2];
            let (project, before) = (conversation.project, conversation.before);
            let rows = conversation.baseline.time(sql::messages(&cluster.database, project, before, PAGE.into())).await?;
            ensure!(rows.len() == PAGE as usize, "the page of the baseline has {} messages", rows.len());
            let request = request(project, PAGE, &conversation.token);
            let page = conversation.ours.time(list(&service, request)).await?;
            ensure!(page.0 == PAGE as usize, "the page has {} messages", page.0);
        }
    }
    let [short, long] = conversations;
    for (messages, conversation) in [(SHORT, &short), (LONG, &long)] {
        let (baseline, ours) = (&conversation.baseline, &conversation.ours);
        table.row(format!("page of 50 in {messages}, p50"), Unit::Time, (baseline.p50(), ours.p50()), Goal::Times(2.5));
        table.row(format!("page of 50 in {messages}, p99"), Unit::Time, (baseline.p99(), ours.p99()), Goal::Shown);
    }
    let growth = (long.baseline.p50() / short.baseline.p50(), long.ours.p50() / short.ours.p50());
    table.row(format!("page of 50: {LONG} compared with {SHORT}"), Unit::Factor, growth, Goal::AtMost(1.5));
    Ok(())
}

async fn conversation(cluster: &Cluster, service: &Service, messages: i32) -> Result<Conversation> {
    let user: Uuid = cluster.person.user_id.parse()?;
    let head = seed::project(&cluster.database, user).await?;
    let before = seed::conversation(&cluster.database, &head, messages).await?;
    // Read to the middle in the largest pages, newest first.
    let (mut token, mut left) = (String::new(), messages / 2);
    while left > 0 {
        let size = left.min(200);
        token = list(service, request(head.project, size, &token)).await?.1;
        left -= size;
    }
    Ok(Conversation { project: head.project, before, token, baseline: Samples::default(), ours: Samples::default() })
}

fn request(project: Uuid, size: i32, token: &str) -> ListMessagesRequest {
    ListMessagesRequest {
        project_id: project.to_string(),
        page_size: size,
        page_token: token.to_owned(),
        order: MessageOrder::NewestFirst.into(),
    }
}

/// Lists a page. Returns the number of messages and the token of the next page.
async fn list(service: &Service, request: ListMessagesRequest) -> Result<(usize, String)> {
    let page = service.client.clone().list_messages(service.request(request)).await?.into_inner();
    Ok((page.messages.len(), page.next_page_token))
}
