//! Heavyweight locks on tables and on the database.

use pgrx::pg_sys::{self, Oid};

use crate::pg::unwinding;

/// What the holder wants to do with the table.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
}

impl Access {
    pub fn mode(self) -> pg_sys::LOCKMODE {
        match self {
            Access::Read => pg_sys::AccessShareLock as i32,
            Access::Write => pg_sys::RowExclusiveLock as i32,
        }
    }
}

/// A lock on a table. A read's is released when dropped: a get promises nothing to the rest of its transaction, so it
/// does not make DDL on the cache wait for it. A write's stays to the end of the transaction, as for any writer.
pub struct TableLock {
    table: Oid,
    access: Access,
}

impl TableLock {
    /// Waits for the lock. Taking it also brings in what other sessions have said about changed definitions.
    pub fn acquire(table: Oid, access: Access) -> TableLock {
        // SAFETY: locks an OID; it need not exist.
        unsafe { pg_sys::LockRelationOid(table, access.mode()) }
        TableLock { table, access }
    }

    /// Takes the lock only if nobody has to be waited for.
    pub fn try_acquire(table: Oid, access: Access) -> Option<TableLock> {
        // SAFETY: as above.
        let acquired = unsafe { pg_sys::ConditionalLockRelationOid(table, access.mode()) };
        acquired.then_some(TableLock { table, access })
    }

    pub fn table(&self) -> Oid {
        self.table
    }

    pub fn access(&self) -> Access {
        self.access
    }

    /// Gives up a lock under which nothing has been written.
    pub fn release(self) {
        // SAFETY: this guard holds the lock; `forget` keeps `drop` from releasing it again.
        unsafe { pg_sys::UnlockRelationOid(self.table, self.access.mode()) }
        std::mem::forget(self);
    }
}

impl Drop for TableLock {
    fn drop(&mut self) {
        if self.access == Access::Read && !unwinding() {
            // SAFETY: this guard holds the lock.
            unsafe { pg_sys::UnlockRelationOid(self.table, self.access.mode()) }
        }
    }
}

/// Whether someone holds or waits for the current database as DROP DATABASE does, or CREATE DATABASE … TEMPLATE, or
/// a rename: commands that fail while another session is connected to it. Needs a transaction.
pub fn database_is_wanted() -> bool {
    let tag = pg_sys::LOCKTAG {
        locktag_field1: 0,
        locktag_field2: pg_sys::DatabaseRelationId.to_u32(),
        // SAFETY: set once when the process connects.
        locktag_field3: unsafe { pg_sys::MyDatabaseId }.to_u32(),
        locktag_field4: 0,
        locktag_type: pg_sys::LockTagType::LOCKTAG_OBJECT as u8,
        locktag_lockmethodid: pg_sys::DEFAULT_LOCKMETHOD as u8,
    };
    let mode = pg_sys::RowExclusiveLock as i32;
    // SAFETY: a complete tag; the lock is given back at once.
    unsafe {
        let available = pg_sys::LockAcquire(&tag, mode, false, true);
        if available == pg_sys::LockAcquireResult::LOCKACQUIRE_NOT_AVAIL {
            return true;
        }
        pg_sys::LockRelease(&tag, mode, false);
        false
    }
}
