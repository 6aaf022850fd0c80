//! The apps that the demo can build, three files each.

/// A small app.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct App {
    /// A noun with its article, such as "a to-do list".
    pub(super) what: &'static str,
    pub(super) title: &'static str,
    /// Words of a prompt that select the app, each with its weight.
    words: &'static [(&'static str, u32)],
    pub(super) html: &'static str,
    pub(super) css: &'static str,
    pub(super) js: &'static str,
}

macro_rules! app {
    ($folder:literal, $what:literal, $title:literal, [$($word:literal $weight:literal),* $(,)?]) => {
        App {
            what: $what,
            title: $title,
            words: &[$(($word, $weight)),*],
            html: include_str!(concat!("../../../../demo/", $folder, "/index.html")),
            css: include_str!(concat!("../../../../demo/", $folder, "/styles.css")),
            js: include_str!(concat!("../../../../demo/", $folder, "/app.js")),
        }
    };
}

/// The placeholder for the title in a page.
pub(super) const TITLE: &str = "{{title}}";

pub(super) const APPS: [App; 6] = [
    app!("todo", "a to-do list", "To-do list", ["todo" 3, "todos" 3, "to-do" 3, "task" 2, "tasks" 2, "checklist" 3, "groceries" 2, "shopping" 2, "list" 1]),
    app!("counter", "a counter", "Counter", ["counter" 3, "count" 2, "counts" 2, "tally" 3, "clicker" 3, "clicks" 1]),
    app!("landing", "a landing page", "A fresh start", ["landing" 3, "homepage" 3, "website" 2, "portfolio" 3, "startup" 2, "marketing" 2, "site" 1, "page" 1]),
    app!("calculator", "a calculator", "Calculator", ["calculator" 3, "calc" 3, "calculate" 2, "arithmetic" 2]),
    app!("notes", "a notebook", "Notes", ["notes" 3, "note" 3, "notebook" 3, "journal" 2, "diary" 2, "memo" 2]),
    app!("timer", "a focus timer", "Focus timer", ["timer" 3, "pomodoro" 3, "stopwatch" 3, "countdown" 3, "clock" 2, "focus" 1]),
];

/// The app with the largest weight in a prompt. `None` if no word selects an app.
pub(super) fn named(prompt: &str) -> Option<&'static App> {
    let prompt = prompt.to_lowercase();
    let words: Vec<&str> = prompt.split(|c: char| !(c.is_alphanumeric() || c == '-')).collect();
    let weight = |app: &App| app.words.iter().filter(|(word, _)| words.contains(word)).map(|(_, weight)| weight).sum::<u32>();
    let best = APPS.iter().map(|app| (weight(app), app)).reduce(|a, b| if b.0 > a.0 { b } else { a })?;
    (best.0 > 0).then_some(best.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each app is complete in its folder, so the rules that all apps have are in each style sheet.
    #[test]
    fn the_style_sheets_begin_with_the_same_rules() {
        const FIRST: &str = "\n* {\n";
        const LAST: &str = "\n.primary:hover {\n  filter: brightness(1.08);\n}\n";
        let base = |app: &App| {
            let (_, rules) = app.css.split_once(FIRST)?;
            rules.split_once(LAST).map(|(base, _)| base)
        };
        for app in &APPS {
            assert!(base(app).is_some_and(|rules| rules.lines().count() > 40), "{}", app.what);
            assert_eq!(base(app), base(&APPS[0]), "{}", app.what);
        }
    }

    #[test]
    fn words_select_the_app() {
        for (prompt, what) in [
            ("Build me a todo list", Some("a to-do list")),
            ("a To-Do app, please!", Some("a to-do list")),
            ("shopping list", Some("a to-do list")),
            ("count my clicks", Some("a counter")),
            ("landing page for a bakery", Some("a landing page")),
            ("a page to take notes", Some("a notebook")),
            ("CALCULATOR", Some("a calculator")),
            ("25 minute pomodoro", Some("a focus timer")),
            ("make it dark", None),
            ("", None),
        ] {
            assert_eq!(named(prompt).map(|app| app.what), what, "{prompt}");
        }
    }

    #[test]
    fn every_app_is_complete() {
        for app in &APPS {
            assert!(
                app.html.matches(TITLE).count() >= 2 && app.html.contains("href=\"styles.css\"") && app.html.contains("src=\"app.js\""),
                "{}",
                app.what
            );
            assert!(app.css.starts_with(":root {\n  --bg: ") && app.css.contains("--size: 16px;"), "{}", app.what);
            for id in app.js.split("querySelector(\"#").skip(1).filter_map(|rest| rest.split('"').next()) {
                assert!(app.html.contains(&format!("id=\"{id}\"")), "{}: #{id}", app.what);
            }
            for text in [app.html, app.css, app.js] {
                assert!(text.len() < 8 * 1024 && text.ends_with('\n') && !text.contains("http"), "{}", app.what);
            }
        }
    }
}
