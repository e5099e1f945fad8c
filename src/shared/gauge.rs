//! A number that transactions add to, and that passes over the table count anew.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// A number of which more than one in so many is in doubt is counted again.
const DOUBTFUL_SHARE: u64 = 50;

/// Atomics alone, valid when all are zero.
#[repr(C)]
pub struct Gauge {
    value: AtomicI64,
    /// How much of it has come, gone, or moved in the table so far, which is what a pass can miss, or meet twice: by
    /// transactions that have begun to commit, and by those of them that are in the value. Between the two a transaction
    /// becomes visible.
    announced: AtomicU64,
    settled: AtomicU64,
    /// By how much the value may be off, because so much moved while it was counted.
    doubt: AtomicU64,
}

/// What a gauge shows when a count begins.
#[derive(Clone, Copy)]
pub struct Reading {
    value: i64,
    settled: u64,
}

impl Reading {
    /// As if this, which the count itself removes, had been gone before.
    pub fn without(self, removed: i64) -> Reading {
        Reading { value: self.value - removed, settled: self.settled.wrapping_add_signed(removed) }
    }
}

impl Gauge {
    /// Of a file of which nothing is known, or that is empty.
    pub fn begin(&self) {
        self.value.store(0, Ordering::Relaxed);
        self.doubt.store(0, Ordering::Relaxed);
    }

    /// Nobody is about to commit: the gauge is of another table from now on.
    pub fn forget_commits(&self) {
        self.announced.store(0, Ordering::Relaxed);
        self.settled.store(0, Ordering::Relaxed);
    }

    /// A transaction that has moved so much is about to become visible.
    pub fn announce(&self, moved: i64) {
        if moved != 0 {
            self.announced.fetch_add(moved.unsigned_abs(), Ordering::AcqRel);
        }
    }

    /// Adds what the transaction has added to the number. Cannot fail.
    pub fn add(&self, by: i64) {
        if by != 0 {
            self.value.fetch_add(by, Ordering::AcqRel);
        }
    }

    /// What was announced is in the value now, or has been rolled back.
    pub fn settle(&self, moved: i64) {
        if moved != 0 {
            self.settled.fetch_add(moved.unsigned_abs(), Ordering::AcqRel);
        }
    }

    pub fn value(&self) -> i64 {
        self.value.load(Ordering::Relaxed)
    }

    /// Whether the value is known to one in [`DOUBTFUL_SHARE`].
    pub fn is_sure(&self) -> bool {
        self.doubt.load(Ordering::Relaxed).saturating_mul(DOUBTFUL_SHARE) <= self.value().max(0) as u64
    }

    pub fn reading(&self) -> Reading {
        let settled = self.settled.load(Ordering::Acquire);
        Reading { value: self.value(), settled }
    }

    /// Takes up what has been counted since `begun`, as the first count or as one of many.
    ///
    /// The count may be off by as much as moved meanwhile, and the value by as much as did during the count that it is
    /// built on. Of the two the one with the smaller doubt is kept; and where they differ by more than both allow, the new
    /// one. Half of what was added meanwhile is taken to be in the count.
    pub fn correct(&self, counted: i64, begun: Reading, is_first: bool) {
        let (now, doubt) = (self.value(), self.doubt.load(Ordering::Relaxed));
        let moved = self.announced.load(Ordering::Acquire).saturating_sub(begun.settled);
        let difference = (counted + (now - begun.value) / 2).max(0) - now;
        if is_first || moved <= doubt || difference.unsigned_abs() > moved.saturating_add(doubt) {
            self.value.fetch_add(difference, Ordering::Relaxed);
            self.doubt.store(moved, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gauge() -> Gauge {
        Gauge {
            value: AtomicI64::new(0),
            announced: AtomicU64::new(0),
            settled: AtomicU64::new(0),
            doubt: AtomicU64::new(0),
        }
    }

    fn commit(gauge: &Gauge, by: i64, moved: i64) {
        gauge.announce(moved);
        gauge.add(by);
        gauge.settle(moved);
    }

    /// A pass that counts `counted` while so many come, and so many go. Returns the value then, and whether it is sure.
    fn pass(gauge: &Gauge, is_first: bool, counted: i64, come: i64, gone: i64) -> (i64, bool) {
        let begun = gauge.reading();
        commit(gauge, come - gone, come + gone);
        gauge.correct(counted, begun, is_first);
        (gauge.value(), gauge.is_sure())
    }

    #[test]
    fn a_pass_corrects_what_is_off_by_more_than_moved_meanwhile() {
        let gauge = gauge();
        commit(&gauge, 1000, 1000);
        assert!(gauge.is_sure());
        assert_eq!(pass(&gauge, false, 1001, 3, 1), (1002, true), "one of the two may be in it");
        assert_eq!(pass(&gauge, false, 950, 10, 0), (955, true), "half of the ten are taken to be in the 950");
        assert_eq!(pass(&gauge, false, 955, 0, 0), (955, true));
    }

    #[test]
    fn a_first_count_that_writers_have_disturbed_stays_in_doubt_until_a_better_one() {
        let gauge = gauge();
        assert_eq!(pass(&gauge, true, 40, 100, 0), (90, false), "it is not known which of the 100 are in the 40");
        assert_eq!(pass(&gauge, false, 120, 300, 300), (90, false), "as many came as went: the count is worth less");
        assert_eq!(pass(&gauge, false, 140, 20, 20), (140, false), "it is worth more than the first");
        assert_eq!(pass(&gauge, false, 138, 1, 1), (138, true));
        assert_eq!(pass(&gauge, false, 139, 0, 0), (139, true));
    }

    #[test]
    fn the_first_count_is_taken_up_however_much_moved() {
        let gauge = gauge();
        assert_eq!(pass(&gauge, true, 10, 1000, 1000), (10, false));
    }

    #[test]
    fn what_the_count_itself_removes_does_not_disturb_it() {
        let gauge = gauge();
        let begun = gauge.reading();
        commit(&gauge, -50, 50);
        gauge.correct(10, begun.without(50), true);
        assert_eq!((gauge.value(), gauge.is_sure()), (10, true));
    }

    #[test]
    fn a_count_is_in_doubt_while_a_transaction_has_become_visible_and_is_not_in_the_value() {
        let gauge = gauge();
        commit(&gauge, 500, 500);
        // A hundred come and a hundred go in a transaction that is visible after a part of the table has been counted.
        gauge.announce(200);
        assert_eq!(pass(&gauge, false, 447, 0, 0), (500, true), "what is known is worth more");
        assert_eq!(pass(&gauge, true, 447, 0, 0), (447, false));
        gauge.settle(200);
        assert_eq!(pass(&gauge, false, 500, 0, 0), (500, true));
    }
}
