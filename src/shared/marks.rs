//! Use marks: how often an entry has been used since eviction last looked at it, 0 to 3, and whether it is new.
//!
//! Marks are in a table that is addressed by the key's hash, about eight cells for each entry that is expected. Keys that
//! share a cell share their mark, which keeps one of them a little longer than it deserves. A change that is lost to
//! another at the same moment is not repeated: marks are statistics.

use std::sync::atomic::{AtomicU64, Ordering};

use super::KeyHash;

const BITS: usize = 4;
const CELLS_PER_WORD: usize = u64::BITS as usize / BITS;
const CELL: u8 = (1 << BITS) - 1;
/// The highest mark.
pub const FULL: u8 = 3;
/// Beside the mark: the clock hand has not passed the entry yet.
const NEW: u8 = 4;

/// The words of all cells; their number is a power of two.
#[derive(Clone, Copy)]
pub struct Marks(&'static [AtomicU64]);

impl Marks {
    /// The number of words for `cells` cells or a few more.
    pub fn words_for(cells: usize) -> usize {
        cells.div_ceil(CELLS_PER_WORD).next_power_of_two()
    }

    pub fn new(words: &'static [AtomicU64]) -> Marks {
        debug_assert!(words.len().is_power_of_two());
        Marks(words)
    }

    fn cell(self, hash: KeyHash) -> (&'static AtomicU64, u32) {
        let number = hash.folded() & (self.0.len() * CELLS_PER_WORD - 1);
        (&self.0[number / CELLS_PER_WORD], (number % CELLS_PER_WORD * BITS) as u32)
    }

    /// Loads what a look at the mark needs, for [`super::Arena::look_ahead`].
    pub(super) fn touch(self, hash: KeyHash) -> u64 {
        self.cell(hash).0.load(Ordering::Relaxed)
    }

    /// How often the entry has been used.
    pub fn get(self, hash: KeyHash) -> u8 {
        self.load(hash) & FULL
    }

    /// Marks the entry as used once more. Writes nothing where the mark is full, as those of busy entries are.
    pub fn raise(self, hash: KeyHash) {
        self.change(hash, |cell| if cell & FULL < FULL { cell + 1 } else { cell });
    }

    /// Marks the entry as new and not used.
    pub fn begin(self, hash: KeyHash) {
        self.change(hash, |_| NEW);
    }

    /// The entry is neither used nor new any more.
    pub fn clear(self, hash: KeyHash) {
        self.change(hash, |_| 0);
    }

    /// The clock hand passes the entry: one that is new is so no longer, of another the mark is lowered. Whether it is
    /// spared: new, or marked higher than `evictable`.
    pub fn pass(self, hash: KeyHash, evictable: u8) -> bool {
        let cell = self.load(hash);
        let is_spared = evictable < FULL && cell & NEW != 0 || cell & FULL > evictable;
        if is_spared {
            self.change(hash, |cell| if cell & NEW != 0 { cell & !NEW } else { cell.saturating_sub(1) });
        }
        is_spared
    }

    fn load(self, hash: KeyHash) -> u8 {
        let (word, shift) = self.cell(hash);
        (word.load(Ordering::Relaxed) >> shift) as u8 & CELL
    }

    fn change(self, hash: KeyHash, to: impl FnOnce(u8) -> u8) {
        let (word, shift) = self.cell(hash);
        let old = word.load(Ordering::Relaxed);
        let cell = (old >> shift) as u8 & CELL;
        let new = to(cell);
        if new != cell {
            let changed = old & !(u64::from(CELL) << shift) | u64::from(new) << shift;
            word.compare_exchange(old, changed, Ordering::Relaxed, Ordering::Relaxed).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(cells: usize) -> Marks {
        Marks::new(Box::leak((0..Marks::words_for(cells)).map(|_| AtomicU64::new(0)).collect()))
    }

    #[test]
    fn a_mark_goes_from_0_to_3_and_back() {
        let marks = marks(1 << 16);
        let (key, other) = (KeyHash::new(1, b"key"), KeyHash::new(1, b"other"));
        let raised: Vec<u8> = (0..5).map(|_| (marks.raise(key), marks.get(key)).1).collect();
        assert_eq!(raised, [1, 2, 3, 3, 3]);
        assert_eq!(marks.get(other), 0);
        let spared: Vec<bool> = (0..5).map(|_| marks.pass(key, 0)).collect();
        assert_eq!(spared, [true, true, true, false, false]);
        marks.raise(key);
        marks.clear(key);
        assert_eq!(marks.get(key), 0);
    }

    #[test]
    fn the_hand_spares_what_is_new_once_and_what_is_marked_higher_than_asked() {
        let (marks, key) = (marks(1 << 16), KeyHash::new(1, b"key"));
        marks.begin(key);
        assert!(marks.pass(key, 0));
        assert!(!marks.pass(key, 0));
        marks.begin(key);
        marks.raise(key);
        assert_eq!(marks.get(key), 1);
        assert!(marks.pass(key, 1), "it is new");
        assert!(!marks.pass(key, 1), "its mark is not above what may go");
        marks.begin(key);
        assert!(!marks.pass(key, FULL), "nothing is spared");
    }

    #[test]
    fn neighbours_in_a_word_do_not_touch_each_other() {
        let marks = marks(1);
        let hashes: Vec<KeyHash> = (0..200_u8).map(|key| KeyHash::new(1, &[key])).collect();
        for hash in &hashes {
            let before: u32 = cells(marks).iter().sum();
            let expected = before + u32::from(marks.get(*hash) < FULL);
            marks.raise(*hash);
            assert_eq!(cells(marks).iter().sum::<u32>(), expected);
        }
    }

    fn cells(marks: Marks) -> Vec<u32> {
        let word = marks.0[0].load(Ordering::Relaxed);
        (0..CELLS_PER_WORD).map(|cell| (word >> (cell * BITS)) as u32 & u32::from(FULL)).collect()
    }
}
