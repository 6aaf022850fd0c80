//! Templates: reading, rating, reporting, unpublishing and moderating them.

use std::sync::Arc;

use proto::{
    id::{TemplateId, UserId},
    plan::INLINE_BYTES,
};

use crate::{
    error::Error,
    git::{FileRef, Folder},
    model::{
        page::Page,
        path::FilePath,
        template::{Filter, Key, Report, Review, Template, Version, VersionInfo, micros},
    },
    read::{
        objects::{ListedFile, Objects},
        tree,
    },
    store::{
        self, Pool,
        reviews::{self, ReportKey},
        templates,
    },
};

/// A template with one of its versions.
pub(crate) struct TemplateVersion {
    pub(crate) template: Template,
    pub(crate) version: Version,
    pub(crate) tree: Arc<Folder>,
}

/// A page of templates with the key of the next page.
pub(crate) async fn list(pool: &Pool, filter: &Filter, page: Page<Key>) -> Result<(Vec<Template>, Option<Key>), Error> {
    let rows = templates::page(pool, filter, page.after, page.size + 1).await?;
    Ok(page.cut(rows, |template| template.key(filter.order)))
}

/// A template that a user may see.
async fn find(pool: &Pool, user: UserId, id: TemplateId) -> Result<Template, Error> {
    let found = templates::find(pool, id).await?;
    found.filter(|template| template.is_visible_to(user)).ok_or(Error::TemplateNotFound)
}

/// A version of a template, or the newest one without a number.
pub(crate) async fn get(objects: &Objects, user: UserId, id: TemplateId, number: Option<u32>) -> Result<TemplateVersion, Error> {
    let pool = &objects.pool;
    let template = find(pool, user, id).await?;
    let version = templates::version(pool, id, number.unwrap_or(template.version)).await?.ok_or(Error::TemplateNotFound)?;
    let tree = match tree::load(objects, template.store, version.tree).await {
        Err(Error::Corruption(_)) if templates::find(pool, id).await?.is_none() => return Err(Error::TemplateNotFound),
        tree => tree?,
    };
    Ok(TemplateVersion { template, version, tree })
}

/// All versions of a template, the newest first.
pub(crate) async fn versions(pool: &Pool, id: TemplateId) -> Result<Vec<VersionInfo>, Error> {
    Ok(templates::versions(pool, id).await?)
}

/// One file of a template, with its content unless it is large.
///
/// # Errors
/// [`Error::FileNotFound`] if the version has no file at the path.
pub(crate) async fn file(
    objects: &Objects,
    user: UserId,
    id: TemplateId,
    number: Option<u32>,
    path: &FilePath,
) -> Result<ListedFile, Error> {
    let TemplateVersion { template, tree, .. } = get(objects, user, id, number).await?;
    let not_found = || Error::FileNotFound { field: String::new(), path: path.to_string() };
    let file: FileRef = tree.file(path.as_str()).ok_or_else(not_found)?;
    let loaded = objects.load_up_to(template.store, vec![(path.to_string(), file)], INLINE_BYTES).await?;
    loaded.into_iter().next().ok_or_else(not_found)
}

/// Deletes a template of this publisher.
pub(crate) async fn unpublish(pool: &Pool, user: UserId, id: TemplateId) -> Result<(), Error> {
    // Before the lock, so that only the publisher waits for it.
    if find(pool, user, id).await?.publisher != user {
        return Err(Error::PublisherRequired);
    }
    let mut tx = store::begin(pool).await?;
    let template = templates::lock_all(&mut tx, id).await?.ok_or(Error::TemplateNotFound)?;
    templates::delete(&mut tx, &template).await?;
    store::commit(tx).await?;
    Ok(())
}

/// A page of the reviews of a template with the key of the next page.
pub(crate) async fn reviews(pool: &Pool, user: UserId, id: TemplateId, page: Page<Key>) -> Result<(Vec<Review>, Option<Key>), Error> {
    find(pool, user, id).await?;
    let rows = reviews::page(pool, id, page.after, page.size + 1).await?;
    Ok(page.cut(rows, |review| (micros(review.updated_at), review.user.0)))
}

/// Writes the review of a user.
pub(crate) async fn rate(pool: &Pool, user: UserId, id: TemplateId, stars: i16, text: &str) -> Result<Review, Error> {
    let mut tx = store::begin(pool).await?;
    let found = templates::lock(&mut *tx, id).await?.filter(|template| template.is_visible_to(user));
    if found.ok_or(Error::TemplateNotFound)?.publisher == user {
        return Err(Error::OwnTemplate);
    }
    let review = reviews::write(&mut tx, id, user, stars, text).await?;
    store::commit(tx).await?;
    Ok(review)
}

/// Deletes the review of a user.
pub(crate) async fn delete_review(pool: &Pool, user: UserId, id: TemplateId) -> Result<(), Error> {
    let mut tx = store::begin(pool).await?;
    let found = templates::lock(&mut *tx, id).await?;
    found.filter(|template| template.is_visible_to(user)).ok_or(Error::TemplateNotFound)?;
    if !reviews::delete(&mut tx, id, user).await? {
        return Err(Error::ReviewNotFound);
    }
    store::commit(tx).await?;
    Ok(())
}

/// Writes the report of a user.
pub(crate) async fn report(pool: &Pool, user: UserId, id: TemplateId, reason: &str) -> Result<(), Error> {
    find(pool, user, id).await?;
    if reviews::report(pool, id, user, reason).await? { Ok(()) } else { Err(Error::TemplateNotFound) }
}

/// Features or hides a template, for an operator.
pub(crate) async fn moderate(pool: &Pool, id: TemplateId, featured: Option<bool>, hidden: Option<bool>) -> Result<Template, Error> {
    if !templates::mark(pool, id, featured, hidden).await? {
        return Err(Error::TemplateNotFound);
    }
    templates::find(pool, id).await?.ok_or(Error::TemplateNotFound)
}

/// A page of reports with the key of the next page, for an operator.
pub(crate) async fn reports(
    pool: &Pool,
    template: Option<TemplateId>,
    page: Page<ReportKey>,
) -> Result<(Vec<Report>, Option<ReportKey>), Error> {
    let rows = reviews::reports(pool, template, page.after, page.size + 1).await?;
    Ok(page.cut(rows, |report| (micros(report.updated_at), report.template.0, report.user.0)))
}

/// Deletes the reports of a template, or the one of a user, for an operator. The template may be unpublished. Returns their number.
pub(crate) async fn dismiss_reports(pool: &Pool, template: TemplateId, user: Option<UserId>) -> Result<u64, Error> {
    Ok(reviews::dismiss_reports(pool, template, user).await?)
}
