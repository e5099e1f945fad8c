//! Where entries were last found: a table of hints, from the hash of a key to the place of its row.
//!
//! A hint saves the descent through the index. It is never trusted: whoever uses it checks that the row there is visible
//! and has the key, and goes through the index where it is not so. Two keys that share a cell overwrite each other's
//! hint, which costs time and nothing else.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::pg::place::Place;

const PLACE_BITS: u32 = 48;
const PLACE_MASK: u64 = (1 << PLACE_BITS) - 1;

/// The hash of a key in one table's file, the same in every process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyHash(u64);

impl KeyHash {
    pub fn new(storage: u64, key: &[u8]) -> KeyHash {
        let mut hasher = DefaultHasher::new();
        (storage, key).hash(&mut hasher);
        KeyHash(hasher.finish())
    }

    pub(super) fn bits(self) -> u64 {
        self.0
    }

    /// The bits that address a table of another kind than that of hints.
    pub(super) fn folded(self) -> usize {
        (self.0 >> 16) as usize
    }

    /// Sixteen bits that tell keys of one bucket apart.
    pub(super) fn tag16(self) -> u16 {
        (self.0 >> PLACE_BITS) as u16
    }

    /// Goes into the cell beside the place, so that most hints of other keys are told apart without a look at the row.
    fn tag(self) -> u64 {
        self.0 & !PLACE_MASK
    }
}

/// Where a row was last found: its place in the table, and the buffer that had the page then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hint {
    pub place: Place,
    pub buffer: i32,
}

/// A hint takes two words, read and written one by one: a place and a buffer that do not belong together are as good as
/// any hint that is out of date.
const WORDS: usize = 2;
/// Hints in a bucket, any of which may be for any key that hashes to it: a cache line's worth.
const WAYS: usize = 4;

/// The words of all buckets, whose number is a power of two.
#[derive(Clone, Copy)]
pub struct Locations(&'static [AtomicU64]);

impl Locations {
    /// The number of words for `hints` hints or a few more.
    pub fn words_for(hints: usize) -> Option<usize> {
        Some((hints.div_ceil(WAYS)).checked_next_power_of_two()? * WAYS * WORDS).filter(|_| hints > 0)
    }

    pub fn new(words: &'static [AtomicU64]) -> Locations {
        debug_assert!((words.len() / (WAYS * WORDS)).is_power_of_two());
        Locations(words)
    }

    fn bucket(self, hash: KeyHash) -> &'static [AtomicU64] {
        let buckets = self.0.len() / (WAYS * WORDS);
        let start = (hash.0 as usize & (buckets - 1)) * WAYS * WORDS;
        &self.0[start..start + WAYS * WORDS]
    }

    /// The cell of the bucket that is tagged as this key's.
    fn find(self, hash: KeyHash) -> Option<&'static [AtomicU64]> {
        let is_tagged = |cell: &&[AtomicU64]| {
            let word = cell[0].load(Ordering::Relaxed);
            word != 0 && word & !PLACE_MASK == hash.tag()
        };
        self.bucket(hash).chunks_exact(WORDS).find(is_tagged)
    }

    /// Loads what a look for the hint needs, for [`super::Arena::look_ahead`].
    pub(super) fn touch(self, hash: KeyHash) -> u64 {
        self.bucket(hash)[0].load(Ordering::Relaxed)
    }

    /// Where the key was last found.
    pub fn get(self, hash: KeyHash) -> Option<Hint> {
        let cell = self.find(hash)?;
        let place = Place::from_bits(cell[0].load(Ordering::Relaxed) & PLACE_MASK);
        Some(Hint { place, buffer: cell[1].load(Ordering::Relaxed) as i32 })
    }

    /// Notes where the key has been found: in its own cell, or a free one, or that of another key.
    pub fn put(self, hash: KeyHash, hint: Hint) {
        let is_free = |cell: &&[AtomicU64]| cell[0].load(Ordering::Relaxed) == 0;
        let victim = (hash.0 >> 40) as usize % WAYS;
        let mut cells = self.bucket(hash).chunks_exact(WORDS);
        let cell = (self.find(hash))
            .or_else(|| cells.clone().find(is_free))
            .or_else(|| cells.nth(victim))
            .expect("a bucket has as many cells as there are ways");
        cell[1].store(u64::from(hint.buffer as u32), Ordering::Relaxed);
        cell[0].store(hash.tag() | hint.place.to_bits(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locations(hints: usize) -> Locations {
        let words = Locations::words_for(hints).expect("some");
        Locations::new(Box::leak((0..words).map(|_| AtomicU64::new(0)).collect()))
    }

    fn hint(block: u32) -> Hint {
        Hint { place: Place { block, offset: 12 }, buffer: 99 }
    }

    #[test]
    fn a_hint_is_for_its_key_in_its_table() {
        let locations = locations(1024);
        locations.put(KeyHash::new(1, b"k"), hint(70_000));
        assert_eq!(locations.get(KeyHash::new(1, b"k")), Some(hint(70_000)));
        assert_eq!(locations.get(KeyHash::new(1, b"l")), None);
        assert_eq!(locations.get(KeyHash::new(2, b"k")), None);
        locations.put(KeyHash::new(1, b"k"), hint(5));
        assert_eq!(locations.get(KeyHash::new(1, b"k")), Some(hint(5)));
    }

    #[test]
    fn a_bucket_keeps_as_many_keys_as_it_has_ways_and_then_the_newest() {
        let locations = locations(1);
        let hashes: Vec<KeyHash> = (0..20_u8).map(|key| KeyHash::new(1, &[key])).collect();
        for (number, hash) in hashes.iter().enumerate() {
            locations.put(*hash, hint(number as u32));
            assert_eq!(locations.get(*hash), Some(hint(number as u32)));
        }
        assert_eq!(hashes.iter().filter(|hash| locations.get(**hash).is_some()).count(), WAYS);
    }

    #[test]
    fn there_is_room_for_what_was_asked_for() {
        assert_eq!(Locations::words_for(0), None);
        assert_eq!(Locations::words_for(1), Some(8));
        assert_eq!(Locations::words_for(1 << 20), Some(1 << 21));
        assert_eq!(Locations::words_for((1 << 20) + 1), Some(1 << 22));
    }
}
