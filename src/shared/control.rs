//! The small struct from the room that every server keeps to spare: the sweeper of each database, and where the rest of
//! the shared memory is. Plain atomics, valid when all bytes are zero.

use std::sync::atomic::{AtomicI32, AtomicI64, AtomicU32, AtomicU64, Ordering};

use pgrx::pg_sys::Oid;

use super::cache_slot::CacheSlot;
use super::claim;
use super::gauge::Gauge;
use super::hybrid_clock::HybridClock;
use crate::pg::shmem::DynamicMemory;
use crate::pg::xact;

const DATABASES: usize = 128;

/// All of it.
#[repr(C)]
pub struct Control {
    /// Where the arena is, once somebody has made it.
    pub arena: DynamicMemory,
    /// When there was last no memory for it; zero: never.
    pub arena_failed_at: AtomicI64,
    pub clock: HybridClock,
    /// The layout of all shared memory: [`LAYOUT`], or that of another version of the library.
    layout: AtomicU64,
    /// No transaction before this one has written anything since account is kept of invalidations.
    pub first_writer: AtomicU64,
    /// Not zero where the arena was made on a standby, which has not been promoted since.
    pub is_from_recovery: AtomicU64,
    databases: [DatabaseSlot; DATABASES],
}

/// Another number for each version of the library, and for builds of one that differ in what a cache has: they cannot share
/// memory.
const LAYOUT: u64 = {
    let version = env!("CARGO_PKG_VERSION").as_bytes();
    let (mut sum, mut i) = ((size_of::<CacheSlot>() * size_of::<Gauge>()) as u64, 0);
    while i < version.len() {
        sum = sum * 257 + version[i] as u64;
        i += 1;
    }
    sum
};

impl Control {
    /// Whether the memory is laid out as this version of the library has it. Whoever comes first decides.
    pub fn is_ours(&self) -> bool {
        let before = self.layout.compare_exchange(0, LAYOUT, Ordering::AcqRel, Ordering::Acquire);
        before.is_ok() || before == Err(LAYOUT)
    }

    /// Account is kept of invalidations since that time: nothing that has a tag, and is of before it or was written before
    /// now, is valid.
    pub fn begin_history(&self, since: i64) {
        self.clock.raise_floor(since);
        self.first_writer.store(u64::from(xact::next_id()), Ordering::Release);
    }

    /// The database's slot, taken now if need be; `None` where all are taken.
    pub fn database(&self, database: Oid) -> Option<&DatabaseSlot> {
        claim(&self.databases, u64::from(database.to_u32()), |slot| &slot.oid, |_| {})
    }

    /// The slots of all databases that have one.
    pub fn databases(&self) -> impl Iterator<Item = &DatabaseSlot> {
        self.databases.iter().filter(|slot| slot.oid.load(Ordering::Acquire) != 0)
    }

    /// Frees the slots of databases that are no more.
    pub fn retain_databases(&self, exists: impl Fn(Oid) -> bool) {
        for slot in self.databases().filter(|slot| !exists(slot.oid())) {
            let oid = slot.oid.load(Ordering::Acquire);
            slot.set_state(SweeperState::Absent, 0);
            // Whoever was faster may have given the slot to another database.
            slot.oid.compare_exchange(oid, 0, Ordering::AcqRel, Ordering::Relaxed).ok();
        }
    }
}

/// What the sweeper of a database is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum SweeperState {
    Absent = 0,
    /// A session has asked the postmaster for it, at `since`.
    Starting = 1,
    Idle = 2,
    Sweeping = 3,
    /// There was no room for it, at `since`: writers sweep.
    Unavailable = 4,
}

impl SweeperState {
    fn from_u32(state: u32) -> SweeperState {
        use SweeperState::*;
        [Absent, Starting, Idle, Sweeping, Unavailable].into_iter().find(|s| *s as u32 == state).unwrap_or(Absent)
    }

    pub fn name(self) -> &'static str {
        match self {
            SweeperState::Absent => "absent",
            SweeperState::Starting => "starting",
            SweeperState::Idle => "idle",
            SweeperState::Sweeping => "sweeping",
            SweeperState::Unavailable => "unavailable",
        }
    }
}

/// A database: its sweeper, and the last pass of it.
#[repr(C)]
pub struct DatabaseSlot {
    oid: AtomicU64,
    /// A [`SweeperState`].
    state: AtomicU32,
    pub pid: AtomicI32,
    pub since: AtomicI64,
    pub pass_started: AtomicI64,
    pub pass_micros: AtomicI64,
    pub pass_scanned: AtomicU64,
    pub pass_expired: AtomicU64,
    pub pass_evicted: AtomicU64,
    pub pace_micros: AtomicI64,
    /// Entries with tags in it are invalid unless they are from after this time.
    pub floor: AtomicI64,
    /// How many transactions have invalidated something.
    pub invalidations: AtomicU64,
    /// Where the writers' sweep of the database goes on, counted in blocks.
    pub writers_block: AtomicU64,
}

impl DatabaseSlot {
    pub fn oid(&self) -> Oid {
        Oid::from(self.oid.load(Ordering::Acquire) as u32)
    }

    pub fn state(&self) -> SweeperState {
        SweeperState::from_u32(self.state.load(Ordering::Acquire))
    }

    pub fn set_state(&self, state: SweeperState, now: i64) {
        self.since.store(now, Ordering::Relaxed);
        self.state.store(state as u32, Ordering::Release);
    }

    /// Goes from one state to another, unless somebody else was faster.
    pub fn change_state(&self, from: SweeperState, to: SweeperState, now: i64) -> bool {
        let changed = self.state.compare_exchange(from as u32, to as u32, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if changed {
            self.since.store(now, Ordering::Relaxed);
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn empty() -> Box<Control> {
        // SAFETY: all zeros is a valid struct.
        unsafe { Box::<Control>::new_zeroed().assume_init() }
    }

    #[test]
    fn dropped_databases_give_their_slots_back() {
        let control = empty();
        for database in 1..=DATABASES as u32 {
            assert!(control.database(Oid::from(database)).is_some());
        }
        assert!(control.database(Oid::from(1_000)).is_none());
        control.retain_databases(|database| database != Oid::from(7));
        assert!(control.database(Oid::from(1_000)).is_some());
        assert_eq!(control.databases().count(), DATABASES);
    }

    #[test]
    fn only_one_session_gets_to_start_the_sweeper() {
        let control = empty();
        let slot = control.database(Oid::from(5)).unwrap();
        assert!(slot.change_state(SweeperState::Absent, SweeperState::Starting, 1));
        assert!(!slot.change_state(SweeperState::Absent, SweeperState::Starting, 2));
        assert_eq!(slot.state(), SweeperState::Starting);
    }
}
