//! The sign-in page where auth asks for the solution of a challenge, or a site for a second factor. A browser does both in the journeys.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Body, extract::State, http, routing::post};
use bytes::Bytes;
use chassis::{task, testing::listener};
use http_body_util::{BodyExt as _, Full};
use prost_reflect::prost::Message;
use proto::{
    auth::{ListProvidersResponse, SignInRequest, SignInResponse},
    error::{ErrorCode, Fault},
};
use reqwest::{Client, Response, redirect::Policy};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::Status;

use crate::harness::{Gateway, start};

const SIGN_IN: &str = "/backlot.auth.v1.AuthService/SignIn";
const LIST_PROVIDERS: &str = "/backlot.auth.v1.AuthService/ListProviders";
const CHALLENGE: &str = "17.a\"><script>.b";
const SOLUTION: &str = "17.a\"><script>.b.4";
const PASSWORD: &str = "correct horse";

type Sent = Arc<Mutex<Vec<SignInRequest>>>;

/// Starts an auth that answers a solution with the second step, and everything else with a challenge. Returns what it got, and its URL.
async fn auth() -> (Sent, String) {
    let sent = Sent::default();
    let url = serve(Router::new().route(SIGN_IN, post(sign_in)).with_state(Arc::clone(&sent))).await;
    (sent, url)
}

/// Starts an auth with these RPCs. Returns its URL.
async fn serve(router: Router) -> String {
    let listener = listener().await;
    let url = format!("http://{}", listener.local_addr().unwrap());
    task::spawn(tonic::transport::Server::builder().add_routes(router.into()).serve_with_incoming(TcpListenerStream::new(listener)));
    url
}

/// The answer with a message. A flag and the length precede it, and the status follows.
fn success(message: &impl Message) -> http::Response<Body> {
    let message = message.encode_to_vec();
    let mut framed = vec![0];
    framed.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    framed.extend(message);
    let mut trailers = http::HeaderMap::new();
    trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
    let body = Full::new(Bytes::from(framed)).with_trailers(std::future::ready(Some(Ok(trailers))));
    http::Response::builder().header("content-type", "application/grpc").body(Body::new(body)).unwrap()
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
    let client = Client::builder().redirect(Policy::none()).build().unwrap();
    let request = client.post(gateway.url("/account/sign-in")).header("content-type", "application/x-www-form-urlencoded");
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

/// A sign-in in one step is that of an account without a factor.
#[tokio::test]
async fn a_site_that_requires_a_second_factor_asks_for_it_and_keeps_the_page() {
    for (second_factor_required, expected) in [(true, "/account/second-factor?required=yes&next=sessions"), (false, "/account/sessions")] {
        let sign_in = || async { success(&SignInResponse { session_token: "secret".into(), ..Default::default() }) };
        let list = move || async move { success(&ListProvidersResponse { second_factor_required, ..Default::default() }) };
        let url = serve(Router::new().route(SIGN_IN, post(sign_in)).route(LIST_PROVIDERS, post(list))).await;
        let gateway = start(&[("BACKLOT_AUTH_URL", &url)]).await;
        let answer = send(&gateway, "").await;
        assert_eq!((answer.status().as_u16(), answer.headers()["location"].to_str().unwrap()), (303, expected));
        assert!(answer.headers().contains_key("set-cookie"));
    }
}
