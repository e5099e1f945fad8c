//! What sessions and sweepers share in memory. Nothing here is needed to be right: where it is missing or lost, caches
//! work, without statistics and use marks, and stay within their budgets by what each pass of the sweeper counts.
//!
//! [`control`] is a small struct that is always there; [`arena`] holds all that takes more room.

mod arena;
mod cache_slot;
mod control;
mod gauge;
mod ghosts;
mod hybrid_clock;
mod invalidation;
mod leases;
mod locations;
mod marks;
mod pending;
mod probation;
mod tags;
mod tenure;

use std::cell::{Cell, OnceCell, RefCell};
use std::sync::atomic::{AtomicU64, Ordering};

use pgrx::pg_sys::Oid;

pub use arena::{Arena, CacheKey, Sizes, admit};
pub use cache_slot::{CacheSlot, Delta, Read, Usage};
pub use control::{Control, DatabaseSlot, SweeperState};
pub use invalidation::{Invalidations, as_of_next_snapshot, as_of_now, as_of_start, current_as_of, note_all, note_tag};
pub use leases::{Answer, Fate, Lease};
pub use locations::{Hint, KeyHash, Locations};
pub use marks::FULL;
pub use probation::{Candidate, Probation};
pub use tenure::{acquire, fate, fill, fills_await_commit, overtake, overtake_all, release, settle_with, wait_for};

use crate::pg::lookup::{self, current_database};
use crate::pg::shmem::{dynamic_cells, shared_struct};
use crate::pg::{clock, process, xact};
use crate::settings;
use pending::Pending;

/// Where there was no memory for the arena, it is asked for again after this time, in microseconds.
const RETRY_AFTER: i64 = 60_000_000;

thread_local! {
    static CONTROL: OnceCell<Option<&'static Control>> = const { OnceCell::new() };
    static ARENA: Cell<Option<&'static Arena>> = const { Cell::new(None) };
    /// `None`: it has not been looked for; `Some(None)`: all slots were taken.
    static DATABASE: Cell<Option<Option<&'static DatabaseSlot>>> = const { Cell::new(None) };
    static PENDING: RefCell<Pending> = RefCell::default();
}

/// Has the postmaster keep room for the control struct; called where the library is preloaded.
pub fn reserve() {
    crate::pg::shmem::reserve::<Control>();
}

/// The control struct, which the first process that asks makes. `None` where the server has no room for it.
pub fn control() -> Option<&'static Control> {
    CONTROL.with(|control| {
        *control.get_or_init(|| {
            // SAFETY: the only struct of this name; it consists of atomics, for which zero is a valid value.
            let control = unsafe { shared_struct::<Control>(c"pg_stash") }.filter(|control| control.is_ours());
            if control.is_none() {
                pgrx::warning!("pg_stash has no shared memory: caches work, without statistics and without a sweeper");
            }
            control
        })
    })
}

/// The arena, which the first process that asks makes in the sizes that it has set. `None` where the server has no memory
/// for it; that is asked for again a minute later.
pub fn arena() -> Option<&'static Arena> {
    ARENA.get().or_else(|| {
        let arena = attach(control()?);
        ARENA.set(arena);
        arena
    })
}

fn attach(control: &Control) -> Option<&'static Arena> {
    let now = clock::now();
    let failed_at = control.arena_failed_at.load(Ordering::Relaxed);
    if failed_at != 0 && now - failed_at < RETRY_AFTER {
        return None;
    }
    let sizes = settings::arena_sizes();
    let words = dynamic_cells(&control.arena, sizes.words(), |words| {
        sizes.note(words);
        // SAFETY: made just now, in this size.
        unsafe { Arena::new(words) }.prepare();
        // Whoever invalidates anything has the arena made first, so nothing has been since this server started, or was
        // restarted after a crash; this process started after that. On a standby it begins anew when that is promoted.
        control.begin_history(process::started_at());
        control.is_from_recovery.store(u64::from(xact::in_recovery()), Ordering::Relaxed);
    });
    if words.is_none() {
        control.arena_failed_at.store(now, Ordering::Relaxed);
        pgrx::ereport!(
            pgrx::PgLogLevel::WARNING,
            pgrx::PgSqlErrorCode::ERRCODE_OUT_OF_MEMORY,
            "pg_stash has no shared memory for statistics and use marks; caches work without",
            "Make room in /dev/shm, or lower pg_stash.location_hints and pg_stash.mark_cells."
        );
    }
    // SAFETY: the words are made in this size, and only here.
    words.map(|words| unsafe { &*Box::leak(Box::new(Arena::new(words))) })
}

/// Where entries were last found. `None` where there is no such table.
pub fn locations() -> Option<Locations> {
    arena()?.locations
}

/// The slot of the current database.
pub fn database_slot() -> Option<&'static DatabaseSlot> {
    match DATABASE.get() {
        Some(Some(slot)) if slot.oid() == current_database() => return Some(slot),
        Some(None) => return None,
        // It has not been asked for, or has been given back meanwhile.
        _ => {}
    }
    let claim = |control: &'static Control| control.database(current_database());
    let slot = control().and_then(|control| {
        claim(control).or_else(|| {
            control.retain_databases(lookup::database_exists);
            claim(control)
        })
    });
    DATABASE.set(Some(slot));
    slot
}

/// Gives the slot of the current database back: it has no caches.
pub fn forget_database() {
    if let Some(control) = control() {
        control.retain_databases(|database| database != current_database());
    }
}

/// The same without looking for it: for the end of a transaction or a process.
pub fn database_slot_if_known() -> Option<&'static DatabaseSlot> {
    let slot = DATABASE.try_with(|slot| slot.get().flatten()).ok().flatten();
    slot.filter(|slot| slot.oid() == current_database())
}

/// The slot of a cache.
pub fn cache_slot(key: CacheKey) -> Option<&'static CacheSlot> {
    let arena = arena()?;
    arena.cache(key, clock::now()).or_else(|| {
        // All are taken: those of dropped databases are given back first.
        arena.retain_databases(lookup::database_exists);
        arena.cache(key, clock::now())
    })
}

/// Counts a read.
pub fn count_read(slot: &CacheSlot, read: Read) {
    slot.count_read(read, process::id() as usize);
}

/// Notes what the transaction has done to a cache. Others learn of it at the commit, and only then.
pub fn note(key: CacheKey, slot: &'static CacheSlot, delta: Delta) {
    let level = xact::nesting_level();
    tell_at_end();
    PENDING.with_borrow_mut(|pending| pending.add(level, key, slot, delta));
}

/// What this transaction has added to a cache.
pub fn own_usage(slot: &CacheSlot) -> Usage {
    let Delta { entries, bytes, .. } = PENDING.with_borrow(|pending| pending.of(slot));
    Usage { entries, bytes }
}

/// How much there is in a cache, with what this transaction has added. `None`: it is not known.
pub fn usage_with_own(slot: &CacheSlot) -> Option<Usage> {
    Some(slot.usage()?.plus(own_usage(slot)))
}

/// The earliest expiry in the caches of a database, as far as it is known; [`crate::ttl::NEVER`] for none.
pub fn earliest_expiry_in(database: Oid) -> Option<i64> {
    arena()?.caches_of(database).map(CacheSlot::earliest_expiry).filter(|expiry| *expiry > 0).min()
}

/// Has [`on_end`] called when the transaction ends.
fn tell_at_end() {
    xact::at_end(on_end);
}

/// Called at the end of a transaction or subtransaction: allocates nothing and cannot fail.
fn on_end(end: xact::End) {
    invalidation::on_end(end);
    tenure::on_end(end);
    PENDING.with(|pending| {
        let Ok(mut pending) = pending.try_borrow_mut() else { return };
        match end {
            xact::End::Committing => pending.announce(),
            xact::End::Commit => pending.commit(),
            xact::End::Abort => pending.abort(),
            xact::End::SubCommit(level) => pending.commit_level(level),
            xact::End::SubAbort(level) => pending.abort_level(level),
        }
    });
}

/// Takes the first slot whose key is `key`, or the first free one. A key is never zero.
fn claim<S>(slots: &[S], key: u64, key_of: impl Fn(&S) -> &AtomicU64, prepare: impl Fn(&S)) -> Option<&S> {
    if let Some(slot) = slots.iter().find(|slot| key_of(slot).load(Ordering::Acquire) == key) {
        return Some(slot);
    }
    slots.iter().find(|slot| match key_of(slot).compare_exchange(0, key, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => {
            prepare(slot);
            true
        }
        Err(taken) => taken == key,
    })
}
