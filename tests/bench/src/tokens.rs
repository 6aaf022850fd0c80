//! Input tokens of turns with a planned context, compared with the same turns with every file in the prompt. The projects are the starters that
//! ship with Backlot. A scripted expert edits the same files in both. Tokens that an earlier request of the turn had count once, as if every
//! provider cached them.

use std::{collections::BTreeMap, fs, path::Path};

use agent_streaming::{TurnTokens, turn_tokens};
use anyhow::{Context as _, Result, ensure};

use crate::{environment::progress, table::Table};

/// `BACKLOT_CONTEXT_TOKENS`.
const BUDGET: u32 = 12_000;
/// The quantile of the normal distribution for an interval of 95 %.
const Z: f64 = 1.96;
/// The starter, the request, and the files that it changes.
const TASKS: [(&str, &str, &[&str]); 30] = [
    ("blog", "Let visitors filter the posts by year, too", &["scripts/filter.js", "index.html"]),
    ("blog", "Fix the typos in the post about bread", &["posts/bread.html"]),
    ("blog", "Make the text of the posts larger", &["styles/blog.css"]),
    ("dashboard", "Draw the bar chart horizontally", &["scripts/charts.js"]),
    ("dashboard", "Add the data of another month", &["scripts/data.js"]),
    ("dashboard", "Use three columns on wide screens", &["styles/dashboard.css"]),
    ("data-table", "Sort the table by date first", &["scripts/main.js", "scripts/view.js"]),
    ("data-table", "Add ten more orders", &["scripts/orders.js"]),
    ("data-table", "Keep the header of the table visible", &["styles/table.css"]),
    ("form-validation", "Require a phone number with a country code", &["index.html", "scripts/rules.js"]),
    ("form-validation", "Send the form as JSON", &["scripts/send.js"]),
    ("form-validation", "Show the error messages in red below each field", &["styles/form.css"]),
    ("game", "Make the snake faster with every ten points", &["scripts/rules.js", "scripts/main.js"]),
    ("game", "Draw the board with rounded cells", &["scripts/draw.js"]),
    ("game", "Keep the five best results", &["scripts/best.js"]),
    ("landing-page", "Add a yearly price to the pricing section", &["index.html", "scripts/pricing.js"]),
    ("landing-page", "Put the pricing cards below each other on phones", &["styles/pricing.css"]),
    ("landing-page", "Rewrite the headline of the page", &["index.html"]),
    ("react-tailwind", "Let me delete all finished tasks at once", &["src/components/TaskList.tsx", "src/useTasks.ts"]),
    ("react-tailwind", "Show the progress in percent", &["src/components/Progress.tsx"]),
    ("react-tailwind", "Add a filter for tasks that are due today", &["src/components/FilterBar.tsx", "src/tasks.ts"]),
    ("rest-client", "Retry failed HTTP requests twice", &["scripts/http.js"]),
    ("rest-client", "Add the address to the contacts", &["scripts/contacts.js", "scripts/mock.js"]),
    ("rest-client", "Change the base address of the configuration", &["scripts/config.js"]),
    ("static-site", "Add opening hours to the contact page", &["contact.html"]),
    ("static-site", "Close the menu with the Escape key", &["scripts/menu.js"]),
    ("static-site", "Tell the story of the founders on the about page", &["about.html"]),
    ("vue", "Sort the books by title", &["src/useBooks.ts"]),
    ("vue", "Show the cover on each book card", &["src/components/BookCard.vue", "src/books.ts"]),
    ("vue", "Require an author in the book form", &["src/components/BookForm.vue"]),
];

pub(crate) fn measure(table: &mut Table) -> Result<()> {
    progress("tokens");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../services/project-storage/templates");
    let mut saved = Vec::new();
    let (mut planned, mut full) = (0_u64, 0_u64);
    for (starter, request, edited) in TASKS {
        let mut files = BTreeMap::new();
        read(&root.join(starter).join("files"), "", &mut files)?;
        ensure!(edited.iter().all(|path| files.contains_key(*path)), "{starter} has no {edited:?}");
        let TurnTokens { planned: ours, full: all } = turn_tokens(&files, request, edited, BUDGET);
        saved.push(1.0 - f64::from(ours) / f64::from(all));
        planned += u64::from(ours);
        full += u64::from(all);
    }
    table.note(format!("tokens: {} tasks on starters, {planned} uncached input tokens with a plan, {full} with every file", TASKS.len()));
    let (mean, half) = interval(&saved);
    table.note(format!("tokens: saved per task {:.1} % ({:.1} to {:.1})", mean * 100.0, (mean - half) * 100.0, (mean + half) * 100.0));
    Ok(())
}

/// The mean, and half of its interval of 95 %.
#[expect(clippy::cast_precision_loss, reason = "small counts")]
fn interval(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, Z * (variance / n).sqrt())
}

/// Reads the text files of a folder.
fn read(folder: &Path, prefix: &str, files: &mut BTreeMap<String, String>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        let name = format!("{prefix}{}", path.file_name().context("a name")?.to_string_lossy());
        if path.is_dir() {
            read(&path, &format!("{name}/"), files)?;
        } else if let Ok(text) = fs::read_to_string(&path) {
            files.insert(name, text);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_that_of_a_mean() {
        let (mean, half) = interval(&[0.5, 0.7]);
        assert!((mean - 0.6).abs() < 1e-9 && (half - 0.196).abs() < 1e-9, "{mean} {half}");
    }

    #[test]
    fn the_tasks_can_be_measured() {
        let mut table = Table::default();
        measure(&mut table).unwrap();
    }
}
