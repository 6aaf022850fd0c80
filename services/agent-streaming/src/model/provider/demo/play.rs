//! One step of the demo: what to say and which tools to call, from the request alone.

use serde_json::json;

use super::{
    app::{self, APPS, App, TITLE},
    brief::{Brief, Round},
    change::{self, Draft, escape},
    script::Script,
    wish::{self, Wish},
};
use crate::{
    model::provider::{ModelEvent, ModelRequest},
    workspace::tools::read::whole_text,
};

const HOW_TO_GET_A_REAL_ONE: &str = "This was the demo model: it follows a script and understands only a few words. Set ANTHROPIC_API_KEY or OPENAI_API_KEY for a real one.";

pub(super) fn step(request: &ModelRequest) -> Vec<ModelEvent> {
    let brief = Brief::of(request);
    let mut script = Script::new(request);
    match brief.page() {
        _ if !brief.may(&["write_file"]) => {
            script.say("I am the demo model of Backlot, and all that I can do is to write files, which this agent may not. Please choose another agent.");
        }
        Some(page) if brief.may(&["read_file", "edit_file"]) && !wants_another_app(brief.prompt) => change_app(&brief, page, &mut script),
        _ => build_app(&brief, &mut script),
    }
    script.finish()
}

/// Whether a prompt asks for an app of its own instead of a change.
fn wants_another_app(prompt: &str) -> bool {
    let first = prompt.split_whitespace().next().unwrap_or_default().to_ascii_lowercase();
    let verb = match first.as_str() {
        "build" | "create" | "generate" => true,
        "make" | "write" | "design" => wish::parse(prompt).iter().all(|wish| matches!(wish, Wish::Title(_))),
        _ => false,
    };
    verb && app::named(prompt).is_some()
}

fn build_app(brief: &Brief<'_>, script: &mut Script) {
    let named = app::named(brief.prompt);
    let app = named.unwrap_or(&APPS[0]);
    let wishes: Vec<Wish> = wish::parse(brief.prompt).into_iter().filter(|wish| !matches!(wish, Wish::Add { .. })).collect();
    let (title, html, css) = dress(app, &wishes);
    match brief.rounds.len() {
        0 => {
            let why = if named.is_some() { "" } else { " I could not tell what you would like, so I chose one of the six small apps that I know." };
            script.say(&format!("I am the demo model of Backlot, no provider is configured.{why} I am going to build {} called “{title}” in three files, the page and its looks first.", app.what));
            script.call("write_file", json!({"path": "index.html", "content": html}));
            script.call("write_file", json!({"path": "styles.css", "content": css}));
        }
        1 => {
            script.say("Now what it does when you use it.");
            script.call("write_file", json!({"path": "app.js", "content": app.js}));
            if brief.may(&["list_files"]) {
                script.call("list_files", json!({}));
            }
        }
        _ => script.say(&summary(brief, &format!("There is {} now: “{title}”, made of index.html, styles.css and app.js. Try “make it dark” or “change the title to …” next.", app.what))),
    }
}

/// Title, page and style sheet of an app as the prompt would like them.
fn dress(app: &App, wishes: &[Wish]) -> (String, String, String) {
    let title = wishes
        .iter()
        .find_map(|wish| if let Wish::Title(title) = wish { Some(title.clone()) } else { None })
        .unwrap_or_else(|| app.title.to_owned());
    let mut page = Draft::new("index.html", &app.html.replace(TITLE, &escape(&title)));
    let mut sheet = Some(Draft::new("styles.css", app.css));
    change::apply(wishes, &mut page, &mut sheet);
    (title, page.text, sheet.map(|sheet| sheet.text).unwrap_or_default())
}

fn change_app(brief: &Brief<'_>, page: &str, script: &mut Script) {
    let sheet = brief.style_sheet();
    match &brief.rounds[..] {
        [] => {
            let files = sheet.map_or_else(|| page.to_owned(), |sheet| format!("{page} and {sheet}"));
            script.say(&format!(
                "I am the demo model of Backlot, no provider is configured. I am going to look at {files} before I change anything."
            ));
            for path in [Some(page), sheet].into_iter().flatten() {
                script.call("read_file", json!({"path": path}));
            }
        }
        [looked] => {
            script.say("Here are the changes.");
            for (tool, input) in plan(brief, looked, page).0 {
                script.call(tool, input);
            }
        }
        [looked, ..] => {
            let (_, done) = plan(brief, looked, page);
            script.say(&summary(brief, &format!("Done: {}.", done.iter().map(Wish::done).collect::<Vec<_>>().join(", "))));
        }
    }
}

type Plan = (Vec<(&'static str, serde_json::Value)>, Vec<Wish>);

/// The calls for what was asked, from what the files hold. A wish that changes nothing gives way to a note with the prompt's own
/// words, so that there is always something to see.
fn plan(brief: &Brief<'_>, looked: &Round<'_>, page_path: &str) -> Plan {
    let read = |path: &str| looked.read(path).and_then(whole_text);
    let note = wish::note(brief.prompt);
    let Some(html) = read(page_path) else {
        // Too long to read at once, or refused: the end of its body is a good guess.
        let piece = format!("{}\n</body>", change::html(&note).unwrap_or_default());
        return (vec![("edit_file", json!({"path": page_path, "old_text": "</body>", "new_text": piece}))], vec![note]);
    };
    let mut page = Draft::new(page_path, html);
    let mut sheet = brief.style_sheet().and_then(|path| Some(Draft::new(path, read(path)?)));
    let mut done = change::apply(&wish::parse(brief.prompt), &mut page, &mut sheet);
    if done.is_empty() {
        done = change::apply(std::slice::from_ref(&note), &mut page, &mut sheet);
    }
    if done.is_empty() {
        // A page without an end of any kind.
        let content = format!("{}\n{}\n", html.trim_end(), change::html(&note).unwrap_or_default());
        return (vec![("write_file", json!({"path": page_path, "content": content}))], vec![note]);
    }
    (page.calls().into_iter().chain(sheet.into_iter().flat_map(Draft::calls)).collect(), done)
}

/// The last words of a turn.
fn summary(brief: &Brief<'_>, good: &str) -> String {
    match &brief.failures()[..] {
        [] => format!("{good} {HOW_TO_GET_A_REAL_ONE}"),
        failures => format!("Not everything worked: {} {HOW_TO_GET_A_REAL_ONE}", failures.join(" ")),
    }
}
