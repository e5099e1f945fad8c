//! A cache in shared memory: how much there is in it, what has been done with it, and where eviction goes on.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::pg::place::Place;
use crate::ttl;

/// Sessions count their reads in one of so many places, each a cache line, so that they seldom meet.
const STRIPES: usize = 8;
/// A usage that may be off by more than one in so many is counted again.
const DOUBTFUL_SHARE: i64 = 50;

/// What a read is counted as.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Read {
    Hit = 0,
    Miss = 1,
    /// A value that another caller was renewing.
    StaleServed = 2,
    /// A value that another caller had made meanwhile.
    RecomputeSaved = 3,
}

/// What a transaction has done to a cache; or, added up, what all have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// Rows that are there more than before.
    pub entries: i64,
    /// Their size in bytes, with what is stored out of line.
    pub bytes: i64,
    pub sets: u64,
    pub deletes: u64,
    pub expired: u64,
    pub evicted: u64,
    pub invalidated: u64,
}

impl Delta {
    pub fn add(&mut self, other: Delta) {
        self.entries += other.entries;
        self.bytes += other.bytes;
        self.sets += other.sets;
        self.deletes += other.deletes;
        self.expired += other.expired;
        self.evicted += other.evicted;
        self.invalidated += other.invalidated;
    }
}

/// How much there is in a cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub entries: i64,
    /// Bytes of rows, with what is stored out of line.
    pub bytes: i64,
}

impl Usage {
    pub fn plus(self, other: Usage) -> Usage {
        Usage { entries: self.entries + other.entries, bytes: self.bytes + other.bytes }
    }

    pub fn less(self, other: Usage) -> Usage {
        Usage { entries: self.entries - other.entries, bytes: self.bytes - other.bytes }
    }
}

/// 64-bit atomics alone, valid when all are zero.
#[repr(C)]
pub struct CacheSlot {
    pub(super) key: AtomicU64,
    /// The table's file that the usage is of, zero where it has not been counted yet; see [`Self::begin_file`].
    counted_file: AtomicU64,
    entries: AtomicI64,
    bytes: AtomicI64,
    /// No entry expires before this; zero, so that the first pass looks, until one has been made.
    earliest_expiry: AtomicI64,
    /// The place behind which eviction goes on, in the bits of a place.
    hand: AtomicU64,
    /// The ring of the cache's probation: its number from one on, zero for none.
    pub(super) ring: AtomicU64,
    pub(super) ring_head: AtomicU64,
    pub(super) ring_tail: AtomicU64,
    sets: AtomicU64,
    deletes: AtomicU64,
    expired: AtomicU64,
    evicted: AtomicU64,
    counting_since: AtomicI64,
    invalidated: AtomicU64,
    /// How many entries with tags have been written since a pass last met none.
    tagged_writes: AtomicU64,
    reads: [[AtomicU64; 8]; STRIPES],
}

impl CacheSlot {
    /// For a cache that has just been given the slot.
    pub(super) fn begin(&self, now: i64) {
        for word in [&self.counted_file, &self.hand, &self.ring, &self.ring_head, &self.ring_tail, &self.tagged_writes]
        {
            word.store(0, Ordering::Relaxed);
        }
        for number in [&self.entries, &self.bytes, &self.earliest_expiry] {
            number.store(0, Ordering::Relaxed);
        }
        self.reset(now);
    }

    /// Starts the counters anew.
    pub fn reset(&self, now: i64) {
        let reads = self.reads.iter().flatten();
        for counter in reads.chain([&self.sets, &self.deletes, &self.expired, &self.evicted, &self.invalidated]) {
            counter.store(0, Ordering::Relaxed);
        }
        self.counting_since.store(now, Ordering::Relaxed);
    }

    /// Counts a read in the stripe of the process.
    pub fn count_read(&self, read: Read, process: usize) {
        self.reads[process % STRIPES][read as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub fn reads(&self, read: Read) -> u64 {
        self.reads.iter().map(|stripe| stripe[read as usize].load(Ordering::Relaxed)).sum()
    }

    /// Adds what a committed transaction has done. Called from the commit: cannot fail.
    pub fn apply(&self, delta: Delta) {
        for (counter, by) in [
            (&self.sets, delta.sets),
            (&self.deletes, delta.deletes),
            (&self.expired, delta.expired),
            (&self.evicted, delta.evicted),
            (&self.invalidated, delta.invalidated),
        ] {
            if by != 0 {
                counter.fetch_add(by, Ordering::Relaxed);
            }
        }
        for (number, by) in [(&self.entries, delta.entries), (&self.bytes, delta.bytes)] {
            if by != 0 {
                number.fetch_add(by, Ordering::Relaxed);
            }
        }
    }

    /// What all transactions have done since the counters were reset; the usage is as it is now.
    pub fn totals(&self) -> Delta {
        let usage = self.raw_usage();
        Delta {
            entries: usage.entries,
            bytes: usage.bytes,
            sets: self.sets.load(Ordering::Relaxed),
            deletes: self.deletes.load(Ordering::Relaxed),
            expired: self.expired.load(Ordering::Relaxed),
            evicted: self.evicted.load(Ordering::Relaxed),
            invalidated: self.invalidated.load(Ordering::Relaxed),
        }
    }

    pub fn counting_since(&self) -> i64 {
        self.counting_since.load(Ordering::Relaxed)
    }

    /// Tells which file the table has now. Of a new one the usage is known if it is empty, and otherwise has to be
    /// counted by a pass.
    pub fn begin_file(&self, file: u64, is_empty: impl Fn() -> bool) {
        let counted = self.counted_file.load(Ordering::Acquire);
        if counted != file && (counted != 0 || is_empty()) {
            self.entries.store(0, Ordering::Relaxed);
            self.bytes.store(0, Ordering::Relaxed);
            self.earliest_expiry.store(0, Ordering::Relaxed);
            self.counted_file.store(if is_empty() { file } else { 0 }, Ordering::Release);
        }
    }

    /// How much there is in the cache, if that is known.
    pub fn usage(&self) -> Option<Usage> {
        (self.counted_file.load(Ordering::Acquire) != 0).then(|| self.raw_usage())
    }

    /// What the usage is built up from: meaningful before it is known, to compare with itself later.
    pub fn raw_usage(&self) -> Usage {
        Usage { entries: self.entries.load(Ordering::Relaxed), bytes: self.bytes.load(Ordering::Relaxed) }
    }

    /// Takes up what a pass over the whole table has counted in the file. `before` is [`Self::raw_usage`] at its start.
    ///
    /// Half of what was written during the pass is taken to be in the count. Where the difference is not larger than
    /// what was written, the running usage is the better one, if there has been a count before. Another pass is due
    /// after a first count that may be off for that reason, and while the running usage may be off by more than one in
    /// [`DOUBTFUL_SHARE`].
    pub fn correct(&self, file: u64, counted: Usage, before: Usage) {
        let is_first = self.counted_file.load(Ordering::Acquire) != file;
        let correct = |number: &AtomicI64, counted: i64, before: i64| {
            let now = number.load(Ordering::Relaxed);
            let written = now - before;
            let difference = counted + written / 2 - now;
            if is_first || difference.abs() > written.abs() {
                number.fetch_add(difference, Ordering::Relaxed);
                return written == 0 || !is_first;
            }
            difference.abs().saturating_mul(DOUBTFUL_SHARE) <= counted
        };
        let is_sure =
            correct(&self.entries, counted.entries, before.entries) & correct(&self.bytes, counted.bytes, before.bytes);
        if !is_sure {
            self.note_expiry(0);
        }
        self.counted_file.store(file, Ordering::Release);
    }

    /// The place behind which eviction goes on.
    pub fn hand(&self) -> Place {
        Place::from_bits(self.hand.load(Ordering::Relaxed))
    }

    /// Moves the hand on, unless another session has.
    pub fn move_hand(&self, from: Place, to: Place) {
        self.hand.compare_exchange(from.to_bits(), to.to_bits(), Ordering::Relaxed, Ordering::Relaxed).ok();
    }

    pub fn note_expiry(&self, expires_at: i64) {
        // Most writes come with an expiry that is later than one already noted, and then write nothing.
        if self.earliest_expiry.load(Ordering::Acquire) > expires_at {
            self.earliest_expiry.fetch_min(expires_at, Ordering::AcqRel);
        }
    }

    pub fn earliest_expiry(&self) -> i64 {
        self.earliest_expiry.load(Ordering::Acquire)
    }

    /// How many entries with tags have been written. Zero: there are none.
    pub fn tagged_writes(&self) -> u64 {
        self.tagged_writes.load(Ordering::Acquire)
    }

    pub fn note_tagged_write(&self) {
        self.tagged_writes.fetch_add(1, Ordering::AcqRel);
    }

    /// A pass that began after `before` tagged writes has met no entry with tags.
    pub fn note_untagged(&self, before: u64) {
        self.tagged_writes.compare_exchange(before, 0, Ordering::AcqRel, Ordering::Relaxed).ok();
    }

    /// Clears the note before a pass over the whole table, which makes a new one of what it meets.
    pub fn begin_pass(&self) {
        self.earliest_expiry.store(ttl::NEVER, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn empty() -> Box<CacheSlot> {
        // SAFETY: all zeros is a valid slot.
        unsafe { Box::<CacheSlot>::new_zeroed().assume_init() }
    }

    fn usage(entries: i64, bytes: i64) -> Usage {
        Usage { entries, bytes }
    }

    #[test]
    fn a_new_cache_is_due_until_a_pass_has_been_made() {
        let slot = empty();
        assert_eq!(slot.earliest_expiry(), 0);
        slot.begin_pass();
        assert_eq!(slot.earliest_expiry(), ttl::NEVER);
        slot.note_expiry(50);
        slot.note_expiry(70);
        assert_eq!(slot.earliest_expiry(), 50);
    }

    #[test]
    fn reads_of_all_processes_add_up() {
        let slot = empty();
        (0..100).for_each(|process| slot.count_read(if process % 4 == 0 { Read::Miss } else { Read::Hit }, process));
        assert_eq!((slot.reads(Read::Hit), slot.reads(Read::Miss)), (75, 25));
        slot.reset(9);
        assert_eq!((slot.reads(Read::Hit), slot.reads(Read::Miss), slot.counting_since()), (0, 0, 9));
    }

    #[test]
    fn the_usage_is_known_of_an_empty_file_and_after_a_pass() {
        let slot = empty();
        slot.begin_file(7, || false);
        assert_eq!(slot.usage(), None);
        let before = slot.raw_usage();
        slot.correct(7, usage(10, 1000), before);
        assert_eq!(slot.usage(), Some(usage(10, 1000)));
        slot.begin_file(7, || unreachable!("the file is known"));
        slot.apply(Delta { entries: 1, bytes: 100, ..Delta::default() });
        assert_eq!(slot.usage(), Some(usage(11, 1100)));
        slot.begin_file(8, || true);
        assert_eq!(slot.usage(), Some(usage(0, 0)));
        slot.begin_file(9, || false);
        assert_eq!(slot.usage(), None);
    }

    #[test]
    fn a_pass_corrects_what_is_off_by_more_than_was_written_meanwhile() {
        let slot = empty();
        slot.begin_file(7, || true);
        slot.apply(Delta { entries: 100, bytes: 10_000, ..Delta::default() });
        let before = slot.raw_usage();
        slot.apply(Delta { entries: 10, bytes: 1_000, ..Delta::default() });
        slot.correct(7, usage(103, 5_000), before);
        assert_eq!(slot.usage(), Some(usage(110, 5_500)));
    }

    #[test]
    fn a_first_count_that_writers_have_disturbed_is_made_again() {
        let slot = empty();
        slot.begin_file(7, || false);
        slot.begin_pass();
        let before = slot.raw_usage();
        slot.apply(Delta { entries: 100, bytes: 10_000, ..Delta::default() });
        slot.correct(7, usage(40, 4_000), before);
        assert_eq!(
            slot.usage(),
            Some(usage(90, 9_000)),
            "40 of which it is not known whether some of the 100 are in it"
        );
        assert_eq!(slot.earliest_expiry(), 0, "the next pass is due");
        slot.begin_pass();
        slot.correct(7, usage(140, 14_000), slot.raw_usage());
        assert_eq!(slot.usage(), Some(usage(140, 14_000)));
        assert_eq!(slot.earliest_expiry(), ttl::NEVER);
    }

    #[test]
    fn a_usage_that_stays_doubtful_is_counted_until_it_is_not() {
        let slot = empty();
        slot.begin_file(7, || true);
        slot.apply(Delta { entries: 1000, bytes: 100_000, ..Delta::default() });
        let pass = |written: i64, counted: i64| {
            slot.begin_pass();
            let before = slot.raw_usage();
            slot.apply(Delta { entries: written, bytes: written * 100, ..Delta::default() });
            slot.correct(7, usage(counted, counted * 100), before);
            (slot.raw_usage().entries, slot.earliest_expiry() == 0)
        };
        assert_eq!(pass(-500, 1000), (500, true), "250 more than known, which may be of the 500");
        assert_eq!(pass(10, 510), (510, false), "off by less than one in fifty");
        assert_eq!(pass(0, 900), (900, false), "set right, as nothing was written");
    }
}
