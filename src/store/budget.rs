//! Budgets: how far a cache is over its own, and how hard eviction then has to be. Functions of numbers alone.

use crate::shared::{FULL, Usage};

/// No more rows, each with a header, a key, a value and times, fit into a block of a table.
const ROWS_OF_A_BLOCK: i64 = 8192 / 48;

/// Limits of a cache; `None` is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    pub bytes: Option<i64>,
    pub entries: Option<i64>,
}

impl Budget {
    pub fn is_limited(self) -> bool {
        self.bytes.is_some() || self.entries.is_some()
    }

    /// What is over the budget; never negative.
    pub fn excess(self, usage: Usage) -> Usage {
        let over = |used: i64, limit: Option<i64>| limit.map_or(0, |limit| (used - limit).max(0));
        Usage { entries: over(usage.entries, self.entries), bytes: over(usage.bytes, self.bytes) }
    }

    /// The most that can be in a cache within its budget whose table has so many blocks, and takes up `size` bytes with
    /// what is stored out of line.
    pub fn at_most(self, blocks: u32, size: i64) -> Usage {
        let at_most = |most: i64, limit: Option<i64>| limit.map_or(0, |limit| most.min(limit));
        Usage { entries: at_most(i64::from(blocks) * ROWS_OF_A_BLOCK, self.entries), bytes: at_most(size, self.bytes) }
    }

    /// Entries with this use mark or a lower one are evicted. As long as the cache is about within its budget those that
    /// have not been used; the further it is beyond, the more of the others, so that it never gets far.
    pub fn evictable_mark(self, usage: Usage) -> u8 {
        match self.excess_percent(usage) {
            0..=3 => 0,
            4..=7 => 1,
            8..=11 => 2,
            _ => FULL,
        }
    }

    fn excess_percent(self, usage: Usage) -> i64 {
        let excess = self.excess(usage);
        let percent = |over: i64, limit: Option<i64>| limit.map_or(0, |limit| over.saturating_mul(100) / limit.max(1));
        percent(excess.entries, self.entries).max(percent(excess.bytes, self.bytes))
    }
}

impl Usage {
    pub fn is_zero(self) -> bool {
        self == Usage::default()
    }

    /// What remains of an excess once an entry of this size has gone.
    pub fn less_an_entry_of(self, bytes: i64) -> Usage {
        Usage { entries: (self.entries - 1).max(0), bytes: (self.bytes - bytes).max(0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(entries: i64, bytes: i64) -> Usage {
        Usage { entries, bytes }
    }

    #[test]
    fn the_excess_is_what_is_over_each_limit() {
        let budget = Budget { bytes: Some(1000), entries: Some(10) };
        assert_eq!(budget.excess(usage(10, 1000)), usage(0, 0));
        assert_eq!(budget.excess(usage(13, 900)), usage(3, 0));
        assert_eq!(budget.excess(usage(9, 1400)), usage(0, 400));
        assert_eq!(Budget::default().excess(usage(i64::MAX, i64::MAX)), usage(0, 0));
        assert_eq!(usage(1, 100).less_an_entry_of(60), usage(0, 40));
    }

    #[test]
    fn what_nobody_has_counted_is_at_most_the_budget_or_what_fits_into_the_files() {
        let budget = Budget { bytes: Some(1_000_000), entries: Some(1000) };
        assert_eq!(budget.at_most(1, 8192), usage(170, 8192));
        assert_eq!(budget.at_most(10, 90_000), usage(1000, 90_000));
        assert_eq!(budget.at_most(u32::MAX, i64::MAX), usage(1000, 1_000_000));
        assert_eq!(Budget::default().at_most(1, 8192), usage(0, 0));
    }

    #[test]
    fn nothing_is_spared_long_before_a_cache_is_a_quarter_over() {
        let budget = Budget { bytes: None, entries: Some(100) };
        let marks: Vec<u8> =
            [100, 103, 104, 108, 112, 125].iter().map(|n| budget.evictable_mark(usage(*n, 0))).collect();
        assert_eq!(marks, [0, 0, 1, 2, 3, 3]);
        assert_eq!(Budget { bytes: Some(1), entries: None }.evictable_mark(usage(1, i64::MAX)), FULL);
    }
}
