//! Tables block by block: the sweeper's way through them.
//!
//! Every row starts with its expiry, a bigint-sized NOT NULL column, so it lies right behind the row's header.

use pgrx::{PgMemoryContexts, pg_sys};

use crate::pg::datum::{Tags, Varlena};
use crate::pg::heap::{self, stored_bytes};
use crate::pg::place::Place;
use crate::pg::relation::Relation;
use crate::pg::snapshot::{Snapshot, Visibility};

/// The columns that tell what an entry depends on.
pub const AS_OF: i16 = 8;
pub const TAGS: i16 = 9;

/// By how many bytes a page's free space has to be more than recorded before it is recorded anew.
const WORTH_RECORDING: usize = pg_sys::BLCKSZ as usize / 16;

/// A row version that is live for someone.
pub struct Version<'a> {
    pub place: Place,
    pub expires_at: i64,
    /// Plain: neither compressed nor out of line.
    pub key: &'a [u8],
    /// What the entry depends on, if anything: a time at which it was current, and its tags.
    pub basis: Option<(i64, Tags<'a>)>,
    /// Size in bytes, with what is stored out of line.
    pub bytes: i64,
    /// Inserted by another transaction, which has not committed.
    pub is_arriving: bool,
    /// Being changed or deleted by another transaction, which has not committed.
    pub is_changing: bool,
    /// Written by this transaction.
    pub is_own: bool,
    /// The transaction that wrote it.
    pub writer: u32,
}

impl Version<'_> {
    /// Whether another transaction has a hand on it.
    pub fn is_in_flight(&self) -> bool {
        self.is_arriving || self.is_changing
    }
}

/// The few buffers that this process's walks read blocks into that are not in memory. One ring for all of them: each is too
/// short to use up one of its own.
fn strategy() -> pg_sys::BufferAccessStrategy {
    thread_local! {
        // SAFETY: allocates the ring, for the life of the process; what it holds are numbers of buffers, not pins.
        static STRATEGY: pg_sys::BufferAccessStrategy = unsafe {
            PgMemoryContexts::TopMemoryContext
                .switch_to(|_| pg_sys::GetAccessStrategy(pg_sys::BufferAccessStrategyType::BAS_BULKREAD))
        };
    }
    STRATEGY.with(|strategy| *strategy)
}

/// A walk over some of a table's blocks, which keeps the rest of the buffer cache as it is.
pub struct BlockWalk<'a> {
    table: &'a Relation,
    strategy: pg_sys::BufferAccessStrategy,
    snapshot: Snapshot,
    /// Blocks between which free space has been recorded that inserts do not know of yet.
    recorded: Option<(u32, u32)>,
}

impl<'a> BlockWalk<'a> {
    pub fn new(table: &'a Relation) -> BlockWalk<'a> {
        BlockWalk { table, strategy: strategy(), snapshot: Snapshot::new(Visibility::InFlight), recorded: None }
    }

    /// Shows each version in the block to `judge` and deletes those for which it returns something, except where another
    /// transaction has a hand on them. Returns what it returned for those that have been deleted.
    ///
    /// `judge` runs under the page's lock: it must not call PostgreSQL.
    ///
    /// The page stays pinned from the look to the delete: a version that is pruned away in between would leave its
    /// place to another row.
    pub fn visit<T>(&mut self, block: u32, mut judge: impl FnMut(Version<'_>) -> Option<T>) -> Vec<T> {
        let mut doomed = Vec::new();
        // SAFETY: the block is within the table; the buffer is pinned to the end. After an error the resource owner
        // releases it.
        unsafe {
            let table = self.table.raw();
            let buffer = self.read(block);
            pg_sys::heap_page_prune_opt(table, buffer);
            let free = self.look_at(buffer, block, |tid, version| {
                if let Some(verdict) = judge(version) {
                    doomed.push((tid, verdict));
                }
            });
            doomed.retain(|(tid, _)| heap::delete_unless_busy(self.table, *tid));
            if !doomed.is_empty() {
                ask_for_pruning(buffer);
            }
            // Whoever pruned the page, inserts find its room only once it has been recorded.
            if free > pg_sys::GetRecordedFreeSpace(table, block) + WORTH_RECORDING {
                pg_sys::RecordPageWithFreeSpace(table, block, free);
                let (first, last) = self.recorded.unwrap_or((block, block));
                self.recorded = Some((first.min(block), last.max(block)));
            }
            pg_sys::ReleaseBuffer(buffer);
        }
        doomed.into_iter().map(|(_, verdict)| verdict).collect()
    }

    /// Shows each version in the block, and changes nothing. `show` runs under the page's lock.
    pub fn look(&mut self, block: u32, mut show: impl FnMut(Version<'_>)) {
        // SAFETY: as above.
        unsafe {
            let buffer = self.read(block);
            self.look_at(buffer, block, |_, version| show(version));
            pg_sys::ReleaseBuffer(buffer);
        }
    }

    /// Pins a block.
    ///
    /// # Safety
    /// The block is within the table.
    unsafe fn read(&self, block: u32) -> pg_sys::Buffer {
        let (fork, mode) = (pg_sys::ForkNumber::MAIN_FORKNUM, pg_sys::ReadBufferMode::RBM_NORMAL);
        // SAFETY: per the contract.
        unsafe { pg_sys::ReadBufferExtended(self.table.raw(), fork, block, mode, self.strategy) }
    }

    /// Shows each version in a page under the page's lock, and returns the page's free space.
    ///
    /// # Safety
    /// The buffer is pinned and has this block.
    unsafe fn look_at(
        &mut self,
        buffer: pg_sys::Buffer,
        block: u32,
        mut show: impl FnMut(pg_sys::ItemPointerData, Version<'_>),
    ) -> usize {
        // SAFETY: per the contract; the page is locked while it is read.
        unsafe {
            let (page, descriptor) = (pg_sys::BufferGetPage(buffer), (*self.table.raw()).rd_att);
            pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_SHARE as i32);
            for offset in 1..=pg_sys::PageGetMaxOffsetNumber(page) {
                let item = pg_sys::PageGetItemId(page, offset);
                if (*item).lp_flags() != pg_sys::LP_NORMAL {
                    continue;
                }
                let mut tuple: pg_sys::HeapTupleData = std::mem::zeroed();
                tuple.t_data = pg_sys::PageGetItem(page, item).cast();
                tuple.t_len = (*item).lp_len();
                tuple.t_tableOid = self.table.oid();
                pgrx::itemptr::item_pointer_set_all(&mut tuple.t_self, block, offset);
                if !pg_sys::HeapTupleSatisfiesVisibility(&mut tuple, self.snapshot.as_ptr(), buffer) {
                    continue;
                }
                let version = Version {
                    place: Place { block, offset },
                    expires_at: *first_column(tuple.t_data),
                    key: second_column(tuple.t_data),
                    basis: basis(&mut tuple, descriptor),
                    bytes: stored_bytes(&mut tuple, descriptor),
                    is_arriving: self.snapshot.is_arriving(),
                    is_changing: self.snapshot.is_changing(),
                    is_own: is_own(tuple.t_data),
                    writer: (*tuple.t_data).t_choice.t_heap.t_xmin.into_inner(),
                };
                show(tuple.t_self, version);
            }
            let free = pg_sys::PageGetHeapFreeSpace(page);
            pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_UNLOCK as i32);
            free
        }
    }

    /// Makes the free space that the visits have found known to inserts.
    pub fn publish_free_space(&mut self) {
        if let Some((first, last)) = self.recorded.take() {
            // SAFETY: an open table.
            unsafe { pg_sys::FreeSpaceMapVacuumRange(self.table.raw(), first, last + 1) }
        }
    }
}

/// Has the next visitor of the page prune it, as soon as no transaction can need the deleted rows. Without this a page
/// would wait for VACUUM: PostgreSQL prunes one on the way only if its free space is used up, and here a part of it is
/// kept for overwrites.
///
/// # Safety
/// The buffer is pinned and not locked.
unsafe fn ask_for_pruning(buffer: pg_sys::Buffer) {
    // SAFETY: the flag is a hint, which PostgreSQL too sets under this lock, and clears when it prunes.
    unsafe {
        pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_EXCLUSIVE as i32);
        let page = pg_sys::BufferGetPage(buffer);
        (*page.cast::<pg_sys::PageHeaderData>()).pd_flags |= pg_sys::PD_PAGE_FULL as u16;
        pg_sys::MarkBufferDirtyHint(buffer, true);
        pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_UNLOCK as i32);
    }
}

/// Sets the expiry of the row at `tid` in place, for all transactions at once and whatever becomes of this one. The
/// caller holds a pin on the page.
pub fn overwrite_expiry(table: &Relation, tid: pg_sys::ItemPointerData, expires_at: i64) {
    let (block, offset) = pgrx::itemptr::item_pointer_get_both(tid);
    // SAFETY: the page is locked exclusively; the change is of eight bytes inside a row that the caller's pin keeps in
    // its place. Generic WAL applies it as one step, also for a logged table.
    unsafe {
        let buffer = pg_sys::ReadBuffer(table.raw(), block);
        pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_EXCLUSIVE as i32);
        let state = pg_sys::GenericXLogStart(table.raw());
        let page = pg_sys::GenericXLogRegisterBuffer(state, buffer, 0);
        let item = pg_sys::PageGetItemId(page, offset);
        first_column(pg_sys::PageGetItem(page, item).cast()).write(expires_at);
        pg_sys::GenericXLogFinish(state);
        pg_sys::UnlockReleaseBuffer(buffer);
    }
}

/// # Safety
/// `header` is the header of a row whose first column is an eight-byte NOT NULL one.
unsafe fn first_column(header: pg_sys::HeapTupleHeader) -> *mut i64 {
    // SAFETY: per the contract; the data starts at the header's own offset, which is aligned to eight bytes.
    unsafe { header.cast::<u8>().add((*header).t_hoff as usize).cast() }
}

/// The bytes of a text column behind the first column.
///
/// # Safety
/// As for [`first_column`]; the second column is NOT NULL, and stored plain. The bytes live as long as the page is pinned
/// and the row in it.
unsafe fn second_column<'a>(header: pg_sys::HeapTupleHeader) -> &'a [u8] {
    // SAFETY: per the contract; behind eight bytes a varlena needs no padding, whichever header it has.
    unsafe {
        let varlena = first_column(header).add(1).cast::<pg_sys::varlena>();
        std::slice::from_raw_parts(
            pgrx::varlena::vardata_any(varlena).cast::<u8>(),
            pgrx::varlena::varsize_any_exhdr(varlena),
        )
    }
}

/// What an entry depends on.
///
/// # Safety
/// The tuple is one of a cache's table, whose descriptor this is, in a page that stays pinned while the result is used.
unsafe fn basis<'a>(tuple: &mut pg_sys::HeapTupleData, descriptor: pg_sys::TupleDesc) -> Option<(i64, Tags<'a>)> {
    // SAFETY: per the contract. Rows have a bitmap of NULLs, for all but one of their values are NULL.
    unsafe {
        let columns = u32::from((*tuple.t_data).t_infomask2) & pg_sys::HEAP_NATTS_MASK;
        let bitmap = (*tuple.t_data).t_bits.as_ptr();
        let is_null = |column: i16| {
            let bit = column as usize - 1;
            column as u32 > columns || *bitmap.add(bit / 8) & 1 << (bit % 8) == 0
        };
        if is_null(TAGS) {
            return None;
        }
        let tags = Tags::stored(Varlena::new(pg_sys::nocachegetattr(tuple, i32::from(TAGS), descriptor)));
        let as_of = (!is_null(AS_OF)).then(|| pg_sys::nocachegetattr(tuple, i32::from(AS_OF), descriptor));
        Some((as_of.map_or(i64::MIN, |as_of| as_of.value() as i64), tags))
    }
}

/// Whether the current transaction wrote the version.
///
/// # Safety
/// `header` is the header of a row in a page that is locked.
unsafe fn is_own(header: pg_sys::HeapTupleHeader) -> bool {
    // SAFETY: per the contract; a version that is visible and frozen was not written now.
    unsafe {
        let is_frozen =
            i32::from((*header).t_infomask) & pg_sys::HEAP_XMIN_FROZEN as i32 == pg_sys::HEAP_XMIN_FROZEN as i32;
        !is_frozen && pg_sys::TransactionIdIsCurrentTransactionId((*header).t_choice.t_heap.t_xmin)
    }
}
