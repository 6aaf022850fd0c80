//! The merge of a project into another one of its family: of a fork into its parent, or the other way.

use std::{collections::BTreeMap, sync::Arc};

use proto::id::ProjectId;
use time::OffsetDateTime;

use crate::{
    commit::{
        Writer,
        attempt::{Attempt, OptimisticWrite, retry_on_race},
        merge::{self, MergeStage},
        outcome::{self, MergeOutcome, MergeResult},
        request::{MaybeCommit, Preconditions, RequestKey, RequestState, SavePolicy, SaveRequest},
        stage::StagedTree,
    },
    error::Error,
    git::{self, DiffStat, Folder, Object, Oid},
    model::{
        conflict::{ConflictKind, NewConflict},
        lineage::Point,
        project::{Member, Role, Target, User},
        revision::{Actor, Revision, Totals},
    },
    read::{
        history, member,
        merge_base::{self, MergeBase},
        tree,
    },
    store::{self, lineage, saves::NewRevision},
};

/// What a user merges.
pub(crate) struct MergeProject {
    pub(crate) user: User,
    /// About the project that gets the revision.
    pub(crate) preconditions: Preconditions,
    pub(crate) source: ProjectId,
    /// The revision of the source; `None` for its head.
    pub(crate) revision: Option<Oid>,
    /// For the history; empty for a message that names the source.
    pub(crate) message: String,
    pub(crate) request: Option<RequestKey>,
}

/// Merges, or returns what an earlier request with the same idempotency key did.
///
/// # Errors
/// Those of a revert, and [`Error::Field`] if the two projects share no history.
pub(crate) async fn merge(
    writer: Writer<'_>,
    policy: SavePolicy<'_>,
    merge: MergeProject,
    now: OffsetDateTime,
) -> Result<MergeResult, Error> {
    let mut request = SaveRequest::new(writer, policy, merge.user, merge.request.as_ref(), now);
    request.actor = Actor::Merge;
    retry_on_race(MergeWrite { request, merge: &merge }).await
}

/// One merge over its attempts.
struct MergeWrite<'a> {
    request: SaveRequest<'a>,
    merge: &'a MergeProject,
}

/// The revision to merge, with its tree.
struct Source {
    revision: Revision,
    tree: Arc<Folder>,
    message: String,
}

impl OptimisticWrite for MergeWrite<'_> {
    type Output = MergeResult;

    async fn attempt(&mut self) -> Result<Attempt<MergeResult>, Error> {
        let member = match self.request.begin(&self.merge.preconditions).await? {
            RequestState::Repeat(recorded) => return outcome::replay(&self.request, recorded).await.map(Attempt::Done),
            RequestState::New(member) => *member,
        };
        if let Some(outcome) = outcome::old_conflict(&self.request, &member).await? {
            return Ok(Attempt::Done(MergeResult { project: member.project, outcome, replayed: true }));
        }
        let objects = self.request.writer.objects;
        let (found, point) = self.source(&member).await?;
        let Some((source, point)) = found.zip(point) else { return self.unchanged(member).await };
        let target = member.head.as_ref().map(|head| Point { log: member.project.id, number: head.number });
        let slot = merge::slot(&self.request).await?;
        let base = merge_base::find(objects, member.project.store, target, point).await?;
        if base.missing.is_empty() {
            drop(slot);
            return self.unchanged(member).await;
        }
        let parents = || member.head.as_ref().map(|head| head.id).into_iter().chain([source.revision.id]);
        let stage = merge::stage(objects, &member, (&base.tree, &source.tree), &base.contents).await?;
        drop(slot);
        match stage {
            MergeStage::Clean(staged) => {
                let staged = staged.with_parents(parents());
                self.commit(member, &base, staged, &source.message).await
            }
            // Both sides have made the same changes. The revision records that the source is merged.
            MergeStage::Unchanged(head) => {
                let staged = StagedTree::unchanged(&head).with_parents(parents());
                self.commit(member, &base, staged, &source.message).await
            }
            MergeStage::Conflicts(paths) => self.keep_conflict(member, base, &source, paths).await,
        }
    }
}

impl MergeWrite<'_> {
    /// The revision to merge, if the source has files.
    async fn source(&self, target: &Member) -> Result<(Option<Source>, Option<Point>), Error> {
        let pool = self.request.pool();
        let source = member::find(pool, self.merge.user.id, &Target::Id(self.merge.source), Role::Viewer).await?;
        if source.project.store != target.project.store || source.project.id == target.project.id {
            let problem = "must be another project that shares history with this one: a fork of it, or one that it was forked from";
            return Err(Error::Field { field: "source_project_id".to_owned(), problem: problem.to_owned() });
        }
        let Some(revision) = history::resolve(pool, &source, self.merge.revision).await? else { return Ok((None, None)) };
        if revision.is_on_branch() {
            return Err(Error::RevisionNotFound);
        }
        let tree = tree::at_revision(self.request.writer.objects, source.project.store, Some(&revision)).await?;
        let point = Point { log: source.project.id, number: revision.number };
        let message = match self.merge.message.as_str() {
            // The readers of the target may not read the source, so its name is not for them.
            "" => format!("Merge revision {} of another project", revision.number),
            message => message.to_owned(),
        };
        Ok((Some(Source { revision, tree, message }), Some(point)))
    }

    async fn unchanged(&mut self, member: Member) -> Result<Attempt<MergeResult>, Error> {
        let head = tree::at_revision(self.request.writer.objects, member.project.store, member.head.as_ref()).await?;
        outcome::commit(&mut self.request, member, MaybeCommit::Unchanged(head), "").await
    }

    /// Writes the revision, and what it contains, in one transaction.
    async fn commit(&mut self, member: Member, base: &MergeBase, staged: StagedTree, message: &str) -> Result<Attempt<MergeResult>, Error> {
        self.request.count().await?;
        if matches!(self.request.lock(&member.project).await, Attempt::Raced) {
            return Ok(Attempt::Raced);
        }
        let commit = self.request.pack(staged, message).await;
        let mut tx = store::begin(self.request.pool()).await?;
        let Attempt::Done((project, revision)) = self.request.write(&mut tx, member, &commit).await? else { return Ok(Attempt::Raced) };
        let point = Point { log: project.id, number: revision.number };
        lineage::insert_merged(&mut tx, project.store, point, &base.missing).await?;
        store::commit(tx).await?;
        self.request.announce(&project, &revision);
        commit.put_into(&self.request.writer.objects.cache, project.store);
        Ok(Attempt::Done(MergeResult { project, outcome: MergeOutcome::Committed(Some(revision)), replayed: false }))
    }

    /// Stores a conflict. Its branch has the commit of the source.
    async fn keep_conflict(
        &mut self,
        member: Member,
        base: MergeBase,
        source: &Source,
        paths: Vec<String>,
    ) -> Result<Attempt<MergeResult>, Error> {
        self.request.count().await?;
        if matches!(self.request.lock(&member.project).await, Attempt::Raced) {
            return Ok(Attempt::Raced);
        }
        let (base_tree, objects) = stored_base(&base);
        let key = self.request.key();
        let conflict = NewConflict {
            id: outcome::conflict_id(&self.request, &member),
            kind: ConflictKind::MergeBack,
            base: base.commit.map(|commit| (commit, base_tree)),
            paths: &paths,
            fingerprint: key.map(|key| key.fingerprint.as_slice()),
        };
        let theirs = NewRevision {
            project: member.project.id,
            store: member.project.store,
            expected: member.head.as_ref().map(|head| head.id),
            oid: source.revision.id,
            tree: source.revision.tree,
            parents: &source.revision.parents,
            actor: Actor::Merge,
            user: self.merge.user.id,
            turn: None,
            message: &source.message,
            stat: DiffStat::default(),
            totals: Totals { files: source.tree.files(), bytes: source.tree.bytes() },
            objects: &objects,
            request: None,
            plan: None,
            max_bytes: self.request.writer.quotas.max_bytes(member.project.plan),
            pending: None,
            undoes: None,
            lock_version: member.project.lock_version,
        };
        if matches!(self.request.write_conflict(&member, &conflict, theirs, &base.missing).await?, Attempt::Raced) {
            return Ok(Attempt::Raced);
        }
        let outcome = MergeOutcome::Conflicted { id: conflict.id, paths };
        Ok(Attempt::Done(MergeResult { project: member.project, outcome, replayed: false }))
    }
}

/// The tree of the base, and the objects that the store does not have if the base was made of several.
fn stored_base(base: &MergeBase) -> (Oid, Vec<Object>) {
    let mut objects = Vec::new();
    let tree = Folder::clone(&base.tree).write(&mut objects);
    objects.extend(base.contents.iter().map(|(oid, bytes)| git::blob(*oid, bytes)));
    let objects: BTreeMap<Oid, Object> = objects.into_iter().map(|object| (object.oid, object)).collect();
    (tree, objects.into_values().collect())
}
