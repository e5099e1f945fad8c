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
