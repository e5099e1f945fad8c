//! The clock by which invalidations and values are ordered: the wall clock, as long as that goes forward.
//!
//! Method: hybrid logical clocks (Kulkarni et al., 2014), for the processes of one server, which share the clock itself
//! and so need no messages.

use std::sync::atomic::{AtomicI64, Ordering};

/// A wall clock that is further behind the latest time seen, in microseconds, has been set back; processes that look at it
/// at about the same time are not so far apart.
const SET_BACK: i64 = 1_000_000;

/// Times in microseconds, as in a timestamptz. Valid when all is zero. The wall clock is passed in.
#[repr(C)]
pub struct HybridClock {
    /// The latest time told.
    latest: AtomicI64,
    /// The wall clock when it was last looked at.
    wall: AtomicI64,
    /// All tags count as invalidated at this time.
    floor: AtomicI64,
}

impl HybridClock {
    /// A time later than all that have been told.
    pub fn tick(&self, wall: i64) -> i64 {
        self.look_at(wall);
        let next = |latest: i64| wall.max(latest + 1);
        let before = self.latest.fetch_update(Ordering::AcqRel, Ordering::Acquire, |latest| Some(next(latest)));
        next(before.unwrap_or_else(|latest| latest))
    }

    /// A time that was not in the future when the wall clock showed `since`: earlier than all that has been told from then
    /// on. `wall` reads the wall clock. `None` where that has been set back meanwhile.
    pub fn dated_back(&self, since: i64, wall: impl Fn() -> i64) -> Option<i64> {
        // Told first, and how long ago it was asked after that: what others are told in between makes it only earlier.
        let told = self.tick(wall());
        let elapsed = wall().checked_sub(since).filter(|elapsed| *elapsed >= 0)?;
        Some(told - elapsed)
    }

    /// Everything that has a tag is invalid from now on.
    pub fn invalidate_all(&self, wall: i64) {
        self.raise_floor(self.tick(wall));
    }

    /// Everything that has a tag and is not from after this time is invalid.
    pub fn raise_floor(&self, time: i64) {
        self.floor.fetch_max(time, Ordering::AcqRel);
    }

    /// The last time at which everything was invalidated.
    pub fn floor(&self) -> i64 {
        self.floor.load(Ordering::Acquire)
    }

    /// Where the wall clock has been set back, what was read from it before is no longer comparable.
    fn look_at(&self, wall: i64) {
        let last = self.wall.load(Ordering::Relaxed);
        if wall < last - SET_BACK {
            if self.wall.compare_exchange(last, wall, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                let next = self.latest.fetch_add(1, Ordering::AcqRel) + 1;
                self.raise_floor(next);
            }
        } else if wall > last {
            self.wall.store(wall, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    fn clock() -> HybridClock {
        // SAFETY: all zeros is a valid clock.
        unsafe { std::mem::zeroed() }
    }

    #[test]
    fn no_time_is_told_twice_though_the_wall_clock_stands_still() {
        let clock = clock();
        assert_eq!([clock.tick(100), clock.tick(100), clock.tick(100), clock.tick(200)], [100, 101, 102, 200]);
    }

    #[test]
    fn threads_are_told_different_times() {
        let clock = clock();
        let mut told: Vec<i64> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..4).map(|_| scope.spawn(|| (0..1000).map(|wall| clock.tick(wall)).collect::<Vec<_>>())).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        told.sort_unstable();
        told.dedup();
        assert_eq!(told.len(), 4000);
    }

    #[test]
    fn it_goes_on_from_where_it_was_when_the_wall_clock_is_set_back() {
        let clock = clock();
        let before = clock.tick(100 * SECOND);
        assert_eq!(clock.floor(), 0);
        let after = clock.tick(40 * SECOND);
        assert!(after > before);
        assert!(
            clock.floor() > before && clock.floor() < after,
            "what was told before is invalid, and what is told now is not"
        );
    }

    #[test]
    fn being_set_back_is_noticed_each_time_and_once() {
        let clock = clock();
        clock.tick(100 * SECOND);
        clock.tick(40 * SECOND);
        let floor = clock.floor();
        clock.tick(41 * SECOND);
        clock.tick(41 * SECOND - 10);
        assert_eq!(clock.floor(), floor);
        clock.tick(20 * SECOND);
        assert!(clock.floor() > floor);
    }

    #[test]
    fn what_began_earlier_is_dated_back_by_as_much() {
        let clock = clock();
        assert_eq!(clock.dated_back(970, || 1000), Some(970));
        let invalidated = clock.tick(1000);
        assert!(clock.dated_back(980, || 1010).unwrap() < invalidated, "it began before the invalidation");
        assert!(clock.dated_back(1070, || 1100).unwrap() > invalidated);
        assert_eq!(clock.dated_back(1200, || 1100), None, "it has been set back since");
        let told = clock.tick(100 * SECOND);
        // Though the wall clock is behind.
        assert!(clock.dated_back(40 * SECOND, || 40 * SECOND).unwrap() > told);
    }

    #[test]
    fn others_who_are_told_meanwhile_do_not_make_it_later() {
        let clock = clock();
        let invalidated = clock.tick(100);
        // Between the two looks at the wall clock, which shows 110 and then 1000, another process is told.
        let looks = std::cell::Cell::new(0);
        let wall = || {
            looks.set(looks.get() + 1);
            if looks.get() == 1 { 110 } else { clock.tick(900).max(1000) }
        };
        assert!(clock.dated_back(60, wall).unwrap() < invalidated);
    }
}
