//! Open relations.

use std::ffi::CStr;

use pgrx::pg_sys::{self, Oid};
use pgrx::{PgTupleDesc, list::List};

use crate::pg::lock::{Access, TableLock};
use crate::pg::unwinding;

/// All that changes the rows of a table.
const EVERY_CHANGE: u32 = pg_sys::TRIGGER_TYPE_INSERT
    | pg_sys::TRIGGER_TYPE_UPDATE
    | pg_sys::TRIGGER_TYPE_DELETE
    | pg_sys::TRIGGER_TYPE_TRUNCATE;

/// An open table or index. A table is opened under a lock that the caller holds, and closing it leaves the lock alone. An
/// index is locked as it is opened; a reader's lock goes when it is closed, a writer's at the end of the transaction.
pub struct Relation {
    raw: pg_sys::Relation,
    is_index: bool,
    /// What closing it unlocks.
    unlocks: pg_sys::LOCKMODE,
}

const NO_LOCK: pg_sys::LOCKMODE = pg_sys::NoLock as pg_sys::LOCKMODE;

impl Relation {
    pub fn open_table(lock: &TableLock) -> Relation {
        // SAFETY: the lock is held; raises an error where the table is gone.
        let raw = unsafe { pg_sys::table_open(lock.table(), NO_LOCK) };
        Relation { raw, is_index: false, unlocks: NO_LOCK }
    }

    /// Opens a relation of any kind but an index.
    pub fn open_any(lock: &TableLock) -> Relation {
        // SAFETY: the lock is held; raises an error where the relation is gone.
        let raw = unsafe { pg_sys::relation_open(lock.table(), NO_LOCK) };
        Relation { raw, is_index: false, unlocks: NO_LOCK }
    }

    /// Opens an index of a table that is open and locked for this access.
    pub fn open_index(oid: Oid, access: Access) -> Relation {
        // SAFETY: index locks are taken after the table's, the order that PostgreSQL uses.
        let raw = unsafe { pg_sys::index_open(oid, access.mode()) };
        Relation { raw, is_index: true, unlocks: if access == Access::Read { access.mode() } else { NO_LOCK } }
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

    pub fn is_temporary(&self) -> bool {
        // SAFETY: as above.
        unsafe { (*(*self.raw).rd_rel).relpersistence as u8 == pg_sys::RELPERSISTENCE_TEMP }
    }

    pub fn is_ordinary_heap(&self) -> bool {
        // SAFETY: as above.
        unsafe {
            let class = &*(*self.raw).rd_rel;
            class.relkind == pg_sys::RELKIND_RELATION as std::ffi::c_char && class.relam == pg_sys::HEAP_TABLE_AM_OID
        }
    }

    /// What kind of relation it is, as in pg_class.
    pub fn kind(&self) -> u8 {
        // SAFETY: as above.
        unsafe { (*(*self.raw).rd_rel).relkind as u8 }
    }

    /// Its name with its schema, as it is written in SQL.
    pub fn qualified_name(&self) -> String {
        // SAFETY: as above; both functions return C strings in this memory context. The schema is there as long as the
        // relation is.
        unsafe {
            let class = &*(*self.raw).rd_rel;
            let schema = pg_sys::get_namespace_name(class.relnamespace);
            let name = pg_sys::quote_qualified_identifier(schema, class.relname.data.as_ptr());
            CStr::from_ptr(name).to_string_lossy().into_owned()
        }
    }

    /// The arguments of the table's triggers that run `function` for each statement, whatever changes the table, and
    /// whether or not the session applies what is replicated.
    pub fn statement_triggers(&self, function: Oid) -> Vec<Vec<u8>> {
        // SAFETY: as above. An open relation's triggers stay as they are while it is open; an argument is a C string.
        unsafe {
            let Some(triggers) = (*self.raw).trigdesc.as_ref() else { return Vec::new() };
            let triggers = (0..triggers.numtriggers as usize).map(|i| &*triggers.triggers.add(i));
            let wanted = |trigger: &&pg_sys::Trigger| {
                let fires = trigger.tgtype as u32;
                trigger.tgfoid == function
                    && trigger.tgenabled as u8 == b'A'
                    && trigger.tgnargs == 1
                    && fires & pg_sys::TRIGGER_TYPE_ROW == 0
                    && fires & EVERY_CHANGE == EVERY_CHANGE
            };
            triggers.filter(wanted).map(|trigger| CStr::from_ptr(*trigger.tgargs).to_bytes().to_vec()).collect()
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
                pg_sys::index_close(self.raw, self.unlocks);
            } else {
                pg_sys::relation_close(self.raw, self.unlocks);
            }
        }
    }
}
