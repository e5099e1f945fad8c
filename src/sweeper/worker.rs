//! The sweeper's process. It is connected to its database, so it leaves when somebody wants the database for himself,
//! when the extension is gone, or when nothing has been left to expire for a while.

use std::collections::HashMap;
use std::mem;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use pgrx::pg_sys::{Datum, Oid};

use crate::pg::{clock, lock, lookup, process};
use crate::settings;
use crate::shared::{self, CacheSlot, DatabaseSlot, SweeperState, Usage};
use crate::store::{self, Cache, Table, Tally};
use crate::sweeper::pace;
use crate::sweeper::start::Reason;
use crate::ttl;

/// Longest sleep: how soon the sweeper notices that its database is to be dropped, which gives it five seconds.
const LONGEST_NAP: Duration = Duration::from_secs(1);
/// The sweeper leaves when there has been nothing to expire for this long.
const LEAVE_AFTER: Duration = Duration::from_secs(60);

/// What the sweeper remembers of a cache from pass to pass.
struct Rhythm {
    interval: Duration,
    last_pass: Option<Instant>,
    /// How many transactions of the database had invalidated something when the last pass began.
    invalidations: u64,
}

/// Entry point of the background worker; `argument` as [`Reason`] has it.
#[pgrx::pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn pg_stash_sweeper_main(argument: Datum) {
    let (database, reason) = Reason::from_argument(argument);
    process::connect(Some(database), Some(on_exit));
    let Some(slot) = shared::database_slot() else { return };
    slot.pid.store(process::id(), Ordering::Relaxed);
    slot.set_state(SweeperState::Idle, clock::now());
    run(slot, reason);
}

/// Frees the database's slot, so that the next write starts another sweeper.
unsafe extern "C-unwind" fn on_exit(_: i32, _: Datum) {
    if let Some(slot) = shared::database_slot_if_known() {
        slot.pid.store(0, Ordering::Relaxed);
        slot.set_state(SweeperState::Absent, 0);
    }
}

fn run(slot: &DatabaseSlot, reason: Reason) {
    let mut rhythms: HashMap<Oid, Rhythm> = HashMap::new();
    let mut last_useful = Instant::now();
    let mut was_installed = false;
    loop {
        let nap = LONGEST_NAP.min(settings::sweep_max_stale() / 4);
        // `None` is an error, which has been logged: the next round tries again.
        let caches = match process::transaction(survey) {
            Some(Survey::DatabaseWanted) => return,
            Some(Survey::NotInstalled) if was_installed => return,
            Some(Survey::NotInstalled) if reason == Reason::ServerStart => {
                shared::forget_database();
                return;
            }
            Some(Survey::Caches(caches)) => {
                was_installed = true;
                caches
            }
            Some(Survey::NotInstalled) | None => Vec::new(),
        };
        let mut pass = Pass::new(slot);
        for cache in caches {
            let rhythm = rhythms.entry(cache.table).or_insert_with(|| Rhythm {
                interval: settings::sweep_max_stale() / 4,
                last_pass: None,
                invalidations: 0,
            });
            let invalidations = slot.invalidations.load(Ordering::Acquire);
            let work = Work::of(&cache, invalidations != rhythm.invalidations);
            if work.earliest_expiry != ttl::NEVER || work.is_uncounted || work.is_over_budget || work.is_invalidated {
                last_useful = Instant::now();
            }
            let has_rested = rhythm.last_pass.is_none_or(|last| last.elapsed() >= rhythm.interval);
            let is_due = work.earliest_expiry <= clock::now() || work.is_uncounted || work.is_invalidated;
            if is_due && has_rested {
                rhythm.last_pass = Some(Instant::now());
                rhythm.invalidations = invalidations;
                let tally = pass.over(&cache);
                let longest = settings::sweep_max_stale() - nap;
                rhythm.interval =
                    pace::next_interval(rhythm.interval, tally.scanned, tally.removed.entries as u64, longest);
                slot.pace_micros.store(rhythm.interval.as_micros() as i64, Ordering::Relaxed);
            }
            if work.is_over_budget {
                pass.evict(&cache, Usage::default());
            }
        }
        pass.report();
        if last_useful.elapsed() > LEAVE_AFTER {
            return;
        }
        process::nap(nap);
    }
}

enum Survey {
    DatabaseWanted,
    /// The extension is gone; or the transaction that creates it, and has asked for a sweeper, has not committed.
    NotInstalled,
    Caches(Vec<Rc<Cache>>),
}

fn survey() -> Survey {
    if lock::database_is_wanted() {
        return Survey::DatabaseWanted;
    }
    let Ok(caches) = store::all() else { return Survey::NotInstalled };
    if let Some(arena) = shared::arena() {
        arena.retain_caches(lookup::current_database(), |table| caches.iter().any(|cache| cache.table == table));
    }
    Survey::Caches(caches)
}

/// What there is to do in a cache.
struct Work {
    /// Zero where it is not known.
    earliest_expiry: i64,
    /// Nobody knows well enough how much there is in it; where nobody knows at all, it matters if it has a budget.
    is_uncounted: bool,
    is_over_budget: bool,
    /// Entries with tags may have been invalidated.
    is_invalidated: bool,
}

impl Work {
    fn of(cache: &Cache, has_invalidations: bool) -> Work {
        let Some(slot) = cache.slot() else {
            return Work { earliest_expiry: 0, is_uncounted: false, is_over_budget: false, is_invalidated: false };
        };
        let usage = slot.usage();
        Work {
            earliest_expiry: slot.earliest_expiry(),
            is_uncounted: (cache.budget.is_limited() || usage.is_some()) && slot.is_to_be_counted(),
            is_invalidated: has_invalidations && slot.tagged_writes() > 0,
            is_over_budget: usage.is_some_and(|usage| !cache.budget.excess(usage).is_zero()),
        }
    }
}

/// The work of one round, in transactions of a few blocks each.
struct Pass<'a> {
    slot: &'a DatabaseSlot,
    started: Option<i64>,
    tally: Tally,
    /// Rest that is due before the next piece of work. It is neither taken at once, because what has been counted is taken
    /// up first, nor between a look at what there is and the work on it: writers do not rest.
    rest: Duration,
}

impl<'a> Pass<'a> {
    fn new(slot: &'a DatabaseSlot) -> Pass<'a> {
        Pass { slot, started: None, tally: Tally::EMPTY, rest: Duration::ZERO }
    }

    /// Sweeps a cache's table from its first block to the last that it has now, and counts what is in it.
    fn over(&mut self, cache: &Rc<Cache>) -> Tally {
        self.begin();
        self.rest();
        let slot = cache.slot();
        // The note of the earliest expiry is cleared before the number of blocks is taken: a writer notes after it
        // has written, so either the pass meets the entry or the note survives.
        if let Some(slot) = slot {
            slot.begin_pass();
        }
        let is_to_be_counted = slot.is_some_and(CacheSlot::is_to_be_counted);
        let begun = slot.map(|slot| slot.reading());
        let tagged_before = slot.map(|slot| slot.tagged_writes());
        let mut tally = Tally::EMPTY;
        let mut block = 0;
        let mut is_complete = false;
        while !is_complete {
            self.rest();
            let swept = self.batch(cache, |table| {
                let count = table.heap().block_count();
                let end = count.min(block + settings::sweep_batch_blocks());
                let is_whole = block == 0 && end == count;
                let slice = if is_to_be_counted && is_whole { pace::WHOLE } else { pace::SLICE };
                let (swept, next) = store::sweep(table, block..end, slice);
                (swept, next, next >= count)
            });
            let Some((swept, next, was_last)) = swept else {
                tally.earliest_expiry = 0;
                break;
            };
            tally.add(swept);
            block = next;
            is_complete = was_last;
        }
        match slot.zip(begun) {
            Some((slot, begun)) => {
                slot.note_expiry(tally.earliest_expiry);
                if is_complete {
                    slot.correct(cache.storage, tally.live, begun.without(tally.removed));
                    if let Some(before) = tagged_before.filter(|_| !tally.has_tagged) {
                        slot.note_untagged(before);
                    }
                }
            }
            None if is_complete => self.evict(cache, tally.live),
            None => {}
        }
        self.tally.add(tally);
        tally
    }

    /// Evicts until the cache is within its budget, or everything that can be evicted has been. `counted` is what is in
    /// the cache where there is no shared memory that tells.
    fn evict(&mut self, cache: &Rc<Cache>, counted: Usage) {
        let (mut removed, mut visited, mut enough) = (Usage::default(), 0, u32::MAX);
        while visited < enough {
            self.rest();
            let usage = cache.slot().map_or(Some(counted.less(removed)), |slot| slot.usage());
            let Some(usage) = usage.filter(|usage| !cache.budget.excess(*usage).is_zero()) else { break };
            self.begin();
            let blocks = settings::sweep_batch_blocks();
            let evict = |table: &Table| {
                (store::evict(table, usage, Usage::default(), blocks, pace::SLICE), store::blocks_of_all_laps(table))
            };
            let Some(((tally, blocks), all_laps)) = self.batch(cache, evict) else { break };
            if blocks == 0 {
                // The table has been emptied; its new usage is not known here yet.
                break;
            }
            (visited, enough) = (visited.saturating_add(blocks), all_laps);
            removed = removed.plus(tally.removed);
            self.tally.add(tally);
        }
    }

    fn begin(&mut self) {
        if self.started.is_none() {
            self.started = Some(clock::now());
            self.slot.set_state(SweeperState::Sweeping, clock::now());
            process::report_activity("sweeping");
        }
    }

    /// Does a piece of work on a cache's table in a transaction of its own, after which a rest is due. `None` where the
    /// work is to be left for the next round: after an error, or because somebody has locked the table or wants the database.
    fn batch<R>(&mut self, cache: &Rc<Cache>, work: impl FnOnce(&Table) -> R) -> Option<R> {
        let began = Instant::now();
        let result = process::transaction(|| {
            (!lock::database_is_wanted()).then(|| Table::open_for_sweep(cache.clone()).map(|table| work(&table)))
        })?;
        self.rest = pace::rest_after(began.elapsed(), settings::sweep_max_duty());
        result?
    }

    fn rest(&mut self) {
        process::nap(mem::take(&mut self.rest));
    }

    /// Publishes what the pass has done, if it did anything.
    fn report(&mut self) {
        let Some(started) = self.started else { return };
        self.rest();
        self.slot.pass_started.store(started, Ordering::Relaxed);
        self.slot.pass_micros.store(clock::now() - started, Ordering::Relaxed);
        self.slot.pass_scanned.store(self.tally.scanned, Ordering::Relaxed);
        self.slot.pass_expired.store(self.tally.expired, Ordering::Relaxed);
        self.slot.pass_evicted.store(self.tally.evicted, Ordering::Relaxed);
        process::report_idle();
        process::report_changes();
        self.slot.set_state(SweeperState::Idle, clock::now());
    }
}
