//! Making a project of a template: its objects are copied into the store of the project, and its variables are filled in.

use prost::bytes::Bytes;
use proto::id::TemplateId;
use time::OffsetDateTime;

use crate::{
    blocking,
    commit::{
        Writer,
        attempt::{Attempt, OptimisticWrite, retry_on_race},
        copy,
        fillable::FilledBytes,
        objects::{CommitAuthor, CommitObjects, CompressedFiles},
        request::{RequestKey, SavePolicy},
        stage::{ChangedPaths, StagedTree},
    },
    error::Error,
    git::{self, FileRef, Folder},
    model::{
        limits::Limits,
        placeholder::{self, Values},
        project::{Member, Project, Role, Target, User},
        revision::{Actor, Revision},
        template::{Template, Version},
    },
    read::{
        history, member,
        merge::Contents,
        objects::{LoadedFile, Objects},
        tree,
    },
    store::{
        self, projects,
        saves::{self, NewRevision},
        templates, unused_stores,
    },
};

/// How a user uses a template.
pub(crate) struct UseTemplate {
    pub(crate) user: User,
    pub(crate) template: TemplateId,
    /// `None` for the newest version.
    pub(crate) version: Option<u32>,
    /// The name of the project; empty for the title of the template.
    pub(crate) name: String,
    /// Names of variables and their values.
    pub(crate) values: Vec<(String, String)>,
    pub(crate) request: Option<RequestKey>,
}

/// The new project.
pub(crate) struct UseResult {
    pub(crate) project: Project,
    /// Its first revision; `None` if the template has no files.
    pub(crate) revision: Option<Revision>,
    /// An earlier request with the same id made the project.
    pub(crate) replayed: bool,
}

/// Makes a project, or returns the one that an earlier request with the same id made.
pub(crate) async fn use_template(
    writer: Writer<'_>,
    policy: SavePolicy<'_>,
    usage: UseTemplate,
    now: OffsetDateTime,
) -> Result<UseResult, Error> {
    retry_on_race(UseWrite { writer, policy, usage: &usage, now }).await
}

/// One use over its attempts.
struct UseWrite<'a> {
    writer: Writer<'a>,
    policy: SavePolicy<'a>,
    usage: &'a UseTemplate,
    now: OffsetDateTime,
}

impl OptimisticWrite for UseWrite<'_> {
    type Output = UseResult;

    async fn attempt(&mut self) -> Result<Attempt<UseResult>, Error> {
        if let Some(result) = self.find_recorded().await? {
            return Ok(Attempt::Done(result));
        }
        let (pool, user) = (&self.writer.objects.pool, self.usage.user);
        let found = templates::find(pool, self.usage.template).await?.filter(|template| template.is_visible_to(user.id));
        let template = found.ok_or(Error::TemplateNotFound)?;
        let number = self.usage.version.unwrap_or(template.version);
        let version = templates::version(pool, template.id, number).await?.ok_or(Error::TemplateNotFound)?;
        let (variables, given) = (version.variables.clone(), self.usage.values.clone());
        // The checks of patterns take milliseconds, so they are counted.
        self.policy.count(user.id).await?;
        let values = blocking::on_thread(move || placeholder::resolve(&variables, &given)).await;
        let values = values.map_err(|(field, problem)| Error::Field { field, problem })?;
        let staged = match self.stage(&template, &version, values).await {
            // The template was unpublished meanwhile.
            Err(Error::Corruption(_)) if templates::find(pool, template.id).await?.is_none() => return Err(Error::TemplateNotFound),
            staged => staged?,
        };
        self.write(&template, staged).await
    }
}

impl UseWrite<'_> {
    /// The project that the same request made before.
    async fn find_recorded(&self) -> Result<Option<UseResult>, Error> {
        let Some(request) = &self.usage.request else { return Ok(None) };
        let (pool, user) = (&self.writer.objects.pool, self.usage.user.id);
        let Some(recorded) = request.find_recorded(pool, user).await? else { return Ok(None) };
        let project = member::find(pool, user, &Target::Id(recorded.project), Role::Viewer).await?.project;
        let revision = match recorded.revision {
            Some(id) => Some(history::find(pool, recorded.project, id).await?),
            None => None,
        };
        Ok(Some(UseResult { project, revision, replayed: true }))
    }

    /// The tree of the project, with the files that have a placeholder filled in.
    async fn stage(&self, template: &Template, version: &Version, values: Values) -> Result<StagedTree, Error> {
        let objects = self.writer.objects;
        let source = tree::load(objects, template.store, version.tree).await?;
        let limits = Limits::of_plan(self.usage.user.plan);
        let (mut tree, mut contents) = (Folder::clone(&source), Contents::new());
        let files = version.filled.iter().filter_map(|path| Some((path.clone(), source.file(path)?))).collect();
        for (path, bytes) in fill(objects, template, files, (values, limits)).await? {
            let oid = git::blob_id(&bytes).map_err(|problem| Error::Field { field: "values".to_owned(), problem: problem.to_string() })?;
            let file = FileRef { oid, size: u32::try_from(bytes.len()).unwrap_or(u32::MAX) };
            if tree.file(&path) != Some(file) {
                // The path has a file already, so nothing clashes.
                tree.put(&path, file).map_err(|clash| Error::Field { field: "template_id".to_owned(), problem: clash.to_string() })?;
                contents.insert(oid, bytes);
            }
        }
        let paths = ChangedPaths { named: Vec::new(), default_field: "template_id" };
        Ok(StagedTree::check(tree, &Folder::default(), &limits, paths)?.with_contents(contents))
    }

    /// Writes the project with its first revision. Raced if another request used the same idempotency key meanwhile.
    async fn write(&self, template: &Template, staged: StagedTree) -> Result<Attempt<UseResult>, Error> {
        let UseTemplate { user, name, request, .. } = self.usage;
        let quotas = self.writer.quotas;
        let message = format!("From template {}", template.details.title);
        let author = CommitAuthor { user: user.id, turn: None, message: &message, now: self.now };
        let commit = CommitObjects::pack(staged, &author, &mut CompressedFiles::new()).await;
        let name = if name.is_empty() { template.details.title.clone() } else { name.clone() };
        let project = Project::new(*user, None, name, self.now);
        let member = Member { project, role: Role::Owner, head: None };

        let mut tx = store::begin(&self.writer.objects.pool).await?;
        templates::keep(&mut tx, template.id).await?.ok_or(Error::TemplateNotFound)?;
        unused_stores::insert_store(&mut *tx, member.project.store).await?;
        let is_new = |oid: &git::Oid| commit.objects.binary_search_by_key(oid, |object| object.oid).is_ok();
        copy::tree(&mut tx, template.store, member.project.store, &commit.tree, is_new).await?;
        // Not before the copy, because other requests of the account wait for its lock.
        if !quotas.insert(&mut tx, &member.project).await? {
            return Ok(Attempt::Raced);
        }
        let revision = NewRevision {
            actor: Actor::Template,
            request: request.as_ref().map(RequestKey::row),
            plan: Some(user.plan),
            ..commit.new_revision(&member, quotas)
        };
        let written = match saves::advance(&mut tx, &revision).await {
            Ok(written) => written,
            Err(error) if error.violates(saves::REQUEST_KEY) => return Ok(Attempt::Raced),
            Err(error) => return Err(error.into()),
        };
        let Some((number, created_at)) = written else {
            quotas.check_bytes(&mut tx, &member.project, &commit.objects).await?;
            return Ok(Attempt::Raced);
        };
        templates::count_use(&mut tx, template.id).await?;
        let project = projects::find(&mut *tx, user.id, &Target::Id(member.project.id)).await?.ok_or(Error::ProjectNotFound)?.project;
        let revision = revision.revision(number, created_at);
        store::commit(tx).await?;
        commit.put_into(&self.writer.objects.cache, project.store);
        Ok(Attempt::Done(UseResult { project, revision: Some(revision), replayed: false }))
    }
}

/// Fills the values into files of a template.
///
/// # Errors
/// [`Error::FileTooLarge`] for a file that would become larger than the plan allows and than it is; [`Error::Field`] if all would be too
/// large together.
async fn fill(
    objects: &Objects,
    template: &Template,
    files: Vec<(String, FileRef)>,
    (values, limits): (Values, Limits),
) -> Result<Vec<(String, Bytes)>, Error> {
    let loaded = objects.load(template.store, files).await?;
    let bytes = loaded.iter().map(|file| file.content.len()).sum();
    blocking::run(bytes, move || fill_all(loaded, &values, limits)).await
}

fn fill_all(files: Vec<LoadedFile>, values: &Values, limits: Limits) -> Result<Vec<(String, Bytes)>, Error> {
    let mut total = FilledBytes::default();
    let mut filled = Vec::with_capacity(files.len());
    for LoadedFile { path, file, content } in files {
        // A file that has a placeholder is text.
        let Ok(text) = std::str::from_utf8(&content) else { continue };
        let (bytes, limit) = (placeholder::filled_bytes(text, values), limits.file_bytes.max(file.size));
        let size = u32::try_from(bytes).unwrap_or(u32::MAX);
        if size > limit {
            return Err(Error::FileTooLarge { field: "values".to_owned(), path, size, limit });
        }
        total.add(bytes as u64, "values")?;
        filled.push((path, Bytes::from(placeholder::fill(text, values))));
    }
    Ok(filled)
}
