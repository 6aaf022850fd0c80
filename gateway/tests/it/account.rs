//! The pages of accounts without the services behind them. The journeys use them with auth.

use reqwest::{Client, RequestBuilder, Response, redirect::Policy};

use crate::harness::{Gateway, start};

const PAGES: [&str; 6] =
    ["/account/verify", "/account/reset", "/account/reset/confirm", "/account/remove-factor", "/account/sign-in", "/account/sign-up"];
const SIGNED_IN: [&str; 13] = [
    "/account/sessions",
    "/account/email",
    "/account/new-email",
    "/account/verify-email",
    "/account/password",
    "/account/keys",
    "/account/service-accounts",
    "/account/provider-keys",
    "/account/device",
    "/account/identities",
    "/account/export",
    "/account/delete",
    "/account/confirm",
];
const SECURE: [(&str, &str); 2] =
    [("BACKLOT_PUBLIC_URL", "https://apps.example"), ("BACKLOT_PREVIEW_URL", "https://{preview}.apps.example")];
const FORM: &str = "application/x-www-form-urlencoded";

fn client() -> Client {
    Client::builder().redirect(Policy::none()).build().unwrap()
}

fn post(gateway: &Gateway, path: &str, body: &'static str) -> RequestBuilder {
    client().post(gateway.url(path)).header("content-type", FORM).body(body)
}

fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

#[tokio::test]
async fn a_page_is_html_without_scripts_that_nobody_stores_or_frames() {
    let gateway = start(&[]).await;
    for path in PAGES {
        let answer = client().get(gateway.url(path)).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), header(&answer, "content-type")), (200, "text/html; charset=utf-8"), "{path}");
        assert_eq!((header(&answer, "cache-control"), header(&answer, "x-content-type-options")), ("no-store", "nosniff"), "{path}");
        let policy = header(&answer, "content-security-policy");
        assert!(policy.starts_with("default-src 'none';") && policy.contains("frame-ancestors 'none'"), "{path}: {policy}");
        assert!(!policy.contains("script-src") && !policy.contains("unsafe"), "{path}: {policy}");
        let html = answer.text().await.unwrap();
        assert!(html.contains("<html lang=\"en\">") && html.contains("<h1>") && html.contains("width=device-width"), "{path}");
        for forbidden in ["<script", "javascript:", " onclick", " onload", "style=", "http://", "https://"] {
            assert!(!html.contains(forbidden), "{path} has {forbidden}");
        }
        for input in html.split("<input ").skip(1).filter(|input| !input.contains("type=\"hidden\"")) {
            let id = input.split('"').nth(1).unwrap();
            assert!(html.contains(&format!("<label for=\"{id}\">")) && input.contains("autocomplete=\""), "{path}: {input}");
        }
    }
    let style = client().get(gateway.url("/page/account.css")).send().await.unwrap();
    assert!(header(&style, "content-type").starts_with("text/css") && style.text().await.unwrap().contains("prefers-color-scheme: dark"));
}

#[tokio::test]
async fn the_token_of_a_link_leaves_the_address_and_is_in_the_form() {
    let gateway = start(&[]).await;
    for path in ["/account/verify", "/account/reset/confirm", "/account/remove-factor"] {
        let answer = client().get(gateway.url(&format!("{path}?token=abc-_1"))).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), header(&answer, "location")), (303, path));
        assert_eq!((header(&answer, "referrer-policy"), header(&answer, "cache-control")), ("no-referrer", "no-store"));
        let cookie = header(&answer, "set-cookie").to_owned();
        assert_eq!(cookie, format!("backlot_link=abc-_1; Path={path}; Max-Age=600; HttpOnly; SameSite=Lax"));
        let page = client().get(gateway.url(path)).header("cookie", "backlot_link=abc-_1").send().await.unwrap();
        assert_eq!(header(&page, "referrer-policy"), "same-origin", "its forms have an origin");
        let html = page.text().await.unwrap();
        assert!(
            html.contains("<input type=\"hidden\" name=\"token\" value=\"abc-_1\">") && html.contains("<form method=\"post\">"),
            "{html}"
        );
        for query in ["token=", "token=%22%3E%3Cscript%3E", "other=abc", "token=a%0d%0aset-cookie:x"] {
            // The cookie of another link is not what a broken address means.
            let sent = client().get(gateway.url(&format!("{path}?{query}")));
            let sent = if query.starts_with("token=") { sent.header("cookie", "backlot_link=abc-_1") } else { sent };
            let answer = sent.send().await.unwrap();
            assert_eq!((answer.status().as_u16(), header(&answer, "set-cookie")), (200, ""), "{query}");
            let html = answer.text().await.unwrap();
            assert!(html.contains("Open the link in the mail") && !html.contains("<form"), "{query}");
        }
    }
    // The link to a new address is for a signed-in person, and keeps its token while they sign in.
    let answer = client().get(gateway.url("/account/new-email?token=abc-_1")).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), header(&answer, "location")), (303, "/account/new-email"));
    assert_eq!(header(&answer, "set-cookie"), "backlot_link=abc-_1; Path=/account/new-email; Max-Age=600; HttpOnly; SameSite=Lax");
    let page = client().get(gateway.url("/account/new-email")).header("cookie", "backlot_link=abc-_1").send().await.unwrap();
    assert_eq!((page.status().as_u16(), header(&page, "location")), (303, "/account/sign-in?next=new-email"));
    // So does the link that verifies the address of an account, which says what to do without one.
    let answer = client().get(gateway.url("/account/verify-email?token=abc-_1")).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), header(&answer, "location")), (303, "/account/verify-email"));
    assert_eq!(header(&answer, "set-cookie"), "backlot_link=abc-_1; Path=/account/verify-email; Max-Age=600; HttpOnly; SameSite=Lax");
    let page = client().get(gateway.url("/account/verify-email")).header("cookie", "backlot_link=abc-_1").send().await.unwrap();
    let html = page.text().await.unwrap();
    assert!(html.contains("href=\"/account/sign-in?next=verify-email\"") && html.contains("href=\"/account/reset\""), "{html}");
    assert!(!html.contains("<form") && !html.contains("abc-_1"), "{html}");
    let gateway = start(&SECURE).await;
    let answer = client().get(gateway.url("/account/verify?token=abc")).send().await.unwrap();
    assert_eq!(header(&answer, "set-cookie"), "__Host-backlot_link_verify=abc; Path=/; Max-Age=600; HttpOnly; SameSite=Lax; Secure");
    // The browser sends the cookie to each page, and only its own page takes the token.
    for (path, is_taken) in [("/account/verify", true), ("/account/reset/confirm", false)] {
        let page = client().get(gateway.url(path)).header("cookie", "__Host-backlot_link_verify=abc").send().await.unwrap();
        assert_eq!(page.text().await.unwrap().contains("name=\"token\" value=\"abc\""), is_taken, "{path}");
    }
}

#[tokio::test]
async fn another_site_starts_no_sign_in_by_itself() {
    let gateway = start(&[]).await;
    let get = |path: &str, site: &'static str| client().get(gateway.url(path)).header("sec-fetch-site", site).send();
    // A preview or a published site may have a name beside that of the gateway.
    for site in ["cross-site", "same-site"] {
        let answer = get("/account/oauth/github?next=sessions", site).await.unwrap();
        assert_eq!((answer.status().as_u16(), header(&answer, "location"), header(&answer, "set-cookie")), (200, "", ""), "{site}");
        assert!(answer.text().await.unwrap().contains("<a href=\"/account/oauth/github?next=sessions\">Continue to the provider</a>"));
    }
    let other = get("/account/oauth/github?next=//evil.example", "cross-site").await.unwrap().text().await.unwrap();
    assert!(other.contains("<a href=\"/account/oauth/github\">") && !other.contains("evil"), "{other}");
    // Without the services behind it the sign-in fails, and says so on a page.
    let own = get("/account/oauth/github", "same-origin").await.unwrap();
    assert_eq!((own.status().as_u16(), header(&own, "content-type")), (503, "text/html; charset=utf-8"));
    let back = get("/account/oauth/github/callback?state=x&code=y", "cross-site").await.unwrap();
    assert_eq!(back.status(), 503);
    assert!(header(&back, "set-cookie").starts_with("backlot_oauth=; Path=/account/oauth; Max-Age=0; HttpOnly; SameSite=Lax"));
    let gateway = start(&SECURE).await;
    let back = client().get(gateway.url("/account/oauth/github/callback?state=x&code=y")).send().await.unwrap();
    assert_eq!(header(&back, "set-cookie"), "__Host-backlot_oauth=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax; Secure");
}

#[tokio::test]
async fn a_form_of_another_site_or_of_another_type_is_refused() {
    let gateway = start(&[]).await;
    for path in PAGES.into_iter().chain(SIGNED_IN).chain(["/account/sign-out"]) {
        let forged = post(&gateway, path, "email=a%40b").header("sec-fetch-site", "cross-site").send().await.unwrap();
        assert_eq!(forged.status(), 403, "{path}");
        let forged = post(&gateway, path, "email=a%40b").header("origin", "https://evil.example").send().await.unwrap();
        assert_eq!(forged.status(), 403, "{path}");
    }
}

#[tokio::test]
async fn a_signed_in_page_leads_to_the_sign_in_and_back() {
    let gateway = start(&[]).await;
    for path in SIGNED_IN {
        let expected = format!("/account/sign-in?next={}", path.rsplit('/').next().unwrap());
        let with_token = client().get(gateway.url(path)).header("authorization", "Bearer x");
        for request in [client().get(gateway.url(path)), with_token, post(&gateway, path, "action=all")] {
            let answer = request.send().await.unwrap();
            assert_eq!((answer.status().as_u16(), header(&answer, "location")), (303, expected.as_str()), "{path}");
        }
        let html = client().get(gateway.url(&expected)).send().await.unwrap().text().await.unwrap();
        let name = path.rsplit('/').next().unwrap();
        assert!(html.contains(&format!("<input type=\"hidden\" name=\"next\" value=\"{name}\">")), "{html}");
    }
    for query in ["next=https%3A%2F%2Fevil.example", "next=%2F%2Fevil.example", "next=%22%3E%3Cscript%3E", "next=", "other=sessions"] {
        let html = client().get(gateway.url(&format!("/account/sign-in?{query}"))).send().await.unwrap().text().await.unwrap();
        assert!(!html.contains("name=\"next\"") && !html.contains("evil") && !html.contains("<script"), "{query}: {html}");
    }
    let answer = client().get(gateway.url("/account")).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), header(&answer, "location")), (303, SIGNED_IN[0]));
}

#[tokio::test]
async fn a_session_cookie_shows_no_page_while_auth_cannot_be_asked() {
    let gateway = start(&[("BACKLOT_PUBLIC_URL", "https://apps.example"), ("BACKLOT_PREVIEW_URL", "https://{preview}.apps.example")]).await;
    for path in SIGNED_IN {
        let request = client().get(gateway.url(path)).header("cookie", "__Host-backlot_session=abc");
        let answer = request.send().await.unwrap();
        assert_eq!((answer.status().as_u16(), header(&answer, "content-type")), (503, "text/html; charset=utf-8"), "{path}");
        let html = answer.text().await.unwrap();
        assert!(html.contains("role=\"alert\"") && html.contains("action=\"/account/sign-out\"") && !html.contains("127.0.0.1"), "{html}");
    }
}
