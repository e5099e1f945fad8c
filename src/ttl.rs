//! From a TTL to the moment of expiry. Times are microseconds since 2000-01-01 UTC, as in a timestamptz.

use crate::error::{Error, Result};

/// Expiry of an entry that never expires: timestamptz 'infinity'.
pub const NEVER: i64 = i64::MAX;

/// One past the last microsecond that a timestamptz can hold (294276-12-31).
const END_TIMESTAMP: i64 = 9_223_371_331_200_000_000;

/// An interval's three parts, as PostgreSQL stores them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ttl {
    pub months: i32,
    pub days: i32,
    pub micros: i64,
}

impl Ttl {
    /// The TTL that means "does not expire". PostgreSQL 17 and later read the same bits as the interval 'infinity'.
    pub const NEVER: Ttl = Ttl { months: i32::MAX, days: i32::MAX, micros: i64::MAX };
}

/// When an entry written at `now` expires. `calendar` adds months and days to a time, as PostgreSQL does it in the
/// session's time zone; it is called only where the TTL has any.
///
/// Errors: [`Error::TtlNotPositive`] (22023) where the expiry is not after `now`, [`Error::TtlOutOfRange`] (22008).
pub fn expiry(now: i64, ttl: Ttl, calendar: impl FnOnce(i64, Ttl) -> i64) -> Result<i64> {
    if ttl == Ttl::NEVER {
        return Ok(NEVER);
    }
    // The calendar does not reach as far back as an interval.
    if ttl.months <= 0 && ttl.days <= 0 && ttl.micros <= 0 {
        return Err(Error::TtlNotPositive);
    }
    let base = if ttl.months == 0 && ttl.days == 0 { now } else { calendar(now, Ttl { micros: 0, ..ttl }) };
    let expires_at = base.checked_add(ttl.micros).ok_or(Error::TtlOutOfRange)?;
    if expires_at <= now {
        Err(Error::TtlNotPositive)
    } else if expires_at >= END_TIMESTAMP {
        Err(Error::TtlOutOfRange)
    } else {
        Ok(expires_at)
    }
}

/// Whether an entry is past its expiry: the moment itself is past.
pub fn is_expired(expires_at: i64, now: i64) -> bool {
    expires_at <= now
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;
    const DAY: i64 = 86_400 * SECOND;

    fn micros(micros: i64) -> Ttl {
        Ttl { months: 0, days: 0, micros }
    }

    fn no_calendar(_: i64, _: Ttl) -> i64 {
        panic!("a TTL of hours needs no calendar")
    }

    #[test]
    fn a_ttl_adds_to_the_time_of_the_write() {
        assert_eq!(expiry(5, micros(SECOND), no_calendar).unwrap(), 5 + SECOND);
    }

    #[test]
    fn days_go_through_the_calendar_and_the_rest_is_added() {
        let ttl = Ttl { months: 0, days: 2, micros: SECOND };
        let calendar = |now, ttl: Ttl| now + i64::from(ttl.days) * DAY;
        assert_eq!(expiry(5, ttl, calendar).unwrap(), 5 + 2 * DAY + SECOND);
    }

    #[test]
    fn zero_and_negative_are_refused_also_as_a_sum() {
        assert!(matches!(expiry(5, micros(0), no_calendar), Err(Error::TtlNotPositive)));
        assert!(matches!(expiry(5, micros(-1), no_calendar), Err(Error::TtlNotPositive)));
        let mixed = Ttl { months: 0, days: 1, micros: -DAY };
        assert!(matches!(expiry(5, mixed, |now, _| now + DAY), Err(Error::TtlNotPositive)));
    }

    #[test]
    fn never_is_infinity_and_nothing_else_is() {
        assert_eq!(expiry(5, Ttl::NEVER, no_calendar).unwrap(), NEVER);
        assert!(matches!(expiry(5, micros(i64::MAX), no_calendar), Err(Error::TtlOutOfRange)));
        assert!(matches!(expiry(5, micros(i64::MAX - 5), no_calendar), Err(Error::TtlOutOfRange)));
        assert!(matches!(expiry(5, micros(END_TIMESTAMP), no_calendar), Err(Error::TtlOutOfRange)));
    }

    #[test]
    fn an_entry_is_expired_at_its_expiry() {
        assert!(!is_expired(6, 5));
        assert!(is_expired(5, 5));
        assert!(!is_expired(NEVER, i64::MAX - 1));
    }
}
