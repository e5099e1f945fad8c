//! How often to make a pass, and how long to rest within one: functions of what was found, without a clock.

use std::time::Duration;

/// Shortest time between two passes over a cache.
pub const SHORTEST: Duration = Duration::from_millis(500);

/// Work after which the sweeper rests. A call that has to wait for its processor meanwhile waits for so long at most: the
/// slice is short beside what a call takes, and long beside what a transaction costs.
pub const SLICE: Duration = Duration::from_micros(40);

/// The same where a table of one batch is to be counted: what writers do between two slices would spoil the count.
pub const WHOLE: Duration = Duration::from_millis(5);

/// Time to the next pass: half as long where more than 10 % of what was scanned had expired, twice as long where less
/// than 1 % had; never longer than an expired entry may wait.
pub fn next_interval(current: Duration, scanned: u64, expired: u64, max_stale: Duration) -> Duration {
    let next = if expired * 10 > scanned {
        current / 2
    } else if expired * 100 < scanned || scanned == 0 {
        current * 2
    } else {
        current
    };
    next.max(SHORTEST).min(max_stale)
}

/// Rest after `worked`, so that the share of work stays at `max_duty` (above 0, at most 1).
pub fn rest_after(worked: Duration, max_duty: f64) -> Duration {
    worked.mul_f64(1.0 / max_duty - 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_STALE: Duration = Duration::from_secs(10);

    fn next(current_ms: u64, scanned: u64, expired: u64) -> u128 {
        next_interval(Duration::from_millis(current_ms), scanned, expired, MAX_STALE).as_millis()
    }

    #[test]
    fn many_expired_entries_make_it_faster_and_few_slower() {
        assert_eq!(next(4000, 1000, 101), 2000);
        assert_eq!(next(4000, 1000, 100), 4000);
        assert_eq!(next(4000, 1000, 10), 4000);
        assert_eq!(next(4000, 1000, 9), 8000);
    }

    #[test]
    fn it_stays_within_its_bounds() {
        assert_eq!(next(600, 10, 10), 500);
        assert_eq!(next(9000, 10, 0), 10_000);
        assert_eq!(next(9000, 0, 0), 10_000);
        let short = Duration::from_millis(100);
        assert_eq!(next_interval(short, 10, 10, short), short);
    }

    #[test]
    fn the_rest_keeps_the_duty() {
        assert_eq!(rest_after(Duration::from_millis(10), 0.1), Duration::from_millis(90));
        assert_eq!(rest_after(Duration::from_millis(10), 1.0), Duration::ZERO);
    }
}
