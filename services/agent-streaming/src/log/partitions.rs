//! Creates the daily partitions of the event log two days ahead, and removes each one when the retention of all its turns has passed.

use std::{collections::HashSet, time::Duration};

use chassis::{fault_time, task::Ticks};
use time::{Date, Month, OffsetDateTime};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::store::{
    Pool, StoreError, agents, context,
    partitions::{self, Partition, PartitionState},
};

const DAYS_AHEAD: i64 = 2;
const PERIOD: Duration = Duration::from_secs(3600);
/// Unused agents and skills are kept for this long at least. Replicas say every hour which they use.
const MIN_AGE: Duration = Duration::from_secs(24 * 3600);

/// Creates and removes partitions once an hour, and deletes what no turn needs any more. Events are kept for `retention` after the end of their
/// turn, and so are the agents that it was selected from.
pub(crate) async fn maintain(db: Pool, retention: Duration, stop: CancellationToken) {
    let mut ticks = Ticks::new(fault_time::shortened("partitions-interval", PERIOD), stop);
    while ticks.next().await {
        let today = chassis::clock::now().date();
        if let Err(error) = ensure(&db, today).await {
            tracing::error!(error = %error, "partitions of the event log could not be created");
        }
        if let Err(error) = remove_old(&db, today, retention).await {
            tracing::warn!(error = %error, "old partitions of the event log could not be removed");
        }
        if let Err(error) = context::delete_old_parts(&db).await {
            tracing::warn!(error = %error, "the prompts of ended turns could not be deleted");
        }
        if let Err(error) = agents::delete_old(&db, retention.max(MIN_AGE)).await {
            tracing::warn!(error = %error, "old agents and skills could not be deleted");
        }
    }
}

/// Creates the missing partitions from yesterday, where turns from before midnight still write, to two days ahead.
pub(crate) async fn ensure(db: &Pool, today: Date) -> Result<(), StoreError> {
    let attached = partitions::list(db).await?.into_iter().filter(|(_, state)| *state == PartitionState::Attached);
    let existing: HashSet<_> = attached.map(|(name, _)| name).collect();
    for day in required_days(today) {
        let partition = of_day(day);
        if !existing.contains(&partition.name) {
            partitions::add(db, &partition).await?;
        }
    }
    Ok(())
}

async fn remove_old(db: &Pool, today: Date, retention: Duration) -> Result<(), StoreError> {
    for (name, state) in partitions::list(db).await? {
        let Some(day) = day_of(&name).filter(|day| is_old(*day, today, retention)) else { continue };
        if state != PartitionState::Attached || partitions::is_expired(db, &of_day(day), retention).await? {
            partitions::remove(db, &name, state).await?;
            tracing::info!(partition = name, "a partition of old events was removed");
        }
    }
    Ok(())
}

fn required_days(today: Date) -> impl Iterator<Item = Date> {
    (-1..=DAYS_AHEAD).map(move |days| today.saturating_add(time::Duration::days(days)))
}

/// Whether the retention has passed for every moment of the day.
fn is_old(day: Date, today: Date, retention: Duration) -> bool {
    let days = i64::try_from(retention.as_secs().div_ceil(24 * 3600)).unwrap_or(i64::MAX);
    (today - day).whole_days() > days.max(1)
}

fn of_day(day: Date) -> Partition {
    let name = format!("turn_events_{:04}{:02}{:02}", day.year(), u8::from(day.month()), day.day());
    Partition { name, low: first_id(day), high: first_id(day.saturating_add(time::Duration::days(1))) }
}

fn day_of(name: &str) -> Option<Date> {
    let digits = name.strip_prefix("turn_events_").filter(|digits| digits.len() == 8)?;
    let month = Month::try_from(digits[4..6].parse::<u8>().ok()?).ok()?;
    Date::from_calendar_date(digits[..4].parse().ok()?, month, digits[6..].parse().ok()?).ok()
}

/// The smallest UUIDv7 of a day: its first 48 bits are milliseconds since 1970.
fn first_id(day: Date) -> Uuid {
    let millis = (day.midnight().assume_utc() - OffsetDateTime::UNIX_EPOCH).whole_milliseconds();
    Uuid::from_u128(u128::try_from(millis).unwrap_or(0) << 80)
}

#[cfg(test)]
mod tests {
    use proto::id::{ProjectId, TurnId};
    use time::macros::date;

    use super::*;
    use crate::{
        store::testing,
        testing::{accepted, database},
    };

    const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

    async fn names(db: &Pool) -> Vec<(String, PartitionState)> {
        partitions::list(db).await.unwrap()
    }

    #[tokio::test]
    async fn an_old_partition_is_removed_after_the_retention_of_its_last_turn() {
        let db = database().await.pool;
        let today = chassis::clock::now().date();
        let kept = names(&db).await;
        assert_eq!(kept.len(), 4);
        ensure(&db, today).await.unwrap();
        assert_eq!(names(&db).await, kept);

        let old = of_day(today.saturating_sub(time::Duration::days(30)));
        partitions::add(&db, &old).await.unwrap();
        let (open, late) = (accepted(&db, ProjectId::generate()).await.id, accepted(&db, ProjectId::generate()).await.id);
        for (turn, n) in [(open, 1), (late, 2)] {
            testing::rename(&db, turn, TurnId(Uuid::from_u128(old.low.as_u128() + n))).await;
        }
        let [open, late] = [1, 2].map(|n| TurnId(Uuid::from_u128(old.low.as_u128() + n)));
        testing::end(&db, late, 24.0).await;
        remove_old(&db, today, WEEK).await.unwrap();
        testing::end(&db, open, 24.0 * 20.0).await;
        remove_old(&db, today, WEEK).await.unwrap();
        assert_eq!(names(&db).await.len(), 5, "one of its turns ended yesterday");
        testing::end(&db, late, 24.0 * 8.0).await;
        remove_old(&db, today, WEEK).await.unwrap();
        assert_eq!(names(&db).await, kept);
    }

    #[tokio::test]
    async fn concurrent_replicas_create_each_partition_once() {
        let db = database().await.pool;
        let later = chassis::clock::now().date().saturating_add(time::Duration::days(10));
        let replicas: Vec<_> = (0..6)
            .map(|_| {
                let db = db.clone();
                chassis::task::spawn(async move { ensure(&db, later).await })
            })
            .collect();
        for replica in replicas {
            replica.await.unwrap().unwrap();
        }
        assert_eq!(names(&db).await.len(), 8);
    }

    #[test]
    fn a_new_id_belongs_to_the_partition_of_its_day() {
        let before = chassis::clock::now().date();
        let id = Uuid::now_v7();
        let found = [before, chassis::clock::now().date()].into_iter().map(of_day).find(|p| p.low <= id && id < p.high);
        assert!(found.is_some_and(|p| day_of(&p.name).is_some()));
    }

    #[test]
    fn consecutive_partitions_have_no_gap() {
        let days: Vec<_> = required_days(date!(2026 - 03 - 01)).map(of_day).collect();
        let names: Vec<_> = days.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names, ["turn_events_20260228", "turn_events_20260301", "turn_events_20260302", "turn_events_20260303"]);
        for pair in days.windows(2) {
            assert_eq!(pair[0].high, pair[1].low);
        }
    }

    #[test]
    fn a_day_is_old_when_its_last_moment_is() {
        let week = Duration::from_secs(7 * 24 * 3600);
        assert!(!is_old(date!(2026 - 03 - 03), date!(2026 - 03 - 10), week));
        assert!(is_old(date!(2026 - 03 - 02), date!(2026 - 03 - 10), week));
        assert!(!is_old(date!(2026 - 03 - 09), date!(2026 - 03 - 10), Duration::ZERO));
        for name in ["turn_events_2026", "turn_events_20261301", "turns"] {
            assert_eq!(day_of(name), None);
        }
    }
}
