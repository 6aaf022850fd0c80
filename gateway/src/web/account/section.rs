//! The parts of a signed-in page: a heading with texts, secrets, a table and forms.

use std::fmt::Write as _;

use chassis::clock::{Timestamp, from_timestamp};

use super::{escape::escaped, form::Form, refusal::Refusal};

/// A part of a page.
#[derive(Debug, Default)]
pub(crate) struct Section<'a> {
    pub(crate) heading: &'a str,
    pub(crate) texts: Vec<String>,
    /// Texts to copy that are shown only here.
    pub(crate) secrets: Vec<String>,
    /// The address of a picture (`data:`), and what it shows.
    pub(crate) picture: Option<(String, &'a str)>,
    pub(crate) table: Option<Table<'a>>,
    pub(crate) forms: Vec<Form<'a>>,
}

/// A table. Its first column names the row.
#[derive(Debug, Default)]
pub(crate) struct Table<'a> {
    /// What the table lists, for screen readers.
    pub(crate) caption: &'a str,
    /// The headings of the columns.
    pub(crate) head: &'a [&'a str],
    pub(crate) rows: Vec<Row<'a>>,
}

/// A row, with as many cells as the table has headings.
#[derive(Debug, Default)]
pub(crate) struct Row<'a> {
    pub(crate) cells: Vec<Cell>,
    /// In one more column.
    pub(crate) form: Option<Form<'a>>,
}

#[derive(Debug)]
pub(crate) enum Cell {
    Text(String),
    /// A moment; nothing if it is absent.
    Time(Option<Timestamp>),
}

impl Cell {
    fn html(&self) -> String {
        match self {
            Self::Text(text) => escaped(text),
            Self::Time(time) => time.as_ref().map_or_else(String::new, time_html),
        }
    }
}

/// A moment in UTC, because the pages have no script that knows the zone of the reader.
fn time_html(time: &Timestamp) -> String {
    let Some(at) = from_timestamp(time) else { return String::new() };
    let (date, hour, minute) = (at.date(), at.hour(), at.minute());
    format!("<time datetime=\"{date}T{hour:02}:{minute:02}Z\">{date} {hour:02}:{minute:02} UTC</time>")
}

impl Section<'_> {
    /// `refusal` is the fault of the page.
    pub(crate) fn write(&self, to: &mut String, refusal: Option<&Refusal>) {
        // Writing to a String cannot fail.
        let _ = writeln!(to, "<section>\n<h2>{}</h2>", escaped(self.heading));
        for text in &self.texts {
            let _ = writeln!(to, "<p>{}</p>", escaped(text));
        }
        if let Some((image, about)) = &self.picture {
            let _ = writeln!(to, "<p><img src=\"{}\" alt=\"{}\"></p>", escaped(image), escaped(about));
        }
        if !self.secrets.is_empty() {
            let secrets: String = self.secrets.iter().map(|text| format!("<li><code>{}</code></li>\n", escaped(text))).collect();
            let _ = writeln!(to, "<ul class=\"secrets\">\n{secrets}</ul>");
        }
        if let Some(table) = &self.table {
            table.write(to);
        }
        for form in &self.forms {
            form.write(to, refusal);
        }
        to.push_str("</section>\n");
    }
}

impl Table<'_> {
    /// A wide table scrolls in a region of its own, which the keyboard reaches.
    fn write(&self, to: &mut String) {
        let caption = escaped(self.caption);
        let _ = write!(to, "<div class=\"scroll\" role=\"region\" aria-label=\"{caption}\" tabindex=\"0\">\n<table>\n");
        let _ = write!(to, "<caption class=\"unseen\">{caption}</caption>\n<thead><tr>");
        for heading in self.head {
            let _ = write!(to, "<th scope=\"col\">{}</th>", escaped(heading));
        }
        if self.rows.iter().any(|row| row.form.is_some()) {
            to.push_str("<th scope=\"col\">Action</th>");
        }
        to.push_str("</tr></thead>\n<tbody>\n");
        for row in &self.rows {
            row.write(to);
        }
        to.push_str("</tbody>\n</table>\n</div>\n");
    }
}

impl Row<'_> {
    fn write(&self, to: &mut String) {
        to.push_str("<tr>");
        for (column, cell) in self.cells.iter().enumerate() {
            let (open, close) = if column == 0 { ("<th scope=\"row\">", "</th>") } else { ("<td>", "</td>") };
            let _ = write!(to, "{open}{}{close}", cell.html());
        }
        if let Some(form) = &self.form {
            to.push_str("<td>");
            form.write(to, None);
            to.push_str("</td>");
        }
        to.push_str("</tr>\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(section: &Section<'_>) -> String {
        let mut html = String::new();
        section.write(&mut html, None);
        html
    }

    #[test]
    fn every_value_is_escaped() {
        let evil = "\"><script>x</script>'&";
        let form = || Form { hidden: vec![(evil, evil)], subject: evil, ..Form::of_action(evil, evil) };
        let row = Row { cells: vec![Cell::Text(evil.to_owned()), Cell::Text(evil.to_owned())], form: Some(form()) };
        let html = written(&Section {
            heading: evil,
            texts: vec![evil.to_owned()],
            secrets: vec![evil.to_owned()],
            table: Some(Table { caption: evil, head: &[evil, evil], rows: vec![row] }),
            forms: vec![form()],
            picture: Some((evil.to_owned(), evil)),
        });
        assert!(!html.contains("<script") && !html.contains("\"><s") && !html.contains("'"), "{html}");
        assert_eq!(html.matches("&lt;script&gt;").count(), 19, "{html}");
    }

    #[test]
    fn a_table_has_headings_for_its_columns_and_rows() {
        let row = |name: &str, form| Row { cells: vec![Cell::Text(name.into()), Cell::Time(Some(Timestamp::default()))], form };
        let end = Form { subject: "Firefox", ..Form::of_action("end", "Sign out") };
        let table = Table { caption: "Sessions", head: &["Device", "Used"], rows: vec![row("Firefox", Some(end)), row("Safari", None)] };
        let html = written(&Section { heading: "Devices", table: Some(table), ..Section::default() });
        for part in [
            "<h2>Devices</h2>",
            "<caption class=\"unseen\">Sessions</caption>",
            "<th scope=\"col\">Device</th><th scope=\"col\">Used</th><th scope=\"col\">Action</th>",
            "<th scope=\"row\">Firefox</th><td><time datetime=\"1970-01-01T00:00Z\">1970-01-01 00:00 UTC</time></td>",
            "<input type=\"hidden\" name=\"action\" value=\"end\">",
            "<button type=\"submit\">Sign out<span class=\"unseen\"> Firefox</span></button>",
        ] {
            assert!(html.contains(part), "{part} in {html}");
        }
        let html = written(&Section { table: Some(Table { rows: vec![row("Safari", None)], ..Table::default() }), ..Section::default() });
        assert!(!html.contains("Action"), "{html}");
    }
}
