//! What a page says about a refusal: at its top, and at the fields that are wrong.

use std::{fmt::Write as _, time::Duration};

use axum::http::StatusCode;

use super::escape::escaped;

/// A refusal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    /// What is wrong apart from fields.
    pub(crate) text: String,
    /// The wrong fields as the contract names them, each with a sentence.
    pub(crate) fields: Vec<(String, String)>,
    /// How long the person has to wait.
    pub(crate) wait: Option<Duration>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, text: text.into(), ..Self::default() }
    }

    /// A refusal because of one field.
    pub(crate) fn of_field(status: StatusCode, field: &str, text: impl Into<String>) -> Self {
        Self { status, fields: vec![(field.to_owned(), text.into())], ..Self::default() }
    }

    /// The sentences about a field of the contract; empty if it is right.
    pub(crate) fn about(&self, name: &str) -> String {
        let texts = self.fields.iter().filter(|(field, _)| is_about(field, name)).map(|(_, text)| text.as_str());
        texts.collect::<Vec<_>>().join(" ")
    }

    /// The summary at the top of the page. It has the focus, so that a screen reader reads it, and leads to the fields. `shown` has the ids of the
    /// fields of the refused form, and their names in the contract.
    pub(crate) fn write(&self, to: &mut String, shown: &[(&str, &str)]) {
        let (mut texts, mut links) = (vec![self.text.as_str()], String::new());
        for (field, text) in &self.fields {
            match shown.iter().find(|(_, name)| is_about(field, name)) {
                // Writing to a String cannot fail.
                Some((id, _)) => _ = writeln!(links, "<li><a href=\"#{}\">{}</a></li>", escaped(id), escaped(text)),
                None => texts.push(text),
            }
        }
        texts.retain(|text| !text.is_empty());
        to.push_str("<div class=\"fault\" id=\"fault\" role=\"alert\" tabindex=\"-1\" autofocus>\n");
        if !texts.is_empty() {
            let _ = writeln!(to, "<p>{}</p>", escaped(&texts.join(" ")));
        }
        if !links.is_empty() {
            let _ = writeln!(to, "<ul>\n{links}</ul>");
        }
        to.push_str("</div>\n");
    }
}

/// Whether a field is this one or an entry of its list, as `project_ids[3]` is one of `project_ids`.
fn is_about(field: &str, name: &str) -> bool {
    field.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('['))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_has_the_focus_and_links_to_the_fields_of_the_form() {
        let fields = [("project_ids[1]", "The id \"x\" is wrong."), ("token", "The link is wrong."), ("email", "The address is wrong.")];
        let fields = fields.map(|(field, text)| (field.to_owned(), text.to_owned())).to_vec();
        let refusal = Refusal { text: "No.".into(), fields, ..Refusal::default() };
        let mut html = String::new();
        refusal.write(&mut html, &[("projects", "project_ids"), ("email", "email"), ("name", "display_name")]);
        let expected = "<div class=\"fault\" id=\"fault\" role=\"alert\" tabindex=\"-1\" autofocus>\n<p>No. The link is wrong.</p>\n<ul>\n\
                        <li><a href=\"#projects\">The id &quot;x&quot; is wrong.</a></li>\n\
                        <li><a href=\"#email\">The address is wrong.</a></li>\n</ul>\n</div>\n";
        assert_eq!(html, expected);
        assert_eq!((refusal.about("project_ids"), refusal.about("project")), ("The id \"x\" is wrong.".into(), String::new()));
        let mut html = String::new();
        Refusal::new(StatusCode::BAD_REQUEST, "No.").write(&mut html, &[]);
        assert!(html.contains("<p>No.</p>") && !html.contains("<ul>"), "{html}");
    }
}
