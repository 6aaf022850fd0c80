//! Applies modifications to the page and the style sheet, as tool calls.

use serde_json::{Value, json};

use super::modification::{Addition, Modification};

const DARK: [(&str, &str); 5] =
    [("--bg", "#0f1220"), ("--panel", "#181d2f"), ("--text", "#e8ebf5"), ("--muted", "#98a1b8"), ("--line", "#2b3249")];
const LIGHT: [(&str, &str); 5] =
    [("--bg", "#f5f6fb"), ("--panel", "#ffffff"), ("--text", "#1b2130"), ("--muted", "#667085"), ("--line", "#e2e6ef")];

/// A file with its new text, and the edits that lead to it.
#[derive(Debug, Clone)]
pub(super) struct EditedFile {
    path: String,
    pub(super) text: String,
    edits: Vec<(String, String)>,
    /// The edits are not unique, so the complete file is written.
    rewritten: bool,
}

impl EditedFile {
    pub(super) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned(), edits: Vec::new(), rewritten: false }
    }

    /// Replaces the first occurrence of `old`. Returns false if nothing would change.
    fn replace(&mut self, old: &str, new: &str) -> bool {
        let places = self.text.matches(old).count();
        if old == new || places == 0 {
            return false;
        }
        self.text = self.text.replacen(old, new, 1);
        self.edits.push((old.to_owned(), new.to_owned()));
        self.rewritten |= places > 1;
        true
    }

    fn append(&mut self, more: &str) -> bool {
        if self.text.contains(more) {
            return false;
        }
        self.text = format!("{}\n\n{more}\n", self.text.trim_end());
        self.rewritten = true;
        true
    }

    /// The tool calls that make the change.
    pub(super) fn calls(self) -> Vec<(&'static str, Value)> {
        let Self { path, text, edits, rewritten } = self;
        if rewritten {
            return vec![("write_file", json!({"path": path, "content": text}))];
        }
        edits.into_iter().map(|(old, new)| ("edit_file", json!({"path": path, "old_text": old, "new_text": new}))).collect()
    }
}

/// Applies modifications. Returns those that have changed something.
pub(super) fn apply(modifications: &[Modification], page: &mut EditedFile, sheet: &mut Option<EditedFile>) -> Vec<Modification> {
    modifications.iter().filter(|modification| apply_one(modification, page, sheet)).cloned().collect()
}

fn apply_one(modification: &Modification, page: &mut EditedFile, sheet: &mut Option<EditedFile>) -> bool {
    match modification {
        Modification::Title(title) => {
            let heading = set_inside(page, "h1", title);
            set_inside(page, "title", title) || heading
        }
        Modification::Dark => style(page, sheet, &DARK, "body {\n  background: #0f1220;\n  color: #e8ebf5;\n}"),
        Modification::Light => style(page, sheet, &LIGHT, "body {\n  background: #f5f6fb;\n  color: #1b2130;\n}"),
        Modification::Accent(colour, _) => style(page, sheet, &[("--accent", colour)], &format!("h1,\na {{\n  color: {colour};\n}}")),
        Modification::Bigger => style(page, sheet, &[("--size", "20px")], "body {\n  font-size: 125%;\n}"),
        Modification::Smaller => style(page, sheet, &[("--size", "14px")], "body {\n  font-size: 87.5%;\n}"),
        Modification::Add { .. } => html(modification).is_some_and(|html| add(page, &html)),
    }
}

/// Changes the custom properties of the sheet if it has them. Otherwise adds a rule to the sheet, or to the page if there is no sheet.
fn style(page: &mut EditedFile, sheet: &mut Option<EditedFile>, properties: &[(&str, &str)], rule: &str) -> bool {
    let Some(sheet) = sheet else {
        let element = format!("<style>\n{rule}\n</style>\n");
        return !page.text.contains(&element) && page.replace("</head>", &format!("{element}</head>"));
    };
    let Some(block) = root_block(&sheet.text) else { return sheet.append(rule) };
    let mut known = false;
    let lines = block.split_inclusive('\n').map(|line| {
        let (name, _) = line.split_once(':').unwrap_or(("", ""));
        match properties.iter().find(|(property, _)| *property == name.trim()) {
            Some((_, value)) => {
                known = true;
                format!("{name}: {value};\n")
            }
            None => line.to_owned(),
        }
    });
    let (block, changed) = (block.to_owned(), lines.collect::<String>());
    if known { sheet.replace(&block, &changed) } else { sheet.append(rule) }
}

/// The block of `:root`, if it has at most one property per line.
fn root_block(css: &str) -> Option<&str> {
    let from = &css[css.find(":root")?..];
    let block = &from[..=from.find('}')?];
    block.lines().skip(1).all(|line| line.matches(':').count() <= 1).then_some(block)
}

/// Replaces the content of the first element with this name.
fn set_inside(page: &mut EditedFile, element: &str, text: &str) -> bool {
    let text = escape(text);
    let found = page.text.match_indices(&format!("<{element}")).find_map(|(start, open)| {
        let rest = &page.text[start..];
        let end = rest.find('>')? + 1;
        // `<h1>` must not match `<h10>`, nor `<title>` a longer name.
        rest[open.len()..].starts_with([' ', '>', '\n']).then_some(())?;
        let close = end + rest[end..].find(&format!("</{element}>"))?;
        let whole = &rest[..close + element.len() + 3];
        Some((whole.to_owned(), format!("{}{text}</{element}>", &rest[..end])))
    });
    found.is_some_and(|(old, new)| page.replace(&old, &new))
}

/// Adds a piece of HTML at the end of the visible page.
fn add(page: &mut EditedFile, html: &str) -> bool {
    ["</main>", "</body>", "</html>"].iter().any(|end| {
        let indent = page.text.find(end).map_or("", |at| {
            let line = &page.text[page.text[..at].rfind('\n').map_or(0, |newline| newline + 1)..at];
            if line.trim().is_empty() { line } else { "" }
        });
        let piece = format!("  {html}\n{indent}{end}");
        page.replace(end, &piece)
    })
}

/// The HTML of an addition. Other modifications have none.
pub(super) fn html(modification: &Modification) -> Option<String> {
    let Modification::Add { what, text } = modification else { return None };
    let text = escape(text);
    Some(match what {
        Addition::Footer => format!("<footer><p>{text}</p></footer>"),
        Addition::Button => format!("<p><button type=\"button\" onclick=\"this.textContent = 'Clicked!'\">{text}</button></p>"),
        Addition::Section => format!("<section class=\"panel\"><h2>{text}</h2><p>Added by the demo model.</p></section>"),
    })
}

pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::{super::modification, *};

    const PAGE: &str = "<html>\n<head>\n<title>Old</title>\n</head>\n<body>\n  <header>x</header>\n  <main>\n    <h1 class=\"a\">Old</h1>\n  </main>\n</body>\n</html>\n";
    const SHEET: &str = ":root {\n  --bg: #fff;\n  --accent: red;\n}\n\nbody { color: black }\n";

    /// The calls for a prompt, with the number of applied modifications.
    fn calls(prompt: &str, page: &str, sheet: Option<&str>) -> (Vec<(&'static str, Value)>, usize) {
        let mut page = EditedFile::new("index.html", page);
        let mut sheet = sheet.map(|text| EditedFile::new("styles.css", text));
        let applied = apply(&modification::parse(prompt), &mut page, &mut sheet).len();
        (page.calls().into_iter().chain(sheet.into_iter().flat_map(EditedFile::calls)).collect(), applied)
    }

    fn edit(path: &str, old: &str, new: &str) -> (&'static str, Value) {
        ("edit_file", json!({"path": path, "old_text": old, "new_text": new}))
    }

    #[test]
    fn modifications_become_small_edits() {
        let heading = edit("index.html", "<h1 class=\"a\">Old</h1>", "<h1 class=\"a\">A &amp; B</h1>");
        let title = edit("index.html", "<title>Old</title>", "<title>A &amp; B</title>");
        assert_eq!(calls("title to A & B", PAGE, None), (vec![heading, title], 1));
        let dark = edit("styles.css", ":root {\n  --bg: #fff;\n  --accent: red;\n}", ":root {\n  --bg: #0f1220;\n  --accent: red;\n}");
        assert_eq!(calls("dark", PAGE, Some(SHEET)), (vec![dark], 1));
        let footer = edit("index.html", "</main>", "  <footer><p>Bye</p></footer>\n  </main>");
        assert_eq!(calls("add a footer saying Bye", PAGE, Some(SHEET)), (vec![footer], 1));
        let inline = edit("index.html", "</head>", "<style>\nbody {\n  background: #0f1220;\n  color: #e8ebf5;\n}\n</style>\n</head>");
        assert_eq!(calls("dark", PAGE, None), (vec![inline], 1));
    }

    #[test]
    fn a_file_is_rewritten_if_an_edit_is_not_unique() {
        let sheet = "body { color: red }";
        let content = format!("{sheet}\n\nbody {{\n  background: #0f1220;\n  color: #e8ebf5;\n}}\n");
        let written = ("write_file", json!({"path": "styles.css", "content": content}));
        assert_eq!(calls("dark", PAGE, Some(sheet)), (vec![written], 1));
        let (twice, _) = calls("title to New", "<h1>A</h1><h1>A</h1>", None);
        assert_eq!(twice, [("write_file", json!({"path": "index.html", "content": "<h1>New</h1><h1>A</h1>"}))]);
    }

    #[test]
    fn an_applied_modification_changes_nothing() {
        assert_eq!(calls("title to Old", PAGE, None), (vec![], 0));
        let dark = SHEET.replace("#fff", "#0f1220");
        assert_eq!(calls("dark", PAGE, Some(&dark)), (vec![], 0));
        assert_eq!(calls("add x", "no page at all", None), (vec![], 0));
        let appended = "x {}\n\nbody {\n  background: #0f1220;\n  color: #e8ebf5;\n}\n";
        assert_eq!(calls("dark", PAGE, Some(appended)), (vec![], 0));
    }

    #[test]
    fn the_text_of_an_addition_is_escaped() {
        let html = html(&Modification::Add { what: Addition::Footer, text: "<script>\"&'".into() });
        assert_eq!(html.as_deref(), Some("<footer><p>&lt;script&gt;&quot;&amp;&#39;</p></footer>"));
    }
}
