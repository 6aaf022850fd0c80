//! An operator who looks after accounts, invites, the signing key and the audit log, over gRPC as `backlot admin` does.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use backlot::role::Role;
use chassis::{
    client::{self, ServiceChannel},
    clock,
    context::Context,
    identity::Caller,
    secret::ClusterSecret,
};
use proto::auth::{
    CreateInviteRequest, CreateUserRequest, DeleteUserRequest, EndUserSessionsRequest, FindUserRequest, ImpersonateUserRequest,
    ListAuditEventsRequest, ListInvitesRequest, ListUserSessionsRequest, ListUsersRequest, Plan, ReplaceSigningKeyRequest,
    ResetSecondFactorRequest, RevokeInviteRequest, SetUserDisabledRequest, SetUserPlanRequest, admin_service_client::AdminServiceClient,
};
use test_support::canary::Stopwatch;
use tokio::time::{Duration, sleep};
use tonic::{Request, Status};

use super::{
    moderator,
    record::{DeletedAccount, Record},
};
use crate::deployment::{self, Deployment};

/// The time between two rounds.
const PAUSE: Duration = Duration::from_millis(800);
/// The time between two attempts of one call.
const RETRY: Duration = Duration::from_millis(100);
/// At one of so many visits the operator replaces the signing key. The number is odd, so that both replicas have their turn. Each key stays
/// published for half an hour at least.
const VISITS_PER_KEY: usize = 5;
const NAME: &str = "chaos";

type Admin = AdminServiceClient<ServiceChannel>;

/// The connections to the replicas of auth.
#[derive(Debug, Clone)]
pub struct Operator {
    replicas: Vec<Admin>,
}

impl Operator {
    /// Connects to each replica of auth.
    ///
    /// # Panics
    /// An address is no URI.
    #[must_use]
    pub fn connect(deployment: &Deployment) -> Self {
        let secret = ClusterSecret::of_bytes(deployment::SECRET.as_bytes());
        let connect = |uri: String| client::connect(Caller::Operator, Caller::Auth, &uri.parse().expect("a URI"), &secret);
        let replicas = deployment.of(Role::Auth).map(|node| AdminServiceClient::new(connect(format!("http://{}", node.address))));
        Self { replicas: replicas.collect() }
    }

    /// Makes an invite at one of the replicas. Returns its token.
    ///
    /// # Errors
    /// The replica does not answer.
    pub async fn create_invite(&self, replica: usize) -> Result<String, Status> {
        let mut admin = self.replicas[replica % self.replicas.len()].clone();
        let create = CreateInviteRequest { operator: NAME.to_owned(), ..CreateInviteRequest::default() };
        Ok(admin.create_invite(of_operator(create)).await?.into_inner().token)
    }

    /// Removes the second factors of an account. Repeats the call until a replica answers, within the limit.
    pub(crate) async fn reset_second_factor(&self, user: &str, record: &Record, limit: Duration) -> Option<()> {
        let (what, clock) = ("reset a second factor", Stopwatch::start());
        for admin in self.replicas.iter().cycle() {
            if clock.elapsed() > limit {
                break;
            }
            let (request, sent) = (ResetSecondFactorRequest { user: user.to_owned(), operator: NAME.to_owned() }, Stopwatch::start());
            let answer = admin.clone().reset_second_factor(of_operator(request)).await;
            let is_done = answer.is_ok();
            moderator::answered(record, what, answer.map(drop), sent);
            if is_done {
                return Some(());
            }
            sleep(RETRY).await;
        }
        record.violation(format!("{what} of account {user} was not answered within {limit:?}"));
        None
    }
}

/// Works until stopped, with one replica after the other. A replica that is down is an expected failure.
pub async fn work(operator: Operator, record: Arc<Record>, stop: Arc<AtomicBool>) {
    for (visit, admin) in (1_usize..).zip(operator.replicas.iter().cycle()) {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let (mut admin, sent) = (admin.clone(), Stopwatch::start());
        moderator::answered(&record, "look after accounts", look_after_account(&mut admin, &record).await, sent);
        let sent = Stopwatch::start();
        moderator::answered(&record, "look after invites", look_after_invites(&mut admin, &record).await, sent);
        if visit.is_multiple_of(VISITS_PER_KEY) {
            let sent = Stopwatch::start();
            moderator::answered(&record, "replace the signing key", replace_signing_key(&mut admin, &record).await, sent);
        }
        sleep(PAUSE).await;
    }
}

/// Makes an account without a password, changes it, acts for its person, and deletes it.
async fn look_after_account(admin: &mut Admin, record: &Record) -> Result<(), Status> {
    let (operator, email) = (NAME.to_owned(), format!("{}@example.com", uuid::Uuid::now_v7().simple()));
    let create = CreateUserRequest { email: email.clone(), operator: operator.clone(), ..CreateUserRequest::default() };
    let created = admin.create_user(of_operator(create)).await?.into_inner();
    let user = created.account.and_then(|account| account.user).map(|user| user.id).unwrap_or_default();
    let plan = SetUserPlanRequest { user: user.clone(), plan: Plan::Pro.into(), operator: operator.clone() };
    admin.set_user_plan(of_operator(plan)).await?;
    for disabled in [true, false] {
        let change = SetUserDisabledRequest { user: user.clone(), disabled, operator: operator.clone() };
        admin.set_user_disabled(of_operator(change)).await?;
        let found = admin.find_user(of_operator(FindUserRequest { user: user.clone() })).await?.into_inner().account.unwrap_or_default();
        let is_pro = found.user.as_ref().is_some_and(|user| user.plan() == Plan::Pro);
        if found.disable_time.is_some() != disabled || !is_pro {
            record.violation(format!("the account {user} was changed to plan pro and disabled {disabled}, and is {found:?}"));
        }
    }
    let list = ListUsersRequest { query: email, ..ListUsersRequest::default() };
    let listed = admin.list_users(of_operator(list)).await?.into_inner().accounts;
    if listed.len() != 1 {
        record.violation(format!("the list of accounts like {user} is {listed:?}"));
    }
    let impersonate = ImpersonateUserRequest { user: user.clone(), reason: NAME.to_owned(), minutes: 5, operator: operator.clone() };
    let begun = admin.impersonate_user(of_operator(impersonate)).await?.into_inner().session.unwrap_or_default();
    let listed = admin.list_user_sessions(of_operator(ListUserSessionsRequest { user: user.clone() })).await?.into_inner().sessions;
    if !listed.iter().any(|session| session.id == begun.id) {
        record.violation(format!("the session {} of an operator is not among those of account {user}: {listed:?}", begun.id));
    }
    let end = EndUserSessionsRequest { user: user.clone(), operator: operator.clone(), ..EndUserSessionsRequest::default() };
    admin.end_user_sessions(of_operator(end)).await?;
    admin.delete_user(of_operator(DeleteUserRequest { user: user.clone(), operator })).await?;
    record.deleted(DeletedAccount { user, turns: Vec::new() });
    Ok(())
}

/// Makes an invite and revokes it, and reads the audit log of the last minute.
async fn look_after_invites(admin: &mut Admin, record: &Record) -> Result<(), Status> {
    let create = CreateInviteRequest { operator: NAME.to_owned(), ..CreateInviteRequest::default() };
    let created = admin.create_invite(of_operator(create)).await?.into_inner();
    let invite_id = created.invite.map(|invite| invite.id).unwrap_or_default();
    admin.list_invites(of_operator(ListInvitesRequest::default())).await?;
    let revoke = RevokeInviteRequest { invite_id, operator: NAME.to_owned() };
    let revoked = admin.revoke_invite(of_operator(revoke)).await?.into_inner().invite.unwrap_or_default();
    if revoked.revoke_time.is_none() {
        record.violation(format!("a revoked invite is {revoked:?}"));
    }
    let now = clock::now();
    let (since, until) = (now - time::Duration::minutes(1), now);
    let (since, until) = (Some(clock::timestamp(since)), Some(clock::timestamp(until)));
    let events = ListAuditEventsRequest { since, until, ..ListAuditEventsRequest::default() };
    admin.list_audit_events(of_operator(events)).await.map(drop)
}

/// Makes a key that signs later. One that signs at once would end access tokens that the editors use.
async fn replace_signing_key(admin: &mut Admin, record: &Record) -> Result<(), Status> {
    let replace = ReplaceSigningKeyRequest { at_once: false, operator: NAME.to_owned() };
    let replaced = admin.replace_signing_key(of_operator(replace)).await?.into_inner();
    let signs_later = replaced.sign_time.as_ref().is_some_and(|time| time.seconds > clock::now().unix_timestamp());
    if replaced.kid.is_empty() || !signs_later {
        record.violation(format!("a new signing key is to sign later, and is {replaced:?}"));
    }
    Ok(())
}

fn of_operator<T>(message: T) -> Request<T> {
    Context::background().request(message)
}
