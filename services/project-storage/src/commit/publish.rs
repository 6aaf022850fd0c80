//! Publishing a revision as a template. The template gets a copy of the objects of that one revision.

use std::sync::Arc;

use proto::{
    id::{ProjectId, TemplateId},
    plan::INLINE_BYTES,
};
use uuid::Uuid;

use crate::{
    blocking,
    commit::{
        attempt::{Attempt, OptimisticWrite, retry_on_race},
        copy,
        fillable::{FilledBytes, MAX_FILLED_FILE, is_fillable},
        quota::Quotas,
        request::{RequestKey, SavePolicy},
    },
    error::Error,
    git::{FileRef, Folder, Oid},
    model::{
        placeholder::check_variables,
        project::{Member, Role, StoreId, Target, User, require},
        template::{Details, MAX_TEMPLATES, MAX_VERSIONS, Template, Variable},
    },
    read::{history, member, objects::Objects, tree},
    store::{
        self, Connection, projects,
        templates::{self, NewVersion},
        unpublished_templates,
    },
};

/// Bytes of files that are read at the same time.
const SCAN_BYTES: u64 = 4 * 1024 * 1024;

/// What a user publishes.
pub(crate) struct Publish {
    pub(crate) user: User,
    pub(crate) project: ProjectId,
    /// `None` for the head.
    pub(crate) revision: Option<Oid>,
    /// The template that gets a new version; `None` for a new template.
    pub(crate) template: Option<TemplateId>,
    pub(crate) details: Details,
    pub(crate) variables: Vec<Variable>,
    pub(crate) request: Option<RequestKey>,
}

/// The published template.
pub(crate) struct PublishResult {
    pub(crate) template: Template,
    /// An earlier request with the same id published it.
    pub(crate) replayed: bool,
}

/// Publishes, or returns what an earlier request with the same id published.
pub(crate) async fn publish(objects: &Objects, quotas: Quotas, policy: SavePolicy<'_>, publish: Publish) -> Result<PublishResult, Error> {
    retry_on_race(PublishWrite { objects, quotas, policy, publish: &publish }).await
}

/// One publication over its attempts.
struct PublishWrite<'a> {
    objects: &'a Objects,
    quotas: Quotas,
    policy: SavePolicy<'a>,
    publish: &'a Publish,
}

impl OptimisticWrite for PublishWrite<'_> {
    type Output = PublishResult;

    async fn attempt(&mut self) -> Result<Attempt<PublishResult>, Error> {
        if let Some(template) = self.find_recorded().await? {
            return Ok(Attempt::Done(PublishResult { template, replayed: true }));
        }
        let Publish { user, project, revision, details, variables, .. } = self.publish;
        let member = member::find(&self.objects.pool, user.id, &Target::Id(*project), Role::Admin).await?;
        // The commit of a conflicted turn has no number.
        let revision = history::resolve(&self.objects.pool, &member, *revision).await?.filter(|revision| revision.number > 0);
        let tree = tree::load(self.objects, member.project.store, revision.ok_or(Error::RevisionNotFound)?.tree).await?;
        check_picture(&details.picture, &tree)?;
        // The checks of patterns take milliseconds, so they are counted.
        self.policy.count(user.id).await?;
        let checked = variables.clone();
        let checked = blocking::on_thread(move || check_variables(&checked)).await;
        checked.map_err(|(field, problem)| Error::Field { field, problem })?;
        let filled = filled_files(self.objects, member.project.store, &tree, variables).await?;
        self.write(&member, &tree, &filled).await
    }
}

impl PublishWrite<'_> {
    async fn find_recorded(&self) -> Result<Option<Template>, Error> {
        let Some(request) = &self.publish.request else { return Ok(None) };
        let recorded = templates::find_recorded(&self.objects.pool, self.publish.user.id, &request.id).await?;
        let Some(recorded) = recorded else { return Ok(None) };
        if recorded.fingerprint != request.fingerprint {
            return Err(Error::KeyReused);
        }
        // If it was unpublished since, a late repeat does not publish it again.
        if recorded.is_unpublished {
            return Err(Error::TemplateNotFound);
        }
        templates::find(&self.objects.pool, recorded.template).await?.map(Some).ok_or(Error::TemplateNotFound)
    }

    /// Writes the version. Raced if another request used the same idempotency key meanwhile.
    async fn write(&self, member: &Member, tree: &Folder, filled: &[String]) -> Result<Attempt<PublishResult>, Error> {
        let Publish { user, project, details, variables, request, .. } = self.publish;
        let mut tx = store::begin(&self.objects.pool).await?;
        if !projects::keep(&mut tx, *project).await? {
            return Err(Error::ProjectNotFound);
        }
        let found = projects::find(&mut *tx, user.id, &Target::Id(*project)).await?;
        require(found.map(|member| member.role), Role::Admin)?;
        let (template, store) = self.target(&mut tx).await?;
        copy::tree(&mut tx, member.project.store, store, tree, |_| false).await?;
        // Not before the copy, because other requests of the account wait for these locks.
        projects::lock_account(&mut tx, user.id).await?;
        let Place { template, version, hidden } = self.place(&mut tx, template, member.project.store).await?;
        let new = NewVersion {
            template,
            store,
            source: Some(member.project.store),
            hidden,
            publisher: user.id,
            starter: None,
            version,
            details,
            tree: tree.oid().unwrap_or(Oid::EMPTY_TREE),
            files: tree.files(),
            bytes: tree.bytes(),
            variables,
            filled,
            digest: None,
            request: request.as_ref().map(RequestKey::row),
        };
        match templates::write(&mut tx, &new).await {
            Ok(()) => {}
            Err(error) if error.violates(templates::REQUEST_KEY) => return Ok(Attempt::Raced),
            Err(error) => return Err(error.into()),
        }
        let limit = self.quotas.max_bytes(user.plan);
        if templates::account_bytes(&mut tx, user.id).await? > limit {
            return Err(Error::AccountTooLarge { limit: u64::try_from(limit).unwrap_or(0) });
        }
        let template = templates::find(&mut *tx, template).await?.ok_or(Error::TemplateNotFound)?;
        store::commit(tx).await?;
        Ok(Attempt::Done(PublishResult { template, replayed: false }))
    }

    /// The template, if it exists, and its store. It is kept until the end of the transaction, and nobody else publishes a version.
    async fn target(&self, tx: &mut Connection) -> Result<(Option<TemplateId>, StoreId), Error> {
        let user = self.publish.user.id;
        let Some(id) = self.publish.template else {
            let store = StoreId(Uuid::now_v7());
            templates::insert_store(tx, store).await?;
            return Ok((None, store));
        };
        let found = templates::keep(&mut *tx, id).await?.filter(|template| template.is_visible_to(user));
        let template = found.ok_or(Error::TemplateNotFound)?;
        if template.publisher != user {
            return Err(Error::PublisherRequired);
        }
        templates::lock_versions(tx, id).await?;
        Ok((Some(id), template.store))
    }

    /// What the new version is. The account is locked.
    async fn place(&self, tx: &mut Connection, template: Option<TemplateId>, source: StoreId) -> Result<Place, Error> {
        let user = self.publish.user.id;
        let Some(template) = template else {
            if templates::count(tx, user).await? >= i64::from(MAX_TEMPLATES) {
                return Err(Error::TooManyTemplates { limit: MAX_TEMPLATES });
            }
            let (id, hidden) = unpublished_templates::take(tx, user, source).await?;
            return Ok(Place { template: id.unwrap_or_else(TemplateId::generate), version: 1, hidden });
        };
        let newest = templates::lock(&mut *tx, template).await?.ok_or(Error::TemplateNotFound)?.version;
        if newest >= MAX_VERSIONS {
            return Err(Error::TooManyVersions { limit: MAX_VERSIONS });
        }
        let hidden = unpublished_templates::hides(tx, (user, template), source).await?;
        Ok(Place { template, version: newest + 1, hidden })
    }
}

/// Which version of which template is written.
struct Place {
    template: TemplateId,
    version: u32,
    /// Whether the version hides the template.
    hidden: bool,
}

/// Checks that the picture, if there is one, is a file that is read in one answer.
pub(crate) fn check_picture(path: &str, tree: &Folder) -> Result<(), Error> {
    if path.is_empty() {
        return Ok(());
    }
    let field = || "picture".to_owned();
    let file = tree.file(path).ok_or_else(|| Error::FileNotFound { field: field(), path: path.to_owned() })?;
    if file.size > INLINE_BYTES {
        return Err(Error::FileTooLarge { field: field(), path: path.to_owned(), size: file.size, limit: INLINE_BYTES });
    }
    Ok(())
}

/// The paths of the text files that have a placeholder of one of the variables. Files above [`MAX_FILLED_FILE`] are not read.
///
/// # Errors
/// [`Error::Field`] if these files have too many bytes together.
async fn filled_files(objects: &Objects, store: StoreId, tree: &Folder, variables: &[Variable]) -> Result<Vec<String>, Error> {
    let mut filled = Vec::new();
    if variables.is_empty() {
        return Ok(filled);
    }
    let variables: Arc<[Variable]> = variables.into();
    let mut total = FilledBytes::default();
    let (mut batch, mut bytes) = (Vec::new(), 0);
    let mut files = tree.walk_files().into_iter().filter(|(_, file)| file.size <= MAX_FILLED_FILE).peekable();
    while let Some((path, file)) = files.next() {
        bytes += u64::from(file.size);
        batch.push((path, file));
        if files.peek().is_none_or(|(_, next)| bytes + u64::from(next.size) > SCAN_BYTES) {
            let found = scan(objects, store, std::mem::take(&mut batch), Arc::clone(&variables)).await?;
            total.add(found.iter().map(|(_, file)| u64::from(file.size)).sum(), "variables")?;
            filled.extend(found.into_iter().map(|(path, _)| path));
            bytes = 0;
        }
    }
    Ok(filled)
}

/// Those of some files that have a placeholder.
async fn scan(
    objects: &Objects,
    store: StoreId,
    files: Vec<(String, FileRef)>,
    variables: Arc<[Variable]>,
) -> Result<Vec<(String, FileRef)>, Error> {
    let loaded = objects.load(store, files).await?;
    let bytes = loaded.iter().map(|file| file.content.len()).sum();
    let work =
        move || loaded.into_iter().filter(|file| is_fillable(&file.content, &variables)).map(|file| (file.path, file.file)).collect();
    Ok(blocking::run(bytes, work).await)
}
