//! The one way in which entries change: look, decide, write, and again where another transaction was faster.

use crate::error::Result;
use crate::pg::datum::Varlena;
use crate::pg::heap::{self, Outcome, Written};
use crate::pg::snapshot::Visibility;
use crate::shared::{self, CacheSlot, Delta, Usage};
use crate::store::entry::{self, Entry, Moment, Terms, Value};
use crate::store::evict;
use crate::store::table::Table;
use crate::sweeper;
use crate::ttl;

/// What is to become of an entry.
pub enum Change<'a> {
    Keep,
    /// Deletes the entry, if there is one.
    Remove,
    /// Overwrites the entry, or makes one.
    Put {
        value: Value<'a>,
        terms: Terms<'a>,
    },
    /// Gives the entry, which there is, another value. Its tags stay.
    Revalue {
        value: Value<'a>,
        expires_at: i64,
    },
    /// Gives the entry, which there is, another expiry.
    Reschedule {
        expires_at: i64,
    },
}

/// Changes the entry under `key` as `decide` says, which is shown the live entry or `None` and returns the change and
/// the result. It is asked again whenever another transaction has changed the entry meanwhile; a transaction that is
/// changing it and has not ended is waited for.
///
/// Neither the isolation level nor the transaction's snapshot matters: what counts is the newest version. A key that
/// is not there is settled by the unique index.
pub fn modify<'v, R>(
    table: &mut Table,
    key: Varlena<'v>,
    mut decide: impl FnMut(Option<Entry<'_>>) -> Result<(Change<'v>, R)>,
) -> Result<R> {
    loop {
        heap::next_command();
        let (change, result) = if let Some(row) = table.find(key, Visibility::InFlight) {
            let tid = row.tid();
            if let Some(inserter) = table.scan(Visibility::InFlight).inserter_in_flight() {
                table.end_scan();
                heap::wait_for(table.heap(), tid, inserter);
                continue;
            }
            let moment = Moment::now();
            decide(table.current().map(Entry::new).filter(|entry| entry.is_live(&moment)))?
        } else {
            decide(None)?
        };
        let applied = apply(table, key, &change);
        if applied != Outcome::Overtaken {
            note_for_sweeper(table, &change);
            if let Change::Remove = change {
                shared::overtake(table.hash_of(key.bytes()), table.cache().key());
            }
            return Ok(result);
        }
    }
}

/// Writes the change to the row that the scan stands on, or inserts one, and notes what has become of the cache.
fn apply(table: &Table, key: Varlena<'_>, change: &Change<'_>) -> Outcome {
    let row = table.current();
    match (change, row) {
        (Change::Put { value, terms }, _) => put(table, key, *value, terms, 1),
        (Change::Revalue { value, expires_at }, Some(row)) => {
            let Terms { basis, .. } = Entry::new(row).terms();
            put(table, key, *value, &Terms { basis, ..Terms::until(*expires_at) }, 1)
        }
        (Change::Reschedule { expires_at }, Some(row)) => {
            let entry = Entry::new(row);
            put(table, key, entry.value(), &Terms { expires_at: *expires_at, ..entry.terms() }, 0)
        }
        (Change::Remove, Some(row)) => {
            let outcome = heap::delete(table.heap(), row.tid());
            if outcome == Outcome::Done {
                let removed = Delta::removed(Usage::of_entry(row.stored_bytes()));
                table.cache().note(Delta { deletes: 1, ..removed });
            }
            outcome
        }
        (Change::Keep | Change::Remove | Change::Revalue { .. } | Change::Reschedule { .. }, _) => Outcome::Done,
    }
}

fn put(table: &Table, key: Varlena<'_>, value: Value<'_>, terms: &Terms<'_>, sets: u64) -> Outcome {
    let row = table.current();
    let cells = entry::cells(key, value, terms);
    let (written, old_bytes) = match row {
        Some(row) => {
            let old_bytes = row.stored_bytes();
            (heap::update(table.heap(), || table.indexes(), row.tid(), key, &cells), Some(old_bytes))
        }
        None => (heap::insert(table.heap(), table.indexes(), key, &cells), None),
    };
    let Written::Done { bytes, place } = written else { return Outcome::Overtaken };
    if let Some(place) = place {
        table.note_place(place);
    }
    match (old_bytes, place) {
        (None, Some(place)) => table.admit(place),
        _ => table.mark_used(),
    }
    table.cache().note(Delta { sets, ..Delta::written(old_bytes, bytes, place.is_some()) });
    evict::keep_within_budget(table.cache());
    Outcome::Done
}

/// Tells the sweeper of the database when it has something to do, and sees to it that there is one.
fn note_for_sweeper(table: &Table, change: &Change<'_>) {
    let (expires_at, has_tags) = match change {
        Change::Put { terms, .. } => (terms.expires_at, Some(terms.basis.is_some())),
        // The tags stay as they are.
        Change::Revalue { expires_at, .. } | Change::Reschedule { expires_at } => (*expires_at, None),
        Change::Keep | Change::Remove => return,
    };
    let slot = table.cache().slot();
    let has_tags = slot.is_some_and(|slot| has_tags.unwrap_or_else(|| slot.tagged_writes() > 0));
    if let Some(slot) = slot.filter(|_| has_tags) {
        slot.note_tagged_write();
    }
    if expires_at != ttl::NEVER {
        if let Some(slot) = slot {
            slot.note_expiry(expires_at);
        }
        sweeper::ensure_running();
    } else if has_tags || table.cache().budget.is_limited() && slot.is_none_or(CacheSlot::is_to_be_counted) {
        // How much there is in the cache has to be counted, which a sweeper does.
        sweeper::ensure_running();
    }
}
