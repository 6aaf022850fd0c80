//! The pages of compiled projects: the same revision has the same bytes, whichever replica compiles it.

use std::collections::BTreeMap;

use super::Violation;

const RULE: &str = "same revision, same bytes";
/// What is before and after the hash in the address of the script that a gateway adds. The script has the origins of the gateway, which has
/// ports of its own in a run.
const SCRIPT: (&str, &str) = ("@b/client-", ".js");
/// What is before and after the revision that a page names. The page of a running turn has none.
const REVISION: (&str, &str) = (" data-revision=\"", "\"");

/// A page as a replica has compiled it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Compiled {
    pub html: String,
    /// The code of its modules by their addresses. Empty if only the page was read.
    pub modules: BTreeMap<String, String>,
}

/// Compares a page with what the first one has answered, each with the name of who has answered.
#[must_use]
pub fn check(project: &str, answers: &[(String, Compiled)]) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut differs = |what: &str, one: &str, other: &str| {
        let text = format!("{what} of project {project} differs between {one} and {other}");
        found.push(Violation { rule: RULE, turn: None, text });
    };
    for pair in answers.windows(2) {
        let [(one, first), (other, second)] = pair else { continue };
        if first.html != second.html {
            differs("the page", one, other);
        }
        for (name, code) in &first.modules {
            if second.modules.get(name) != Some(code) {
                differs(name, one, other);
            }
        }
    }
    found
}

/// A page without what depends on the gateway that serves it, and on whether its files are committed.
#[must_use]
pub fn without_place(html: &str) -> String {
    [SCRIPT, REVISION].into_iter().fold(html.to_owned(), |html, around| without_hashes(&html, around))
}

/// The text without the hashes between two texts, and without these.
fn without_hashes(text: &str, (before, after): (&str, &str)) -> String {
    let mut parts = text.split(before);
    let mut left = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let hash = part.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(part.len());
        match part[hash..].strip_prefix(after) {
            Some(rest) => left.push_str(rest),
            None => left.extend([before, part]),
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(html: &str, modules: &[(&str, &str)]) -> Compiled {
        let modules = modules.iter().map(|(name, code)| ((*name).to_owned(), (*code).to_owned())).collect();
        Compiled { html: html.to_owned(), modules }
    }

    fn texts(answers: &[Compiled]) -> Vec<String> {
        let named: Vec<_> = answers.iter().enumerate().map(|(at, answer)| (at.to_string(), answer.clone())).collect();
        check("p", &named).into_iter().map(|violation| violation.text).collect()
    }

    #[test]
    fn a_page_and_a_module_that_differ_are_found() {
        let good = compiled("<p>", &[("@m/a.js", "1")]);
        assert_eq!(texts(&[compiled("<p>", &[]), good.clone(), good.clone()]), [""; 0]);
        assert_eq!(texts(&[compiled("<b>", &[]), good.clone()]), ["the page of project p differs between 0 and 1"]);
        assert_eq!(texts(&[good.clone(), compiled("<p>", &[("@m/a.js", "2")])]), ["@m/a.js of project p differs between 0 and 1"]);
        assert_eq!(texts(&[good, compiled("<p>", &[])]), ["@m/a.js of project p differs between 0 and 1"]);
    }

    #[test]
    fn pages_of_a_turn_and_its_revision_differ_only_in_script_and_revision() {
        let page = |script: &str, revision: &str, title: &str| {
            format!("<head><script src=\"/@b/client-{script}.js\" data-page=\"7f\"{revision} crossorigin></script><title>{title}</title>")
        };
        let shown = without_place(&page("0a1", "", "Fruit"));
        assert_eq!(shown, "<head><script src=\"/\" data-page=\"7f\" crossorigin></script><title>Fruit</title>");
        assert_eq!(without_place(&page("b2c3", " data-revision=\"0190ab\"", "Fruit")), shown);
        assert_ne!(without_place(&page("0a1", "", "Trees")), shown);
        for other in ["", "@b/client-", "@b/client-0a.css", "<p data-revision=\"x\">", "<p data-revision=\""] {
            assert_eq!(without_place(other), other);
        }
    }
}
