//! How a page is written. Every value is escaped.

use std::fmt::Write as _;

use axum::{
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use chassis::identity::sha256;

use super::{challenge::Challenge, escape::escaped, form::Form, menu::MENU, passkey::Ask, refusal::Refusal, section::Section};
use crate::error::problem::put_retry_after;

/// The pages load one style sheet and send their forms to their own origin. No page may frame them.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// A page.
#[derive(Debug, Default)]
pub(crate) struct Page<'a> {
    pub(crate) title: &'a str,
    /// What is wrong with a form that is refused, or with the whole request.
    pub(crate) fault: Option<Refusal>,
    /// What has just been done, or what the person has to do.
    pub(crate) notice: &'a str,
    pub(crate) texts: &'a [&'a str],
    /// A challenge that the page solves for its form.
    pub(crate) challenge: Option<Challenge<'a>>,
    /// The only form of the page.
    pub(crate) form: Option<Form<'a>>,
    /// Addresses and their labels.
    pub(crate) links: &'a [(&'a str, &'a str)],
    /// A passkey to ask for.
    pub(crate) ask: Option<Ask<'a>>,
    pub(crate) sections: Vec<Section<'a>>,
    /// The address of a signed-in page, which has the menu and the sign-out.
    pub(crate) signed_in: Option<&'a str>,
}

impl Page<'_> {
    /// The page as a response. Its forms are sent with their origin, which the protection against forged requests compares where a browser
    /// sends no fetch metadata (plain HTTP); `no-referrer` would make it `null`. The address of a page with a form has no token.
    pub(crate) fn respond(&self, status: StatusCode) -> Response {
        let has_form = self.form.is_some() || self.ask.is_some() || self.signed_in.is_some();
        let referrer = if has_form { "same-origin" } else { "no-referrer" };
        let headers = [
            (header::CONTENT_TYPE, "text/html; charset=utf-8"),
            (header::REFERRER_POLICY, referrer),
            (header::CACHE_CONTROL, "no-store"),
            (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        ];
        let mut response = (status, headers.map(|(name, value)| (name, HeaderValue::from_static(value))), self.html()).into_response();
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, self.policy());
        put_retry_after(response.headers_mut(), self.fault.as_ref().and_then(|fault| fault.wait));
        response
    }

    /// The policy. It allows the script of a page that asks for a passkey or has a challenge, by the nonce.
    fn policy(&self) -> HeaderValue {
        let with_script = self.nonce().map(|nonce| HeaderValue::try_from(format!("{POLICY}; script-src 'nonce-{nonce}'")));
        with_script.and_then(Result::ok).unwrap_or(HeaderValue::from_static(POLICY))
    }

    /// The nonce of the script. Nobody knows it before the page: the options of a passkey and a challenge have a random part.
    fn nonce(&self) -> Option<String> {
        let random = self.ask.as_ref().map(|ask| ask.options).or(self.challenge.map(|challenge| challenge.text))?;
        Some(BASE64_URL_SAFE_NO_PAD.encode(sha256(random.as_bytes())))
    }

    fn html(&self) -> String {
        let (mut body, nonce) = (String::new(), self.nonce().unwrap_or_default());
        if let Some(fault) = &self.fault {
            let forms = self.form.iter().chain(self.sections.iter().flat_map(|section| &section.forms));
            fault.write(&mut body, &forms.flat_map(Form::refused_fields).collect::<Vec<_>>());
        }
        if !self.notice.is_empty() {
            let _ = writeln!(body, "<p class=\"notice\" role=\"status\">{}</p>", escaped(self.notice));
        }
        for text in self.texts {
            let _ = writeln!(body, "<p>{}</p>", escaped(text));
        }
        if let Some(challenge) = &self.challenge {
            challenge.write(&mut body, &nonce);
        }
        if let Some(form) = &self.form {
            form.write(&mut body, self.fault.as_ref());
        }
        if let Some(ask) = &self.ask {
            ask.write(&mut body, &nonce);
        }
        for section in &self.sections {
            section.write(&mut body, self.fault.as_ref());
        }
        if !self.links.is_empty() {
            let links: String =
                self.links.iter().map(|(to, label)| format!("<li><a href=\"{}\">{}</a></li>\n", escaped(to), escaped(label))).collect();
            let _ = writeln!(body, "<nav aria-label=\"Further pages\"><ul>\n{links}</ul></nav>");
        }
        // The title says first that something went wrong, which is what a screen reader reads first.
        let prefix = if self.fault.is_some() { "Error: " } else { "" };
        let title = escaped(self.title);
        let (class, menu) = match self.signed_in {
            Some(current) => (" class=\"signed-in\"", menu(current)),
            None => ("", String::new()),
        };
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{prefix}{title} · Backlot</title>\n\
             <link rel=\"icon\" href=\"data:,\">\n<link rel=\"stylesheet\" href=\"/page/account.css\">\n</head>\n<body{class}>\n{menu}<main>\n\
             <h1>{title}</h1>\n{body}</main>\n</body>\n</html>\n"
        )
    }
}

/// The menu of the signed-in pages, with the sign-out.
fn menu(current: &str) -> String {
    let entry = |(path, label): &(&str, &str)| {
        let mark = if *path == current { " aria-current=\"page\"" } else { "" };
        format!("<li><a href=\"{path}\"{mark}>{}</a></li>\n", escaped(label))
    };
    let entries: String = MENU.iter().map(entry).collect();
    format!(
        "<header>\n<nav aria-label=\"Account\"><ul>\n<li><a href=\"/\">Projects</a></li>\n{entries}</ul></nav>\n\
         <form method=\"post\" action=\"/account/sign-out\"><button type=\"submit\">Sign out</button></form>\n</header>\n"
    )
}

/// Leads to an address of this site, after a form was sent.
pub(crate) fn see_other(to: &str) -> Response {
    let location = HeaderValue::try_from(to).unwrap_or(HeaderValue::from_static("/"));
    (StatusCode::SEE_OTHER, [(header::LOCATION, location), (header::CACHE_CONTROL, HeaderValue::from_static("no-store"))]).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::account::form::Field;

    #[test]
    fn every_value_is_escaped() {
        let evil = "\"><script>x</script>'&";
        let page = Page {
            title: evil,
            fault: Some(Refusal::new(StatusCode::BAD_REQUEST, evil)),
            texts: &[evil],
            notice: evil,
            form: Some(Form {
                hidden: vec![("token", evil)],
                fields: vec![Field { hint: evil, ..Field::email(evil) }],
                button: evil,
                ..Form::default()
            }),
            links: &[(evil, evil)],
            ..Page::default()
        };
        let html = page.html();
        assert!(!html.contains("<script") && !html.contains("\"><s") && !html.contains("'"), "{html}");
        assert_eq!(html.matches("&lt;script&gt;").count(), 11, "{html}");
    }

    #[test]
    fn a_field_has_a_label_and_its_fault_is_announced() {
        let form =
            |is_refused| Form { fields: vec![Field::email(""), Field::new_password("Long.")], button: "Go", is_refused, ..Form::default() };
        let page = Page { title: "T", form: Some(form(false)), ..Page::default() }.html();
        assert!(page.contains("<html lang=\"en\">") && page.contains("<title>T · Backlot</title>"));
        for name in ["email", "password"] {
            assert!(page.contains(&format!("<label for=\"{name}\">")) && page.contains(&format!("<input id=\"{name}\" name=\"{name}\"")));
        }
        assert!(page.contains("autocomplete=\"username\"") && page.contains("autocomplete=\"new-password\""));
        assert!(page.contains("aria-describedby=\"password-hint\"") && !page.contains("role=\"alert\"") && !page.contains("aria-invalid"));
        let fault = Some(Refusal::of_field(StatusCode::BAD_REQUEST, "password", "Wrong."));
        let page = Page { title: "T", fault, form: Some(form(true)), ..Page::default() }.html();
        assert!(page.contains("<title>Error: T · Backlot</title>") && page.contains("<li><a href=\"#password\">Wrong.</a></li>"), "{page}");
        assert!(page.contains("id=\"fault\" role=\"alert\" tabindex=\"-1\" autofocus>"), "{page}");
        assert!(page.contains("aria-describedby=\"password-fault password-hint\"") && page.matches("aria-invalid").count() == 1, "{page}");
        // The focus of a page with a notice, or of a new one, is at its beginning.
        assert!(!Page { title: "T", notice: "Done.", ..Page::default() }.html().contains("autofocus"));
    }

    #[test]
    fn a_page_runs_no_script_and_is_not_framed_or_stored() {
        let response = Page { title: "T", form: Some(Form::default()), ..Page::default() }.respond(StatusCode::OK);
        let header = |name: &HeaderName| response.headers()[name].to_str().unwrap().to_owned();
        let policy = header(&header::CONTENT_SECURITY_POLICY);
        assert!(policy.starts_with("default-src 'none';") && !policy.contains("script-src") && policy.contains("frame-ancestors 'none'"));
        assert_eq!((header(&header::CACHE_CONTROL).as_str(), header(&header::REFERRER_POLICY).as_str()), ("no-store", "same-origin"));
        let response = Page { title: "T", ..Page::default() }.respond(StatusCode::OK);
        assert_eq!(response.headers()[header::REFERRER_POLICY], "no-referrer");
    }

    /// `page` makes a page of a random text.
    fn runs_its_script_alone(page: impl Fn(&'static str) -> Page<'static>) {
        let response = page("1").respond(StatusCode::OK);
        let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
        let (_, nonce) = policy.split_once("script-src 'nonce-").expect("a nonce");
        let nonce = nonce.strip_suffix('\'').expect("the end");
        assert!(policy.starts_with("default-src 'none';") && nonce.len() == 43, "{policy}");
        let html = page("1").html();
        assert!(html.contains(&format!("nonce=\"{nonce}\"")) && html.matches("<script").count() == 1, "{html}");
        assert_eq!(response.headers()[header::REFERRER_POLICY], "same-origin");
        let other = page("2").respond(StatusCode::OK);
        assert!(!other.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap().contains(nonce));
    }

    #[test]
    fn a_page_that_asks_for_a_passkey_runs_its_script_alone() {
        runs_its_script_alone(|options| Page { title: "T", ask: Some(Ask { options, ..Ask::default() }), ..Page::default() });
    }

    #[test]
    fn a_page_with_a_challenge_runs_its_script_alone() {
        let challenge = |text| Some(Challenge { text, bits: "20" });
        runs_its_script_alone(|text| Page { title: "T", challenge: challenge(text), form: Some(Form::default()), ..Page::default() });
    }

    #[test]
    fn a_signed_in_page_has_the_menu_and_the_sign_out() {
        let page = Page { title: "T", signed_in: Some(MENU[0].0), notice: "Done.", ..Page::default() };
        let html = page.html();
        assert!(html.contains("<p class=\"notice\" role=\"status\">Done.</p>") && html.contains("action=\"/account/sign-out\""), "{html}");
        assert_eq!(html.matches("aria-current=\"page\"").count(), 1);
        for (path, label) in MENU {
            assert!(html.contains(&format!("<a href=\"{path}\"")) && html.contains(&format!(">{label}</a>")), "{path}");
        }
        assert_eq!(page.respond(StatusCode::OK).headers()[header::REFERRER_POLICY], "same-origin");
        assert!(!Page { title: "T", ..Page::default() }.html().contains("<header>"));
    }
}
