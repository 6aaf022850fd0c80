//! The table of results: the figures, the baselines, and the verdicts.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    time::Duration,
};

/// The limit for the ratio. A larger one fails the run, and so does what is above [`Goal::Bound`] or [`Goal::TimesBound`], or has no figure there.
const LIMIT: f64 = 5.0;

/// The unit of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Seconds; less is better.
    Time,
    /// Per second; more is better.
    Rate,
    /// CPU seconds per million; less is better.
    CpuPerMillion,
    /// Memory; less is better.
    Bytes,
    /// A plain number; less is better.
    Factor,
}

/// The goal of a row.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    /// The limit for the ratio to the baseline.
    Times(f64),
    /// The limit for the figure, whatever the baseline is.
    AtMost(f64),
    /// No goal. Only [`LIMIT`] applies.
    None,
    /// The limit for the ratio, without [`LIMIT`]: for tails of short runs, which depend on the machine, and for baselines that guarantee less.
    Tail(f64),
    /// The limit for the figure, without [`LIMIT`]. A larger figure fails the run.
    Bound(f64),
    /// The limit for the ratio, without [`LIMIT`]. A larger ratio fails the run.
    TimesBound(f64),
    /// As [`Goal::Bound`], for a goal that is known to be missed: a larger figure is shown.
    Aim(f64),
    /// The row is shown without a verdict.
    Shown,
}

#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) unit: Unit,
    pub(crate) baseline: f64,
    pub(crate) ours: f64,
    pub(crate) goal: Goal,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Ok,
    OverGoal,
    OverBound,
    OverLimit,
    /// A figure is missing.
    Unknown,
    NotJudged,
}

impl Row {
    /// The ratio to the baseline.
    fn ratio(&self) -> f64 {
        match self.unit {
            Unit::Rate => self.baseline / self.ours,
            Unit::Time | Unit::CpuPerMillion | Unit::Bytes | Unit::Factor => self.ours / self.baseline,
        }
    }

    /// Whether a missed goal, or a missing figure, fails the run.
    fn is_bound(&self) -> bool {
        matches!(self.goal, Goal::Bound(_) | Goal::TimesBound(_))
    }

    /// Whether the figures are there that the verdict needs. A bound of the figure needs no baseline.
    fn is_measured(&self) -> bool {
        if matches!(self.goal, Goal::Bound(_)) { self.ours.is_finite() } else { self.ratio().is_finite() }
    }

    fn verdict(&self) -> Verdict {
        let ratio = self.ratio();
        let good = match self.goal {
            Goal::Times(times) | Goal::Tail(times) | Goal::TimesBound(times) => ratio <= times,
            Goal::AtMost(most) | Goal::Bound(most) | Goal::Aim(most) => self.ours <= most,
            Goal::None | Goal::Shown => true,
        };
        let has_own_limit = matches!(self.goal, Goal::Tail(_) | Goal::Bound(_) | Goal::TimesBound(_) | Goal::Aim(_));
        match ratio {
            _ if !self.is_measured() => Verdict::Unknown,
            _ if matches!(self.goal, Goal::Shown) => Verdict::NotJudged,
            _ if ratio > LIMIT && !has_own_limit => Verdict::OverLimit,
            _ if good => Verdict::Ok,
            _ if self.is_bound() => Verdict::OverBound,
            _ => Verdict::OverGoal,
        }
    }

    fn cells(&self) -> [String; 6] {
        let goal = match self.goal {
            Goal::Times(times) | Goal::Tail(times) | Goal::TimesBound(times) => format!("<= {times:.2}x"),
            Goal::AtMost(most) | Goal::Bound(most) | Goal::Aim(most) => format!("<= {}", shown(self.unit, most)),
            Goal::None | Goal::Shown => "-".to_owned(),
        };
        let verdict = match self.verdict() {
            Verdict::Ok => "ok",
            Verdict::OverGoal => "over goal",
            Verdict::OverBound => "OVER BOUND",
            Verdict::OverLimit => "OVER LIMIT",
            Verdict::Unknown => "not measured",
            Verdict::NotJudged => "not judged",
        };
        let (baseline, ours) = (shown(self.unit, self.baseline), shown(self.unit, self.ours));
        [self.what.clone(), baseline, ours, format!("{:.2}", self.ratio()), goal, verdict.to_owned()]
    }
}

/// The rows in the order of the measurements, the notes and the errors.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
    notes: Vec<String>,
    failures: Vec<String>,
}

impl Table {
    pub(crate) fn row(&mut self, what: impl Into<String>, unit: Unit, (baseline, ours): (f64, f64), goal: Goal) {
        self.rows.push(Row { what: what.into(), unit, baseline, ours, goal });
    }

    /// Adds a figure without a baseline.
    pub(crate) fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// Adds a failed measurement.
    pub(crate) fn failure(&mut self, text: impl Into<String>) {
        self.failures.push(text.into());
    }

    /// Whether all measurements succeeded within [`LIMIT`] and their bounds, and all figures with a bound are there.
    pub(crate) fn is_good(&self) -> bool {
        self.failures.is_empty() && self.missed().next().is_none()
    }

    /// The rows that fail the run.
    fn missed(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| match row.verdict() {
            Verdict::OverBound | Verdict::OverLimit => true,
            Verdict::Unknown => row.is_bound(),
            Verdict::Ok | Verdict::OverGoal | Verdict::NotJudged => false,
        })
    }

    pub(crate) fn print(&self, took: Duration) -> io::Result<()> {
        let head = ["what", "baseline", "ours", "ratio", "goal", "verdict"].map(str::to_owned);
        let lines: Vec<[String; 6]> = std::iter::once(head).chain(self.rows.iter().map(Row::cells)).collect();
        let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default();
        let widths: [usize; 6] = std::array::from_fn(width);
        let mut text = String::from("\n");
        for line in &lines {
            for (column, (cell, width)) in line.iter().zip(widths).enumerate() {
                // Texts are aligned to the left, figures to the right.
                let _ = if matches!(column, 0 | 5) { write!(text, "{cell:<width$}  ") } else { write!(text, "{cell:>width$}  ") };
            }
            text.truncate(text.trim_end().len());
            text.push('\n');
        }
        text.push('\n');
        for note in &self.notes {
            let _ = writeln!(text, "{note}");
        }
        for failure in &self.failures {
            let _ = writeln!(text, "FAILED: {failure}");
        }
        for row in self.missed() {
            let [what, _, ours, ratio, goal, verdict] = row.cells();
            let _ = writeln!(text, "FAILED: {what}: {verdict}: {ours}, {ratio} times the baseline (goal {goal})");
        }
        let _ = writeln!(text, "\nDuration {} s. Compare ratios, not times, with other runs.", took.as_secs());
        io::stdout().write_all(text.as_bytes())
    }
}

/// Formats a figure with its unit.
pub(crate) fn shown(unit: Unit, figure: f64) -> String {
    match unit {
        _ if figure.is_nan() => "-".to_owned(),
        Unit::Time if figure < 1e-6 => format!("{:.0} ns", figure * 1e9),
        Unit::Time if figure < 1e-4 => format!("{:.1} us", figure * 1e6),
        Unit::Time => format!("{:.2} ms", figure * 1e3),
        Unit::Rate => format!("{figure:.0}/s"),
        Unit::CpuPerMillion => format!("{figure:.1} s/M"),
        Unit::Bytes if figure >= 10.0 * 1024.0 * 1024.0 => format!("{:.1} MB", figure / 1024.0 / 1024.0),
        Unit::Bytes => format!("{:.1} KB", figure / 1024.0),
        Unit::Factor => format!("{figure:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_a_missed_bound_or_a_ratio_over_the_limit_is_a_failure() {
        let mut table = Table::default();
        table.row("", Unit::Time, (1.0, 9.0), Goal::Tail(2.0));
        assert!(table.is_good());
        let mut faulty = Table::default();
        faulty.failure("a stream failed");
        assert!(!faulty.is_good());
        table.row("", Unit::Time, (1.0, 9.0), Goal::Aim(2.0));
        assert!(table.is_good());
        table.row("", Unit::Time, (1.0, 9.0), Goal::Times(2.0));
        assert!(!table.is_good());
        let mut bounded = Table::default();
        bounded.row("", Unit::Time, (9.0, 2.0), Goal::Bound(2.0));
        assert!(bounded.is_good());
        bounded.row("", Unit::Time, (9.0, 2.1), Goal::Bound(2.0));
        assert!(!bounded.is_good(), "a missed bound");
        let mut bounded = Table::default();
        bounded.row("", Unit::Bytes, (100.0, 115.0), Goal::TimesBound(1.15));
        assert!(bounded.is_good());
        bounded.row("", Unit::Bytes, (100.0, 116.0), Goal::TimesBound(1.15));
        assert!(!bounded.is_good(), "a missed ratio");
    }

    #[test]
    fn a_figure_with_a_bound_that_is_not_measured_is_a_failure() {
        for (goal, is_good) in [(Goal::Bound(2.0), false), (Goal::TimesBound(2.0), false), (Goal::Times(2.0), true), (Goal::Shown, true)] {
            let mut table = Table::default();
            table.row("", Unit::Time, (1.0, f64::NAN), goal);
            assert_eq!(table.is_good(), is_good, "{goal:?}");
        }
        let mut table = Table::default();
        table.row("", Unit::Time, (f64::NAN, 1.0), Goal::Bound(2.0));
        assert!(table.is_good(), "only the baseline is missing");
        table.row("", Unit::Time, (f64::NAN, 1.0), Goal::TimesBound(2.0));
        assert!(!table.is_good(), "the ratio is missing");
    }

    fn verdict(unit: Unit, baseline: f64, ours: f64, goal: Goal) -> Verdict {
        Row { what: String::new(), unit, baseline, ours, goal }.verdict()
    }

    #[test]
    fn verdicts_depend_on_unit_and_goal() {
        assert_eq!(verdict(Unit::Time, 1.0, 2.0, Goal::Times(2.0)), Verdict::Ok);
        assert_eq!(verdict(Unit::Time, 1.0, 2.1, Goal::Times(2.0)), Verdict::OverGoal);
        assert_eq!(verdict(Unit::Rate, 100.0, 50.0, Goal::Times(2.0)), Verdict::Ok);
        assert_eq!(verdict(Unit::Rate, 100.0, 19.0, Goal::None), Verdict::OverLimit);
        assert_eq!(verdict(Unit::Time, 1.0, 5.1, Goal::AtMost(9.0)), Verdict::OverLimit);
        assert_eq!(verdict(Unit::Time, 1.0, 50.0, Goal::Shown), Verdict::NotJudged);
        assert_eq!(verdict(Unit::Time, 1.0, 50.0, Goal::Tail(5.0)), Verdict::OverGoal);
        assert_eq!(verdict(Unit::Bytes, 1.0, 50.0, Goal::Bound(50.0)), Verdict::Ok);
        assert_eq!(verdict(Unit::Bytes, 1.0, 50.0, Goal::Bound(49.0)), Verdict::OverBound);
        assert_eq!(verdict(Unit::Bytes, 1.0, 50.0, Goal::Aim(49.0)), Verdict::OverGoal);
        assert_eq!(verdict(Unit::Time, 1.0, 1.0, Goal::TimesBound(1.0)), Verdict::Ok);
        assert_eq!(verdict(Unit::Time, 1.0, 1.1, Goal::TimesBound(1.0)), Verdict::OverBound);
        assert_eq!(verdict(Unit::Rate, 60.0, 10.0, Goal::TimesBound(5.5)), Verdict::OverBound);
        assert_eq!(verdict(Unit::Time, f64::NAN, 1.0, Goal::TimesBound(1.0)), Verdict::Unknown);
        assert_eq!(verdict(Unit::Time, 0.0, 1.0, Goal::Bound(1.0)), Verdict::Ok);
        assert_eq!(verdict(Unit::Time, 0.0, 1.1, Goal::Bound(1.0)), Verdict::OverBound);
        assert_eq!(verdict(Unit::Time, 1.0, f64::NAN, Goal::Bound(1.0)), Verdict::Unknown);
        assert_eq!(verdict(Unit::CpuPerMillion, 0.0, 1.0, Goal::None), Verdict::Unknown);
        assert_eq!(verdict(Unit::CpuPerMillion, f64::NAN, 1.0, Goal::Times(2.0)), Verdict::Unknown);
    }
}
