//! How a page is written. Every value is escaped.

use std::fmt::Write as _;

use axum::{
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};

/// The pages load one style sheet and send their forms to their own origin. No page may frame them.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// A page.
#[derive(Debug, Default)]
pub(crate) struct Page<'a> {
    pub(crate) title: &'a str,
    /// What went wrong with the form.
    pub(crate) fault: Option<String>,
    pub(crate) texts: &'a [&'a str],
    pub(crate) form: Option<Form<'a>>,
    /// Addresses and their labels.
    pub(crate) links: &'a [(&'a str, &'a str)],
}

/// A form that is sent to the address of its page.
#[derive(Debug, Default)]
pub(crate) struct Form<'a> {
    /// The token of a link, which the form sends with it.
    pub(crate) token: Option<&'a str>,
    pub(crate) fields: Vec<Field<'a>>,
    pub(crate) button: &'a str,
}

#[derive(Debug)]
pub(crate) struct Field<'a> {
    pub(crate) name: &'a str,
    pub(crate) label: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) autocomplete: &'a str,
    pub(crate) value: &'a str,
    pub(crate) hint: &'a str,
}

impl<'a> Field<'a> {
    pub(crate) fn email(value: &'a str) -> Self {
        Self { name: "email", label: "E-mail address", kind: "email", autocomplete: "username", value, hint: "" }
    }

    pub(crate) fn password() -> Self {
        Self { name: "password", label: "Password", kind: "password", autocomplete: "current-password", value: "", hint: "" }
    }

    pub(crate) fn new_password() -> Self {
        Self {
            label: "New password",
            autocomplete: "new-password",
            hint: "At least 8 characters. Several words that do not belong together are easy to remember and hard to guess.",
            ..Self::password()
        }
    }

    fn write(&self, to: &mut String, has_fault: bool) {
        let Self { name, label, kind, autocomplete, value, hint } = self;
        let described: Vec<String> = [(has_fault, "fault".to_owned()), (!hint.is_empty(), format!("{name}-hint"))]
            .into_iter()
            .filter_map(|(holds, id)| holds.then_some(id))
            .collect();
        let described =
            if described.is_empty() { String::new() } else { format!(" aria-describedby=\"{}\"", escaped(&described.join(" "))) };
        let invalid = if has_fault { " aria-invalid=\"true\"" } else { "" };
        // Writing to a String cannot fail.
        let _ = write!(
            to,
            "<label for=\"{name}\">{}</label>\n<input id=\"{name}\" name=\"{name}\" type=\"{kind}\" autocomplete=\"{autocomplete}\" \
             value=\"{}\" required{described}{invalid}>\n",
            escaped(label),
            escaped(value),
        );
        if !hint.is_empty() {
            let _ = writeln!(to, "<p class=\"hint\" id=\"{name}-hint\">{}</p>", escaped(hint));
        }
    }
}

impl Page<'_> {
    /// The page as a response. Its forms are sent with their origin, which the protection against forged requests compares where a browser
    /// sends no fetch metadata (plain HTTP); `no-referrer` would make it `null`. The address of a page with a form has no token.
    pub(crate) fn respond(&self, status: StatusCode) -> Response {
        let referrer = if self.form.is_some() { "same-origin" } else { "no-referrer" };
        let headers = [
            (header::CONTENT_TYPE, "text/html; charset=utf-8"),
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::REFERRER_POLICY, referrer),
            (header::CACHE_CONTROL, "no-store"),
            (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        ];
        (status, headers.map(|(name, value)| (name, HeaderValue::from_static(value))), self.html()).into_response()
    }

    fn html(&self) -> String {
        let mut body = String::new();
        if let Some(fault) = &self.fault {
            let _ = writeln!(body, "<p class=\"fault\" id=\"fault\" role=\"alert\">{}</p>", escaped(fault));
        }
        for text in self.texts {
            let _ = writeln!(body, "<p>{}</p>", escaped(text));
        }
        if let Some(form) = &self.form {
            body.push_str("<form method=\"post\">\n");
            if let Some(token) = form.token {
                let _ = writeln!(body, "<input type=\"hidden\" name=\"token\" value=\"{}\">", escaped(token));
            }
            for field in &form.fields {
                field.write(&mut body, self.fault.is_some());
            }
            let _ = writeln!(body, "<button type=\"submit\">{}</button>\n</form>", escaped(form.button));
        }
        if !self.links.is_empty() {
            let links: String =
                self.links.iter().map(|(to, label)| format!("<li><a href=\"{}\">{}</a></li>\n", escaped(to), escaped(label))).collect();
            let _ = writeln!(body, "<nav aria-label=\"Account\"><ul>\n{links}</ul></nav>");
        }
        // The title says first that something went wrong, which is what a screen reader reads first.
        let prefix = if self.fault.is_some() { "Error: " } else { "" };
        let title = escaped(self.title);
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{prefix}{title} · Backlot</title>\n\
             <link rel=\"icon\" href=\"data:,\">\n<link rel=\"stylesheet\" href=\"/page/account.css\">\n</head>\n<body>\n<main>\n\
             <h1>{title}</h1>\n{body}</main>\n</body>\n</html>\n"
        )
    }
}

/// Text in HTML, in elements and in quoted attributes.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_escaped() {
        let evil = "\"><script>x</script>'&";
        let page = Page {
            title: evil,
            fault: Some(evil.to_owned()),
            texts: &[evil],
            form: Some(Form { token: Some(evil), fields: vec![Field { hint: evil, ..Field::email(evil) }], button: evil }),
            links: &[(evil, evil)],
        };
        let html = page.html();
        assert!(!html.contains("<script") && !html.contains("\"><s") && !html.contains("'"), "{html}");
        assert_eq!(html.matches("&lt;script&gt;").count(), 10, "{html}");
    }

    #[test]
    fn a_field_has_a_label_and_its_fault_is_announced() {
        let form = || Form { token: None, fields: vec![Field::email(""), Field::new_password()], button: "Go" };
        let page = Page { title: "T", form: Some(form()), ..Page::default() }.html();
        assert!(page.contains("<html lang=\"en\">") && page.contains("<title>T · Backlot</title>"));
        for name in ["email", "password"] {
            assert!(page.contains(&format!("<label for=\"{name}\">")) && page.contains(&format!("<input id=\"{name}\" name=\"{name}\"")));
        }
        assert!(page.contains("autocomplete=\"username\"") && page.contains("autocomplete=\"new-password\""));
        assert!(page.contains("aria-describedby=\"password-hint\"") && !page.contains("role=\"alert\"") && !page.contains("aria-invalid"));
        let page = Page { title: "T", fault: Some("Wrong.".into()), form: Some(form()), ..Page::default() }.html();
        assert!(page.contains("<title>Error: T · Backlot</title>") && page.contains("id=\"fault\" role=\"alert\">Wrong.</p>"));
        assert!(page.contains("aria-describedby=\"fault password-hint\"") && page.contains("aria-invalid=\"true\""));
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
}
