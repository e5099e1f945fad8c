//! Sweeping by those who write, where no worker can be had.

use std::cell::Cell;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::shared;
use crate::store::{self, Table};

/// Blocks that one transaction sweeps.
const BLOCKS: u32 = 8;

thread_local! {
    static OWN_BLOCK: Cell<u64> = const { Cell::new(0) };
}

/// Sweeps the next few blocks of the database's caches, one cache after the other. Waits for nobody. Runs before a
/// commit, when the transaction waits for no more row locks, so that those it takes here cannot deadlock.
pub fn sweep_a_little() {
    let Ok(caches) = store::all() else { return };
    let tables: Vec<Table> = caches.into_iter().filter_map(Table::open_for_sweep).collect();
    let total: u64 = tables.iter().map(|table| u64::from(table.heap().block_count())).sum();
    if total == 0 {
        return;
    }
    let mut start = match shared::database_slot() {
        Some(slot) => slot.writers_block.fetch_add(u64::from(BLOCKS), Ordering::Relaxed),
        None => OWN_BLOCK.replace(OWN_BLOCK.get() + u64::from(BLOCKS)),
    } % total;
    for table in &tables {
        let blocks = u64::from(table.heap().block_count());
        if start < blocks {
            let end = (start + u64::from(BLOCKS)).min(blocks);
            store::sweep(table, start as u32..end as u32, Duration::MAX);
            return;
        }
        start -= blocks;
    }
}
