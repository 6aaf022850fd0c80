//! The lists of an export, page by page. Of a project of the person they have only what the person has written or caused.

use std::sync::Arc;

use proto::{
    agent_streaming::ListTurnsRequest,
    project_storage::{ListMessagesRequest, ListProjectsRequest, ListRevisionsRequest, ListTemplatesRequest, MessageOrder},
};
use serde::Serialize;

use super::{Export, Failure, found};

/// Entries of one page.
const PAGE: i32 = 200;

/// A page and the token of the next one, which is empty on the last page. `None` if what is listed was deleted meanwhile.
type Page<T> = Option<(Vec<T>, String)>;

/// Writes the person's projects, also the deleted ones that can be restored. Returns the ids of the others.
pub(super) async fn projects(export: &mut Export) -> Result<Vec<String>, Failure> {
    let (mut ids, person) = (Vec::new(), export.person.id.clone());
    export.begin("projects.jsonl");
    for deleted in [false, true] {
        let mut page_token = String::new();
        loop {
            let request = ListProjectsRequest { page_size: PAGE, page_token, deleted, ..ListProjectsRequest::default() };
            let page = export.app.upstream.projects().list_projects(export.person.context.request(request)).await?.into_inner();
            for project in page.projects.iter().filter(|project| project.owner_id == person) {
                export.message(project).await?;
                if !deleted {
                    ids.push(project.id.clone());
                }
            }
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
    }
    export.end()?;
    Ok(ids)
}

/// Writes the person's messages of a project, and the answers to them, the oldest first.
pub(super) async fn messages(export: &mut Export, path: &str, project: &str) -> Result<(), Failure> {
    let (app, context, person) = (Arc::clone(&export.app), export.person.context.clone(), export.person.id.clone());
    let read = |page_token| {
        let order = MessageOrder::OldestFirst.into();
        let request = context.request(ListMessagesRequest { project_id: project.to_owned(), page_size: PAGE, page_token, order });
        let (mut projects, person) = (app.upstream.projects(), person.clone());
        async move {
            let Some(page) = found(projects.list_messages(request).await)? else { return Ok(None) };
            let page = page.into_inner();
            let messages: Vec<_> = page.messages.into_iter().filter(|message| message.user_id == person).collect();
            Ok(Some((messages, page.next_page_token)))
        }
    };
    write(export, path, read).await
}

/// Writes the person's turns of a project.
pub(super) async fn turns(export: &mut Export, path: &str, project: &str) -> Result<(), Failure> {
    let (app, context) = (Arc::clone(&export.app), export.person.context.clone());
    let read = |page_token| {
        let request = ListTurnsRequest { project_id: project.to_owned(), page_size: PAGE, page_token, ..ListTurnsRequest::default() };
        let (mut agents, request) = (app.upstream.agents(), context.request(request));
        async move {
            let page = found(agents.list_turns(request).await)?.map(tonic::Response::into_inner);
            Ok(page.map(|page| (page.turns, page.next_page_token)))
        }
    };
    write(export, path, read).await
}

/// Writes the revisions of a project that the person or their turns made, the newest first, without their files.
pub(super) async fn revisions(export: &mut Export, path: &str, project: &str) -> Result<(), Failure> {
    let (app, context, person) = (Arc::clone(&export.app), export.person.context.clone(), export.person.id.clone());
    let read = |page_token| {
        let (project_id, user_id) = (project.to_owned(), person.clone());
        let request = ListRevisionsRequest { project_id, user_id, page_size: PAGE, page_token, ..ListRevisionsRequest::default() };
        let (mut projects, request) = (app.upstream.projects(), context.request(request));
        async move {
            let page = found(projects.list_revisions(request).await)?.map(tonic::Response::into_inner);
            Ok(page.map(|page| (page.revisions, page.next_page_token)))
        }
    };
    write(export, path, read).await
}

/// Writes the templates that the person has published, also those that an operator has hidden.
pub(super) async fn templates(export: &mut Export) -> Result<(), Failure> {
    let (app, context) = (Arc::clone(&export.app), export.person.context.clone());
    let read = |page_token| {
        let request = ListTemplatesRequest { mine: true, page_size: PAGE, page_token, ..ListTemplatesRequest::default() };
        let (mut projects, request) = (app.upstream.projects(), context.request(request));
        async move {
            let page = projects.list_templates(request).await?.into_inner();
            Ok(Some((page.templates, page.next_page_token)))
        }
    };
    write(export, "templates.jsonl", read).await
}

/// Writes a list as one file. `read` gets the token of a page.
async fn write<T: Serialize + Sync, F>(export: &mut Export, path: &str, mut read: impl FnMut(String) -> F) -> Result<(), Failure>
where
    F: Future<Output = Result<Page<T>, Failure>>,
{
    export.begin(path);
    let mut page_token = String::new();
    while let Some((entries, next)) = read(page_token).await? {
        for entry in &entries {
            export.message(entry).await?;
        }
        page_token = next;
        if page_token.is_empty() {
            break;
        }
    }
    export.end()
}
