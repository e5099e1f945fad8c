//! A row as it lies in its page.

use std::marker::PhantomData;

use pgrx::pg_sys::{self, Datum};

use crate::pg::datum::{Interval, Varlena};
use crate::pg::heap::stored_bytes;
use crate::pg::place::Place;
use crate::pg::relation::Relation;
use crate::pg::snapshot::Snapshot;
use crate::pg::unwinding;
use crate::ttl::Ttl;

/// Holds one row of a table, with its page pinned: while it is held, nothing prunes the row away.
pub(in crate::pg) struct Slot(*mut pg_sys::TupleTableSlot);

impl Slot {
    pub fn new(table: &Relation) -> Slot {
        // SAFETY: an open table; the slot belongs to no tuple table and is dropped below.
        Slot(unsafe { pg_sys::table_slot_create(table.raw(), std::ptr::null_mut()) })
    }

    pub fn raw(&self) -> *mut pg_sys::TupleTableSlot {
        self.0
    }

    /// Takes up the visible version of the row whose first version has, or had, this place: the end of a chain of HOT
    /// updates. `false`, and empty, where there is none.
    ///
    /// A writer prunes the page first, as a fetch through the index does for everybody: that is what makes room for HOT
    /// updates. A reader leaves it to the writers.
    ///
    /// `recent` is the buffer that may still have the page, which then is found without a search.
    pub fn fetch(
        &mut self,
        table: pg_sys::Relation,
        place: Place,
        recent: i32,
        snapshot: &mut Snapshot,
        is_writer: bool,
    ) -> bool {
        self.clear();
        let mut tid = place.to_tid();
        // SAFETY: the table is open, and the block is within it. The page is locked for the look at visibility; the pin
        // passes to the slot, or is given back.
        unsafe {
            let Some(buffer) = read_block(table, place.block, recent) else { return false };
            if is_writer {
                pg_sys::heap_page_prune_opt(table, buffer);
            }
            let tuple = &raw mut (*self.0.cast::<pg_sys::BufferHeapTupleTableSlot>()).base.tupdata;
            pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_SHARE as i32);
            let snapshot = snapshot.as_ptr();
            let found =
                pg_sys::heap_hot_search_buffer(&mut tid, table, buffer, snapshot, tuple, std::ptr::null_mut(), true);
            pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_UNLOCK as i32);
            if found {
                (*tuple).t_tableOid = (*table).rd_id;
                pg_sys::ExecStorePinnedBufferHeapTuple(tuple, self.0, buffer);
                (*self.0).tts_tableOid = (*table).rd_id;
            } else {
                pg_sys::ReleaseBuffer(buffer);
            }
            found
        }
    }

    /// Unpins the page.
    pub fn clear(&mut self) {
        // SAFETY: every slot has its operations; clearing an empty one does nothing.
        unsafe { (*(*self.0).tts_ops).clear.expect("every slot can be cleared")(self.0) }
    }

    /// The buffer that has the page of the row that the slot holds.
    pub fn buffer(&self) -> i32 {
        // SAFETY: a slot of this kind, which `new` makes for a heap.
        unsafe { (*self.0.cast::<pg_sys::BufferHeapTupleTableSlot>()).buffer }
    }

    pub fn is_empty(&self) -> bool {
        // SAFETY: made by `new`.
        u32::from(unsafe { (*self.0).tts_flags }) & pg_sys::TTS_FLAG_EMPTY != 0
    }

    pub fn row(&self) -> Row<'_> {
        Row { slot: self.0, slot_lifetime: PhantomData }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if !unwinding() {
            // SAFETY: made by `new`, dropped once.
            unsafe { pg_sys::ExecDropSingleTupleTableSlot(self.0) }
        }
    }
}

/// Pins a block of a table: in the buffer that may still have it, else by PostgreSQL's search. `None` where the table has
/// no such block; the caller's lock keeps it from being truncated between the two.
///
/// # Safety
/// The table is open and locked.
unsafe fn read_block(table: pg_sys::Relation, block: u32, recent: i32) -> Option<pg_sys::Buffer> {
    let fork = pg_sys::ForkNumber::MAIN_FORKNUM;
    // SAFETY: per the contract. The recent buffer is checked to have exactly this block before it is pinned.
    unsafe {
        #[cfg(any(feature = "pg14", feature = "pg15"))]
        let file = (*table).rd_node;
        #[cfg(not(any(feature = "pg14", feature = "pg15")))]
        let file = (*table).rd_locator;
        if (1..=pg_sys::NBuffers).contains(&recent) && pg_sys::ReadRecentBuffer(file, fork, block, recent) {
            return Some(recent);
        }
        (block < pg_sys::RelationGetNumberOfBlocksInFork(table, fork)).then(|| pg_sys::ReadBuffer(table, block))
    }
}

/// A view of the row that a slot holds.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    slot: *mut pg_sys::TupleTableSlot,
    slot_lifetime: PhantomData<&'a Slot>,
}

impl<'a> Row<'a> {
    /// A view of the row in a slot that is not ours.
    ///
    /// # Safety
    /// The slot holds a row for as long as the view is used.
    pub(in crate::pg) unsafe fn borrowed(slot: *mut pg_sys::TupleTableSlot) -> Row<'a> {
        Row { slot, slot_lifetime: PhantomData }
    }

    /// Column `number` (from 1) as a datum; `None` for NULL.
    pub(in crate::pg) fn datum(self, number: i16) -> Option<Datum> {
        // SAFETY: the slot holds a row, and the caller asks for columns that the table has.
        unsafe {
            if (*self.slot).tts_nvalid < number {
                pg_sys::slot_getsomeattrs_int(self.slot, i32::from(number));
            }
            let index = number as usize - 1;
            (!*(*self.slot).tts_isnull.add(index)).then(|| *(*self.slot).tts_values.add(index))
        }
    }

    /// A bigint or timestamptz column.
    pub fn int64(self, number: i16) -> Option<i64> {
        self.datum(number).map(|datum| datum.value() as i64)
    }

    /// A boolean column.
    pub fn boolean(self, number: i16) -> Option<bool> {
        self.datum(number).map(|datum| datum.value() & 0xff != 0)
    }

    /// An interval column.
    pub fn interval(self, number: i16) -> Option<Ttl> {
        // SAFETY: the column is an interval.
        self.datum(number).map(|datum| unsafe { Interval::from_raw(datum) }.ttl())
    }

    /// A column of a variable-length type, borrowed from the page.
    pub fn varlena(self, number: i16) -> Option<Varlena<'a>> {
        // SAFETY: the column is of such a type, and the page stays pinned while the slot is borrowed.
        self.datum(number).map(|datum| unsafe { Varlena::new(datum) })
    }

    /// The transaction that wrote this version of the row.
    pub fn writer(self) -> u32 {
        // SAFETY: a slot of this kind, which `Slot::new` makes for a heap, holding a row of a pinned page.
        unsafe {
            let tuple = (*self.slot.cast::<pg_sys::BufferHeapTupleTableSlot>()).base.tuple;
            (*(*tuple).t_data).t_choice.t_heap.t_xmin.into_inner()
        }
    }

    /// The row's place in its table.
    pub fn tid(self) -> pg_sys::ItemPointerData {
        // SAFETY: the slot holds a row.
        unsafe { (*self.slot).tts_tid }
    }

    /// Size of the row in bytes, with what is stored out of line.
    pub fn stored_bytes(self) -> i64 {
        // SAFETY: a slot of this kind, which `Slot::new` makes for a heap, holding a row of a pinned page.
        unsafe {
            let tuple = (*self.slot.cast::<pg_sys::BufferHeapTupleTableSlot>()).base.tuple;
            stored_bytes(tuple, (*self.slot).tts_tupleDescriptor)
        }
    }
}
