//! Sign-ins of devices (RFC 8628), and row A4 of the reference for their codes.

use futures::{future::join_all, join};
use proto::{
    auth::{
        DecideDeviceSignInRequest, DeviceSignInState as State, ExchangeDeviceCodeRequest, ExchangeDeviceCodeResponse,
        GetDeviceSignInRequest, GetDeviceSignInResponse, RevokeSessionsRequest, SessionKind, StartDeviceSignInRequest,
        StartDeviceSignInResponse,
    },
    error::{ErrorCode, Fault},
};

use crate::{
    harness::{Client, Cluster, answer},
    mailbox::Mailbox,
};

const USES: usize = 50;

pub(crate) async fn start(gateway: &Client) -> StartDeviceSignInResponse {
    let request = gateway.request(StartDeviceSignInRequest { client_name: NAME.into() });
    answer(gateway.client.clone().start_device_sign_in(request).await).expect("started")
}

async fn find(gateway: &Client, access: &str, code: &str) -> Result<GetDeviceSignInResponse, Box<Fault>> {
    let request = gateway.authorized(GetDeviceSignInRequest { user_code: code.into() }, access);
    answer(gateway.client.clone().get_device_sign_in(request).await)
}

pub(crate) async fn decide(gateway: &Client, access: &str, code: &str, approve: bool) -> Result<(), Box<Fault>> {
    let request = gateway.authorized(DecideDeviceSignInRequest { user_code: code.into(), approve }, access);
    answer(gateway.client.clone().decide_device_sign_in(request).await).map(drop)
}

/// What the program calls itself.
const NAME: &str = "a command line";

async fn ask(gateway: &Client, device_code: &str) -> ExchangeDeviceCodeResponse {
    ask_as(gateway, device_code, NAME).await.expect("an answer")
}

async fn ask_as(gateway: &Client, device_code: &str, client_name: &str) -> Result<ExchangeDeviceCodeResponse, Box<Fault>> {
    let request = gateway.request(ExchangeDeviceCodeRequest { device_code: device_code.into(), client_name: client_name.into() });
    answer(gateway.client.clone().exchange_device_code(request).await)
}

/// Exchanges the code of a device that its person has approved.
pub(crate) async fn exchange(gateway: &Client, device_code: &str) -> Result<(), Box<Fault>> {
    let state = ask_as(gateway, device_code, NAME).await?.state();
    let refusal = || Box::new(Fault::new("auth", ErrorCode::InvalidArgument, "CODE_ENDED", format!("{state:?}")));
    if state == State::Done { Ok(()) } else { Err(refusal()) }
}

fn refused(result: Result<impl std::fmt::Debug, Box<Fault>>) -> (ErrorCode, String) {
    let fault = result.expect_err("refused");
    (fault.code, fault.reason)
}

async fn execute(cluster: &Cluster, sql: &'static str) {
    sqlx::query(sql).execute(&cluster.database.pool).await.expect("changed");
}

#[tokio::test]
async fn a_device_gets_a_session_after_its_person_has_approved() {
    let cluster = Cluster::start().await;
    let replica = cluster.auth().await;
    let (gateway, device) = (replica.gateway(), replica.gateway_for("198.51.100.7"));
    let access = gateway.signed_up("ada@example.org").await;
    let started = start(&device).await;
    assert_eq!((started.lifetime_seconds, started.interval_seconds, started.user_code.len()), (600, 5, 9));
    assert_eq!(ask(&device, &started.device_code).await.state(), State::Pending);
    assert_eq!(ask(&device, &started.device_code).await.state(), State::SlowDown, "before five seconds");
    let wait: i32 = sqlx::query_scalar("select wait from device_sign_ins").fetch_one(&cluster.database.pool).await.expect("a number");
    assert_eq!(wait, 10);

    let typed = started.user_code.to_lowercase().replace('-', " ");
    let found = find(&gateway, &access, &typed).await.expect("found");
    assert_eq!((found.client_name.as_str(), found.network.as_str(), found.email.as_str()), (NAME, "198.51.100.0/24", "ada@example.org"));
    decide(&gateway, &access, &typed, true).await.expect("approved");
    let done = ask(&device, &started.device_code).await;
    assert_eq!(done.state(), State::Done);
    let session = gateway
        .sessions(&access)
        .await
        .expect("sessions")
        .into_iter()
        .find(|one| one.kind() == SessionKind::RefreshToken)
        .expect("a program");
    assert_eq!((session.display_name.as_str(), session.network.as_str()), (NAME, "198.51.100.0/24"));
    gateway.sessions(&done.access_token).await.expect("the access token is accepted");
    gateway.refresh(&done.refresh_token).await.expect("the refresh token is accepted");
    assert_eq!(ask(&device, &started.device_code).await.state(), State::Invalid, "one exchange");
    let kinds: Vec<String> = sqlx::query_scalar(
        "select kind from audit_events where kind like 'device.%' or kind like 'refresh_token.%' order by created_at, id",
    )
    .fetch_all(&cluster.database.pool)
    .await
    .expect("events");
    assert_eq!(kinds, ["device.approved", "refresh_token.created"]);
}

/// Somebody may have talked the person into the approval, or has a session of the person.
#[tokio::test]
async fn the_owner_gets_a_mail_about_a_program_without_its_name() {
    let (cluster, mailbox) = (Cluster::start().await, Mailbox::new());
    let replica = mailbox.auth(&cluster, &[]).await;
    let (gateway, device) = (replica.gateway(), replica.gateway_for("198.51.100.7"));
    let access = gateway.signed_up("ada@example.org").await;
    let started = start(&device).await;
    decide(&gateway, &access, &started.user_code, true).await.expect("approved");
    assert!(mailbox.settled(&cluster).await.is_empty(), "the device has no session yet");
    assert_eq!(ask(&device, &started.device_code).await.state(), State::Done);
    let of_device = mailbox.last(&cluster).await;
    gateway.refresh_token(&access).await.expect("a program");
    let of_token = mailbox.last(&cluster).await;
    for (mail, network) in [(of_device, "198.51.100.7"), (of_token, "192.0.2.1")] {
        assert_eq!((mail.to.as_str(), mail.subject.as_str()), ("ada@example.org", "A program was signed in to your account"));
        assert!(mail.raw.contains(network) && !mail.raw.contains(NAME), "{}", mail.raw);
        assert_eq!(mail.link(), "https://apps.example/account/sessions");
    }
    assert_eq!(mailbox.all().len(), 2);
}

#[tokio::test]
async fn a_device_that_is_refused_or_late_gets_nothing() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    let access = gateway.signed_up("ada@example.org").await;
    let denied = start(&gateway).await;
    decide(&gateway, &access, &denied.user_code, false).await.expect("refused");
    assert_eq!(refused(decide(&gateway, &access, &denied.user_code, true).await).1, "DEVICE_CODE_INVALID", "one decision");
    assert_eq!(
        [ask(&gateway, &denied.device_code).await.state(), ask(&gateway, &denied.device_code).await.state()],
        [State::Denied, State::Invalid]
    );

    let late = start(&gateway).await;
    execute(&cluster, "update device_sign_ins set expires_at = now()").await;
    for result in [find(&gateway, &access, &late.user_code).await.map(drop), decide(&gateway, &access, &late.user_code, true).await] {
        assert_eq!(refused(result), (ErrorCode::InvalidArgument, "DEVICE_CODE_INVALID".into()));
    }
    assert_eq!(ask(&gateway, &late.device_code).await.state(), State::Expired);
    assert_eq!(ask(&gateway, "garbage").await.state(), State::Invalid);
    assert_eq!(refused(find(&gateway, &access, "AAAA-AAAA").await).1, "DEVICE_CODE_INVALID");

    let disabled = start(&gateway).await;
    decide(&gateway, &access, &disabled.user_code, true).await.expect("approved");
    execute(&cluster, "update users set disabled_at = now()").await;
    assert_eq!(ask(&gateway, &disabled.device_code).await.state(), State::Denied);
    let programs: i64 = sqlx::query_scalar("select count(*) from sessions where kind = 'refresh_token'")
        .fetch_one(&cluster.database.pool)
        .await
        .expect("a number");
    assert_eq!(programs, 0);
}

#[tokio::test]
async fn a_code_is_that_of_the_program_that_began() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    let access = gateway.signed_up("ada@example.org").await;
    let started = start(&gateway).await;
    decide(&gateway, &access, &started.user_code, true).await.expect("approved");
    let other = ask_as(&gateway, &started.device_code, "another command line").await.expect("an answer");
    assert_eq!((other.state(), other.access_token.as_str()), (State::Invalid, ""));
    assert_eq!(refused(ask_as(&gateway, &started.device_code, &"a".repeat(81)).await).1, "INVALID_FIELD");
    // A gateway of the release before sends no name.
    assert_eq!(ask_as(&gateway, &started.device_code, "").await.expect("an answer").state(), State::Done);
}

/// A thief approves a device of their own, and asks for its session after the owner has ended all sessions.
#[tokio::test]
async fn an_approval_ends_with_the_sessions_of_the_account() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    let access = gateway.signed_up("ada@example.org").await;
    let device = start(&gateway).await;
    decide(&gateway, &access, &device.user_code, true).await.expect("approved");
    let request = gateway.authorized(RevokeSessionsRequest { include_current: false }, &access);
    answer(gateway.client.clone().revoke_sessions(request).await).expect("ended");
    assert_eq!(ask(&gateway, &device.device_code).await.state(), State::Invalid);
}

#[tokio::test]
async fn an_exchange_and_the_end_of_all_sessions_wait_for_each_other() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    let access = gateway.signed_up("ada@example.org").await;
    for _ in 0..20 {
        let device = start(&gateway).await;
        decide(&gateway, &access, &device.user_code, true).await.expect("approved");
        let end = async {
            let request = gateway.authorized(RevokeSessionsRequest { include_current: false }, &access);
            answer(gateway.client.clone().revoke_sessions(request).await).expect("ended");
        };
        let (exchanged, ()) = join!(ask(&gateway, &device.device_code), end);
        assert!(matches!(exchanged.state(), State::Done | State::Invalid), "{exchanged:?}");
    }
}

#[tokio::test]
async fn approvals_together_make_no_more_programs_than_an_account_may_have() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    let access = gateway.signed_up("ada@example.org").await;
    let mut devices = Vec::new();
    for _ in 0..2 {
        let device = start(&gateway).await;
        decide(&gateway, &access, &device.user_code, true).await.expect("there is room");
        devices.push(device.device_code);
    }
    for _ in 0..49 {
        gateway.refresh_token(&access).await.expect("a program");
    }
    assert_eq!(ask(&gateway, &devices[0]).await.state(), State::Done, "the fiftieth");
    assert_eq!([ask(&gateway, &devices[1]).await.state(), ask(&gateway, &devices[1]).await.state()], [State::Denied, State::Invalid]);
}

#[tokio::test]
async fn only_a_session_of_a_sign_in_decides() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    let access = gateway.signed_up("ada@example.org").await;
    let program = gateway.refresh_token(&access).await.expect("token").refresh_token;
    let program = gateway.refresh(&program).await.expect("token").access_token;
    let started = start(&gateway).await;
    assert_eq!(refused(find(&gateway, &program, &started.user_code).await).1, "SESSION_REQUIRED");
    assert_eq!(refused(decide(&gateway, &program, &started.user_code, true).await).1, "SESSION_REQUIRED");
    execute(&cluster, "update sessions set authenticated_at = now() - interval '11 minutes' where kind = 'sign_in'").await;
    assert_eq!(refused(decide(&gateway, &access, &started.user_code, true).await).1, "STEP_UP_REQUIRED");
    assert_eq!(ask(&gateway, &started.device_code).await.state(), State::Pending);
    for client_name in [String::new(), "a".repeat(81), "a\u{202e}b".into(), "a\nb".into()] {
        let request = gateway.request(StartDeviceSignInRequest { client_name });
        assert_eq!(refused(answer(gateway.client.clone().start_device_sign_in(request).await)).1, "INVALID_FIELD");
    }
    let stored: Vec<String> =
        sqlx::query_scalar("select device_sign_ins::text from device_sign_ins").fetch_all(&cluster.database.pool).await.expect("rows");
    assert!(
        stored.iter().all(|row| !row.contains(&started.device_code) && !row.contains(&started.user_code.replace('-', ""))),
        "{stored:?}"
    );
}

#[tokio::test]
async fn a4_fifty_exchanges_and_fifty_decisions_of_one_device_have_one_success() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    let (ada, eve) = (gateway.signed_up("ada@example.org").await, gateway.signed_up("eve@example.org").await);
    for _ in 0..4 {
        let started = start(&gateway).await;
        let decisions = join_all((0..USES).map(|n| decide(&gateway, if n % 2 == 0 { &ada } else { &eve }, &started.user_code, true))).await;
        assert_eq!(decisions.iter().filter(|decision| decision.is_ok()).count(), 1);
        let states = join_all((0..USES).map(|_| ask(&gateway, &started.device_code))).await;
        assert_eq!(states.iter().filter(|answer| answer.state() == State::Done).count(), 1);
        assert!(states.iter().all(|answer| matches!(answer.state(), State::Done | State::Invalid)), "no step is skipped");
    }
    let programs: i64 = sqlx::query_scalar("select count(*) from sessions where kind = 'refresh_token'")
        .fetch_one(&cluster.database.pool)
        .await
        .expect("a number");
    assert_eq!(programs, 4);
}
