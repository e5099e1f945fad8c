//! Which row versions a look-up sees. Neither kind depends on the transaction's isolation level, takes a predicate
//! lock, or holds anything back from VACUUM.

use pgrx::pg_sys;

/// What a look-up sees.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Visibility {
    /// The newest committed version, and the transaction's own.
    Latest,
    /// Also versions that other transactions have not committed yet, so that a writer can wait for them.
    InFlight,
}

/// A snapshot in memory that PostgreSQL may point to for as long as the box lives.
pub(in crate::pg) struct Snapshot(Box<pg_sys::SnapshotData>);

impl Snapshot {
    pub fn new(visibility: Visibility) -> Snapshot {
        // SAFETY: all of the struct's fields may be zero; these two kinds use the type and the fields that they set.
        let mut data: pg_sys::SnapshotData = unsafe { std::mem::zeroed() };
        data.snapshot_type = match visibility {
            Visibility::Latest => pg_sys::SnapshotType::SNAPSHOT_SELF,
            Visibility::InFlight => pg_sys::SnapshotType::SNAPSHOT_DIRTY,
        };
        Snapshot(Box::new(data))
    }

    pub fn as_ptr(&mut self) -> pg_sys::Snapshot {
        &mut *self.0
    }

    /// The transaction, with its speculative token if it has one, that inserted the version seen last and has not
    /// committed. Only in-flight snapshots tell.
    pub fn inserter_in_flight(&self) -> Option<(pg_sys::TransactionId, u32)> {
        (self.0.xmin != pg_sys::InvalidTransactionId).then_some((self.0.xmin, self.0.speculativeToken))
    }

    /// Whether another transaction that has not committed inserted the version seen last. Only in-flight snapshots tell.
    pub fn is_arriving(&self) -> bool {
        self.0.xmin != pg_sys::InvalidTransactionId
    }

    /// Whether another transaction that has not committed is changing or deleting the version seen last. Only in-flight
    /// snapshots tell.
    pub fn is_changing(&self) -> bool {
        self.0.xmax != pg_sys::InvalidTransactionId
    }
}

/// Whether nothing has been committed since the snapshot was taken that the current statement, or function, sees: a new
/// one would be the same.
pub fn is_current() -> bool {
    // SAFETY: both snapshots are valid while they are compared. The caller is not part of a parallel operation, in which
    // no snapshot can be taken.
    unsafe {
        if !pg_sys::ActiveSnapshotSet() || pg_sys::RecoveryInProgress() {
            return false;
        }
        let (active, latest) = (&*pg_sys::GetActiveSnapshot(), &*pg_sys::GetLatestSnapshot());
        let running = |snapshot: &pg_sys::SnapshotData| match snapshot.xcnt {
            0 => &[],
            count => std::slice::from_raw_parts(snapshot.xip, count as usize),
        };
        active.xmin == latest.xmin && active.xmax == latest.xmax && running(active) == running(latest)
    }
}
