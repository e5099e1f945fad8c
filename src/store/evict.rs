//! Keeping a cache within its budget: which entries go, so that those that are used stay, with no write on a read.
//!
//! Entries that are new and have not been used go first (see [`crate::shared::Probation`]). The others are looked at in
//! the order of their rows in the table: a clock hand goes round, evicts what is not marked as used, and takes one from
//! the marks that it passes. Method: CLOCK with two-bit marks, and S3-FIFO's small queue (Yang et al., SOSP 2023).
//!
//! Writers evict before they commit, about as much as they have added; the sweeper evicts where that was not enough.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::pg::heap;
use crate::pg::lookup;
use crate::pg::page::{BlockWalk, Version};
use crate::pg::place::Place;
use crate::pg::xact;
use crate::shared::{self, Arena, Candidate, FULL, KeyHash, Probation, Usage};
use crate::store::catalog::{self, Cache};
use crate::store::entry::{Moment, State};
use crate::store::table::Table;
use crate::store::walk::Tally;

/// One in so many of a cache's entries is on probation.
const PROBATION_SHARE: u64 = 5;
/// Blocks that a writer visits before its commit, and as many again as it has added entries.
const WRITERS_BLOCKS: u32 = 64;
/// In a table of no more blocks the hand goes round soon enough to find entries that are not marked.
const SMALL_TABLE_BLOCKS: u32 = 64;
/// Room that an eviction makes can be used once no transaction can need the rows any more. A session goes back to prune a
/// block when it has evicted from so many others since, and forgets it when from so many.
const PRUNE_AFTER: usize = 16;
const FORGET_AFTER: usize = 256;
/// Where the hand starts.
const START: Place = Place { block: 0, offset: 0 };

thread_local! {
    /// Names of the caches that this transaction has brought over their budgets.
    static OVER_BUDGET: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    /// The clock hand where there is no shared memory.
    static OWN_HAND: Cell<Place> = const { Cell::new(START) };
    /// Blocks that this session has evicted from, by the file of their table, the oldest first.
    static TO_BE_PRUNED: RefCell<VecDeque<(u64, u32)>> = const { RefCell::new(VecDeque::new()) };
}

/// Called after a write: where it may have brought the cache over its budget, the transaction evicts before it commits. How
/// much there is in a cache that nobody has counted is looked into then, once for all its writes.
pub(in crate::store) fn keep_within_budget(cache: &Cache) {
    if !cache.budget.is_limited() {
        return;
    }
    let usage = cache.slot().map(shared::usage_with_own);
    if usage.is_some_and(|usage| usage.is_none_or(|usage| !cache.budget.excess(usage).is_zero())) {
        OVER_BUDGET.with_borrow_mut(|names| {
            if !names.contains(&cache.name) {
                names.push(cache.name.clone());
            }
        });
        xact::before_commit(evict_before_commit);
    }
}

fn evict_before_commit() {
    for name in OVER_BUDGET.take() {
        // A cache that has been dropped meanwhile needs no eviction.
        let Ok(cache) = catalog::by_name(&name) else { continue };
        let Some(table) = Table::open_for_sweep(cache) else { continue };
        let Some((usage, own)) = usage_with_own(&table) else { continue };
        let blocks = WRITERS_BLOCKS.saturating_add(u32::try_from(own.entries.max(0)).unwrap_or(u32::MAX));
        evict(&table, usage, own, blocks, Duration::MAX);
    }
}

/// How much there is in a cache, with what this transaction has added; and that alone. Until a sweeper has counted a cache
/// that was there before the server started, it is taken to be full if its files are large enough for that: so writers
/// evict as much as they add. `None` where there is no shared memory.
fn usage_with_own(table: &Table) -> Option<(Usage, Usage)> {
    let cache = table.cache();
    let slot = cache.slot()?;
    let own = shared::own_usage(slot);
    let usage = slot
        .usage()
        .unwrap_or_else(|| cache.budget.at_most(table.heap().block_count(), lookup::table_size(cache.table)));
    Some((usage.plus(own), own))
}

/// Blocks to visit until every entry that may be evicted has been: all that are on probation, and as many laps of the hand
/// as it takes where all marks are full, and one more.
pub fn blocks_of_all_laps(table: &Table) -> u32 {
    let laps = u32::from(FULL) + 2;
    table.heap().block_count().saturating_mul(laps).saturating_add(Probation::CAPACITY)
}

/// Evicts from a cache with this usage until it is within its budget, `blocks` blocks have been visited, or `slice` is over:
/// one block at least. `own` is what this transaction has added: its entries are spared, unless they alone are more than the
/// budget. Returns what it did, and how many blocks it has visited.
pub fn evict(table: &Table, usage: Usage, own: Usage, blocks: u32, slice: Duration) -> (Tally, u32) {
    heap::next_command();
    let begun = Instant::now();
    let cache = table.cache();
    let (slot, arena, count) = (cache.slot(), shared::arena(), table.heap().block_count());
    let probation = slot.zip(arena).and_then(|(slot, arena)| arena.probation(slot));
    let is_small = count <= SMALL_TABLE_BLOCKS;
    let mut judge = Judge {
        storage: cache.storage,
        arena,
        moment: Moment::now(),
        spares_own: cache.budget.excess(own).is_zero(),
        evictable_mark: if is_small { 0 } else { cache.budget.evictable_mark(usage) },
        excess: cache.budget.excess(usage),
    };
    let mut walk = BlockWalk::new(table.heap());
    prune_earlier_blocks(&mut walk, cache.storage, count);
    let mut tally = Tally::EMPTY;
    let mut visited = 0;
    while visited < blocks && !judge.excess.is_zero() && count > 0 && (visited == 0 || begun.elapsed() < slice) {
        visited += 1;
        pgrx::check_for_interrupts!();
        let remaining = (usage.entries - tally.removed.entries).max(0) as u64;
        let (block, removed) = match probation.and_then(|queue| queue.pop(remaining / PROBATION_SHARE)) {
            Some(candidate) if candidate.block >= count => continue,
            Some(candidate) => {
                let judge = |version: Version<'_>| judge.decide(&version, |judge, hash| judge.fails(candidate, hash));
                (candidate.block, walk.visit(candidate.block, judge))
            }
            None => {
                let hand = slot.map_or_else(|| OWN_HAND.get(), |slot| slot.hand());
                let block = hand.block % count;
                let mut next = None;
                let removed = walk.visit(block, |version| {
                    if version.place.offset <= hand.offset || next.is_some() {
                        return None;
                    }
                    if judge.excess.is_zero() {
                        next = Some(Place { block, offset: version.place.offset - 1 });
                        return None;
                    }
                    judge.decide(&version, |judge, hash| judge.is_passed(hash))
                });
                let next = next.unwrap_or(Place { block: block + 1, offset: 0 });
                OWN_HAND.set(next);
                slot.inspect(|slot| slot.move_hand(hand, next));
                (block, removed)
            }
        };
        if !removed.is_empty() {
            TO_BE_PRUNED.with_borrow_mut(|queue| queue.push_back((cache.storage, block)));
        }
        for (bytes, reason) in removed {
            tally.removed.entries += 1;
            tally.removed.bytes += bytes;
            *(match reason {
                Reason::Budget => &mut tally.evicted,
                Reason::Gone(State::Invalidated) => &mut tally.invalidated,
                Reason::Gone(_) => &mut tally.expired,
            }) += 1;
        }
    }
    walk.publish_free_space();
    cache.note(tally.delta());
    (tally, visited)
}

/// Why an entry goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reason {
    /// It is not live any more.
    Gone(State),
    Budget,
}

/// Decides which of the entries that are looked at go.
struct Judge {
    storage: u64,
    arena: Option<&'static Arena>,
    moment: Moment,
    spares_own: bool,
    /// Entries with this mark or a lower one go.
    evictable_mark: u8,
    /// What still has to go.
    excess: Usage,
}

impl Judge {
    /// The entry's size and the reason, if it goes: because it has expired, or because `is_evictable` finds so.
    fn decide(
        &mut self,
        version: &Version<'_>,
        is_evictable: impl FnOnce(&Judge, KeyHash) -> bool,
    ) -> Option<(i64, Reason)> {
        if version.is_in_flight() || (version.is_own && self.spares_own) {
            return None;
        }
        let state = self.moment.state_of(version);
        let reason = if state != State::Live {
            Reason::Gone(state)
        } else if is_evictable(self, KeyHash::new(self.storage, version.key)) {
            Reason::Budget
        } else {
            return None;
        };
        self.excess = self.excess.less_an_entry_of(version.bytes);
        Some((version.bytes, reason))
    }

    /// Whether the entry is the candidate, whose probation ends now, and has not been used.
    fn fails(&self, candidate: Candidate, hash: KeyHash) -> bool {
        let Some(arena) = self.arena.filter(|_| candidate.may_be(hash)) else { return false };
        let is_used = arena.marks.get(hash) > self.evictable_mark;
        arena.marks.clear(hash);
        if !is_used {
            arena.ghosts.remember(hash);
        }
        !is_used
    }

    /// Whether the clock hand, which passes the entry now, does not spare it.
    fn is_passed(&self, hash: KeyHash) -> bool {
        self.arena.is_none_or(|arena| !arena.marks.pass(hash, self.evictable_mark))
    }
}

/// Visits blocks that earlier transactions of this session have evicted from, which makes the room in them usable.
fn prune_earlier_blocks(walk: &mut BlockWalk<'_>, storage: u64, count: u32) {
    let due: Vec<(u64, u32)> = TO_BE_PRUNED.with_borrow_mut(|queue| {
        queue.drain(..queue.len().saturating_sub(FORGET_AFTER));
        queue.drain(..queue.len().saturating_sub(PRUNE_AFTER)).collect()
    });
    for (_, block) in due.into_iter().filter(|(file, block)| *file == storage && *block < count) {
        walk.visit(block, |_| None::<()>);
    }
}
