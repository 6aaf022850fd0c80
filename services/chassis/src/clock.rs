//! The only clock of the services. Rules have a parameter `now`, and their callers read this clock.

/// A moment in a message.
pub use pbjson_types::Timestamp;
use time::OffsetDateTime;

/// The current time in whole microseconds. PostgreSQL stores microseconds, so a time is unchanged after a round trip.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "the only reader of the system clock")]
pub fn now() -> OffsetDateTime {
    let now = OffsetDateTime::now_utc();
    now.replace_nanosecond(now.nanosecond() / 1_000 * 1_000).unwrap_or(now)
}

/// Converts a time for the wire.
#[must_use]
pub fn timestamp(moment: OffsetDateTime) -> Timestamp {
    Timestamp { seconds: moment.unix_timestamp(), nanos: i32::try_from(moment.nanosecond()).unwrap_or_default() }
}

/// Converts a time from the wire. `None` if it is outside of the years -9999 to 9999 or its nanoseconds are outside of a second.
#[must_use]
pub fn from_timestamp(timestamp: &Timestamp) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp(timestamp.seconds).ok()?.replace_nanosecond(u32::try_from(timestamp.nanos).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_round_trips_through_the_wire() {
        let moment = now();
        assert_eq!(from_timestamp(&timestamp(moment)), Some(moment));
        assert_eq!(moment.nanosecond() % 1_000, 0);
        let early = OffsetDateTime::UNIX_EPOCH - time::Duration::milliseconds(1);
        assert_eq!(timestamp(early), Timestamp { seconds: -1, nanos: 999_000_000 });
        assert_eq!(from_timestamp(&timestamp(early)), Some(early));
    }

    #[test]
    fn a_time_out_of_range_is_none() {
        assert_eq!(from_timestamp(&Timestamp { seconds: i64::MAX, nanos: 0 }), None);
        assert_eq!(from_timestamp(&Timestamp { seconds: 0, nanos: -1 }), None);
    }
}
