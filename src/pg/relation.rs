//! Open relations.

use pgrx::pg_sys::{self, Oid};
use pgrx::{PgTupleDesc, list::List};

use crate::pg::lock::TableLock;
use crate::pg::unwinding;

/// An open table or index. Opened under a lock that the caller holds; closing it leaves the lock alone.
pub struct Relation {
    raw: pg_sys::Relation,
    is_index: bool,
}

impl Relation {
    pub fn open_table(lock: &TableLock) -> Relation {
        // SAFETY: the lock is held; raises an error where the table is gone.
        Relation { raw: unsafe { pg_sys::table_open(lock.table(), pg_sys::NoLock as i32) }, is_index: false }
    }

    /// Opens an index of a table that is open and locked at `mode`.
    pub fn open_index(oid: Oid, mode: pg_sys::LOCKMODE) -> Relation {
        // SAFETY: index locks are taken after the table's, the order that PostgreSQL uses.
        Relation { raw: unsafe { pg_sys::index_open(oid, mode) }, is_index: true }
    }

    pub(in crate::pg) fn raw(&self) -> pg_sys::Relation {
        self.raw
    }

    pub fn oid(&self) -> Oid {
        // SAFETY: an open relation's entry stays valid while it is open.
        unsafe { (*self.raw).rd_id }
    }

    pub fn owner(&self) -> Oid {
        // SAFETY: as above.
        unsafe { (*(*self.raw).rd_rel).relowner }
    }

    /// A number for the table's file: another one after the table has been rewritten or truncated.
    pub fn storage(&self) -> u64 {
        // SAFETY: as above. A table of a database, so the two numbers tell files apart; a mapped relation has none here.
        let file = unsafe { (*(*self.raw).rd_rel).relfilenode };
        u64::from(crate::pg::lookup::current_database().to_u32()) << 32 | u64::from(file.to_u32())
    }

    pub fn has_row_security(&self) -> bool {
        // SAFETY: as above.
        unsafe { (*(*self.raw).rd_rel).relrowsecurity }
    }

    pub fn is_ordinary_heap(&self) -> bool {
        // SAFETY: as above.
        unsafe {
            let class = &*(*self.raw).rd_rel;
            class.relkind == pg_sys::RELKIND_RELATION as std::ffi::c_char && class.relam == pg_sys::HEAP_TABLE_AM_OID
        }
    }

    /// Name and type of each column by its number less one; `None` for a dropped one.
    pub fn columns(&self) -> Vec<Option<(String, Oid)>> {
        // SAFETY: the copy is made while the relation is open.
        let descriptor = unsafe { PgTupleDesc::from_pg_copy((*self.raw).rd_att) };
        let column = |i| {
            let attribute = descriptor.get(i).filter(|attribute| !attribute.attisdropped)?;
            Some((attribute.name().to_owned(), attribute.atttypid))
        };
        (0..descriptor.len()).map(column).collect()
    }

    /// OIDs of the table's indexes.
    pub fn index_oids(&self) -> Vec<Oid> {
        // SAFETY: the list is a copy in the current memory context.
        unsafe {
            let list = pg_sys::RelationGetIndexList(self.raw).cast();
            pgrx::memcx::current_context(|mcx| {
                let list = List::<Oid>::downcast_ptr_in_memcx(list, mcx);
                list.map(|list| list.iter().copied().collect()).unwrap_or_default()
            })
        }
    }

    /// Whether this index holds exactly one plain column of its table, that with this number, in a btree, for all rows.
    pub fn is_plain_btree_on(&self, column: i16) -> bool {
        // SAFETY: an open index has its pg_index row.
        unsafe {
            let index = &*(*self.raw).rd_index;
            (*(*self.raw).rd_rel).relam == pg_sys::BTREE_AM_OID
                && index.indnatts == 1
                && *index.indkey.values.as_ptr() == column
                && pg_sys::RelationGetIndexPredicate(self.raw).is_null()
        }
    }

    /// Whether this index is its table's primary key.
    pub fn is_primary_key(&self) -> bool {
        // SAFETY: as above.
        unsafe { (*(*self.raw).rd_index).indisprimary }
    }

    /// Number of blocks of the table's main fork.
    pub fn block_count(&self) -> u32 {
        // SAFETY: an open relation with storage.
        unsafe { pg_sys::RelationGetNumberOfBlocksInFork(self.raw, pg_sys::ForkNumber::MAIN_FORKNUM) }
    }
}

impl Drop for Relation {
    fn drop(&mut self) {
        if unwinding() {
            return;
        }
        // SAFETY: opened by this guard and not closed yet.
        unsafe {
            if self.is_index {
                pg_sys::index_close(self.raw, pg_sys::NoLock as i32);
            } else {
                pg_sys::table_close(self.raw, pg_sys::NoLock as i32);
            }
        }
    }
}
