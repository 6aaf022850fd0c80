//! The selection of agents: how often it is right on the labelled requests of agent-streaming, also beside 200 agents that compete with the
//! built-in ones, and how long it takes among 500 agents.

use std::{fs, path::Path, time::Instant};

use agent_streaming::Catalogue;
use anyhow::{Context as _, Result};

use crate::{
    environment::progress,
    sample::Samples,
    table::{Goal, Table, Unit},
};

const REQUESTS: &str = include_str!("../../../services/agent-streaming/tests/requests.tsv");
/// The number of agents that the time is measured with.
const AGENTS: usize = 500;
/// The number of agents that compete with the built-in ones.
const RIVALS: usize = 200;
/// The goal of the time, in seconds.
const GOAL: f64 = 0.002;
/// The quantile of the normal distribution for an interval of 95 %.
const Z: f64 = 1.96;

/// A labelled request of the part `test`.
struct Labelled {
    stratum: &'static str,
    /// Empty if no agent fits.
    agent: &'static str,
    text: &'static str,
}

pub(crate) fn measure(table: &mut Table) -> Result<()> {
    progress("selection");
    let requests = requests()?;
    let (own, _) = Catalogue::load(None)?;
    accuracy(table, "", &own, &requests);
    let (crowded, _crowd) = with_rivals(&own, RIVALS)?;
    accuracy(table, &format!(" beside {RIVALS} rivals"), &crowded, &requests);
    let (many, _folder) = with_rivals(&own, AGENTS - own.agents().count())?;
    let (mut baseline, mut ours) = (Samples::default(), Samples::default());
    for request in &requests {
        for (catalogue, samples) in [(&own, &mut baseline), (&many, &mut ours)] {
            let started = Instant::now();
            std::hint::black_box(catalogue.select(request.text));
            samples.push(started.elapsed());
        }
    }
    let built_in = own.agents().count();
    table.row(format!("selection among {AGENTS} agents, beside {built_in}, p50"), Unit::Time, (baseline.p50(), ours.p50()), Goal::Shown);
    table.row(
        format!("selection among {AGENTS} agents, beside {built_in}, p99"),
        Unit::Time,
        (baseline.p99(), ours.p99()),
        Goal::Bound(GOAL),
    );
    Ok(())
}

fn requests() -> Result<Vec<Labelled>> {
    let mut requests = Vec::new();
    for line in REQUESTS.lines().skip(1) {
        let mut fields = line.split('\t');
        let mut field = || fields.next().with_context(|| format!("not four fields: {line}"));
        let (part, stratum, agent, text) = (field()?, field()?, field()?, field()?);
        if part == "test" {
            requests.push(Labelled { stratum, agent, text });
        }
    }
    Ok(requests)
}

/// Adds agents that have the descriptions of built-in ones under other names, every one with a word of its own.
fn with_rivals(own: &Catalogue, count: usize) -> Result<(Catalogue, tempfile::TempDir)> {
    let folder = tempfile::tempdir()?;
    let descriptions: Vec<_> = own.agents().map(|(_, _, description)| description.to_owned()).collect();
    for (number, description) in (0..count).zip(descriptions.iter().cycle()) {
        write_agent(folder.path(), number, description)?;
    }
    let (catalogue, _) = Catalogue::load(Some(folder.path()))?;
    Ok((catalogue, folder))
}

fn write_agent(folder: &Path, number: usize, description: &str) -> Result<()> {
    // The second half of a description says when to use the agent: the rival is for the same work of another product.
    let words: Vec<_> = description.split_whitespace().collect();
    let half = words[words.len() / 2..].join(" ").replace(['"', '\\'], "");
    let text = format!("---\nname: rival-{number}\ndescription: \"Product{number}: {half}\"\n---\nDo the work for product {number}.\n");
    fs::write(folder.join(format!("rival-{number}.md")), text).context("cannot write an agent")
}

/// Notes how often the right agent is the first and among the first three, and how often an agent is taken wrongly.
fn accuracy(table: &mut Table, beside: &str, catalogue: &Catalogue, requests: &[Labelled]) {
    for stratum in ["english", "paraphrase", "german", "spanish", "french", "no-fit"] {
        let of: Vec<_> = requests.iter().filter(|request| request.stratum == stratum).collect();
        let (mut first, mut third, mut taken) = (0, 0, 0);
        for request in &of {
            let selection = catalogue.select(request.text);
            let rank = selection.candidates.iter().position(|candidate| candidate.agent == request.agent);
            first += usize::from(rank == Some(0));
            third += usize::from(rank.is_some_and(|rank| rank < 3));
            taken += usize::from(selection.rule == "matched" && selection.agent != request.agent);
        }
        let shown = |count| interval(count, of.len());
        let right = if stratum == "no-fit" { String::new() } else { format!("first {}, of three {}, ", shown(first), shown(third)) };
        table.note(format!("selection{beside}, {stratum} ({}): {right}taken wrongly {}", of.len(), shown(taken)));
    }
}

/// A part in percent with its Wilson interval of 95 %.
#[expect(clippy::cast_precision_loss, reason = "small counts")]
fn interval(count: usize, all: usize) -> String {
    let (n, p) = (all as f64, count as f64 / all as f64);
    let middle = (p + Z * Z / (2.0 * n)) / (1.0 + Z * Z / n);
    let half = Z / (1.0 + Z * Z / n) * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    format!("{:.1} % ({:.1} to {:.1})", p * 100.0, (middle - half).max(0.0) * 100.0, (middle + half).min(1.0) * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_that_of_wilson() {
        assert_eq!(interval(9, 10), "90.0 % (59.6 to 98.2)");
        assert_eq!(interval(0, 100), "0.0 % (0.0 to 3.7)");
    }
}
