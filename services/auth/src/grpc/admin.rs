//! The RPCs of operators.

use chassis::{
    clock::{Timestamp, from_timestamp, now, timestamp},
    context::Context,
    error::status,
    page,
};
use proto::{
    auth::{
        self as pb, AccountKind, CreateInviteRequest, CreateInviteResponse, CreateUserRequest, CreateUserResponse, DeleteUserRequest,
        DeleteUserResponse, EndUserSessionsRequest, EndUserSessionsResponse, FindUserRequest, FindUserResponse, ImpersonateUserRequest,
        ImpersonateUserResponse, ListAuditEventsRequest, ListAuditEventsResponse, ListInvitesRequest, ListInvitesResponse,
        ListUserSessionsRequest, ListUserSessionsResponse, ListUsersRequest, ListUsersResponse, Plan, ReplaceSigningKeyRequest,
        ReplaceSigningKeyResponse, ResetSecondFactorRequest, ResetSecondFactorResponse, RevokeInviteRequest, RevokeInviteResponse,
        SetUserDisabledRequest, SetUserDisabledResponse, SetUserPlanRequest, SetUserPlanResponse, admin_service_server::AdminService,
    },
    error::Violations,
    id::SessionId,
};
use time::{Duration, OffsetDateTime};
use tonic::{Request, Response, Status};

use super::{
    Service,
    decode::{check_lengths, new_account},
    encode::{session, user},
    invite, passkeys,
    provider::{self, uuid},
};
use crate::{
    account::NewAccount,
    admin::{self, Change, Page, SignInMethods, Target},
    app::App,
    audit::{MAX_TEXT, StoredEvent},
    email,
    error::{Error, SERVICE},
    session::MAX_IMPERSONATION,
    session_list,
    user::Account,
};

/// Characters of the name of an operator.
const MAX_OPERATOR: usize = 80;

#[tonic::async_trait]
impl AdminService for Service {
    async fn create_user(&self, request: Request<CreateUserRequest>) -> Result<Response<CreateUserResponse>, Status> {
        let (context, request) = parts(request);
        let (new, plan, operator) = new_user(request, self.0.password_min).map_err(status)?;
        let (created, link) = self.change(&context, operator).create(new, plan).await.map_err(status)?;
        let (url, expires_at) = link.map(|link| (link.url, timestamp(link.expires_at))).unzip();
        Ok(Response::new(CreateUserResponse {
            account: Some(account(created)),
            password_url: url.unwrap_or_default(),
            password_expire_time: expires_at,
            ..Default::default()
        }))
    }

    async fn list_users(&self, request: Request<ListUsersRequest>) -> Result<Response<ListUsersResponse>, Status> {
        let ListUsersRequest { query, page_size, page_token } = request.into_inner();
        let mut violations = Violations::default();
        check_text(&mut violations, "query", &query, 0, email::MAX_CHARACTERS);
        let page = Page { token: page_token, size: page::size(page_size, &mut violations) };
        checked(violations).map_err(status)?;
        let (found, next_page_token) = admin::list(&self.0.pool, &self.0.pages, &query, page).await.map_err(status)?;
        Ok(Response::new(ListUsersResponse { accounts: found.into_iter().map(account).collect(), next_page_token }))
    }

    async fn find_user(&self, request: Request<FindUserRequest>) -> Result<Response<FindUserResponse>, Status> {
        let found = self.find(&request.into_inner().user, Violations::default()).await.map_err(status)?;
        let methods = admin::sign_in_methods(&self.0.pool, found.user.id).await.map_err(|error| status(Error::from(error)))?;
        Ok(Response::new(FindUserResponse { account: Some(account(found)), sign_in_methods: Some(sign_in_methods(methods)) }))
    }

    async fn set_user_disabled(&self, request: Request<SetUserDisabledRequest>) -> Result<Response<SetUserDisabledResponse>, Status> {
        let (context, SetUserDisabledRequest { user, disabled, operator }) = parts(request);
        let found = self.find(&user, checks(&operator)).await.map_err(status)?;
        let change = self.change(&context, operator);
        let ended = if disabled { change.disable(&found).await } else { change.enable(&found).await.map(|()| 0) }.map_err(status)?;
        let changed = self.find(&user, Violations::default()).await.map_err(status)?;
        Ok(Response::new(SetUserDisabledResponse { account: Some(account(changed)), ended_sessions: count(ended) }))
    }

    async fn reset_second_factor(&self, request: Request<ResetSecondFactorRequest>) -> Result<Response<ResetSecondFactorResponse>, Status> {
        let (context, ResetSecondFactorRequest { user, operator }) = parts(request);
        let found = self.find(&user, checks(&operator)).await.map_err(status)?;
        let was_removed = self.change(&context, operator).reset_second_factor(&found).await.map_err(status)?;
        Ok(Response::new(ResetSecondFactorResponse { was_removed }))
    }

    async fn set_user_plan(&self, request: Request<SetUserPlanRequest>) -> Result<Response<SetUserPlanResponse>, Status> {
        let (context, SetUserPlanRequest { user, plan, operator }) = parts(request);
        let mut violations = checks(&operator);
        let plan = known_plan(plan).filter(|plan| *plan != Plan::Unspecified);
        if plan.is_none() {
            violations.add("plan", "must be a plan");
        }
        let found = self.find(&user, violations).await.map_err(status)?;
        self.change(&context, operator).set_plan(&found, plan.unwrap_or(Plan::Free)).await.map_err(status)?;
        let changed = self.find(&user, Violations::default()).await.map_err(status)?;
        Ok(Response::new(SetUserPlanResponse { account: Some(account(changed)) }))
    }

    async fn list_user_sessions(&self, request: Request<ListUserSessionsRequest>) -> Result<Response<ListUserSessionsResponse>, Status> {
        let found = self.find(&request.into_inner().user, Violations::default()).await.map_err(status)?;
        let sessions = session_list::of_account(&self.0.pool, found.user.id, now()).await.map_err(status)?;
        Ok(Response::new(ListUserSessionsResponse { sessions: sessions.iter().map(|one| session(&self.0.places, one, None)).collect() }))
    }

    async fn end_user_sessions(&self, request: Request<EndUserSessionsRequest>) -> Result<Response<EndUserSessionsResponse>, Status> {
        let (context, EndUserSessionsRequest { user, session_id, operator }) = parts(request);
        let mut violations = checks(&operator);
        let id = if session_id.is_empty() { None } else { violations.parse::<SessionId>("session_id", &session_id) };
        let found = self.find(&user, violations).await.map_err(status)?;
        let ended = self.change(&context, operator).end_sessions(&found, id).await.map_err(status)?;
        Ok(Response::new(EndUserSessionsResponse { ended_sessions: count(ended) }))
    }

    async fn impersonate_user(&self, request: Request<ImpersonateUserRequest>) -> Result<Response<ImpersonateUserResponse>, Status> {
        let (context, ImpersonateUserRequest { user: target, reason, minutes, operator }) = parts(request);
        let mut violations = checks(&operator);
        check_text(&mut violations, "reason", &reason, 1, MAX_TEXT);
        if reason.trim().is_empty() {
            violations.add("reason", "must not be blank");
        }
        let lifetime = if minutes == 0 { MAX_IMPERSONATION } else { Duration::minutes(minutes.into()) };
        if lifetime > MAX_IMPERSONATION {
            violations.add("minutes", format!("must be at most {}", MAX_IMPERSONATION.whole_minutes()));
        }
        let found = self.find(&target, violations).await.map_err(status)?;
        let begun = self.change(&context, operator).impersonate(found, &reason, lifetime).await.map_err(status)?;
        Ok(Response::new(ImpersonateUserResponse {
            user: Some(user(begun.user)),
            session: Some(session(&self.0.places, &begun.session, None)),
            session_token: begun.secret.expose().to_owned(),
        }))
    }

    async fn create_invite(&self, request: Request<CreateInviteRequest>) -> Result<Response<CreateInviteResponse>, Status> {
        let (context, request) = parts(request);
        let violations = checks(&request.operator);
        let change = self.change(&context, request.operator.clone());
        invite::create(&change, violations, request).await.map(Response::new).map_err(status)
    }

    async fn list_invites(&self, request: Request<ListInvitesRequest>) -> Result<Response<ListInvitesResponse>, Status> {
        invite::list(&self.0, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn revoke_invite(&self, request: Request<RevokeInviteRequest>) -> Result<Response<RevokeInviteResponse>, Status> {
        let (context, RevokeInviteRequest { invite_id, operator }) = parts(request);
        let mut violations = checks(&operator);
        let id = uuid(&mut violations, "invite_id", &invite_id).ok_or(Error::InviteNotFound);
        checked(violations).map_err(status)?;
        let revoked = self.change(&context, operator).revoke_invite(id.map_err(status)?).await.map_err(status)?;
        Ok(Response::new(RevokeInviteResponse { invite: Some(invite::encoded(revoked)) }))
    }

    async fn replace_signing_key(&self, request: Request<ReplaceSigningKeyRequest>) -> Result<Response<ReplaceSigningKeyResponse>, Status> {
        let (context, ReplaceSigningKeyRequest { at_once, operator }) = parts(request);
        checked(checks(&operator)).map_err(status)?;
        let replaced = self.change(&context, operator).replace_signing_key(at_once).await.map_err(status)?;
        Ok(Response::new(ReplaceSigningKeyResponse { kid: replaced.kid, sign_time: Some(timestamp(replaced.signs_from)) }))
    }

    async fn delete_user(&self, request: Request<DeleteUserRequest>) -> Result<Response<DeleteUserResponse>, Status> {
        let (context, DeleteUserRequest { user, operator }) = parts(request);
        let found = self.find(&user, checks(&operator)).await.map_err(status)?;
        let ended = self.change(&context, operator).delete(&found).await.map_err(status)?;
        Ok(Response::new(DeleteUserResponse { account: Some(account(found)), ended_sessions: count(ended) }))
    }

    async fn list_audit_events(&self, request: Request<ListAuditEventsRequest>) -> Result<Response<ListAuditEventsResponse>, Status> {
        let ListAuditEventsRequest { since, until, page_size, page_token } = request.into_inner();
        let mut violations = Violations::default();
        let since =
            moment(&mut violations, "since", since).map_or(OffsetDateTime::UNIX_EPOCH, |since| since.max(OffsetDateTime::UNIX_EPOCH));
        let until = moment(&mut violations, "until", until).unwrap_or_else(latest);
        let page = Page { token: page_token, size: page::size(page_size, &mut violations) };
        checked(violations).map_err(status)?;
        let (events, next_page_token) = admin::list_events(&self.0.pool, &self.0.pages, (since, until), page).await.map_err(status)?;
        Ok(Response::new(ListAuditEventsResponse { events: events.into_iter().map(event).collect(), next_page_token }))
    }
}

/// After every event: the last day of the year 9999.
fn latest() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(253_402_214_400).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

impl Service {
    fn change<'a>(&'a self, context: &'a Context, operator: String) -> Change<'a> {
        let app: &App = &self.0;
        Change { app, context, operator, now: now() }
    }

    /// The account that a request names, whose other fields have these violations.
    async fn find(&self, user: &str, mut violations: Violations) -> Result<Account, Error> {
        check_text(&mut violations, "user", user, 1, email::MAX_CHARACTERS);
        checked(violations)?;
        admin::find(&self.0.pool, &Target::new(user)).await
    }
}

fn parts<T>(request: Request<T>) -> (Context, T) {
    (Context::of(&request), request.into_inner())
}

fn new_user(request: CreateUserRequest, password_min: usize) -> Result<(NewAccount, Plan, String), Error> {
    let CreateUserRequest { email, password, display_name, plan, operator } = request;
    let mut violations = checks(&operator);
    let known = known_plan(plan);
    if known.is_none() {
        violations.add("plan", "must be a plan");
    }
    checked(violations)?;
    let plan = known.filter(|plan| *plan != Plan::Unspecified).unwrap_or(Plan::Free);
    // Without a password the account has none. The rules of a sign-up apply to the other fields.
    let is_given = !password.is_empty();
    let placeholder = "a".repeat(password_min);
    let request = pb::SignUpRequest { email, password: if is_given { password } else { placeholder }, display_name, ..Default::default() };
    let mut new = new_account(request, password_min)?;
    if !is_given {
        new.password.clear();
    }
    Ok((new, plan, operator))
}

/// The violations of the operator's name.
fn checks(operator: &str) -> Violations {
    let mut violations = Violations::default();
    check_text(&mut violations, "operator", operator, 1, MAX_OPERATOR);
    violations
}

fn check_text(violations: &mut Violations, field: &str, text: &str, min: usize, max: usize) {
    check_lengths(violations, [(field, text.chars().count(), min..=max)]);
    violations.no_misleading_characters(field, text);
}

fn checked(violations: Violations) -> Result<(), Error> {
    Ok(violations.check(SERVICE)?)
}

fn known_plan(plan: i32) -> Option<Plan> {
    Plan::try_from(plan).ok()
}

fn moment(violations: &mut Violations, field: &str, time: Option<Timestamp>) -> Option<OffsetDateTime> {
    let time = time?;
    let found = from_timestamp(&time);
    if found.is_none() {
        violations.add(field, "must be a time of the years -9999 to 9999");
    }
    found
}

fn count(sessions: usize) -> u32 {
    u32::try_from(sessions).unwrap_or(u32::MAX)
}

fn account(account: Account) -> pb::Account {
    let kind = if account.owner.is_some() { AccountKind::Service } else { AccountKind::Person };
    pb::Account {
        user: Some(user(account.user)),
        disable_time: account.disabled_at.map(timestamp),
        kind: kind.into(),
        owner_id: account.owner.map(|owner| owner.to_string()).unwrap_or_default(),
        verify_time: account.verified_at.map(timestamp),
    }
}

fn sign_in_methods(methods: SignInMethods) -> pb::SignInMethods {
    let SignInMethods { factors, totp_added_at, passkeys, identities } = methods;
    pb::SignInMethods {
        password: factors.password,
        totp_create_time: totp_added_at.map(timestamp),
        recovery_codes: u32::try_from(factors.recovery_codes).unwrap_or_default(),
        passkeys: passkeys.into_iter().map(passkeys::encode).collect(),
        identities: identities.into_iter().map(provider::encoded).collect(),
    }
}

fn event(event: StoredEvent) -> pb::AuditEvent {
    pb::AuditEvent {
        id: event.id.to_string(),
        create_time: Some(timestamp(event.created_at)),
        kind: event.kind,
        actor_kind: event.actor_kind,
        actor_id: event.actor_id.unwrap_or_default(),
        user_id: event.user_id.map(|id| id.to_string()).unwrap_or_default(),
        network: event.network.unwrap_or_default(),
        trace_id: event.trace_id.unwrap_or_default(),
        details: event.details.to_string(),
    }
}
