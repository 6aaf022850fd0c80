//! Decides one step of the demo from the request alone: the text and the tool calls.

use serde_json::json;

use super::{
    answer::AnswerBuilder,
    app::{self, APPS, App, TITLE},
    brief::{Brief, Step},
    change::{self, EditedFile, escape},
    modification::{self, Modification},
    talk,
};
use crate::{
    model::provider::{ModelEvent, ModelRequest},
    turn::mode::Mode,
    workspace::tools::read::whole_text,
};

const REAL_MODEL_HINT: &str = "This was the demo model: it follows a script and understands only a few words. Set ANTHROPIC_API_KEY or OPENAI_API_KEY for a real one.";

/// The events of the answer to a request.
pub(super) fn events(request: &ModelRequest) -> Vec<ModelEvent> {
    let brief = Brief::of(request);
    let mut answer = AnswerBuilder::new(request);
    match brief.page() {
        _ if brief.mode == Mode::Ask => answer.text(&answer_question(&brief)),
        page if brief.mode == Mode::Plan => answer.text(&answer_plan(&brief, page)),
        Some(page) if !wants_another_app(brief.prompt) => match brief.has_tools(&["read_file", "edit_file"]) {
            true => change_app(&brief, page, &mut answer),
            false => answer.text(&may_not("change")),
        },
        _ if !brief.has_tools(&["write_file"]) => answer.text(&may_not("write")),
        _ => build_app(&brief, &mut answer),
    }
    answer.finish()
}

fn may_not(what: &str) -> String {
    format!(
        "I am the demo model of Backlot. This turn may not {what} files: its agent, the project's AGENTS.md or the operator does not allow the \
         tools for it. Nothing was changed."
    )
}

fn answer_question(brief: &Brief<'_>) -> String {
    let files = talk::files(&brief.paths);
    let opens = brief.page().map_or_else(String::new, |page| format!(" A preview opens {page}."));
    format!(
        "I am the demo model of Backlot, no provider is configured, so I can only tell you what is there. {files}{opens} Nothing was changed. {REAL_MODEL_HINT}"
    )
}

fn answer_plan(brief: &Brief<'_>, page: Option<&str>) -> String {
    let steps = match page {
        Some(page) if !wants_another_app(brief.prompt) => {
            let mut wanted = modification::parse(brief.prompt);
            if wanted.is_empty() {
                wanted.push(modification::note(brief.prompt));
            }
            let files = brief.style_sheet().map_or_else(|| page.to_owned(), |sheet| format!("{page} and {sheet}"));
            let changes = wanted.iter().map(|modification| format!("Change {files} so that {}.", modification.description()));
            let read = std::iter::once(format!("Read {files}."));
            read.chain(changes).collect()
        }
        _ => {
            let what = app::named(brief.prompt).unwrap_or(&APPS[0]).what;
            [("index.html", "the page"), ("styles.css", "its looks"), ("app.js", "what it does")]
                .map(|(file, part)| format!("Write {file}: {part} of {what}."))
                .to_vec()
        }
    };
    let plan = talk::plan(brief.prompt, &steps);
    format!("I am the demo model of Backlot, no provider is configured. Nothing was changed yet.\n\n{plan}\n\n{REAL_MODEL_HINT}")
}

/// Whether a prompt asks for a new app instead of a change.
fn wants_another_app(prompt: &str) -> bool {
    let first = prompt.split_whitespace().next().unwrap_or_default().to_ascii_lowercase();
    let verb = match first.as_str() {
        "build" | "create" | "generate" => true,
        "make" | "write" | "design" => {
            modification::parse(prompt).iter().all(|modification| matches!(modification, Modification::Title(_)))
        }
        _ => false,
    };
    verb && app::named(prompt).is_some()
}

fn build_app(brief: &Brief<'_>, answer: &mut AnswerBuilder) {
    let named = app::named(brief.prompt);
    let app = named.unwrap_or(&APPS[0]);
    let modifications: Vec<Modification> =
        modification::parse(brief.prompt).into_iter().filter(|modification| !matches!(modification, Modification::Add { .. })).collect();
    let (title, html, css) = modified(app, &modifications);
    match brief.steps.len() {
        0 => {
            let why = if named.is_some() { "" } else { " I could not tell what you would like, so I chose one of the six small apps that I know." };
            answer.text(&format!("I am the demo model of Backlot, no provider is configured.{why} I am going to build {} called “{title}” in three files, the page and its looks first.", app.what));
            answer.call("write_file", json!({"path": "index.html", "content": html}));
            answer.call("write_file", json!({"path": "styles.css", "content": css}));
        }
        1 => {
            answer.text("Now what it does when you use it.");
            answer.call("write_file", json!({"path": "app.js", "content": app.js}));
            if brief.has_tools(&["list_files"]) {
                answer.call("list_files", json!({}));
            }
        }
        _ => answer.text(&summary(brief, &format!("There is {} now: “{title}”, made of index.html, styles.css and app.js. Try “make it dark” or “change the title to …” next.", app.what))),
    }
}

/// The title, the page and the style sheet of an app after the modifications.
fn modified(app: &App, modifications: &[Modification]) -> (String, String, String) {
    let title = modifications
        .iter()
        .find_map(|modification| if let Modification::Title(title) = modification { Some(title.clone()) } else { None })
        .unwrap_or_else(|| app.title.to_owned());
    let mut page = EditedFile::new("index.html", &app.html.replace(TITLE, &escape(&title)));
    let mut sheet = Some(EditedFile::new("styles.css", app.css));
    change::apply(modifications, &mut page, &mut sheet);
    (title, page.text, sheet.map(|sheet| sheet.text).unwrap_or_default())
}

fn change_app(brief: &Brief<'_>, page: &str, answer: &mut AnswerBuilder) {
    let sheet = brief.style_sheet();
    match &brief.steps[..] {
        [] => {
            let files = sheet.map_or_else(|| page.to_owned(), |sheet| format!("{page} and {sheet}"));
            answer.text(&format!(
                "I am the demo model of Backlot, no provider is configured. I am going to look at {files} before I change anything."
            ));
            for path in [Some(page), sheet].into_iter().flatten() {
                answer.call("read_file", json!({"path": path}));
            }
        }
        [read] => {
            answer.text("Here are the changes.");
            for (tool, input) in plan(brief, read, page).0 {
                answer.call(tool, input);
            }
        }
        [read, ..] => {
            let (_, done) = plan(brief, read, page);
            answer.text(&summary(brief, &format!("Done: {}.", done.iter().map(Modification::description).collect::<Vec<_>>().join(", "))));
        }
    }
}

type Plan = (Vec<(&'static str, serde_json::Value)>, Vec<Modification>);

/// The calls for the modifications of a prompt, and the modifications. If none of them changes something, a note with the words of the
/// prompt is added, so that the page always changes.
fn plan(brief: &Brief<'_>, step: &Step<'_>, page_path: &str) -> Plan {
    let read = |path: &str| step.read(path).and_then(whole_text);
    let note = modification::note(brief.prompt);
    let Some(html) = read(page_path) else {
        // The page could not be read completely, so its text is unknown. Most pages have one end of the body.
        let piece = format!("{}\n</body>", change::html(&note).unwrap_or_default());
        return (vec![("edit_file", json!({"path": page_path, "old_text": "</body>", "new_text": piece}))], vec![note]);
    };
    let mut page = EditedFile::new(page_path, html);
    let mut sheet = brief.style_sheet().and_then(|path| Some(EditedFile::new(path, read(path)?)));
    let mut done = change::apply(&modification::parse(brief.prompt), &mut page, &mut sheet);
    if done.is_empty() {
        done = change::apply(std::slice::from_ref(&note), &mut page, &mut sheet);
    }
    if done.is_empty() {
        // The page has no closing tag.
        let content = format!("{}\n{}\n", html.trim_end(), change::html(&note).unwrap_or_default());
        return (vec![("write_file", json!({"path": page_path, "content": content}))], vec![note]);
    }
    (page.calls().into_iter().chain(sheet.into_iter().flat_map(EditedFile::calls)).collect(), done)
}

/// The text of the last step.
fn summary(brief: &Brief<'_>, success: &str) -> String {
    match &brief.failures()[..] {
        [] => format!("{success} {REAL_MODEL_HINT}"),
        failures => format!("Not everything worked: {} {REAL_MODEL_HINT}", failures.join(" ")),
    }
}
