//! What the demo answers in turns that change nothing.

const PLAN_BEGIN: &str = "Steps for “";
const PLAN_END: &str = "”:";

/// The paths of a project in a sentence.
pub(super) fn files(paths: &[&str]) -> String {
    const SHOWN: usize = 8;
    let shown = paths.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
    match paths.len() {
        0 => "The project has no files yet.".to_owned(),
        1 => format!("The project has one file: {shown}."),
        n if n <= SHOWN => format!("The project has {n} files: {shown}."),
        n => format!("The project has {n} files: {shown} and {} more.", n - SHOWN),
    }
}

/// A numbered list of steps for a request, which [`planned`] reads back.
pub(super) fn plan(request: &str, steps: &[String]) -> String {
    let lines: Vec<String> = (1..).zip(steps).map(|(number, step)| format!("{number}. {step}")).collect();
    format!("{PLAN_BEGIN}{request}{PLAN_END}\n\n{}", lines.join("\n"))
}

/// The request of a plan of the demo. `None` for any other plan.
pub(super) fn planned(plan: &str) -> Option<&str> {
    let (_, rest) = plan.split_once(PLAN_BEGIN)?;
    rest.rsplit_once(&format!("{PLAN_END}\n\n1. ")).map(|(request, _)| request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_read_back() {
        let text = format!("Hello.\n\n{}", plan("a timer", &["Write.".to_owned(), "Look.".to_owned()]));
        assert!(text.ends_with("Steps for “a timer”:\n\n1. Write.\n2. Look."), "{text}");
        assert_eq!(planned(&text), Some("a timer"));
        assert_eq!(planned("1. Write."), None);
    }

    #[test]
    fn files_are_listed_up_to_a_limit() {
        assert_eq!(files(&[]), "The project has no files yet.");
        assert_eq!(files(&["a"]), "The project has one file: a.");
        assert_eq!(files(&["a", "b"]), "The project has 2 files: a, b.");
        assert!(files(&["a"; 10]).ends_with("a and 2 more."));
    }
}
