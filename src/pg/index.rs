//! Look-ups and walks by key through a btree index on one text column with collation "C".

use pgrx::pg_sys::{self, Datum, Oid};

use crate::pg::datum::Varlena;
use crate::pg::lock::Access;
use crate::pg::place::Place;
use crate::pg::relation::Relation;
use crate::pg::slot::{Row, Slot};
use crate::pg::snapshot::{Snapshot, Visibility};
use crate::pg::unwinding;

/// How many times a look-up that met only dead versions looks again; see [`KeyScan::find`].
const MISS_RETRIES: u32 = 3;

/// Where a walk starts.
#[derive(Clone, Copy)]
pub enum Start<'a> {
    At(&'a [u8]),
    After(&'a [u8]),
}

/// Finds rows of a table, and stands on the one that it found last. Used for many keys one after the other. The index is
/// opened when it is first needed: a row whose place is known is fetched without it.
pub struct KeyScan {
    index: Option<OpenIndex>,
    source: Source,
    place: Option<Place>,
    slot: Slot,
    snapshot: Snapshot,
}

/// Where a scan looks: the table, which the scan's owner keeps open, and its index on the key.
struct Source {
    table: pg_sys::Relation,
    index: Oid,
    access: Access,
}

/// The fields are dropped in this order.
struct OpenIndex {
    scan: IndexScan,
    #[expect(dead_code, reason = "held to be closed after the scan has ended")]
    relation: Relation,
}

struct IndexScan(pg_sys::IndexScanDesc);

impl KeyScan {
    /// The table stays open and locked for longer than the scan lives.
    pub fn new(table: &Relation, index: Oid, access: Access, visibility: Visibility) -> KeyScan {
        let source = Source { table: table.raw(), index, access };
        KeyScan { index: None, source, place: None, slot: Slot::new(table), snapshot: Snapshot::new(visibility) }
    }

    /// The row with this key, if it has a visible version.
    ///
    /// The scan may pass the place of a new version before it is committed and reach the old one after that, and so
    /// see neither. It looks again where it met versions but none visible; a key without any costs nothing more.
    pub fn find(&mut self, key: Varlena<'_>) -> Option<Row<'_>> {
        for _ in 0..=MISS_RETRIES {
            self.seek(pg_sys::BTEqualStrategyNumber, pg_sys::F_TEXTEQ, key.datum());
            match self.step() {
                Step::Row => return Some(self.slot.row()),
                Step::End { met_dead: false } => return None,
                Step::End { met_dead: true } => {}
            }
        }
        None
    }

    /// The row at a place that the index once gave for a key ([`Self::found_at`]), if there is a visible one that `is_it`
    /// recognises. The place may be out of date: what is there is looked at, not believed.
    pub fn fetch(&mut self, place: Place, buffer: i32, is_it: impl FnOnce(Row<'_>) -> bool) -> Option<Row<'_>> {
        let Source { table, access, .. } = self.source;
        if !self.slot.fetch(table, place, buffer, &mut self.snapshot, access == Access::Write) {
            return None;
        }
        if is_it(self.slot.row()) {
            return Some(self.slot.row());
        }
        self.slot.clear();
        None
    }

    /// Where the row is that the scan stands on: the place to which its index entry points, and the buffer.
    pub fn found_at(&self) -> Option<(Place, i32)> {
        self.place.map(|place| (place, self.slot.buffer()))
    }

    /// The buffer that has the page of the row that the scan stands on.
    pub fn buffer(&self) -> i32 {
        self.slot.buffer()
    }

    /// Starts a walk in key order; [`Self::next`] gives the rows.
    pub fn start(&mut self, start: Start<'_>) {
        let (strategy, function, bytes) = match start {
            Start::At(bytes) => (pg_sys::BTGreaterEqualStrategyNumber, pg_sys::F_TEXT_GE, bytes),
            Start::After(bytes) => (pg_sys::BTGreaterStrategyNumber, pg_sys::F_TEXT_GT, bytes),
        };
        // SAFETY: the pointer and length are of one slice; the function copies.
        let bound = unsafe { pg_sys::cstring_to_text_with_len(bytes.as_ptr().cast(), bytes.len() as i32) };
        self.seek(strategy, function, Datum::from(bound));
    }

    /// The next row of a walk.
    pub fn next(&mut self) -> Option<Row<'_>> {
        match self.step() {
            Step::Row => Some(self.slot.row()),
            Step::End { .. } => None,
        }
    }

    /// The row that the scan stands on after `find` or `next` returned one.
    pub fn current(&self) -> Row<'_> {
        self.slot.row()
    }

    /// The row that the scan stands on, if it does.
    pub fn current_if_any(&self) -> Option<Row<'_>> {
        (!self.slot.is_empty()).then(|| self.slot.row())
    }

    /// The transaction in flight that inserted the current row, with its speculative token.
    pub fn inserter_in_flight(&self) -> Option<(pg_sys::TransactionId, u32)> {
        self.snapshot.inserter_in_flight()
    }

    fn scan(&mut self) -> pg_sys::IndexScanDesc {
        let (source, snapshot) = (&self.source, self.snapshot.as_ptr());
        let open = self.index.get_or_insert_with(|| {
            let relation = Relation::open_index(source.index, source.access);
            // SAFETY: both relations are open and locked; the snapshot is boxed and lives as long as the scan.
            let scan = unsafe {
                #[cfg(not(feature = "pg18"))]
                let scan = pg_sys::index_beginscan(source.table, relation.raw(), snapshot, 1, 0);
                #[cfg(feature = "pg18")]
                let scan = pg_sys::index_beginscan(source.table, relation.raw(), snapshot, std::ptr::null_mut(), 1, 0);
                scan
            };
            OpenIndex { scan: IndexScan(scan), relation }
        });
        open.scan.0
    }

    fn seek(&mut self, strategy: u32, function: u32, argument: Datum) {
        self.slot.clear();
        let scan = self.scan();
        // SAFETY: a zeroed scan key is filled by the function; the scan copies it. The argument outlives the walk: it
        // is the caller's, or allocated in the context of the SQL call.
        unsafe {
            let mut key: pg_sys::ScanKeyData = std::mem::zeroed();
            pg_sys::ScanKeyEntryInitialize(
                &mut key,
                0,
                1,
                strategy as u16,
                pg_sys::InvalidOid,
                pg_sys::C_COLLATION_OID,
                pg_sys::Oid::from(function),
                argument,
            );
            pg_sys::index_rescan(scan, &mut key, 1, std::ptr::null_mut(), 0);
        }
    }

    fn step(&mut self) -> Step {
        let scan = self.scan();
        let mut met_dead = false;
        // SAFETY: the scan is positioned, and the slot is of the table's kind.
        unsafe {
            loop {
                pgrx::check_for_interrupts!();
                let tid = pg_sys::index_getnext_tid(scan, pg_sys::ScanDirection::ForwardScanDirection);
                let Some(tid) = tid.as_ref() else {
                    self.slot.clear();
                    return Step::End { met_dead };
                };
                // Taken before the fetch, which moves the scan's copy along the chain of HOT updates.
                self.place = Some(Place::from_tid(*tid));
                if pg_sys::index_fetch_heap(scan, self.slot.raw()) {
                    return Step::Row;
                }
                met_dead = true;
            }
        }
    }
}

enum Step {
    Row,
    End { met_dead: bool },
}

impl Drop for IndexScan {
    fn drop(&mut self) {
        if !unwinding() {
            // SAFETY: begun by `KeyScan::scan`, ended once; the slot's pin goes with the slot.
            unsafe { pg_sys::index_endscan(self.0) }
        }
    }
}
