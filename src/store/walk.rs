//! Going over many entries: in key order for functions, in block order for the sweep.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::pg::heap::{self, Outcome};
use crate::pg::index::Start;
use crate::pg::lock::{Access, TableLock};
use crate::pg::page::{BlockWalk, Version};
use crate::pg::relation::Relation;
use crate::pg::snapshot::Visibility;
use crate::shared::{self, Delta, Usage};
use crate::store::catalog::Cache;
use crate::store::entry::{Entry, Moment, State};
use crate::store::evict::{blocks_of_all_laps, evict};
use crate::store::modify::{Change, modify};
use crate::store::table::Table;
use crate::ttl;

/// Up to `limit` keys of live entries that start with `prefix`, in the order of their bytes.
pub fn keys_page(table: &mut Table, start: Start<'_>, prefix: &[u8], limit: usize) -> Vec<Vec<u8>> {
    let moment = Moment::now();
    let scan = table.scan(Visibility::Latest);
    scan.start(start);
    let mut keys = Vec::new();
    while keys.len() < limit {
        let Some(entry) = scan.next().map(Entry::new) else { break };
        let key = entry.key().bytes();
        if !key.starts_with(prefix) {
            break;
        }
        if entry.is_live(&moment) {
            keys.push(key.to_vec());
        }
    }
    keys
}

/// Removes the entries whose keys start with `prefix`, in the order of their keys as every batch takes them, and
/// returns how many were live.
pub fn remove_prefix(table: &mut Table, prefix: &[u8]) -> Result<i64> {
    heap::next_command();
    shared::overtake_all(table.cache().key());
    // A value that was made under a lease is older than this call: its transaction is waited for.
    let visibility = match shared::fills_await_commit(table.cache().key()) {
        true => Visibility::InFlight,
        false => Visibility::Latest,
    };
    let moment = Moment::now();
    let mut removed = 0;
    let mut last: Option<Vec<u8>> = None;
    loop {
        let scan = table.scan(visibility);
        scan.start(last.as_deref().map_or(Start::At(prefix), Start::After));
        let overtaken = loop {
            if table.scan(visibility).next().is_none() {
                return Ok(removed);
            }
            let is_arriving = table.scan(visibility).inserter_in_flight().is_some();
            let row = table.scan(visibility).current();
            let (tid, bytes, entry) = (row.tid(), row.stored_bytes(), Entry::new(row));
            let is_live = entry.is_live(&moment);
            if !entry.key().bytes().starts_with(prefix) {
                return Ok(removed);
            }
            if is_arriving || heap::delete(table.heap(), tid) == Outcome::Overtaken {
                break Entry::new(table.scan(visibility).current()).key().bytes().to_vec();
            }
            let deletes = u64::from(is_live);
            table.cache().note(Delta { deletes, ..Delta::removed(Usage::of_entry(bytes)) });
            removed += i64::from(is_live);
        };
        // Another transaction has changed this entry since, or is making it; what it is then goes by its key, and the
        // walk goes on behind it.
        table.end_scan();
        let key = crate::pg::datum::Text::from_bytes(&overtaken);
        removed += i64::from(modify(table, key.as_varlena(), |entry| Ok((Change::Remove, entry.is_some())))?);
        table.end_scan();
        last = Some(overtaken);
    }
}

/// What a walk over blocks has met and done.
#[derive(Clone, Copy, Debug)]
pub struct Tally {
    pub scanned: u64,
    pub expired: u64,
    pub evicted: u64,
    pub invalidated: u64,
    /// What the removed entries took up.
    pub removed: Usage,
    /// What those that stay take up, except those of transactions that have not committed.
    pub live: Usage,
    /// Earliest expiry of an entry that stays, [`ttl::NEVER`] where none expires.
    pub earliest_expiry: i64,
    /// Whether there is one among them that has tags.
    pub has_tagged: bool,
}

impl Tally {
    const NOTHING: Usage = Usage { entries: 0, bytes: 0 };
    pub const EMPTY: Tally = Tally {
        scanned: 0,
        expired: 0,
        evicted: 0,
        invalidated: 0,
        removed: Tally::NOTHING,
        live: Tally::NOTHING,
        earliest_expiry: ttl::NEVER,
        has_tagged: false,
    };

    pub fn add(&mut self, other: Tally) {
        self.scanned += other.scanned;
        self.expired += other.expired;
        self.evicted += other.evicted;
        self.invalidated += other.invalidated;
        for (sum, other) in [(&mut self.removed, other.removed), (&mut self.live, other.live)] {
            sum.entries += other.entries;
            sum.bytes += other.bytes;
        }
        self.earliest_expiry = self.earliest_expiry.min(other.earliest_expiry);
        self.has_tagged |= other.has_tagged;
    }

    /// What others are told of the removed entries at the commit.
    pub(in crate::store) fn delta(&self) -> Delta {
        let Tally { expired, evicted, invalidated, .. } = *self;
        Delta { expired, evicted, invalidated, ..Delta::removed(self.removed) }
    }
}

/// Deletes the entries of some blocks that are no longer live, except those that another transaction has a hand on, until
/// `slice` is over: one block at least. Returns what it did, and the block to go on with.
pub fn sweep(table: &Table, blocks: Range<u32>, slice: Duration) -> (Tally, u32) {
    heap::next_command();
    let begun = Instant::now();
    let mut next = blocks.start;
    let moment = Moment::now();
    let mut walk = BlockWalk::new(table.heap());
    let mut tally = Tally::EMPTY;
    for block in blocks {
        pgrx::check_for_interrupts!();
        next = block + 1;
        let mut doomed = 0;
        let deleted = walk.visit(block, |version| {
            tally.scanned += 1;
            let state = moment.state_of(&version);
            if state != State::Live && !version.is_in_flight() {
                doomed += 1;
                return Some((version.bytes, state));
            }
            if !version.is_arriving {
                tally.live.entries += 1;
                tally.live.bytes += version.bytes;
            }
            tally.earliest_expiry = tally.earliest_expiry.min(version.expires_at);
            tally.has_tagged |= version.basis.is_some();
            None
        });
        if deleted.len() < doomed {
            tally.earliest_expiry = tally.earliest_expiry.min(moment.now);
        }
        for (bytes, state) in deleted {
            tally.removed.entries += 1;
            tally.removed.bytes += bytes;
            *(if state == State::Expired { &mut tally.expired } else { &mut tally.invalidated }) += 1;
        }
        if begun.elapsed() > slice {
            break;
        }
    }
    walk.publish_free_space();
    table.cache().note(tally.delta());
    (tally, next)
}

/// Makes a pass over a whole table in this transaction: removes expired entries, counts, and evicts what is over budget.
pub fn sweep_and_evict(table: &Table) -> Tally {
    let cache = table.cache();
    let before = cache.slot().map(|slot| (slot, slot.reading()));
    let (mut tally, _) = sweep(table, 0..table.heap().block_count(), Duration::MAX);
    let mut own = Usage::default();
    if let Some((slot, begun)) = before {
        // What this transaction has written is in the count, and not yet in what others know.
        own = shared::own_usage(slot);
        slot.correct(cache.storage, tally.live.less(own), begun);
    }
    tally.add(evict(table, tally.live, own, blocks_of_all_laps(table), Duration::MAX).0);
    tally
}

/// Live entries and their bytes in the table, counted now.
pub fn census(cache: &Cache) -> Usage {
    let moment = Moment::now();
    let mut usage = Usage::default();
    over_versions(cache, |version| {
        if !version.is_arriving && moment.state_of(&version) == State::Live {
            usage.entries += 1;
            usage.bytes += version.bytes;
        }
    });
    usage
}

/// An entry among the largest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Large {
    pub bytes: i64,
    pub key: Vec<u8>,
    pub expires_at: i64,
}

/// The largest `count` live entries, the largest first.
pub fn largest(cache: &Cache, count: usize) -> Vec<Large> {
    let moment = Moment::now();
    // The smallest of those kept is on top, to give way to a larger one.
    let mut heap: BinaryHeap<Reverse<Large>> = BinaryHeap::new();
    over_versions(cache, |version| {
        let fits = heap.len() < count || heap.peek().is_some_and(|smallest| smallest.0.bytes < version.bytes);
        if fits && !version.is_arriving && moment.state_of(&version) == State::Live {
            if heap.len() == count {
                heap.pop();
            }
            let (bytes, expires_at) = (version.bytes, version.expires_at);
            heap.push(Reverse(Large { bytes, key: version.key.to_vec(), expires_at }));
        }
    });
    let mut largest: Vec<Large> = heap.into_iter().map(|Reverse(large)| large).collect();
    largest.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.key.cmp(&b.key)));
    largest
}

/// Shows every version in the table that is live for someone.
fn over_versions(cache: &Cache, mut show: impl FnMut(Version<'_>)) {
    let lock = TableLock::acquire(cache.table, Access::Read);
    let heap = Relation::open_table(&lock);
    let mut walk = BlockWalk::new(&heap);
    for block in 0..heap.block_count() {
        pgrx::check_for_interrupts!();
        walk.look(block, &mut show);
    }
}
