//! The pages of compiled projects: the same revision has the same bytes, whichever replica compiles it.

use std::collections::BTreeMap;

use super::Violation;

const RULE: &str = "same revision, same bytes";

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
}
