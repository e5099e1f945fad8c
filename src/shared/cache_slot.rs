//! A cache in shared memory: how much there is in it, what has been done with it, and where eviction goes on.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::gauge::{self, Gauge};
use crate::pg::place::Place;
use crate::ttl;

/// Sessions count their reads in one of so many places, each a cache line, so that they seldom meet.
const STRIPES: usize = 8;

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
    /// What has come, gone, or been moved to another place in the table; of an entry that has stayed in its place, by how
    /// much its size has changed.
    pub moved: Usage,
    pub sets: u64,
    pub deletes: u64,
    pub expired: u64,
    pub evicted: u64,
    pub invalidated: u64,
}

impl Delta {
    /// These entries are gone.
    pub fn removed(entries: Usage) -> Delta {
        Delta { entries: -entries.entries, bytes: -entries.bytes, moved: entries, ..Delta::default() }
    }

    /// An entry of so many bytes has been written over one of `old_bytes`, or where there was none; and it is where there
    /// was none before, or in the old one's place.
    pub fn written(old_bytes: Option<i64>, bytes: i64, has_moved: bool) -> Delta {
        let grown = bytes - old_bytes.unwrap_or(0);
        let moved = match has_moved {
            true => Usage::of_entry(bytes.max(old_bytes.unwrap_or(0))),
            false => Usage { entries: 0, bytes: grown.abs() },
        };
        Delta { entries: i64::from(old_bytes.is_none()), bytes: grown, moved, ..Delta::default() }
    }

    pub fn add(&mut self, other: Delta) {
        self.entries += other.entries;
        self.bytes += other.bytes;
        self.moved = self.moved.plus(other.moved);
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
    /// One entry of so many bytes.
    pub fn of_entry(bytes: i64) -> Usage {
        Usage { entries: 1, bytes }
    }

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
    counts: u64,
    entries: gauge::Reading,
    bytes: gauge::Reading,
}

impl Reading {
    /// As if these entries, which the count itself has removed, had been gone before.
    pub fn without(self, removed: Usage) -> Reading {
        let (entries, bytes) = (self.entries.without(removed.entries), self.bytes.without(removed.bytes));
        Reading { entries, bytes, ..self }
    }
}

/// Atomics alone, valid when all are zero, in whole cache lines.
#[repr(C)]
pub struct CacheSlot {
    pub(super) key: AtomicU64,
    /// The table's file that the usage is of, zero where it has not been counted yet; see [`Self::begin_file`].
    counted_file: AtomicU64,
    /// How many counts have been taken up, and files begun: of counts that overlap only one is taken up.
    counts: AtomicU64,
    entries: Gauge,
    bytes: Gauge,
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
    _to_whole_cache_lines: [AtomicU64; 1],
    reads: [[AtomicU64; 8]; STRIPES],
}

const _: () = assert!(size_of::<CacheSlot>().is_multiple_of(64), "sessions that count their reads do not meet");

impl CacheSlot {
    /// For a cache that has just been given the slot.
    pub(super) fn begin(&self, now: i64) {
        for word in [&self.counted_file, &self.hand, &self.ring, &self.ring_head, &self.ring_tail, &self.tagged_writes]
        {
            word.store(0, Ordering::Relaxed);
        }
        self.earliest_expiry.store(0, Ordering::Relaxed);
        self.entries.forget_commits();
        self.bytes.forget_commits();
        self.begin_usage();
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

    /// Adds what a committed transaction has done, which it has announced. Called from the commit: cannot fail.
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
        self.entries.add(delta.entries);
        self.bytes.add(delta.bytes);
        self.settle(delta.moved);
    }

    /// A transaction that has moved so much is about to become visible. It is settled when it is applied, or rolled back.
    pub fn announce(&self, moved: Usage) {
        self.entries.announce(moved.entries);
        self.bytes.announce(moved.bytes);
    }

    /// What was announced is applied, or has been rolled back. Cannot fail.
    pub fn settle(&self, moved: Usage) {
        self.entries.settle(moved.entries);
        self.bytes.settle(moved.bytes);
    }

    /// What all transactions have done since the counters were reset; the usage is as it is now.
    pub fn totals(&self) -> Delta {
        let usage = self.raw_usage();
        Delta {
            entries: usage.entries,
            bytes: usage.bytes,
            moved: Usage::default(),
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
            self.begin_usage();
            self.earliest_expiry.store(0, Ordering::Relaxed);
            self.counted_file.store(if is_empty() { file } else { 0 }, Ordering::Release);
        }
    }

    /// How much there is in the cache, if that is known.
    pub fn usage(&self) -> Option<Usage> {
        (self.counted_file.load(Ordering::Acquire) != 0).then(|| self.raw_usage())
    }

    /// Whether a pass over the table is to count what is in the cache, because nobody knows, or not well enough.
    pub fn is_to_be_counted(&self) -> bool {
        self.counted_file.load(Ordering::Acquire) == 0 || !self.entries.is_sure() || !self.bytes.is_sure()
    }

    /// What the usage is built up from: before it is known, what has been added since the table's file was met.
    fn raw_usage(&self) -> Usage {
        Usage { entries: self.entries.value(), bytes: self.bytes.value() }
    }

    fn begin_usage(&self) {
        self.counts.fetch_add(1, Ordering::AcqRel);
        self.entries.begin();
        self.bytes.begin();
    }

    /// To be taken before a count of the table begins.
    pub fn reading(&self) -> Reading {
        let counts = self.counts.load(Ordering::Acquire);
        Reading { counts, entries: self.entries.reading(), bytes: self.bytes.reading() }
    }

    /// Takes up what a pass over the whole table has counted in the file since `begun`, unless another count has been taken
    /// up since, or the table has another file.
    pub fn correct(&self, file: u64, counted: Usage, begun: Reading) {
        let counts = begun.counts;
        if self.counts.compare_exchange(counts, counts + 1, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            let is_first = self.counted_file.load(Ordering::Acquire) != file;
            self.entries.correct(counted.entries, begun.entries, is_first);
            self.bytes.correct(counted.bytes, begun.bytes, is_first);
            self.counted_file.store(file, Ordering::Release);
        }
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

    fn commit(slot: &CacheSlot, delta: Delta) {
        slot.announce(delta.moved);
        slot.apply(delta);
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
        commit(&slot, Delta { entries: 1, bytes: 100, ..Delta::default() });
        assert_eq!(slot.usage(), Some(usage(11, 1100)));
        slot.begin_file(8, || true);
        assert_eq!(slot.usage(), Some(usage(0, 0)));
        slot.begin_file(9, || false);
        assert_eq!(slot.usage(), None);
    }

    /// What a transaction has done that has made so many new entries of 100 bytes.
    fn made(entries: i64) -> Delta {
        let made = usage(entries, entries * 100);
        Delta { entries: made.entries, bytes: made.bytes, moved: made, sets: entries as u64, ..Delta::default() }
    }

    #[test]
    fn a_write_moves_an_entry_unless_it_stays_in_its_place() {
        let of = |delta: Delta| ((delta.entries, delta.bytes), (delta.moved.entries, delta.moved.bytes));
        assert_eq!(of(Delta::written(None, 100, true)), ((1, 100), (1, 100)));
        assert_eq!(of(Delta::written(Some(100), 30, true)), ((0, -70), (1, 100)));
        assert_eq!(of(Delta::written(Some(100), 30, false)), ((0, -70), (0, 70)));
        assert_eq!(of(Delta::written(Some(100), 100, false)), ((0, 0), (0, 0)));
        assert_eq!(of(Delta::removed(usage(2, 200))), ((-2, -200), (2, 200)));
    }

    #[test]
    fn a_count_that_writers_have_disturbed_is_to_be_made_again() {
        let slot = empty();
        slot.begin_file(7, || false);
        assert!(slot.is_to_be_counted());
        let begun = slot.reading();
        commit(&slot, made(10));
        slot.correct(7, usage(100, 10_000), begun);
        assert_eq!((slot.usage(), slot.is_to_be_counted()), (Some(usage(105, 10_500)), true));
        slot.correct(7, usage(107, 10_700), slot.reading());
        assert_eq!((slot.usage(), slot.is_to_be_counted()), (Some(usage(107, 10_700)), false));
    }

    #[test]
    fn entries_that_grow_in_their_places_leave_only_the_bytes_in_doubt() {
        let slot = empty();
        slot.begin_file(7, || false);
        let begun = slot.reading();
        commit(&slot, Delta { bytes: 9000, moved: usage(0, 9000), sets: 3, ..Delta::default() });
        slot.correct(7, usage(100, 10_000), begun);
        assert_eq!((slot.usage(), slot.is_to_be_counted()), (Some(usage(100, 14_500)), true));
        slot.correct(7, usage(90, 19_000), slot.reading());
        assert_eq!((slot.usage(), slot.is_to_be_counted()), (Some(usage(90, 19_000)), false));
    }

    #[test]
    fn overwrites_in_place_and_a_reset_of_the_counters_leave_no_doubt() {
        let slot = empty();
        slot.begin_file(7, || false);
        let begun = slot.reading();
        commit(&slot, Delta { sets: 1000, ..Delta::default() });
        slot.reset(0);
        slot.correct(7, usage(10, 1000), begun);
        assert_eq!((slot.usage(), slot.is_to_be_counted()), (Some(usage(10, 1000)), false));
    }

    #[test]
    fn of_counts_that_overlap_one_is_taken_up() {
        let slot = empty();
        slot.begin_file(7, || false);
        let (long, short) = (slot.reading(), slot.reading());
        slot.correct(7, usage(1000, 100_000), short);
        commit(&slot, made(10));
        slot.correct(7, usage(1000, 100_000), long);
        assert_eq!(slot.usage(), Some(usage(1010, 101_000)));
    }

    #[test]
    fn a_count_of_a_file_that_the_table_has_no_longer_is_void() {
        let slot = empty();
        slot.begin_file(7, || true);
        commit(&slot, made(10));
        let begun = slot.reading();
        slot.begin_file(8, || true);
        commit(&slot, made(2));
        slot.correct(7, usage(10, 1000), begun);
        assert_eq!(slot.usage(), Some(usage(2, 200)));
        slot.begin_file(8, || unreachable!("the file is known"));
    }

    #[test]
    fn what_the_pass_itself_removes_does_not_disturb_it() {
        let slot = empty();
        slot.begin_file(7, || false);
        let begun = slot.reading();
        let removed = usage(50, 5000);
        commit(&slot, Delta { entries: -50, bytes: -5000, moved: removed, expired: 50, ..Delta::default() });
        slot.correct(7, usage(10, 1000), begun.without(removed));
        assert_eq!((slot.usage(), slot.is_to_be_counted()), (Some(usage(10, 1000)), false));
    }
}
