//! The dynamic part of the shared memory: one piece, cut into tables, in the sizes that whoever made it had set.

use std::sync::atomic::{AtomicU64, Ordering};

use pgrx::pg_sys::Oid;

use super::cache_slot::CacheSlot;
use super::ghosts::Ghosts;
use super::leases::Leases;
use super::locations::Locations;
use super::marks::Marks;
use super::probation::Probation;
use super::tags::{self, TagTimes};
use super::{KeyHash, claim};
use crate::pg::condition::Condition;

const CACHES: usize = 512;
/// So many caches can have entries on probation; others do without.
const RINGS: usize = 64;
const RING_WORDS: usize = Probation::CAPACITY as usize;
/// Mark cells for each entry that is expected, and so for each ghost.
const MARKS_PER_GHOST: usize = 8;

/// The sizes, in the first words of the piece.
const HEADER_WORDS: usize = 8;
const CONDITION_WORDS: usize = size_of::<Condition>() / size_of::<AtomicU64>();
const SLOT_WORDS: usize = size_of::<CacheSlot>() / size_of::<AtomicU64>();

/// How large the tables are that have a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    pub location_hints: usize,
    pub mark_cells: usize,
    pub lease_slots: usize,
}

impl Sizes {
    /// The words of the whole piece.
    pub fn words(self) -> usize {
        let fixed = HEADER_WORDS + CACHES * SLOT_WORDS + RINGS + RINGS * RING_WORDS + tags::CELLS;
        let leases = self.lease_words() + self.condition_words();
        fixed + self.mark_words() + self.ghost_words() + leases + self.location_words()
    }

    fn mark_words(self) -> usize {
        Marks::words_for(self.mark_cells)
    }

    fn ghost_words(self) -> usize {
        Ghosts::words_for(self.mark_cells / MARKS_PER_GHOST)
    }

    fn lease_words(self) -> usize {
        Leases::words_for(self.lease_slots)
    }

    fn condition_words(self) -> usize {
        Leases::buckets_for(self.lease_slots) * CONDITION_WORDS
    }

    fn location_words(self) -> usize {
        Locations::words_for(self.location_hints).unwrap_or(0)
    }

    /// Writes the sizes into a new piece.
    pub fn note(self, words: &[AtomicU64]) {
        for (word, size) in words.iter().zip([self.location_hints, self.mark_cells, self.lease_slots]) {
            word.store(size as u64, Ordering::Relaxed);
        }
    }

    fn of(words: &[AtomicU64]) -> Sizes {
        let size = |word: usize| words[word].load(Ordering::Relaxed) as usize;
        Sizes { location_hints: size(0), mark_cells: size(1), lease_slots: size(2) }
    }
}

/// The tables.
pub struct Arena {
    caches: &'static [CacheSlot],
    ring_owners: &'static [AtomicU64],
    rings: &'static [AtomicU64],
    pub marks: Marks,
    pub ghosts: Ghosts,
    pub tags: TagTimes,
    pub leases: Leases,
    /// Where those wait who want a lease: one for each bucket.
    conditions: &'static [Condition],
    /// `None` where they are set to none.
    pub locations: Option<Locations>,
}

impl Arena {
    /// Cuts a piece into its tables.
    ///
    /// # Safety
    /// The words are those of [`Sizes::words`], zero when they were made, and changed through an `Arena` alone.
    pub unsafe fn new(words: &'static [AtomicU64]) -> Arena {
        let sizes = Sizes::of(words);
        let (_, rest) = words.split_at(HEADER_WORDS);
        let (caches, rest) = rest.split_at(CACHES * SLOT_WORDS);
        let (ring_owners, rest) = rest.split_at(RINGS);
        let (rings, rest) = rest.split_at(RINGS * RING_WORDS);
        let (tags, rest) = rest.split_at(tags::CELLS);
        let (marks, rest) = rest.split_at(sizes.mark_words());
        let (ghosts, rest) = rest.split_at(sizes.ghost_words());
        let (leases, rest) = rest.split_at(sizes.lease_words());
        let (conditions, rest) = rest.split_at(sizes.condition_words());
        let (locations, _) = rest.split_at(sizes.location_words());
        Arena {
            // SAFETY: a slot consists of 64-bit atomics, any value of which is valid, so a run of words is one of slots.
            caches: unsafe { std::slice::from_raw_parts(caches.as_ptr().cast(), CACHES) },
            ring_owners,
            rings,
            marks: Marks::new(marks),
            ghosts: Ghosts::new(ghosts),
            tags: TagTimes::new(tags),
            leases: Leases::new(leases),
            // SAFETY: the words are used as conditions only, each of which takes up so many.
            conditions: unsafe {
                std::slice::from_raw_parts(conditions.as_ptr().cast(), conditions.len() / CONDITION_WORDS)
            },
            locations: (!locations.is_empty()).then(|| Locations::new(locations)),
        }
    }

    /// Makes a new piece ready: what is not valid when all is zero.
    pub fn prepare(&self) {
        self.conditions.iter().for_each(Condition::prepare);
    }

    /// Where those wait who want the lease of this key.
    pub fn condition_of(&self, key: KeyHash) -> &'static Condition {
        self.condition(self.leases.bucket_of(key))
    }

    /// Where those wait who want a lease of this bucket.
    pub fn condition(&self, bucket: usize) -> &'static Condition {
        &self.conditions[bucket]
    }

    /// Brings what look-ups of these keys will need into the processor's caches. The loads do not depend on each other, so
    /// that the processor waits for many of them at once instead of for one after the other.
    pub fn look_ahead(&self, hashes: &[KeyHash]) {
        let hints = hashes.iter().map(|hash| self.locations.map_or(0, |locations| locations.touch(*hash)));
        let marks = hashes.iter().map(|hash| self.marks.touch(*hash));
        std::hint::black_box(hints.chain(marks).fold(0, |sum, word| sum ^ word));
    }

    /// The cache's slot, taken now if need be; `None` where all are taken.
    pub fn cache(&self, key: CacheKey, now: i64) -> Option<&'static CacheSlot> {
        claim(self.caches, key.0, |slot| &slot.key, |slot| slot.begin(now))
    }

    /// The slots of a database's caches.
    pub fn caches_of(&self, database: Oid) -> impl Iterator<Item = &'static CacheSlot> {
        let key = |slot: &CacheSlot| slot.key.load(Ordering::Acquire);
        self.caches.iter().filter(move |slot| key(slot) != 0 && CacheKey(key(slot)).database() == database)
    }

    /// Frees the slots of caches of the database that are no more.
    pub fn retain_caches(&self, database: Oid, exists: impl Fn(Oid) -> bool) {
        self.retain(|key| key.database() != database || exists(key.table()));
    }

    /// Frees the slots of the caches of databases that are no more.
    pub fn retain_databases(&self, exists: impl Fn(Oid) -> bool) {
        self.retain(|key| exists(key.database()));
    }

    fn retain(&self, keep: impl Fn(CacheKey) -> bool) {
        for owner in self.caches.iter().map(|slot| &slot.key).chain(self.ring_owners) {
            let key = owner.load(Ordering::Acquire);
            if key != 0 && !keep(CacheKey(key)) {
                owner.compare_exchange(key, 0, Ordering::AcqRel, Ordering::Relaxed).ok();
            }
        }
    }

    /// The queue of the cache's newest entries; `None` where all rings are taken.
    pub fn probation(&self, slot: &'static CacheSlot) -> Option<Probation> {
        let mut ring = slot.ring.load(Ordering::Relaxed) as usize;
        if ring == 0 {
            let key = slot.key.load(Ordering::Relaxed);
            let owner = claim(self.ring_owners, key, |owner| owner, |_| {})?;
            ring = 1 + self.ring_owners.iter().position(|other| std::ptr::eq(other, owner))?;
            slot.ring.store(ring as u64, Ordering::Relaxed);
        }
        let words = self.rings.chunks_exact(RING_WORDS).nth(ring - 1)?;
        Some(Probation { words, head: &slot.ring_head, tail: &slot.ring_tail })
    }
}

/// A cache among those of all databases: its database and its table. Never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheKey(u64);

impl CacheKey {
    pub fn new(database: Oid, table: Oid) -> CacheKey {
        CacheKey(u64::from(database.to_u32()) << 32 | u64::from(table.to_u32()))
    }

    pub(super) fn bits(self) -> u64 {
        self.0
    }

    fn database(self) -> Oid {
        Oid::from((self.0 >> 32) as u32)
    }

    fn table(self) -> Oid {
        Oid::from(self.0 as u32)
    }

    /// Whether the slot is this cache's. One of a dropped cache may have been given to another.
    pub fn owns(self, slot: &CacheSlot) -> bool {
        slot.key.load(Ordering::Acquire) == self.0
    }
}

/// An entry that has been made: on probation, unless it is one that comes back.
pub fn admit(arena: &Arena, slot: &'static CacheSlot, hash: KeyHash, place: crate::pg::place::Place) {
    arena.marks.begin(hash);
    if !arena.ghosts.recall(hash)
        && let Some(probation) = arena.probation(slot)
    {
        probation.push(hash, place);
    }
}

#[cfg(test)]
pub(in crate::shared) mod tests {
    use super::*;
    use crate::pg::place::Place;

    pub fn arena() -> Arena {
        let sizes = Sizes { location_hints: 100, mark_cells: 1000, lease_slots: 20 };
        let words: &'static [AtomicU64] = Box::leak((0..sizes.words()).map(|_| AtomicU64::new(0)).collect());
        sizes.note(words);
        assert_eq!(Sizes::of(words), sizes);
        // SAFETY: made above, in its size.
        unsafe { Arena::new(words) }
    }

    fn key(database: u32, table: u32) -> CacheKey {
        CacheKey::new(Oid::from(database), Oid::from(table))
    }

    #[test]
    fn a_cache_keeps_its_slot_and_another_gets_its_own() {
        let arena = arena();
        let first = arena.cache(key(5, 16_400), 1).unwrap();
        assert!(!std::ptr::eq(first, arena.cache(key(5, 16_500), 1).unwrap()));
        assert!(std::ptr::eq(first, arena.cache(key(5, 16_400), 1).unwrap()));
        assert!(!std::ptr::eq(first, arena.cache(key(6, 16_400), 1).unwrap()));
        assert!(key(5, 16_400).owns(first) && !key(6, 16_400).owns(first));
    }

    #[test]
    fn slots_run_out_and_come_back() {
        let arena = arena();
        (1..=CACHES as u32).for_each(|table| assert!(arena.cache(key(5, table), 1).is_some()));
        assert!(arena.cache(key(5, 9_999), 1).is_none());
        arena.retain_caches(Oid::from(5), |table| table != Oid::from(7));
        assert!(arena.cache(key(5, 9_999), 1).is_some());
        arena.retain_databases(|database| database != Oid::from(5));
        assert_eq!(arena.caches.iter().filter(|slot| slot.key.load(Ordering::Relaxed) != 0).count(), 0);
    }

    #[test]
    fn each_cache_has_its_own_probation_as_long_as_there_are_rings() {
        let arena = arena();
        let slots: Vec<_> = (1..=RINGS as u32 + 1).map(|table| arena.cache(key(5, table), 1).unwrap()).collect();
        for (block, slot) in slots[..RINGS].iter().enumerate() {
            admit(&arena, slot, KeyHash::new(1, b"k"), Place { block: block as u32, offset: 1 });
        }
        for (block, slot) in slots[..RINGS].iter().enumerate() {
            let candidate = arena.probation(slot).unwrap().pop(0).unwrap();
            assert_eq!(candidate.block, block as u32);
        }
        assert!(arena.probation(slots[RINGS]).is_none());
    }

    #[test]
    fn an_entry_that_comes_back_is_not_on_probation() {
        let arena = arena();
        let slot = arena.cache(key(5, 1), 1).unwrap();
        let hash = KeyHash::new(1, b"k");
        arena.ghosts.remember(hash);
        arena.marks.raise(hash);
        admit(&arena, slot, hash, Place { block: 1, offset: 1 });
        assert!(arena.probation(slot).unwrap().pop(0).is_none());
        assert_eq!(arena.marks.get(hash), 0);
    }
}
