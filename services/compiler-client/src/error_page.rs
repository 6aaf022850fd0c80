//! The page that a person sees in place of one that cannot be made.

use std::collections::BTreeSet;

use crate::message::Finding;

/// The most findings that are shown.
const MAX_SHOWN: usize = 20;

/// A page with the errors: file, place, message, frame and help. Warnings are left out, and an error is shown once. It has no script, and
/// loads nothing. The script of the gateway reads the sections.
pub fn error_page(findings: &[Finding]) -> String {
    let mut known = BTreeSet::new();
    let mut is_new = |finding: &Finding| known.insert((finding.file.clone(), finding.line, finding.column, finding.message.clone()));
    let errors: Vec<_> = findings.iter().filter(|finding| !finding.is_warning && is_new(finding)).collect();
    let title = match errors.len() {
        0 => "This page cannot be shown".to_owned(),
        1 => "An error stops this page".to_owned(),
        count => format!("{count} errors stop this page"),
    };
    let shown: String = errors.iter().take(MAX_SHOWN).map(|finding| section(finding)).collect();
    let rest = match errors.len().saturating_sub(MAX_SHOWN) {
        0 => String::new(),
        more => format!("<p>There are {more} more.</p>\n"),
    };
    let nothing = if errors.is_empty() { "<p>The compiler gave no reason. Change the project, or try again.</p>\n" } else { "" };
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{title}</title>\n<style>html {{ background: Canvas; color: CanvasText }} body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 48rem; margin: 4rem auto; padding: 0 1rem; \
         color-scheme: light dark }} h2 {{ font-size: 1rem; overflow-wrap: anywhere }} pre {{ overflow: auto; padding: 0.75rem; border: 1px \
         solid; tab-size: 4 }}</style>\n<h1>{title}</h1>\n{shown}{rest}{nothing}</html>\n"
    )
}

fn section(finding: &Finding) -> String {
    let Finding { file, line, column, message, frame, help, .. } = finding;
    let mut section = format!("<section>\n<h2>{}:{line}:{column}</h2>\n<p>{}</p>\n", escaped(file), escaped(message));
    if !frame.is_empty() {
        section.push_str(&format!("<pre>{}</pre>\n", escaped(frame)));
    }
    if !help.is_empty() {
        section.push_str(&format!("<p>{}</p>\n", escaped(help)));
    }
    section + "</section>\n"
}

/// The text as HTML. Control characters but tabs and ends of lines are shown as spaces.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other if other.is_control() && !['\t', '\n'].contains(&other) => escaped.push(' '),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(message: &str) -> Finding {
        Finding { file: "src/<a>.tsx".to_owned(), line: 3, column: 7, message: message.to_owned(), ..Finding::default() }
    }

    #[test]
    fn what_a_project_wrote_is_text() {
        let attack = "</pre><script>alert(1)</script>&\"'\u{0}";
        let page = error_page(&[Finding { frame: attack.to_owned(), help: attack.to_owned(), ..finding(attack) }]);
        assert!(!page.contains("<script") && !page.contains('\u{0}'), "{page}");
        assert_eq!(page.matches("&lt;/pre&gt;&lt;script&gt;alert(1)&lt;/script&gt;&amp;&quot;&#39; ").count(), 3);
        assert!(page.contains("<h2>src/&lt;a&gt;.tsx:3:7</h2>"), "{page}");
    }

    #[test]
    fn errors_are_counted_and_bounded_and_warnings_left_out() {
        let warning = Finding { is_warning: true, ..finding("a warning") };
        let page = error_page(&[warning.clone(), finding("one")]);
        assert!(page.contains("<h1>An error stops this page</h1>") && !page.contains("a warning"), "{page}");
        let many: Vec<_> = (0..MAX_SHOWN + 5).map(|number| finding(&format!("error {number}"))).collect();
        let page = error_page(&many);
        assert_eq!(page.matches("<section>").count(), MAX_SHOWN);
        assert!(page.contains("<h1>25 errors stop this page</h1>") && page.contains("There are 5 more."), "{page}");
        assert!(error_page(&[warning]).contains("gave no reason"));
    }

    #[test]
    fn an_error_is_shown_once() {
        let page = error_page(&[finding("one"), Finding { line: 4, ..finding("one") }, finding("one")]);
        assert_eq!(page.matches("<section>").count(), 2);
        assert!(page.contains("<h1>2 errors stop this page</h1>"), "{page}");
    }
}
