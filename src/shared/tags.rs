//! When each tag was last invalidated: a table of times, addressed by the tags' hashes. Two tags that share a cell cost each
//! other a miss that was not needed, and nothing else.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use pgrx::pg_sys::Oid;

/// The number of cells.
pub const CELLS: usize = 1 << 16;

/// The cell of a tag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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

/// So many cells are kept in a list; where there are more, a bit for each cell that there is takes its place.
const FEW: usize = 16;

/// A set of cells. Most transactions have changed a table or two, and pay for no more.
#[derive(Default)]
pub struct CellSet {
    few: [TagCell; FEW],
    count: usize,
    many: Option<Box<[u64; CELLS / 64]>>,
}

impl CellSet {
    fn few(&self) -> &[TagCell] {
        &self.few[..self.count]
    }

    pub fn insert(&mut self, cell: TagCell) {
        if let Some(bits) = &mut self.many {
            bits[usize::from(cell.0) / 64] |= 1 << (cell.0 % 64);
        } else if !self.few().contains(&cell) {
            if self.count == FEW {
                self.many = Some(Box::new([0; CELLS / 64]));
                std::mem::take(&mut self.few).into_iter().for_each(|cell| self.insert(cell));
                self.count = 0;
                return self.insert(cell);
            }
            self.few[self.count] = cell;
            self.count += 1;
        }
    }

    pub fn contains(&self, cell: TagCell) -> bool {
        match &self.many {
            Some(bits) => bits[usize::from(cell.0) / 64] & 1 << (cell.0 % 64) != 0,
            None => self.few().contains(&cell),
        }
    }

    /// Takes up another set.
    pub fn absorb(&mut self, other: &CellSet) {
        other.for_each(|cell| self.insert(cell));
    }

    pub fn for_each(&self, mut f: impl FnMut(TagCell)) {
        self.few().iter().for_each(|cell| f(*cell));
        for (index, word) in self.many.iter().flat_map(|bits| bits.iter().enumerate()) {
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

    fn set(cells: impl IntoIterator<Item = u16>) -> CellSet {
        let mut set = CellSet::default();
        cells.into_iter().for_each(|cell| set.insert(TagCell(cell)));
        set
    }

    fn found(set: &CellSet) -> Vec<u16> {
        let mut found = Vec::new();
        set.for_each(|cell| found.push(cell.0));
        found
    }

    #[test]
    fn a_set_gives_back_what_was_put_in() {
        let mut few = set([u16::MAX, 0, 64, 0, 1]);
        assert_eq!(found(&few), [u16::MAX, 0, 64, 1]);
        assert!(few.contains(TagCell(64)) && !few.contains(TagCell(63)));
        few.absorb(&set([1, 1000]));
        assert_eq!(found(&few), [u16::MAX, 0, 64, 1, 1000]);
    }

    #[test]
    fn it_takes_in_any_number() {
        let every_third = || (0..=u16::MAX).step_by(3);
        let mut many = set(every_third().rev());
        assert!(many.contains(TagCell(3)) && !many.contains(TagCell(4)));
        many.absorb(&set([4, 4]));
        assert!(many.contains(TagCell(4)));
        let mut small = set([4]);
        small.absorb(&many);
        let mut expected: Vec<u16> = every_third().chain([4]).collect();
        expected.sort_unstable();
        assert_eq!(found(&small), expected);
        for count in FEW as u16 - 1..=FEW as u16 + 1 {
            let mut cells = found(&set((0..count).rev()));
            cells.sort_unstable();
            assert_eq!(cells, (0..count).collect::<Vec<_>>());
        }
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
