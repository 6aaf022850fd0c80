//! The pages of accounts without the services behind them. The journeys use them with auth.

use reqwest::{Client, RequestBuilder, Response, redirect::Policy};

use crate::harness::{Gateway, start};

const PAGES: [&str; 5] = ["/account/verify", "/account/reset", "/account/reset/confirm", "/account/sign-in", "/account/sign-up"];
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
    for path in ["/account/verify", "/account/reset/confirm"] {
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
            let answer = client().get(gateway.url(&format!("{path}?{query}"))).send().await.unwrap();
            assert_eq!((answer.status().as_u16(), header(&answer, "set-cookie")), (200, ""), "{query}");
            let html = answer.text().await.unwrap();
            assert!(html.contains("Open the link in the mail") && !html.contains("<form"), "{query}");
        }
    }
    let secure = [("BACKLOT_PUBLIC_URL", "https://apps.example"), ("BACKLOT_PREVIEW_URL", "https://{preview}.apps.example")];
    let gateway = start(&secure).await;
    let answer = client().get(gateway.url("/account/verify?token=abc")).send().await.unwrap();
    assert!(header(&answer, "set-cookie").ends_with("; SameSite=Lax; Secure"));
}

#[tokio::test]
async fn a_form_of_another_site_or_of_another_type_is_refused() {
    let gateway = start(&[]).await;
    for path in PAGES {
        let forged = post(&gateway, path, "email=a%40b").header("sec-fetch-site", "cross-site").send().await.unwrap();
        assert_eq!(forged.status(), 403, "{path}");
        let forged = post(&gateway, path, "email=a%40b").header("origin", "https://evil.example").send().await.unwrap();
        assert_eq!(forged.status(), 403, "{path}");
    }
}
