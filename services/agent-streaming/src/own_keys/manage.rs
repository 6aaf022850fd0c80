//! Creates, lists, changes and deletes stored keys.

use chassis::{clock, context::Context};
use proto::{
    error::{ErrorCode, Violations},
    id::{ProjectId, UserId},
};
use reqwest::Url;
use uuid::Uuid;

use super::{KeyOwner, OwnKeys, StoredKey, Vault, rules};
use crate::{
    app::App,
    error::{Error, SERVICE},
    model::provider::Kind,
    store::provider_keys,
};

/// A valid request for a new key, apart from its address.
pub(crate) struct NewKey {
    pub(crate) kind: Kind,
    pub(crate) key: String,
    pub(crate) base_url: String,
    pub(crate) display_name: String,
    pub(crate) project: Option<ProjectId>,
}

/// A valid request for a change, apart from its address.
pub(crate) struct KeyChange {
    pub(crate) id: Uuid,
    /// Empty keeps the key.
    pub(crate) key: String,
    pub(crate) base_url: Option<String>,
    pub(crate) display_name: Option<String>,
}

/// Stores a key of the caller, or of a project that the caller owns.
///
/// # Errors
/// [`Error::SessionRequired`], [`Error::StepUpRequired`], INVALID_FIELD, [`Error::ProviderKeyExists`], [`Error::OwnerRequired`], [`Error::ProviderKeysDisabled`].
pub(crate) async fn create(app: &App, context: &Context, new: NewKey) -> Result<StoredKey, Error> {
    require_proof(context)?;
    let (user, keys) = (context.user()?.id, &app.own_keys);
    let owner = owner(app, context, user, new.project).await?;
    let vault = keys.vault()?;
    let mut violations = Violations::default();
    let url = rules::check_base_url(&mut violations, &keys.guard, new.kind, &new.base_url);
    violations.check(SERVICE)?;
    let (id, now) = (Uuid::now_v7(), clock::now());
    let base_url = url.map(String::from).unwrap_or_default();
    let stored = StoredKey {
        id,
        owner,
        stored_by: user,
        kind: new.kind,
        display_name: new.display_name,
        last_four: rules::last_four(&new.key),
        sealed: vault.seal(id, owner, &new.key, &base_url)?,
        base_url,
        created_at: now,
        updated_at: now,
        used_at: None,
    };
    if !provider_keys::insert(&keys.db, &stored).await? {
        return Err(Error::ProviderKeyExists(new.kind.name()));
    }
    log(user, &stored, "created");
    Ok(stored)
}

/// The stored keys of the caller, or of a project that the caller owns.
///
/// # Errors
/// [`Error::OwnerRequired`].
pub(crate) async fn list(app: &App, context: &Context, project: Option<ProjectId>) -> Result<Vec<StoredKey>, Error> {
    let owner = owner(app, context, context.user()?.id, project).await?;
    Ok(provider_keys::list(&app.own_keys.db, owner).await?)
}

/// Changes a stored key.
///
/// # Errors
/// [`Error::SessionRequired`], [`Error::StepUpRequired`], INVALID_FIELD, also for a new key without an address if the stored one cannot be opened, [`Error::KeyRequired`] for an address that leads elsewhere without the key, [`Error::ProviderKeyNotFound`].
pub(crate) async fn update(app: &App, context: &Context, change: KeyChange) -> Result<StoredKey, Error> {
    let keys = &app.own_keys;
    require_person(context)?;
    if !change.key.is_empty() || change.base_url.is_some() {
        require_proof(context)?;
    }
    let stored = find(app, context, change.id).await?;
    let vault = keys.vault()?;
    let mut violations = Violations::default();
    let url = change.base_url.as_deref().and_then(|text| rules::check_base_url(&mut violations, &keys.guard, stored.kind, text));
    let opened = vault.open(stored.id, stored.owner, &stored.sealed);
    if opened.is_err() && !change.key.is_empty() && change.base_url.is_none() {
        violations.add("base_url", "must be given with the key, because the stored address cannot be read any more");
    }
    violations.check(SERVICE)?;
    // The sealed address counts. The column can be changed by whoever writes to the database.
    let before = opened.as_ref().map_or("", |opened| opened.base_url.as_str());
    let base_url = url.as_ref().map_or(before, |url| url.as_str()).to_owned();
    let changes_address = url.is_some_and(|url| rules::leads_elsewhere(before, &url));
    // A key that cannot be opened any more has to be entered again, too.
    let key = match (change.key.as_str(), &opened) {
        ("", Ok(opened)) if !changes_address => opened.key.expose(),
        ("", _) => return Err(Error::KeyRequired),
        (key, _) => key,
    };
    let changed = StoredKey {
        display_name: change.display_name.unwrap_or_else(|| stored.display_name.clone()),
        last_four: rules::last_four(key),
        sealed: vault.seal(stored.id, stored.owner, key, &base_url)?,
        base_url,
        updated_at: clock::now(),
        ..stored.clone()
    };
    if !provider_keys::update(&keys.db, &changed, &stored.sealed).await? {
        return Err(Error::KeyChanged);
    }
    log(context.user()?.id, &changed, "changed");
    Ok(changed)
}

/// Deletes a stored key.
///
/// # Errors
/// [`Error::SessionRequired`], [`Error::ProviderKeyNotFound`].
pub(crate) async fn delete(app: &App, context: &Context, id: Uuid) -> Result<(), Error> {
    require_person(context)?;
    let stored = find(app, context, id).await?;
    if !provider_keys::delete(&app.own_keys.db, stored.id).await? {
        return Err(Error::ProviderKeyNotFound);
    }
    log(context.user()?.id, &stored, "deleted");
    Ok(())
}

/// The log line of a change: whoever has the server of a key reads the prompts of its owner. It has no part of the key and only the host of its
/// address.
fn log(user: UserId, key: &StoredKey, change: &'static str) {
    let host = Url::parse(&key.base_url).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
    let project = match key.owner {
        KeyOwner::Person(_) => String::new(),
        KeyOwner::Project(project) => project.to_string(),
    };
    tracing::info!(%user, key = %key.id, project, provider = key.kind.name(), host, change, "a stored key of a model provider was changed");
}

/// A program with a refresh token sees the keys of its person, and does not change them.
fn require_person(context: &Context) -> Result<(), Error> {
    if context.user()?.is_of_person() { Ok(()) } else { Err(Error::SessionRequired) }
}

/// Whoever has only a stolen session cannot send the prompts of its person to a server of their own.
fn require_proof(context: &Context) -> Result<(), Error> {
    require_person(context)?;
    let now = u64::try_from(clock::now().unix_timestamp()).unwrap_or_default();
    if rules::is_recent(context.user()?.auth_time, now) { Ok(()) } else { Err(Error::StepUpRequired) }
}

impl OwnKeys {
    fn vault(&self) -> Result<&Vault, Error> {
        self.vault.as_ref().ok_or(Error::ProviderKeysDisabled)
    }
}

/// The owner of keys of a request. Only the owner of a project has a right to its keys.
async fn owner(app: &App, context: &Context, user: UserId, project: Option<ProjectId>) -> Result<KeyOwner, Error> {
    let Some(id) = project else { return Ok(KeyOwner::Person(user)) };
    let project = app.upstream.project(context, id).await?;
    if project.owner_id == user.to_string() { Ok(KeyOwner::Project(id)) } else { Err(Error::OwnerRequired) }
}

/// A key that the caller may change. Of a key of somebody else the caller does not learn that it exists.
async fn find(app: &App, context: &Context, id: Uuid) -> Result<StoredKey, Error> {
    let user = context.user()?.id;
    let stored = provider_keys::find(&app.own_keys.db, id).await?.ok_or(Error::ProviderKeyNotFound)?;
    match stored.owner {
        KeyOwner::Person(owner) if owner == user => Ok(stored),
        KeyOwner::Person(_) => Err(Error::ProviderKeyNotFound),
        KeyOwner::Project(project) => match owner(app, context, user, Some(project)).await {
            Ok(_) => Ok(stored),
            Err(Error::Refused(fault)) if fault.code == ErrorCode::NotFound => Err(Error::ProviderKeyNotFound),
            Err(error) => Err(error),
        },
    }
}
