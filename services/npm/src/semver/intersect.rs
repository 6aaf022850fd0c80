//! Whether two ranges have a version in common, as npm answers it.

use super::{
    Range, Version,
    comparator::{Comparator, Conditions, Operator},
};

impl Range {
    /// Whether a version can match both. As npm does, conditions are compared in pairs.
    #[must_use]
    pub fn intersects(&self, other: &Self) -> bool {
        let possible = |range: &Self| range.alternatives.iter().filter(|list| is_possible(list)).cloned().collect::<Vec<_>>();
        let others = possible(other);
        possible(self).iter().any(|mine| others.iter().any(|theirs| mine.iter().all(|a| theirs.iter().all(|b| meet(a, b)))))
    }
}

fn is_possible(conditions: &Conditions) -> bool {
    conditions.iter().enumerate().all(|(at, a)| conditions[at + 1..].iter().all(|b| meet(a, b)))
}

/// Whether two conditions have a version in common.
fn meet(a: &Comparator, b: &Comparator) -> bool {
    use Operator::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual};
    let (a_sign, a_limit, b_sign, b_limit) = match (a, b) {
        (Comparator::Any, _) => return true,
        // A pre-release is not what `*` means.
        (Comparator::Of(Equal, limit), _) => return alone(b).accepts(limit),
        (_, Comparator::Any) => return true,
        (_, Comparator::Of(Equal, limit)) => return alone(a).accepts(limit),
        (Comparator::Of(a_sign, a_limit), Comparator::Of(b_sign, b_limit)) => (*a_sign, a_limit, *b_sign, b_limit),
    };
    match (a_sign, b_sign) {
        _ if is_below_zero(a_sign, a_limit) || is_below_zero(b_sign, b_limit) => false,
        (Greater | GreaterOrEqual, Greater | GreaterOrEqual) | (Less | LessOrEqual, Less | LessOrEqual) => true,
        (GreaterOrEqual, LessOrEqual) => a_limit <= b_limit,
        (LessOrEqual, GreaterOrEqual) => b_limit <= a_limit,
        (Greater | GreaterOrEqual, Less | LessOrEqual) => a_limit < b_limit,
        (Less | LessOrEqual, Greater | GreaterOrEqual) => b_limit < a_limit,
        (Equal, _) | (_, Equal) => false,
    }
}

/// `<0.0.0` with or without a pre-release.
fn is_below_zero(operator: Operator, limit: &Version) -> bool {
    operator == Operator::Less && limit.numbers() == (0, 0, 0)
}

fn alone(condition: &Comparator) -> Range {
    Range { alternatives: vec![vec![condition.clone()]], prereleases: false }
}
