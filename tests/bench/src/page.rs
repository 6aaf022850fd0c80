//! A page of 50 messages from the middle of a short and of a long conversation through gRPC, compared with the bare keyset SQL.

use anyhow::{Result, ensure};
use proto::project_storage::{ListMessagesRequest, MessageOrder};
use uuid::Uuid;

use crate::{
    files::Service,
    ground::{Cluster, Ground, progress},
    sample::Samples,
    seed, sql,
    table::{Goal, Table, Unit},
};

const PAGE: i32 = 50;
const TIMES: usize = 300;
const SHORT: i32 = 100;
const LONG: i32 = 100_000;

/// A conversation and a page in its middle.
struct Conversation {
    project: Uuid,
    /// The newest message that is not on the page.
    before: Uuid,
    token: String,
    floor: Samples,
    ours: Samples,
}

pub(crate) async fn measure(_ground: &Ground, cluster: &Cluster, table: &mut Table) -> Result<()> {
    progress("page");
    let service = Service::connect(cluster).await?;
    let mut conversations = [conversation(cluster, &service, SHORT).await?, conversation(cluster, &service, LONG).await?];
    for time in 0..TIMES {
        for place in 0..2 {
            let conversation = &mut conversations[(place + time) % 2];
            let (project, before) = (conversation.project, conversation.before);
            let rows = conversation.floor.time(sql::messages(&cluster.database, project, before, PAGE.into())).await?;
            ensure!(rows.len() == PAGE as usize, "the floor's page has {} messages", rows.len());
            let request = request(project, PAGE, &conversation.token);
            let page = conversation.ours.time(list(&service, request)).await?;
            ensure!(page.0 == PAGE as usize, "the page has {} messages", page.0);
        }
    }
    let [short, long] = conversations;
    for (messages, conversation) in [(SHORT, &short), (LONG, &long)] {
        let (floor, ours) = (&conversation.floor, &conversation.ours);
        table.row(format!("page of 50 in {messages}, p50"), Unit::Time, (floor.p50(), ours.p50()), Goal::Times(2.5));
        table.row(format!("page of 50 in {messages}, p99"), Unit::Time, (floor.p99(), ours.p99()), Goal::Shown);
    }
    let growth = (long.floor.p50() / short.floor.p50(), long.ours.p50() / short.ours.p50());
    table.row(format!("page of 50: {LONG} against {SHORT}"), Unit::Factor, growth, Goal::AtMost(1.5));
    Ok(())
}

async fn conversation(cluster: &Cluster, service: &Service, messages: i32) -> Result<Conversation> {
    let user: Uuid = cluster.person.user_id.parse()?;
    let head = seed::project(&cluster.database, user).await?;
    let before = seed::conversation(&cluster.database, &head, messages).await?;
    // Newest first, the longest pages that there are, up to the middle.
    let (mut token, mut left) = (String::new(), messages / 2);
    while left > 0 {
        let size = left.min(200);
        token = list(service, request(head.project, size, &token)).await?.1;
        left -= size;
    }
    Ok(Conversation { project: head.project, before, token, floor: Samples::default(), ours: Samples::default() })
}

fn request(project: Uuid, size: i32, token: &str) -> ListMessagesRequest {
    ListMessagesRequest {
        project_id: project.to_string(),
        page_size: size,
        page_token: token.to_owned(),
        order: MessageOrder::NewestFirst.into(),
    }
}

/// How many messages came, and the token of the next page.
async fn list(service: &Service, request: ListMessagesRequest) -> Result<(usize, String)> {
    let page = service.client.clone().list_messages(service.request(request)).await?.into_inner();
    Ok((page.messages.len(), page.next_page_token))
}
