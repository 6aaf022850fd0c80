//! The table at the end: the cost, the baseline, and whether that is good enough.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    time::Duration,
};

/// Worse than this many times its floor, something is wrong rather than slow.
const CLIFF: f64 = 5.0;

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Seconds; less is better.
    Time,
    /// So many in a second; more is better.
    Rate,
    /// CPU seconds for a million of something; less is better.
    CpuPerMillion,
    /// Memory; less is better.
    Bytes,
    /// A plain number; less is better.
    Factor,
}

/// How good it has to be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    /// At most so many times the floor.
    Times(f64),
    /// At most so much, whatever the floor is.
    AtMost(f64),
    /// Only the cliff counts.
    None,
    /// At most so many times the floor, and no cliff: the tail of a short run is the machine's as often as ours, and some floors
    /// promise less than we do.
    Tail(f64),
    /// At most so much, and no cliff: the floor is shown beside it.
    Bound(f64),
    /// Shown and not judged.
    Shown,
}

#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) unit: Unit,
    pub(crate) floor: f64,
    pub(crate) ours: f64,
    pub(crate) goal: Goal,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Ok,
    OverGoal,
    Cliff,
    /// There was nothing to compare.
    Unknown,
    NotJudged,
}

impl Row {
    /// How many times the floor.
    fn ratio(&self) -> f64 {
        match self.unit {
            Unit::Rate => self.floor / self.ours,
            Unit::Time | Unit::CpuPerMillion | Unit::Bytes | Unit::Factor => self.ours / self.floor,
        }
    }

    fn verdict(&self) -> Verdict {
        let ratio = self.ratio();
        let good = match self.goal {
            Goal::Times(times) | Goal::Tail(times) => ratio <= times,
            Goal::AtMost(most) | Goal::Bound(most) => self.ours <= most,
            Goal::None | Goal::Shown => true,
        };
        match ratio {
            _ if !ratio.is_finite() => Verdict::Unknown,
            _ if matches!(self.goal, Goal::Shown) => Verdict::NotJudged,
            _ if ratio > CLIFF && !matches!(self.goal, Goal::Tail(_) | Goal::Bound(_)) => Verdict::Cliff,
            _ if good => Verdict::Ok,
            _ => Verdict::OverGoal,
        }
    }

    fn cells(&self) -> [String; 6] {
        let goal = match self.goal {
            Goal::Times(times) | Goal::Tail(times) => format!("<= {times:.2}x"),
            Goal::AtMost(most) | Goal::Bound(most) => format!("<= {}", shown(self.unit, most)),
            Goal::None | Goal::Shown => "-".to_owned(),
        };
        let verdict = match self.verdict() {
            Verdict::Ok => "ok",
            Verdict::OverGoal => "over goal",
            Verdict::Cliff => "CLIFF",
            Verdict::Unknown => "not measured",
            Verdict::NotJudged => "not judged",
        };
        let (floor, ours) = (shown(self.unit, self.floor), shown(self.unit, self.ours));
        [self.what.clone(), floor, ours, format!("{:.2}", self.ratio()), goal, verdict.to_owned()]
    }
}

/// Rows in the order in which they were measured, and remarks.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
    notes: Vec<String>,
    faults: Vec<String>,
}

impl Table {
    pub(crate) fn row(&mut self, what: impl Into<String>, unit: Unit, (floor, ours): (f64, f64), goal: Goal) {
        self.rows.push(Row { what: what.into(), unit, floor, ours, goal });
    }

    /// A figure that has no floor of its own.
    pub(crate) fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// Something that did not work, whatever it cost.
    pub(crate) fn fault(&mut self, text: impl Into<String>) {
        self.faults.push(text.into());
    }

    /// Whether nothing went wrong.
    pub(crate) fn is_good(&self) -> bool {
        self.faults.is_empty() && !self.rows.iter().any(|row| row.verdict() == Verdict::Cliff)
    }

    pub(crate) fn print(&self, took: Duration) -> io::Result<()> {
        let head = ["what", "floor", "ours", "ratio", "goal", "verdict"].map(str::to_owned);
        let lines: Vec<[String; 6]> = std::iter::once(head).chain(self.rows.iter().map(Row::cells)).collect();
        let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default();
        let widths: [usize; 6] = std::array::from_fn(width);
        let mut text = String::from("\n");
        for line in &lines {
            for (column, (cell, width)) in line.iter().zip(widths).enumerate() {
                // Words to the left, figures to the right.
                let _ = if matches!(column, 0 | 5) { write!(text, "{cell:<width$}  ") } else { write!(text, "{cell:>width$}  ") };
            }
            text.truncate(text.trim_end().len());
            text.push('\n');
        }
        text.push('\n');
        for note in &self.notes {
            let _ = writeln!(text, "{note}");
        }
        for fault in &self.faults {
            let _ = writeln!(text, "FAULT: {fault}");
        }
        let _ = writeln!(text, "\nOne run of {} s; ratios count, times do not carry over to another run.", took.as_secs());
        io::stdout().write_all(text.as_bytes())
    }
}

/// A figure with its unit, in three digits.
pub(crate) fn shown(unit: Unit, figure: f64) -> String {
    match unit {
        _ if figure.is_nan() => "-".to_owned(),
        Unit::Time if figure < 1e-6 => format!("{:.0} ns", figure * 1e9),
        Unit::Time if figure < 1e-4 => format!("{:.1} us", figure * 1e6),
        Unit::Time => format!("{:.2} ms", figure * 1e3),
        Unit::Rate => format!("{figure:.0}/s"),
        Unit::CpuPerMillion => format!("{figure:.1} s/M"),
        Unit::Bytes => format!("{:.1} KB", figure / 1024.0),
        Unit::Factor => format!("{figure:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_or_a_cliff_is_not_good() {
        let mut table = Table::default();
        table.row("", Unit::Time, (1.0, 9.0), Goal::Tail(2.0));
        assert!(table.is_good());
        let mut faulty = Table::default();
        faulty.fault("a stream failed");
        assert!(!faulty.is_good());
        table.row("", Unit::Time, (1.0, 9.0), Goal::Times(2.0));
        assert!(!table.is_good());
    }

    fn verdict(unit: Unit, floor: f64, ours: f64, goal: Goal) -> Verdict {
        Row { what: String::new(), unit, floor, ours, goal }.verdict()
    }

    #[test]
    fn more_is_better_only_for_rates() {
        assert_eq!(verdict(Unit::Time, 1.0, 2.0, Goal::Times(2.0)), Verdict::Ok);
        assert_eq!(verdict(Unit::Time, 1.0, 2.1, Goal::Times(2.0)), Verdict::OverGoal);
        assert_eq!(verdict(Unit::Rate, 100.0, 50.0, Goal::Times(2.0)), Verdict::Ok);
        assert_eq!(verdict(Unit::Rate, 100.0, 19.0, Goal::None), Verdict::Cliff);
        assert_eq!(verdict(Unit::Time, 1.0, 5.1, Goal::AtMost(9.0)), Verdict::Cliff);
        assert_eq!(verdict(Unit::Time, 1.0, 50.0, Goal::Shown), Verdict::NotJudged);
        assert_eq!(verdict(Unit::Time, 1.0, 50.0, Goal::Tail(5.0)), Verdict::OverGoal);
        assert_eq!(verdict(Unit::Bytes, 1.0, 50.0, Goal::Bound(50.0)), Verdict::Ok);
        assert_eq!(verdict(Unit::Bytes, 1.0, 50.0, Goal::Bound(49.0)), Verdict::OverGoal);
        assert_eq!(verdict(Unit::CpuPerMillion, 0.0, 1.0, Goal::None), Verdict::Unknown);
        assert_eq!(verdict(Unit::CpuPerMillion, f64::NAN, 1.0, Goal::Times(2.0)), Verdict::Unknown);
    }
}
