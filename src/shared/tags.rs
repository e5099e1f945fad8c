//! When each tag was last invalidated: a table of times, addressed by the tags' hashes. Two tags that share a cell cost each
//! other a miss that was not needed, and nothing else.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use pgrx::pg_sys::Oid;

/// The number of cells.
pub const CELLS: usize = 1 << 16;

/// The cell of a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TagCell(u16);

impl TagCell {
    /// The same in every process.
    pub fn of(database: Oid, tag: &[u8]) -> TagCell {
        let mut hasher = DefaultHasher::new();
        (database.to_u32(), tag).hash(&mut hasher);
        TagCell(hasher.finish() as u16)
    }
}

/// The table.
#[derive(Clone, Copy)]
pub struct TagTimes(&'static [AtomicI64]);

impl TagTimes {
    /// In [`CELLS`] words.
    pub fn new(words: &'static [AtomicU64]) -> TagTimes {
        assert_eq!(words.len(), CELLS);
        // SAFETY: the two kinds of word have the same layout, and any value is valid for both.
        TagTimes(unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), words.len()) })
    }

    pub fn last_invalidation(self, cell: TagCell) -> i64 {
        self.0[usize::from(cell.0)].load(Ordering::Acquire)
    }

    pub fn invalidate(self, cell: TagCell, time: i64) {
        self.0[usize::from(cell.0)].fetch_max(time, Ordering::AcqRel);
    }
}

/// A set of cells.
pub struct CellSet(Box<[u64; CELLS / 64]>);

impl CellSet {
    pub fn new() -> CellSet {
        CellSet(Box::new([0; CELLS / 64]))
    }

    pub fn insert(&mut self, cell: TagCell) {
        self.0[usize::from(cell.0) / 64] |= 1 << (cell.0 % 64);
    }

    pub fn contains(&self, cell: TagCell) -> bool {
        self.0[usize::from(cell.0) / 64] & 1 << (cell.0 % 64) != 0
    }

    /// Takes up another set.
    pub fn absorb(&mut self, other: &CellSet) {
        self.0.iter_mut().zip(other.0.iter()).for_each(|(word, other)| *word |= other);
    }

    pub fn for_each(&self, mut f: impl FnMut(TagCell)) {
        for (index, word) in self.0.iter().enumerate() {
            let mut rest = *word;
            while rest != 0 {
                f(TagCell((index * 64) as u16 + rest.trailing_zeros() as u16));
                rest &= rest - 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_has_one_cell_in_each_database() {
        let cell = |database: u32, tag: &str| TagCell::of(Oid::from(database), tag.as_bytes());
        assert_eq!(cell(5, "orders"), cell(5, "orders"));
        assert_ne!(cell(5, "orders"), cell(6, "orders"));
        assert_ne!(cell(5, "orders"), cell(5, "order"));
    }

    #[test]
    fn a_set_gives_back_what_was_put_in() {
        let (mut set, mut other) = (CellSet::new(), CellSet::new());
        [0, 1, 63, 64, u16::MAX].into_iter().for_each(|cell| set.insert(TagCell(cell)));
        [1, 1000].into_iter().for_each(|cell| other.insert(TagCell(cell)));
        set.absorb(&other);
        let mut found = Vec::new();
        set.for_each(|cell| found.push(cell.0));
        assert_eq!(found, [0, 1, 63, 64, 1000, u16::MAX]);
        assert!(set.contains(TagCell(1000)) && !set.contains(TagCell(999)));
    }

    #[test]
    fn an_invalidation_never_goes_back() {
        let words: &'static [AtomicU64] = Box::leak((0..CELLS).map(|_| AtomicU64::new(0)).collect());
        let times = TagTimes::new(words);
        let cell = TagCell::of(Oid::from(5), b"orders");
        times.invalidate(cell, 20);
        times.invalidate(cell, 10);
        assert_eq!(times.last_invalidation(cell), 20);
    }
}
