//! The sign-in page where auth asks for the solution of a challenge. A browser solves one in the journeys.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Body, extract::State, http, routing::post};
use bytes::Bytes;
use chassis::{task, testing::listener};
use prost_reflect::prost::Message;
use proto::{
    auth::SignInRequest,
    error::{ErrorCode, Fault},
};
use reqwest::{Client, Response};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::Status;

use crate::harness::{Gateway, start};

const CHALLENGE: &str = "17.a\"><script>.b";
const SOLUTION: &str = "17.a\"><script>.b.4";
const PASSWORD: &str = "correct horse";

type Sent = Arc<Mutex<Vec<SignInRequest>>>;

/// Starts an auth that answers a solution with the second step, and everything else with a challenge. Returns what it got, and its URL.
async fn auth() -> (Sent, String) {
    let sent = Sent::default();
    let listener = listener().await;
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router: Router = Router::new().route("/backlot.auth.v1.AuthService/SignIn", post(sign_in)).with_state(Arc::clone(&sent));
    task::spawn(tonic::transport::Server::builder().add_routes(router.into()).serve_with_incoming(TcpListenerStream::new(listener)));
    (sent, url)
}

async fn sign_in(State(sent): State<Sent>, body: Bytes) -> http::Response<Body> {
    // A flag and the length precede the message.
    let request = SignInRequest::decode(&body[5..]).unwrap();
    let fault = if request.challenge_solution == SOLUTION {
        let fault = Fault::new("auth", ErrorCode::Unauthenticated, "SECOND_FACTOR_REQUIRED", "x");
        fault.with("sign_in_token", "t").with("methods", "totp")
    } else {
        let fault = Fault::new("auth", ErrorCode::RateLimited, "CHALLENGE_REQUIRED", "x").retry_after(Duration::from_secs(840));
        fault.with("challenge", CHALLENGE).with("bits", "20")
    };
    sent.lock().unwrap().push(request);
    Status::from(fault).into_http()
}

async fn send(gateway: &Gateway, solution: &str) -> Response {
    let fields = [("email", "a'b@example.org"), ("password", PASSWORD), ("next", "sessions"), ("challenge_solution", solution)];
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let request = Client::new().post(gateway.url("/account/sign-in")).header("content-type", "application/x-www-form-urlencoded");
    request.body(body).send().await.unwrap()
}

#[tokio::test]
async fn a_challenge_is_on_the_sign_in_page_and_its_solution_reaches_auth() {
    let (sent, url) = auth().await;
    let gateway = start(&[("BACKLOT_AUTH_URL", &url)]).await;
    for (solution, is_refused) in [("", false), ("17.a.b.5", true)] {
        let page = send(&gateway, solution).await;
        let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
        assert_eq!(page.headers()["retry-after"], "840");
        assert!(page.status() == 429 && policy.contains("; script-src 'nonce-") && !policy.contains("unsafe"), "{policy}");
        let html = page.text().await.unwrap();
        for part in [
            "Many wrong passwords came from your network, or for this account.",
            "or try again in 14 minutes.",
            "data-challenge=\"17.a&quot;&gt;&lt;script&gt;.b\" data-bits=\"20\"",
            "<input type=\"hidden\" name=\"challenge_solution\" value=\"\">",
            "<input type=\"hidden\" name=\"next\" value=\"sessions\">",
            "value=\"a&#39;b@example.org\"",
        ] {
            assert!(html.contains(part), "{part} in {html}");
        }
        assert_eq!(html.contains("The solution of your browser was wrong, was used before, or came after"), is_refused, "{html}");
        assert!(!html.contains(PASSWORD) && html.matches("<script").count() == 1, "{html}");
    }
    let script = Client::new().get(gateway.url("/page/challenge.js")).send().await.unwrap();
    assert_eq!(script.headers()["content-type"], "text/javascript; charset=utf-8");

    let html = send(&gateway, SOLUTION).await.text().await.unwrap();
    assert!(html.contains("<h1>Enter a code</h1>") && !html.contains("<script"), "{html}");
    let sent = sent.lock().unwrap();
    let solutions: Vec<_> = sent.iter().map(|request| request.challenge_solution.as_str()).collect();
    assert_eq!(solutions, ["", "17.a.b.5", SOLUTION]);
    assert!(sent.iter().all(|request| request.email == "a'b@example.org" && request.password == PASSWORD));
}
