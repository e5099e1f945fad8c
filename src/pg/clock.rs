//! The wall clock and the calendar.

use pgrx::pg_sys::{self, Datum};

use crate::pg::datum::Interval;
use crate::ttl::Ttl;

/// Microseconds since 2000-01-01 UTC, as in a timestamptz: the wall clock, not the start of the transaction.
pub fn now() -> i64 {
    // SAFETY: reads the system's clock.
    unsafe { pg_sys::GetCurrentTimestamp() }
}

/// `time` plus the interval, by the calendar of the session's time zone. Raises 22008 out of range.
pub fn add_calendar(time: i64, ttl: Ttl) -> i64 {
    // SAFETY: timestamptz + interval.
    let sum = unsafe {
        pgrx::direct_function_call_as_datum(
            pg_sys::timestamptz_pl_interval,
            &[Some(Datum::from(time)), Some(Interval::new(ttl).datum())],
        )
    };
    sum.expect("a sum of two values is not null").value() as i64
}
