//! A cache in shared memory: how much there is in it, what has been done with it, and where eviction goes on.

use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};

use crate::pg::place::Place;
use crate::ttl;

/// Sessions count their reads in one of so many places, each a cache line, so that they seldom meet.
const STRIPES: usize = 8;
/// A usage that may be off by more than one entry in so many is counted again.
const DOUBTFUL_SHARE: u64 = 50;

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

/// What a slot shows when a count of the table begins, for [`CacheSlot::correct`] to tell what happened meanwhile.
#[derive(Clone, Copy)]
pub struct Reading {
    usage: Usage,
    changes: u64,
}

impl Reading {
    /// As if these entries, which the count itself has removed, had been gone before.
    pub fn without(self, removed: Usage) -> Reading {
        Reading { usage: self.usage.less(removed), changes: self.changes + removed.entries as u64 }
    }
}

/// Atomics alone, valid when all are zero, in whole cache lines.
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
    pub(super) ring: AtomicU32,
    /// How many entries the usage may be off by, because writers were at work while they were counted.
    doubt: AtomicU32,
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

const _: () = assert!(size_of::<CacheSlot>().is_multiple_of(64), "sessions that count their reads do not meet");

impl CacheSlot {
    /// For a cache that has just been given the slot.
    pub(super) fn begin(&self, now: i64) {
        for word in [&self.counted_file, &self.hand, &self.ring_head, &self.ring_tail, &self.tagged_writes] {
            word.store(0, Ordering::Relaxed);
        }
        for word in [&self.ring, &self.doubt] {
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
            self.doubt.store(0, Ordering::Relaxed);
            self.earliest_expiry.store(0, Ordering::Relaxed);
            self.counted_file.store(if is_empty() { file } else { 0 }, Ordering::Release);
        }
    }

    /// How much there is in the cache, if that is known.
    pub fn usage(&self) -> Option<Usage> {
        (self.counted_file.load(Ordering::Acquire) != 0).then(|| self.raw_usage())
    }

    /// What the usage is built up from: before it is known, what has been added since the table's file was met.
    fn raw_usage(&self) -> Usage {
        Usage { entries: self.entries.load(Ordering::Relaxed), bytes: self.bytes.load(Ordering::Relaxed) }
    }

    /// To be taken before a count of the table begins.
    pub fn reading(&self) -> Reading {
        let changes = self.changes();
        Reading { usage: self.raw_usage(), changes }
    }

    /// How often an entry has been written or removed: what can make a count miss one, or count it twice.
    fn changes(&self) -> u64 {
        [&self.sets, &self.deletes, &self.expired, &self.evicted, &self.invalidated]
            .iter()
            .map(|counter| counter.load(Ordering::Relaxed))
            .sum()
    }

    /// Takes up what a pass over the whole table has counted in the file since `begun`.
    ///
    /// A count may be off by as many entries as were changed during the pass, and the usage by as many as the count that
    /// it is built on. Of the two the one with the smaller doubt is kept; and where they differ by more than both allow,
    /// the new one. Half of what was written during the pass is taken to be in the count. Another pass is due as long as
    /// more than one entry in [`DOUBTFUL_SHARE`] is in doubt.
    pub fn correct(&self, file: u64, counted: Usage, begun: Reading) {
        let now = self.raw_usage();
        // The counters may have been reset meanwhile, and then nobody knows.
        let changes = self.changes().checked_sub(begun.changes).and_then(|changes| u32::try_from(changes).ok());
        let changes = changes.unwrap_or(u32::MAX);
        let doubt = match self.counted_file.load(Ordering::Acquire) == file {
            true => self.doubt.load(Ordering::Relaxed),
            false => u32::MAX,
        };
        let in_count = |now: i64, begun: i64| (now - begun) / 2;
        let entries = counted.entries + in_count(now.entries, begun.usage.entries) - now.entries;
        let bytes = counted.bytes + in_count(now.bytes, begun.usage.bytes) - now.bytes;
        let is_better = changes <= doubt || entries.unsigned_abs() > u64::from(changes) + u64::from(doubt);
        if is_better {
            self.entries.fetch_add(entries, Ordering::Relaxed);
            self.bytes.fetch_add(bytes, Ordering::Relaxed);
            self.doubt.store(changes, Ordering::Relaxed);
        }
        let doubt = if is_better { changes } else { doubt };
        if u64::from(doubt) * DOUBTFUL_SHARE > counted.entries.max(0) as u64 {
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
        slot.correct(7, usage(10, 1000), slot.reading());
        assert_eq!(slot.usage(), Some(usage(10, 1000)));
        slot.begin_file(7, || unreachable!("the file is known"));
        slot.apply(Delta { entries: 1, bytes: 100, ..Delta::default() });
        assert_eq!(slot.usage(), Some(usage(11, 1100)));
        slot.begin_file(8, || true);
        assert_eq!(slot.usage(), Some(usage(0, 0)));
        slot.begin_file(9, || false);
        assert_eq!(slot.usage(), None);
    }

    /// A pass that counts `counted` entries while so many are set, and so many evicted. Returns the usage that is known
    /// then, and whether another pass is due.
    fn pass(slot: &CacheSlot, counted: i64, sets: i64, evicted: i64) -> (i64, bool) {
        slot.begin_pass();
        let begun = slot.reading();
        let (entries, bytes) = (sets - evicted, (sets - evicted) * 100);
        slot.apply(Delta { entries, bytes, sets: sets as u64, evicted: evicted as u64, ..Delta::default() });
        slot.correct(7, usage(counted, counted * 100), begun);
        let usage = slot.raw_usage();
        assert_eq!(usage.bytes, usage.entries * 100);
        (usage.entries, slot.earliest_expiry() == 0)
    }

    #[test]
    fn a_pass_corrects_what_is_off_by_more_than_was_written_meanwhile() {
        let slot = empty();
        slot.begin_file(7, || true);
        slot.apply(Delta { entries: 1000, bytes: 100_000, sets: 1000, ..Delta::default() });
        assert_eq!(pass(&slot, 1001, 3, 1), (1002, false), "one of the two may be in it");
        assert_eq!(pass(&slot, 950, 10, 0), (955, false), "half of the ten are taken to be in the 950");
        assert_eq!(pass(&slot, 955, 0, 0), (955, false));
    }

    #[test]
    fn a_first_count_that_writers_have_disturbed_is_made_again_until_it_is_sure() {
        let slot = empty();
        slot.begin_file(7, || false);
        assert_eq!(pass(&slot, 40, 100, 0), (90, true), "it is not known which of the 100 are in the 40");
        assert_eq!(pass(&slot, 120, 300, 300), (90, true), "as many came as went, and the count is worth less");
        assert_eq!(pass(&slot, 140, 20, 20), (140, true), "it is worth more than the first");
        assert_eq!(pass(&slot, 138, 1, 1), (138, false), "sure to one in fifty");
        assert_eq!(pass(&slot, 139, 0, 0), (139, false));
    }

    #[test]
    fn a_count_during_which_the_counters_were_reset_is_worth_nothing() {
        let slot = empty();
        slot.begin_file(7, || false);
        slot.apply(Delta { sets: 9, ..Delta::default() });
        slot.begin_pass();
        let begun = slot.reading();
        slot.reset(0);
        slot.correct(7, usage(10, 1000), begun);
        assert_eq!(slot.earliest_expiry(), 0, "another pass is due");
        assert_eq!(pass(&slot, 11, 0, 0), (11, false));
    }

    #[test]
    fn what_the_pass_itself_removes_does_not_disturb_it() {
        let slot = empty();
        slot.begin_file(7, || false);
        slot.begin_pass();
        let begun = slot.reading();
        slot.apply(Delta { entries: -50, bytes: -5000, expired: 50, ..Delta::default() });
        slot.correct(7, usage(10, 1000), begun.without(usage(50, 5000)));
        assert_eq!((slot.usage(), slot.earliest_expiry()), (Some(usage(10, 1000)), ttl::NEVER));
    }
}
