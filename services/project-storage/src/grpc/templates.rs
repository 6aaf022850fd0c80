//! Templates: publishing, reading and using them.

use chassis::{clock::now, context::Context, page};
use proto::{error::Violations, id::TemplateId, project_storage as pb};
use tonic::Request;
use uuid::Uuid;

use super::{decode, encode, text};
use crate::{
    app::App,
    commit::{
        publish::{self, Publish},
        request::SavePolicy,
        use_template::{self, UseTemplate},
    },
    error::Error,
    model::{
        page::Page,
        placeholder::MAX_VARIABLES,
        template::{Details, Difficulty, Filter, Order, Variable},
    },
    templates,
};

const MAX_TAGS: usize = 10;
const AGENT_BYTES: usize = 64;
/// Files that the answer about a template lists.
const MAX_LISTED_FILES: usize = 1000;

/// The id of a template.
pub(super) fn template_id(violations: &mut Violations, text: &str) -> Option<TemplateId> {
    violations.parse("template_id", text)
}

pub(super) async fn publish(app: &App, request: Request<pb::PublishTemplateRequest>) -> Result<pb::PublishTemplateResponse, Error> {
    let context = Context::of(&request);
    let user = decode::user(&context)?;
    let wire = request.into_inner();
    let fingerprint = decode::fingerprint("PublishTemplate", &wire);
    let mut violations = Violations::default();
    let project = decode::project_id(&mut violations, &wire.project_id);
    let revision = decode::revision(&mut violations, "revision", &wire.revision);
    let template = if wire.template_id.is_empty() { None } else { template_id(&mut violations, &wire.template_id) };
    let details = details(&mut violations, &wire);
    let variables = wire.variables.into_iter().map(variable).collect();
    text::REQUEST_ID.check(&mut violations, &wire.request_id);
    let project = decode::checked(violations, project)?;
    let request = decode::request_key(wire.request_id, || fingerprint);
    let publish = Publish { user, project, revision, template, details, variables, request };
    let policy = SavePolicy::new(app.limiter.clone(), &context);
    let _slot = app.load_slots.take(&context).await?;
    let published = publish::publish(&app.objects, app.quotas, policy, publish).await?;
    Ok(pb::PublishTemplateResponse { template: Some(encode::template(&published.template)), replayed: published.replayed })
}

fn details(violations: &mut Violations, wire: &pb::PublishTemplateRequest) -> Details {
    text::TITLE.check(violations, wire.title.trim());
    text::DESCRIPTION.check(violations, &wire.description);
    text::CATEGORY.check(violations, wire.category.trim());
    let agent = &wire.recommended_agent;
    let is_agent = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'_' | b'-');
    if agent.len() > AGENT_BYTES || !agent.bytes().all(is_agent) {
        violations.add("recommended_agent", format!("must be at most {AGENT_BYTES} of a-z0-9_-"));
    }
    if !wire.picture.is_empty()
        && let Err(problem) = proto::path::check(&wire.picture)
    {
        violations.add("picture", problem.to_string());
    }
    Details {
        title: wire.title.trim().to_owned(),
        description: wire.description.clone(),
        category: wire.category.trim().to_owned(),
        tags: tags(violations, &wire.tags),
        difficulty: difficulty(violations, wire.difficulty).unwrap_or(Difficulty::Beginner),
        picture: wire.picture.clone(),
        recommended_agent: agent.clone(),
    }
}

/// The tags in lower case, each once.
fn tags(violations: &mut Violations, wire: &[String]) -> Vec<String> {
    if wire.len() > MAX_TAGS {
        violations.add("tags", format!("must be at most {MAX_TAGS}"));
        return Vec::new();
    }
    let mut tags: Vec<String> = Vec::with_capacity(wire.len());
    for (index, tag) in wire.iter().enumerate() {
        let (field, tag) = (format!("tags[{index}]"), tag.trim().to_lowercase());
        if !(1..=text::TAG_CHARACTERS).contains(&tag.chars().count()) {
            violations.add(&field, format!("must be 1 to {} characters", text::TAG_CHARACTERS));
        }
        violations.no_misleading_characters(&field, &tag);
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    tags
}

/// The difficulty; `None` if it is not given.
fn difficulty(violations: &mut Violations, wire: i32) -> Option<Difficulty> {
    match pb::TemplateDifficulty::try_from(wire) {
        Ok(pb::TemplateDifficulty::Unspecified) => None,
        Ok(pb::TemplateDifficulty::Beginner) => Some(Difficulty::Beginner),
        Ok(pb::TemplateDifficulty::Intermediate) => Some(Difficulty::Intermediate),
        Ok(pb::TemplateDifficulty::Advanced) => Some(Difficulty::Advanced),
        Err(_) => {
            violations.add("difficulty", "must be a TemplateDifficulty");
            None
        }
    }
}

fn variable(wire: pb::TemplateVariable) -> Variable {
    let pb::TemplateVariable { name, label, description, default_value: default, pattern, required } = wire;
    Variable { name, label, description, default, pattern, required }
}

pub(super) async fn list(app: &App, request: Request<pb::ListTemplatesRequest>) -> Result<pb::ListTemplatesResponse, Error> {
    let user = decode::user(&Context::of(&request))?;
    let wire = request.into_inner();
    let mut violations = Violations::default();
    text::WORDS.check(&mut violations, &wire.query);
    text::CATEGORY.check(&mut violations, &wire.category);
    text::TAG.check(&mut violations, &wire.tag);
    let filter = Filter {
        query: wire.query.trim().to_owned(),
        category: wire.category.trim().to_owned(),
        tag: wire.tag.trim().to_lowercase(),
        difficulty: difficulty(&mut violations, wire.difficulty),
        featured: wire.featured,
        publisher: wire.mine.then_some(user.id),
        order: order(&mut violations, wire.order),
    };
    let size = page::size(wire.page_size, &mut violations);
    decode::checked(violations, Some(()))?;
    let scope = format!("ListTemplates/{}/{filter:?}", user.id);
    let after = app.page_tokens.open::<(i64, Uuid)>(&scope, &wire.page_token)?;
    let (found, next) = templates::list(app.pool(), &filter, Page { size, after }).await?;
    Ok(pb::ListTemplatesResponse {
        templates: found.iter().map(encode::template).collect(),
        next_page_token: next.map(|key| app.page_tokens.seal(&scope, &key)).unwrap_or_default(),
    })
}

fn order(violations: &mut Violations, wire: i32) -> Order {
    match pb::TemplateOrder::try_from(wire) {
        Ok(pb::TemplateOrder::Unspecified | pb::TemplateOrder::Uses) => Order::Uses,
        Ok(pb::TemplateOrder::Rating) => Order::Rating,
        Ok(pb::TemplateOrder::Newest) => Order::Newest,
        Err(_) => {
            violations.add("order", "must be a TemplateOrder");
            Order::Uses
        }
    }
}

/// The number of a version; `None` for the newest one.
fn version(number: u32) -> Option<u32> {
    (number > 0).then_some(number)
}

pub(super) async fn get(app: &App, request: Request<pb::GetTemplateRequest>) -> Result<pb::GetTemplateResponse, Error> {
    let user = decode::user(&Context::of(&request))?;
    let pb::GetTemplateRequest { template_id: id, version: number } = request.into_inner();
    let mut violations = Violations::default();
    let id = template_id(&mut violations, &id);
    let id = decode::checked(violations, id)?;
    let found = templates::get(&app.objects, user.id, id, version(number)).await?;
    let versions = templates::versions(app.pool(), id).await?;
    let mut files = found.tree.walk_files();
    files.truncate(MAX_LISTED_FILES);
    Ok(pb::GetTemplateResponse {
        template: Some(encode::template(&found.template)),
        version: found.version.number,
        variables: found.version.variables.into_iter().map(encode::variable).collect(),
        file_count: found.tree.files(),
        files: encode::files(files),
        versions: versions.into_iter().map(encode::template_version).collect(),
    })
}

pub(super) async fn file(app: &App, request: Request<pb::GetTemplateFileRequest>) -> Result<pb::GetTemplateFileResponse, Error> {
    let user = decode::user(&Context::of(&request))?;
    let pb::GetTemplateFileRequest { template_id: id, path, version: number } = request.into_inner();
    let path = decode::path("path".to_owned(), &path)?;
    let mut violations = Violations::default();
    let id = template_id(&mut violations, &id);
    let id = decode::checked(violations, id)?;
    let loaded = templates::file(&app.objects, user.id, id, version(number), &path).await?;
    Ok(pb::GetTemplateFileResponse { file: Some(encode::file(loaded)) })
}

pub(super) async fn use_template(app: &App, request: Request<pb::UseTemplateRequest>) -> Result<pb::UseTemplateResponse, Error> {
    let context = Context::of(&request);
    let user = decode::user(&context)?;
    let wire = request.into_inner();
    let fingerprint = decode::fingerprint("UseTemplate", &wire);
    let mut violations = Violations::default();
    let template = template_id(&mut violations, &wire.template_id);
    text::OPTIONAL_NAME.check(&mut violations, wire.display_name.trim());
    if wire.values.len() > MAX_VARIABLES {
        violations.add("values", format!("must be at most {MAX_VARIABLES}"));
    }
    text::REQUEST_ID.check(&mut violations, &wire.request_id);
    let template = decode::checked(violations, template)?;
    let usage = UseTemplate {
        user,
        template,
        version: version(wire.version),
        name: wire.display_name.trim().to_owned(),
        values: wire.values.into_iter().map(|value| (value.name, value.value)).collect(),
        request: decode::request_key(wire.request_id, || fingerprint),
    };
    let policy = SavePolicy::new(app.limiter.clone(), &context);
    let _slot = app.load_slots.take(&context).await?;
    let used = use_template::use_template(app.writer(), policy, usage, now()).await?;
    Ok(pb::UseTemplateResponse {
        project: Some(encode::project(&used.project)),
        revision: used.revision.as_ref().map(encode::revision),
        replayed: used.replayed,
    })
}

pub(super) async fn unpublish(app: &App, request: Request<pb::UnpublishTemplateRequest>) -> Result<pb::UnpublishTemplateResponse, Error> {
    let user = decode::user(&Context::of(&request))?;
    let mut violations = Violations::default();
    let id = template_id(&mut violations, &request.into_inner().template_id);
    let id = decode::checked(violations, id)?;
    templates::unpublish(app.pool(), user.id, id).await?;
    Ok(pb::UnpublishTemplateResponse {})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commit::starters;

    #[test]
    fn what_ships_with_backlot_meets_the_rules_of_publications() {
        for (slug, shipped) in starters::details() {
            let wire = pb::PublishTemplateRequest {
                title: shipped.title.clone(),
                description: shipped.description.clone(),
                category: shipped.category.clone(),
                tags: shipped.tags.clone(),
                picture: shipped.picture.clone(),
                recommended_agent: shipped.recommended_agent.clone(),
                ..Default::default()
            };
            let mut violations = Violations::default();
            let read = details(&mut violations, &wire);
            assert_eq!(violations.check("test"), Ok(()), "{slug}");
            assert_eq!((read.title, read.category, read.tags), (shipped.title, shipped.category, shipped.tags), "{slug}");
        }
    }
}
