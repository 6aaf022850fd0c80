//! The revisions of a family of forks as points of logs. A log is linear, so what a revision contains of it is a number.

use std::collections::BTreeMap;

use proto::id::ProjectId;

/// A revision of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Point {
    pub(crate) log: ProjectId,
    pub(crate) number: u32,
}

/// The logs that a revision contains a part of, each with the number of the last revision of that part.
pub(crate) type LogNumbers = BTreeMap<ProjectId, u32>;

/// The last revisions of each log that both sides contain.
pub(crate) fn common(ours: &LogNumbers, theirs: &LogNumbers) -> Vec<Point> {
    let both = ours.iter().filter_map(|(log, number)| Some((*log, *number.min(theirs.get(log)?))));
    both.map(|(log, number)| Point { log, number }).collect()
}

/// What the other side contains and ours does not.
pub(crate) fn missing(ours: &LogNumbers, theirs: &LogNumbers) -> LogNumbers {
    let is_missing = |(log, number): &(&ProjectId, &u32)| ours.get(*log).is_none_or(|own| own < *number);
    theirs.iter().filter(is_missing).map(|(log, number)| (*log, *number)).collect()
}

/// Removes the points that another one contains.
pub(crate) fn drop_contained(points: &mut Vec<Point>, by: Point, contents: &LogNumbers) {
    points.retain(|point| *point == by || contents.get(&point.log).is_none_or(|number| *number < point.number));
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn log(n: u128) -> ProjectId {
        ProjectId(Uuid::from_u128(n))
    }

    fn contents(of: &[(u128, u32)]) -> LogNumbers {
        of.iter().map(|(n, number)| (log(*n), *number)).collect()
    }

    fn points(of: &[(u128, u32)]) -> Vec<Point> {
        of.iter().map(|(n, number)| Point { log: log(*n), number: *number }).collect()
    }

    #[test]
    fn common_points_are_the_smaller_numbers() {
        for (ours, theirs, both, lacking) in [
            (vec![(1, 9)], vec![(1, 5), (2, 7)], vec![(1, 5)], vec![(2, 7)]),
            (vec![(1, 9), (2, 7)], vec![(1, 5), (2, 8)], vec![(1, 5), (2, 7)], vec![(2, 8)]),
            (vec![(1, 9), (2, 8)], vec![(1, 5), (2, 8)], vec![(1, 5), (2, 8)], vec![]),
            (vec![], vec![(1, 1)], vec![], vec![(1, 1)]),
        ] {
            let (ours, theirs) = (contents(&ours), contents(&theirs));
            assert_eq!(common(&ours, &theirs), points(&both));
            assert_eq!(missing(&ours, &theirs), contents(&lacking));
        }
    }

    #[test]
    fn a_contained_point_is_dropped() {
        let mut found = points(&[(1, 5), (2, 7), (3, 2)]);
        drop_contained(&mut found, Point { log: log(2), number: 7 }, &contents(&[(1, 5), (2, 7), (3, 1)]));
        assert_eq!(found, points(&[(2, 7), (3, 2)]));
    }
}
