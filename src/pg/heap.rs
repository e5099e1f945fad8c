//! Changes to rows: heap and indexes, without planner and executor.

use pgrx::pg_sys::{self, Datum, ItemPointerData};

use crate::pg::datum::Varlena;
use crate::pg::place::Place;
use crate::pg::relation::Relation;

/// Largest row that PostgreSQL can form (its MaxAllocSize), with room for the row's header.
pub const MAX_ROW_BYTES: usize = 0x3fff_ffff - 1024;

/// A column's new value.
#[derive(Clone, Copy)]
pub enum Cell<'a> {
    Null,
    Int64(i64),
    Varlena(Varlena<'a>),
}

/// What became of a change to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// Another transaction got there first; the caller looks again.
    Overtaken,
}

/// What became of a row that was to be written.
#[derive(Clone, Copy, Debug)]
pub enum Written {
    Done {
        /// Size in bytes, with what is stored out of line.
        bytes: i64,
        /// The row's place, where it is a new one.
        place: Option<Place>,
    },
    /// Another transaction got there first; the caller looks again.
    Overtaken,
}

/// Makes what the transaction has written so far visible to its own next look-up, as between two statements. Does
/// nothing where nothing has been written.
pub fn next_command() {
    // SAFETY: functions that write are parallel unsafe, so no parallel operation is going on.
    unsafe { pg_sys::CommandCounterIncrement() }
}

/// The columns of a cache's table that may be stored out of line, counted from zero.
const OUT_OF_LINE_COLUMNS: std::ops::Range<usize> = 2..5;
/// A row that is formed no larger than this is stored as it is.
const STORED_AS_FORMED: u32 = 2000;

/// Size of a row in bytes, with what is stored out of line.
///
/// # Safety
/// The tuple is one of a cache's table, whose descriptor this is, and stays in its place.
pub(in crate::pg) unsafe fn stored_bytes(tuple: pg_sys::HeapTuple, descriptor: pg_sys::TupleDesc) -> i64 {
    // SAFETY: per the contract. Where a value is out of line its size is in what the row has in its place.
    unsafe {
        let in_page = i64::from((*tuple).t_len);
        if u32::from((*(*tuple).t_data).t_infomask) & pg_sys::HEAP_HASEXTERNAL == 0 {
            return in_page;
        }
        let columns = (*descriptor).natts as usize;
        let (mut values, mut nulls) = (vec![Datum::null(); columns], vec![true; columns]);
        pg_sys::heap_deform_tuple(tuple, descriptor, values.as_mut_ptr(), nulls.as_mut_ptr());
        let present = OUT_OF_LINE_COLUMNS.filter(|column| !nulls[*column]).map(|column| values[column]);
        let is_out_of_line = |value: &Datum| pgrx::varlena::varatt_is_1b_e(value.cast_mut_ptr());
        in_page + present.filter(is_out_of_line).map(|value| pg_sys::toast_datum_size(value) as i64).sum::<i64>()
    }
}

/// The same of the row at `tid`, which this transaction has just written.
fn stored_bytes_at(table: &Relation, tid: ItemPointerData) -> i64 {
    let (block, offset) = pgrx::itemptr::item_pointer_get_both(tid);
    // SAFETY: the row is there, and its page is pinned and locked while it is looked at.
    unsafe {
        let buffer = pg_sys::ReadBuffer(table.raw(), block);
        pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_SHARE as i32);
        let page = pg_sys::BufferGetPage(buffer);
        let item = pg_sys::PageGetItemId(page, offset);
        let mut tuple: pg_sys::HeapTupleData = std::mem::zeroed();
        tuple.t_data = pg_sys::PageGetItem(page, item).cast();
        tuple.t_len = (*item).lp_len();
        let bytes = stored_bytes(&mut tuple, (*table.raw()).rd_att);
        pg_sys::UnlockReleaseBuffer(buffer);
        bytes
    }
}

/// A tuple in memory, formed for a table.
struct Tuple(pg_sys::HeapTuple);

impl Tuple {
    /// Columns from the first on; those that are not given are NULL.
    fn form(table: &Relation, cells: &[Cell<'_>]) -> Tuple {
        // SAFETY: the arrays have the descriptor's length.
        unsafe {
            let descriptor = (*table.raw()).rd_att;
            let columns = (*descriptor).natts as usize;
            let mut values = vec![Datum::null(); columns];
            let mut nulls = vec![true; columns];
            for (i, cell) in cells.iter().enumerate() {
                (values[i], nulls[i]) = match cell {
                    Cell::Null => continue,
                    Cell::Int64(int) => (Datum::from(*int), false),
                    Cell::Varlena(varlena) => (varlena.datum(), false),
                };
            }
            Tuple(pg_sys::heap_form_tuple(descriptor, values.as_mut_ptr(), nulls.as_mut_ptr()))
        }
    }

    /// Size of the row in the table, in bytes, once it has been written.
    fn stored_bytes(&self, table: &Relation) -> i64 {
        // SAFETY: the tuple was formed by `form`.
        let formed = unsafe { (*self.0).t_len };
        if formed <= STORED_AS_FORMED { i64::from(formed) } else { stored_bytes_at(table, self.tid()) }
    }

    fn tid(&self) -> ItemPointerData {
        // SAFETY: the tuple was formed above; the heap sets its place.
        unsafe { (*self.0).t_self }
    }

    fn free(self) {
        // SAFETY: formed above, freed once. After an error its memory context frees it.
        unsafe { pg_sys::heap_freetuple(self.0) }
    }
}

/// Replaces the row at `tid`, waiting for a transaction that is changing it. The caller holds a pin on its page.
///
/// Where the new version needs index entries of its own because it found no room next to the old one, `indexes` gives
/// the indexes, and its place is returned.
pub fn update<'t>(
    table: &Relation,
    indexes: impl FnOnce() -> &'t [Relation],
    mut tid: ItemPointerData,
    key: Varlena<'_>,
    cells: &[Cell<'_>],
) -> Written {
    let tuple = Tuple::form(table, cells);
    // SAFETY: an open table locked for writing; the out parameters outlive the call.
    let (result, is_heap_only) = unsafe {
        let mut failure: pg_sys::TM_FailureData = std::mem::zeroed();
        let mut lock_mode = pg_sys::LockTupleMode::LockTupleNoKeyExclusive;
        #[cfg(any(feature = "pg14", feature = "pg15"))]
        let result = pg_sys::heap_update(
            table.raw(),
            &mut tid,
            tuple.0,
            pg_sys::GetCurrentCommandId(true),
            std::ptr::null_mut(),
            true,
            &mut failure,
            &mut lock_mode,
        );
        #[cfg(not(any(feature = "pg14", feature = "pg15")))]
        let mut unused = pg_sys::TU_UpdateIndexes::TU_None;
        #[cfg(not(any(feature = "pg14", feature = "pg15")))]
        let result = pg_sys::heap_update(
            table.raw(),
            &mut tid,
            tuple.0,
            pg_sys::GetCurrentCommandId(true),
            std::ptr::null_mut(),
            true,
            &mut failure,
            &mut lock_mode,
            &mut unused,
        );
        (result, u32::from((*(*tuple.0).t_data).t_infomask2) & pg_sys::HEAP_ONLY_TUPLE != 0)
    };
    let written = if outcome(result) == Outcome::Overtaken {
        Written::Overtaken
    } else {
        if !is_heap_only {
            for index in indexes() {
                insert_into_index(table, index, tuple.tid(), key, pg_sys::IndexUniqueCheck::UNIQUE_CHECK_YES, true);
            }
        }
        let place = (!is_heap_only).then(|| Place::from_tid(tuple.tid()));
        Written::Done { bytes: tuple.stored_bytes(table), place }
    };
    tuple.free();
    written
}

/// Inserts a row whose key the caller has not found. `Overtaken` where another transaction has
/// inserted it meanwhile.
///
/// Method: PostgreSQL's speculative insertion, as INSERT … ON CONFLICT uses it: the row goes in marked with a token,
/// the unique index says whether the key was free, and the row is then confirmed or taken back.
pub fn insert(table: &Relation, indexes: &[Relation], key: Varlena<'_>, cells: &[Cell<'_>]) -> Written {
    let tuple = Tuple::form(table, cells);
    // SAFETY: an open table locked for writing. The token's lock is PostgreSQL's own and goes with the transaction on
    // error; a speculative row of an aborted transaction is dead like any other.
    let is_unique = unsafe {
        let xid = pg_sys::GetCurrentTransactionId();
        let token = pg_sys::SpeculativeInsertionLockAcquire(xid);
        set_speculative_token(&tuple, token);
        pg_sys::heap_insert(
            table.raw(),
            tuple.0,
            pg_sys::GetCurrentCommandId(true),
            pg_sys::HEAP_INSERT_SPECULATIVE as i32,
            std::ptr::null_mut(),
        );
        let mut is_unique = true;
        for index in indexes {
            let check = pg_sys::IndexUniqueCheck::UNIQUE_CHECK_PARTIAL;
            is_unique &= insert_into_index(table, index, tuple.tid(), key, check, false);
        }
        if is_unique {
            pg_sys::heap_finish_speculative(table.raw(), &mut tuple.tid());
        } else {
            pg_sys::heap_abort_speculative(table.raw(), &mut tuple.tid());
        }
        pg_sys::SpeculativeInsertionLockRelease(xid);
        is_unique
    };
    let written = if is_unique {
        Written::Done { bytes: tuple.stored_bytes(table), place: Some(Place::from_tid(tuple.tid())) }
    } else {
        Written::Overtaken
    };
    tuple.free();
    written
}

/// Deletes the row at `tid`, waiting for a transaction that is changing it. The caller holds a pin on its page.
pub fn delete(table: &Relation, tid: ItemPointerData) -> Outcome {
    outcome(heap_delete(table, tid, true))
}

/// Deletes the row at `tid` unless another transaction has a hand on it. The caller holds a pin on its page.
pub fn delete_unless_busy(table: &Relation, tid: ItemPointerData) -> bool {
    heap_delete(table, tid, false) == pg_sys::TM_Result::TM_Ok
}

fn heap_delete(table: &Relation, mut tid: ItemPointerData, wait: bool) -> pg_sys::TM_Result::Type {
    // SAFETY: an open table locked for writing; the out parameter outlives the call.
    unsafe {
        let mut failure: pg_sys::TM_FailureData = std::mem::zeroed();
        let command = pg_sys::GetCurrentCommandId(true);
        pg_sys::heap_delete(table.raw(), &mut tid, command, std::ptr::null_mut(), wait, &mut failure, false)
    }
}

fn outcome(result: pg_sys::TM_Result::Type) -> Outcome {
    match result {
        pg_sys::TM_Result::TM_Ok => Outcome::Done,
        _ => Outcome::Overtaken,
    }
}

fn insert_into_index(
    table: &Relation,
    index: &Relation,
    mut tid: ItemPointerData,
    key: Varlena<'_>,
    check: pg_sys::IndexUniqueCheck::Type,
    key_unchanged: bool,
) -> bool {
    let (mut values, mut nulls) = ([key.datum()], [false]);
    // SAFETY: a btree on the key alone, which the caller has checked; btree does not look at the IndexInfo.
    unsafe {
        pg_sys::index_insert(
            index.raw(),
            values.as_mut_ptr(),
            nulls.as_mut_ptr(),
            &mut tid,
            table.raw(),
            check,
            key_unchanged,
            std::ptr::null_mut(),
        )
    }
}

/// Writes the token where a row's own place will stand later, with the offset that marks it as a token.
///
/// # Safety
/// The tuple is not in a page yet.
unsafe fn set_speculative_token(tuple: &Tuple, token: u32) {
    const SPECULATIVE_OFFSET: u16 = 0xfffe;
    // SAFETY: per the contract.
    unsafe { pgrx::itemptr::item_pointer_set_all(&mut (*(*tuple.0).t_data).t_ctid, token, SPECULATIVE_OFFSET) }
}

/// Waits until a transaction, or just its speculative insertion, has ended.
pub fn wait_for(table: &Relation, mut tid: ItemPointerData, (xid, token): (pg_sys::TransactionId, u32)) {
    // SAFETY: holds no lock that the other could be waiting for out of order; deadlocks are detected.
    unsafe {
        if token != 0 {
            pg_sys::SpeculativeInsertionWait(xid, token);
        } else {
            pg_sys::XactLockTableWait(xid, table.raw(), &mut tid, pg_sys::XLTW_Oper::XLTW_InsertIndex);
        }
    }
}
