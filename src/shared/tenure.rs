//! This session's leases: asking for them, and what becomes of them when its transaction, or the session itself, ends.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use super::arena::{Arena, CacheKey};
use super::leases::{Answer, Fate, Lease};
use super::locations::KeyHash;
use crate::pg::condition::Watch;
use crate::pg::{process, xact};

/// So many keys whose leases a transaction has overtaken are remembered one by one.
const FEW_KEYS: usize = 32;
/// No process has this number.
const NOBODY: i32 = 0;

/// A lease that the transaction has to do with.
struct Note {
    /// Nesting level of the (sub)transaction: 1 for the transaction itself.
    level: i32,
    lease: Lease,
    /// It was granted for this transaction, and goes with it. One that a client was given outlasts a part of a transaction
    /// that is rolled back.
    is_own: bool,
}

/// What the transaction has done that makes other sessions' leases void when it commits, too: they may have been granted
/// between the call and the commit.
#[derive(Default)]
struct Overtaken {
    keys: Vec<KeyHash>,
    caches: Vec<CacheKey>,
}

thread_local! {
    static NOTES: RefCell<Vec<Note>> = const { RefCell::new(Vec::new()) };
    static OVERTAKEN: RefCell<Overtaken> = RefCell::default();
    static TELLS_AT_EXIT: Cell<bool> = const { Cell::new(false) };
}

/// Asks for a lease. `None` where there is no shared memory, and so nobody to share with.
pub fn acquire(lease: Lease, cache: CacheKey, now: i64, deadline: i64) -> Option<Answer> {
    let arena = super::arena()?;
    if !TELLS_AT_EXIT.replace(true) {
        process::at_exit(on_exit);
    }
    Some(arena.leases.acquire(lease, cache.bits(), process::id(), now, deadline))
}

/// What has become of a lease. Where there is no shared memory, every lease is held.
pub fn fate(lease: Lease) -> Fate {
    super::arena().map_or(Fate::Held, |arena| arena.leases.fate(lease))
}

/// The value of the lease's entry has been written by this transaction. `false` where the lease has been lost meanwhile.
pub fn fill(lease: Lease) -> bool {
    let Some(arena) = super::arena() else { return true };
    settle_with(lease, false);
    arena.leases.fill(lease)
}

/// The lease ends with this transaction. `is_own`: also with the part of it that is going on, if that is rolled back.
pub fn settle_with(lease: Lease, is_own: bool) {
    super::tell_at_end();
    NOTES.with_borrow_mut(|notes| {
        if !notes.iter().any(|note| note.lease == lease) {
            notes.push(Note { level: xact::nesting_level(), lease, is_own });
        }
    });
}

/// Gives a lease up, and wakes who waits for it.
pub fn release(lease: Lease) {
    if let Some(arena) = super::arena() {
        release_in(arena, lease);
    }
}

fn release_in(arena: &Arena, lease: Lease) {
    if arena.leases.release(lease) {
        arena.condition_of(lease.key).wake_all();
    }
}

/// The entry under this key has been deleted, if there was one: what the holder of its lease has read may be older.
pub fn overtake(key: KeyHash, cache: CacheKey) {
    let Some(arena) = super::arena() else { return };
    super::tell_at_end();
    if arena.leases.overtake(key, NOBODY) {
        arena.condition_of(key).wake_all();
    }
    OVERTAKEN.with_borrow_mut(|overtaken| {
        if overtaken.keys.len() < FEW_KEYS {
            overtaken.keys.push(key);
        } else if !overtaken.caches.contains(&cache) {
            overtaken.caches.push(cache);
        }
    });
}

/// The same of all entries of a cache.
pub fn overtake_all(cache: CacheKey) {
    let Some(arena) = super::arena() else { return };
    super::tell_at_end();
    arena.leases.overtake_all(cache.bits(), NOBODY, |bucket| arena.condition(bucket).wake_all());
    OVERTAKEN.with_borrow_mut(|overtaken| {
        if !overtaken.caches.contains(&cache) {
            overtaken.caches.push(cache);
        }
    });
}

/// Whether values have been written under leases of the cache by transactions that have not committed.
pub fn fills_await_commit(cache: CacheKey) -> bool {
    super::arena().is_some_and(|arena| arena.leases.await_commit(cache.bits()))
}

/// What a session that wants a lease waits at.
pub struct Wait(Watch<'static>);

/// From now on this session is woken when something happens to the lease of the key. `None` where there is no shared memory.
pub fn wait_for(key: KeyHash) -> Option<Wait> {
    Some(Wait(super::arena()?.condition_of(key).watch()))
}

impl Wait {
    /// Sleeps until woken, or for `longest`.
    pub fn sleep(&self, longest: Duration) {
        self.0.sleep(longest);
    }
}

/// Called at the end of a transaction or subtransaction: allocates nothing and cannot fail.
pub(super) fn on_end(end: xact::End) {
    let Some(arena) = super::ARENA.get() else { return };
    let is_over = matches!(end, xact::End::Commit | xact::End::Abort);
    OVERTAKEN.with(|overtaken| {
        let Ok(mut overtaken) = overtaken.try_borrow_mut() else { return };
        if end == xact::End::Commit {
            // What this session has been granted since, it has been granted knowing of the change.
            let own = process::id();
            for key in &overtaken.keys {
                if arena.leases.overtake(*key, own) {
                    arena.condition_of(*key).wake_all();
                }
            }
            for cache in &overtaken.caches {
                arena.leases.overtake_all(cache.bits(), own, |bucket| arena.condition(bucket).wake_all());
            }
        }
        if is_over {
            overtaken.keys.clear();
            overtaken.caches.clear();
        }
    });
    NOTES.with(|notes| {
        let Ok(mut notes) = notes.try_borrow_mut() else { return };
        match end {
            xact::End::Commit => notes.drain(..).for_each(|note| {
                arena.leases.settle(note.lease);
                // One that has not been used is of no use to anybody after this.
                if note.is_own {
                    arena.leases.release(note.lease);
                }
                arena.condition_of(note.lease.key).wake_all();
            }),
            xact::End::Committing => {}
            xact::End::Abort => notes.drain(..).for_each(|note| release_in(arena, note.lease)),
            xact::End::SubCommit(level) => {
                let ended = notes.iter_mut().filter(|note| level > 1 && note.level == level);
                ended.for_each(|note| note.level -= 1);
            }
            xact::End::SubAbort(level) => notes.retain(|note| {
                let stays = note.level < level;
                if !stays && note.is_own {
                    release_in(arena, note.lease);
                } else if !stays {
                    arena.leases.unfill(note.lease);
                }
                stays
            }),
        }
    });
}

/// The session ends: nobody has to wait for it any longer.
unsafe extern "C-unwind" fn on_exit(_: i32, _: pgrx::pg_sys::Datum) {
    if let Some(arena) = super::ARENA.try_with(|arena| arena.get()).ok().flatten() {
        arena.leases.release_all_of(process::id(), |bucket| arena.condition(bucket).wake_all());
    }
}
