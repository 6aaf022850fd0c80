//! The end of an account: what goes at once, and the log that other services follow.

use chassis::{context::Context, identity::Caller};
use proto::{
    auth::{
        AccountDeletion, AcknowledgeAccountDeletionsRequest, DeleteAccountRequest, ListAccountDeletionsRequest, ListAuditEventsRequest,
        Plan,
    },
    error::{ErrorCode, Fault},
};

use crate::{
    admin::{Admin, OPERATOR, client, request},
    harness::{Client, Cluster, PASSWORD, Replica, answer, within_a_minute},
    mailbox::Mailbox,
};

const EMAIL: &str = "canary-ada@example.org";

pub(crate) async fn delete(client: &Client, access: &str, email: &str) -> Result<(), Box<Fault>> {
    let request = client.authorized(DeleteAccountRequest { email: email.into() }, access);
    answer(client.client.clone().delete_account(request).await).map(drop)
}

pub(crate) async fn deletions(replica: &Replica, follower: Caller) -> Vec<AccountDeletion> {
    let request = request(ListAccountDeletionsRequest::default());
    answer(replica.called_by(follower, None).client.list_account_deletions(request).await).expect("a list").deletions
}

async fn acknowledge(replica: &Replica, follower: Caller, ids: &[u64]) -> Result<(), Box<Fault>> {
    let request = Context::background().request(AcknowledgeAccountDeletionsRequest { ids: ids.to_vec() });
    answer(replica.called_by(follower, None).client.acknowledge_account_deletions(request).await).map(drop)
}

/// Makes all deletions final.
async fn age(cluster: &Cluster) {
    sqlx::query("update account_deletions set created_at = created_at - interval '1 hour'")
        .execute(&cluster.database.pool)
        .await
        .expect("aged");
}

/// The kinds of the events of an account, with who did it.
async fn events(replica: &Replica, user: &str) -> Vec<(String, String)> {
    let message = ListAuditEventsRequest { page_size: 200, ..Default::default() };
    let page = answer(client(replica, Caller::Operator).list_audit_events(request(message)).await).expect("events");
    let of_user = page.events.into_iter().filter(|event| event.user_id == user);
    of_user.map(|event| (event.kind, event.actor_id)).collect()
}

#[tokio::test]
async fn an_account_is_gone_at_once_and_its_address_is_free() {
    let (cluster, mailbox) = (Cluster::start().await, Mailbox::new());
    let replica = mailbox.auth(&cluster, &[]).await;
    let gateway = replica.gateway();
    let account = gateway.sign_up(EMAIL, PASSWORD).await.expect("account");
    let user = account.user.expect("user").id;
    let other = gateway.sign_in(EMAIL, PASSWORD).await.expect("session");
    let stranger = gateway.sign_up("eve@example.org", PASSWORD).await.expect("account");
    let access = gateway.exchange(&account.session_token).await.expect("token").access_token;
    let program = gateway.refresh_token(&access).await.expect("token");
    mailbox.settled(&cluster).await;
    gateway.request_reset(EMAIL).await.expect("accepted");
    let link = mailbox.last(&cluster).await.token();
    assert!(cluster.database.tables_with(EMAIL).await.contains(&"email_tokens".to_owned()), "the link can be used");

    for typed in ["eve@example.org", "canary-ada", &"x".repeat(255), ""] {
        let fault = delete(&gateway, &access, typed).await.expect_err("another address");
        assert_eq!((fault.reason.as_str(), fault.violations[0].field.as_str()), ("INVALID_FIELD", "email"), "{typed}");
    }
    let of_program = gateway.refresh(&program.refresh_token).await.expect("token");
    assert_eq!(delete(&gateway, &of_program.access_token, EMAIL).await.expect_err("a program").reason, "SESSION_REQUIRED");
    let acting = Admin::of(&replica).impersonate(EMAIL, "ticket 7", 5).await.expect("session");
    let acting = gateway.exchange(&acting.session_token).await.expect("token").access_token;
    assert_eq!(delete(&gateway, &acting, EMAIL).await.expect_err("an operator").reason, "IMPERSONATED");
    gateway.exchange(&other.session_token).await.expect("nothing has changed");
    let pool = &cluster.database.pool;
    let invite = "insert into invites (id, token_hash, email, email_identity, created_by, created_at, expires_at)
                  values (gen_random_uuid(), sha256('x'), $1, $1, 'grace', now(), now())";
    sqlx::query(invite).bind(EMAIL).execute(pool).await.expect("an invite");
    sqlx::query("update sessions set authenticated_at = now() - interval '11 minutes'").execute(pool).await.expect("an old proof");
    assert_eq!(delete(&gateway, &access, EMAIL).await.expect_err("no recent proof").reason, "STEP_UP_REQUIRED");
    sqlx::query("update sessions set authenticated_at = now()").execute(pool).await.expect("a new proof");

    delete(&gateway, &access, " CANARY-Ada@example.org ").await.expect("deleted");
    for ended in [&account.session_token, &other.session_token] {
        assert_eq!(gateway.exchange(ended).await.expect_err("ended").reason, "SESSION_ENDED");
    }
    assert_eq!(gateway.refresh(&of_program.refresh_token).await.expect_err("ended").reason, "SESSION_ENDED");
    assert_eq!(delete(&gateway, &access, EMAIL).await.expect_err("ended").reason, "SESSION_ENDED");
    assert_eq!(gateway.sign_in(EMAIL, PASSWORD).await.expect_err("no account").reason, "BAD_CREDENTIALS");
    assert_eq!(gateway.confirm_reset(&link, PASSWORD).await.expect_err("void").reason, "LINK_INVALID");
    gateway.exchange(&stranger.session_token).await.expect("another account stays");

    let mail = mailbox.last(&cluster).await;
    assert_eq!((mail.to.as_str(), mail.subject.as_str()), (EMAIL, "Your account was deleted"));
    assert_eq!(cluster.database.tables_with(EMAIL).await, [""; 0], "nothing has the address");
    assert_eq!(cluster.database.tables_with(&user).await, ["account_deletions", "audit_events"]);
    let reported: i64 = sqlx::query_scalar("select count(*) from revocations").fetch_one(&cluster.database.pool).await.expect("count");
    assert_eq!(reported, 4, "two sign-ins, a program, and the session of the operator");
    assert!(events(&replica, &user).await.contains(&("user.deleted".to_owned(), user.clone())));

    let again = gateway.sign_up(EMAIL, PASSWORD).await.expect("the address is free");
    assert_ne!(again.user.expect("user").id, user);
}

/// Whoever signs up with an address that was freed and deletes that account takes no notice from the person who had the address before.
#[tokio::test]
async fn notices_to_the_address_outlive_the_account_that_has_it() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    let account = gateway.sign_up(EMAIL, PASSWORD).await.expect("account");
    let access = gateway.exchange(&account.session_token).await.expect("token").access_token;
    let pool = &cluster.database.pool;
    // Due later, so that no replica sends them.
    let waiting = "insert into mail_queue (id, kind, recipient, email, created_at, attempts, due_at)
                   values (gen_random_uuid(), $1, sha256(convert_to($2, 'UTF8')), $2, now(), 1, now() + interval '1 hour')";
    for kind in ["account_deleted", "change_email", "email_changed", "password_changed", "reset", "sign_up", "verify"] {
        sqlx::query(waiting).bind(kind).bind(EMAIL).execute(pool).await.expect("a mail");
    }
    delete(&gateway, &access, EMAIL).await.expect("deleted");
    let left: Vec<String> = sqlx::query_scalar("select kind from mail_queue where due_at > now() + interval '30 minutes' order by kind")
        .fetch_all(pool)
        .await
        .expect("mails");
    assert_eq!(left, ["account_deleted", "email_changed", "password_changed"]);
}

#[tokio::test]
async fn a_deletion_is_done_when_every_service_has_acknowledged_it() {
    let cluster = Cluster::start().await;
    let replica = cluster.auth().await;
    let gateway = replica.gateway();
    let account = gateway.sign_up(EMAIL, PASSWORD).await.expect("account");
    let user = account.user.expect("user").id;
    let access = gateway.exchange(&account.session_token).await.expect("token").access_token;
    delete(&gateway, &access, EMAIL).await.expect("deleted");

    let [deletion] = deletions(&replica, Caller::ProjectStorage).await.try_into().expect("one deletion");
    assert_eq!((deletion.user_id.as_str(), deletion.is_final), (user.as_str(), false));
    acknowledge(&replica, Caller::ProjectStorage, &[deletion.id]).await.expect("ignored");
    assert_eq!(deletions(&replica, Caller::ProjectStorage).await.len(), 1, "a token of the account may still be valid");

    age(&cluster).await;
    assert!(deletions(&replica, Caller::AgentStreaming).await[0].is_final);
    for _ in 0..2 {
        acknowledge(&replica, Caller::ProjectStorage, &[deletion.id, 999_999, u64::MAX]).await.expect("acknowledged");
        assert!(deletions(&replica, Caller::ProjectStorage).await.is_empty());
        assert_eq!(deletions(&replica, Caller::AgentStreaming).await.len(), 1);
    }
    assert!(!events(&replica, &user).await.iter().any(|(kind, _)| kind == "user.data_deleted"));
    let ids = [deletion.id];
    let (one, other) = within_a_minute(async {
        tokio::join!(acknowledge(&replica, Caller::AgentStreaming, &ids), acknowledge(&replica, Caller::AgentStreaming, &ids))
    })
    .await;
    one.and(other).expect("acknowledged");
    assert!(deletions(&replica, Caller::AgentStreaming).await.is_empty());
    let done = events(&replica, &user).await.into_iter().filter(|(kind, _)| kind == "user.data_deleted").count();
    assert_eq!(done, 1);
    assert_eq!(cluster.database.tables_with(&user).await, ["audit_events"]);

    for caller in [Caller::Gateway, Caller::RateLimit, Caller::Operator] {
        assert_eq!(acknowledge(&replica, caller, &[1]).await.expect_err("not a follower").reason, "CALLER_DENIED");
    }
    for ids in [vec![], vec![1; 201]] {
        let fault = acknowledge(&replica, Caller::AgentStreaming, &ids).await.expect_err("a number of ids");
        assert_eq!((fault.code, fault.violations[0].field.as_str()), (ErrorCode::InvalidArgument, "ids"));
    }
}

#[tokio::test]
async fn services_that_acknowledge_at_the_same_time_end_the_deletion_once() {
    let cluster = Cluster::start().await;
    let replica = cluster.auth().await;
    let admin = Admin::of(&replica);
    for round in 0..10 {
        let email = format!("ada{round}@example.org");
        let user = admin.create(&email, "", Plan::Free).await.expect("account").account.expect("account").user.expect("user").id;
        admin.delete(&email).await.expect("deleted");
        age(&cluster).await;
        let ids = [deletions(&replica, Caller::ProjectStorage).await[0].id];
        let (one, other) = within_a_minute(async {
            tokio::join!(acknowledge(&replica, Caller::ProjectStorage, &ids), acknowledge(&replica, Caller::AgentStreaming, &ids))
        })
        .await;
        one.and(other).expect("acknowledged");
        let left: i64 =
            sqlx::query_scalar("select count(*) from account_deletions").fetch_one(&cluster.database.pool).await.expect("count");
        assert_eq!(left, 0);
        assert_eq!(events(&replica, &user).await.iter().filter(|(kind, _)| kind == "user.data_deleted").count(), 1);
    }
}

#[tokio::test]
async fn an_operator_deletes_an_account() {
    let (cluster, mailbox) = (Cluster::start().await, Mailbox::new());
    let replica = mailbox.auth(&cluster, &[]).await;
    let admin = Admin::of(&replica);
    let account = replica.gateway().sign_up(EMAIL, PASSWORD).await.expect("account");
    let user = account.user.expect("user").id;
    assert_eq!(admin.delete(EMAIL).await.expect("deleted"), 1);
    assert_eq!(replica.gateway().exchange(&account.session_token).await.expect_err("ended").reason, "SESSION_ENDED");
    assert_eq!(admin.delete(EMAIL).await.expect_err("gone").reason, "USER_NOT_FOUND");
    assert_eq!(admin.delete(&user).await.expect_err("gone").reason, "USER_NOT_FOUND");
    assert!(events(&replica, &user).await.contains(&("user.deleted".to_owned(), OPERATOR.to_owned())));
    assert_eq!(mailbox.last(&cluster).await.subject, "Your account was deleted");
}

/// A sign-in that has verified the password begins no session after the deletion, and no deletion waits for one for ever.
#[tokio::test]
async fn sign_ins_and_deletions_at_the_same_time_leave_no_session() {
    let cluster = Cluster::start().await;
    let replica = cluster.auth().await;
    let gateway = replica.gateway();
    for _ in 0..5 {
        let account = gateway.sign_up(EMAIL, PASSWORD).await.expect("account");
        let access = gateway.exchange(&account.session_token).await.expect("token").access_token;
        let sign_ins = async { futures::future::join_all((0..6).map(|_| gateway.sign_in(EMAIL, PASSWORD))).await };
        let deletion = delete(&gateway, &access, EMAIL);
        let (deleted, begun) = within_a_minute(async { tokio::join!(deletion, sign_ins) }).await;
        deleted.expect("deleted");
        for sign_in in begun {
            match sign_in {
                Ok(begun) => assert_eq!(gateway.exchange(&begun.session_token).await.expect_err("ended").reason, "SESSION_ENDED"),
                Err(fault) => assert_eq!(fault.reason, "BAD_CREDENTIALS", "{fault:?}"),
            }
        }
        let left: i64 = sqlx::query_scalar("select (select count(*) from sessions) + (select count(*) from users)")
            .fetch_one(&cluster.database.pool)
            .await
            .expect("count");
        assert_eq!(left, 0);
    }
}
