//! What the transaction has changed, for entries with tags to be invalid: for itself at once, for others at its commit.
//!
//! An entry holds a time at which its value was certainly current. It is live as long as that time is after the last
//! invalidation of each of its tags. The cells of the tags are written after the transaction has become visible to others
//! and before its client is told, so whoever has been told of the commit reads nothing older.

use std::cell::RefCell;
use std::sync::atomic::{AtomicI64, Ordering};

use super::hybrid_clock::HybridClock;
use super::tags::{CellSet, TagCell, TagTimes};
use crate::error::Error;
use crate::pg::lookup::current_database;
use crate::pg::{clock, snapshot, xact};

/// What one level of nesting has changed.
struct Note {
    /// Nesting level of the (sub)transaction: 1 for the transaction itself.
    level: i32,
    cells: CellSet,
    /// Everything that has a tag.
    all: bool,
}

/// Notes of the transaction and its subtransactions, the innermost last. What ends them allocates nothing.
#[derive(Default)]
struct Notes(Vec<Note>);

impl Notes {
    fn at(&mut self, level: i32) -> &mut Note {
        self.merge();
        if self.0.last().is_none_or(|note| note.level < level) {
            self.0.push(Note { level, cells: CellSet::default(), all: false });
        }
        self.0.last_mut().expect("pushed if there was none")
    }

    /// Puts together the notes of subtransactions that have become part of the one around them.
    fn merge(&mut self) {
        while let [.., outer, inner] = &mut self.0[..]
            && outer.level == inner.level
        {
            outer.cells.absorb(&inner.cells);
            outer.all |= inner.all;
            self.0.pop();
        }
    }

    fn contains(&self, cell: TagCell) -> bool {
        self.0.iter().any(|note| note.all || note.cells.contains(cell))
    }

    /// A subtransaction has become part of the one around it.
    fn commit_level(&mut self, level: i32) {
        let ended = self.0.iter_mut().rev().take_while(|note| level > 1 && note.level == level);
        ended.for_each(|note| note.level -= 1);
    }

    /// A subtransaction has been rolled back.
    fn abort_level(&mut self, level: i32) {
        self.0.retain(|note| note.level < level);
    }
}

thread_local! {
    static NOTES: RefCell<Notes> = RefCell::default();
}

/// The transaction has changed what entries with this tag have been made of.
pub fn note_tag(tag: &[u8]) {
    note(|note| note.cells.insert(TagCell::of(current_database(), tag)));
}

/// The transaction has changed what entries may have been made of whose tags are not known one by one: all in this
/// database that have tags.
pub fn note_all() {
    note(|note| note.all = true);
}

fn note(add: impl FnOnce(&mut Note)) {
    // What the commit will need is made now: it can neither allocate nor fail.
    if super::control().is_none() {
        Error::CannotInvalidate.raise();
    }
    super::database_slot();
    super::arena();
    super::tell_at_end();
    xact::before_prepare(refuse_to_prepare);
    NOTES.with_borrow_mut(|notes| add(notes.at(xact::nesting_level())));
}

/// The invalidations of a prepared transaction would have to outlive the session, and the server.
fn refuse_to_prepare() {
    if !NOTES.with_borrow(|notes| notes.0.is_empty()) {
        pgrx::ereport!(
            pgrx::PgLogLevel::ERROR,
            pgrx::PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            "cannot PREPARE a transaction that has invalidated cache entries",
            "It has changed a watched table, or called cache.invalidate()."
        );
    }
}

/// Called at the end of a transaction or subtransaction: allocates nothing and cannot fail.
pub(super) fn on_end(end: xact::End) {
    NOTES.with(|notes| {
        let Ok(mut notes) = notes.try_borrow_mut() else { return };
        match end {
            xact::End::Commit => {
                notes.0.iter().for_each(publish);
                notes.0.clear();
            }
            xact::End::Committing => {}
            xact::End::Abort => notes.0.clear(),
            xact::End::SubCommit(level) => notes.commit_level(level),
            xact::End::SubAbort(level) => notes.abort_level(level),
        }
    });
}

/// Tells others. Where a note has no place in shared memory, everything is invalidated instead.
fn publish(note: &Note) {
    let Some(Some(control)) = super::CONTROL.with(|control| control.get().copied()) else { return };
    let database = super::database_slot_if_known();
    let cells = super::ARENA.get().map(|arena| arena.tags);
    let time = control.clock.tick(clock::now());
    match (database, cells) {
        (Some(database), Some(cells)) => {
            note.cells.for_each(|cell| cells.invalidate(cell, time));
            if note.all {
                database.floor.fetch_max(time, Ordering::AcqRel);
            }
        }
        _ => control.clock.invalidate_all(clock::now()),
    }
    if let Some(database) = database {
        database.invalidations.fetch_add(1, Ordering::AcqRel);
    }
}

/// What says whether entries with tags are current, looked up once for many of them.
#[derive(Clone, Copy)]
pub struct Invalidations(Option<Known>);

#[derive(Clone, Copy)]
struct Known {
    clock: &'static HybridClock,
    floor: &'static AtomicI64,
    cells: TagTimes,
    first_writer: u32,
}

impl Known {
    fn new() -> Option<Known> {
        let (control, arena, database) = (super::control()?, super::arena()?, super::database_slot()?);
        if control.is_from_recovery.load(Ordering::Acquire) != 0 {
            // What the primary invalidates is not told here.
            if xact::in_recovery() {
                return None;
            }
            control.begin_history(control.clock.tick(clock::now()));
            control.is_from_recovery.store(0, Ordering::Release);
        }
        let first_writer = control.first_writer.load(Ordering::Acquire) as u32;
        Some(Known { clock: &control.clock, floor: &database.floor, cells: arena.tags, first_writer })
    }
}

impl Invalidations {
    pub fn known() -> Invalidations {
        Invalidations(Known::new())
    }

    /// Whether what this transaction has written may be believed: not if that was before anybody kept account of
    /// invalidations, in another life of the server. Times do not tell, because a wall clock may have been set back since.
    pub fn know(&self, writer: u32) -> bool {
        self.0.is_some_and(|known| !xact::precedes(writer, known.first_writer))
    }

    /// Whether a value that was current at this time, and depends on these tags, still is. Where nobody can know, it is not.
    pub fn spare<'t>(&self, as_of: i64, mut tags: impl Iterator<Item = &'t [u8]>) -> bool {
        let Some(Known { clock, floor, cells, .. }) = self.0 else { return false };
        let is_after = |time: i64| as_of > time;
        is_after(clock.floor())
            && is_after(floor.load(Ordering::Acquire))
            && NOTES.with_borrow(|notes| {
                tags.all(|tag| {
                    let cell = TagCell::of(current_database(), tag);
                    is_after(cells.last_invalidation(cell)) && !notes.contains(cell)
                })
            })
    }
}

/// The time of a value that is read after this call, in a snapshot taken after it: later than all that have been told.
/// `None` where there is no shared memory.
pub fn as_of_now() -> Option<i64> {
    super::control().map(|control| control.clock.tick(clock::now()))
}

/// The time of a value that was read in this transaction, whenever that was. `None` where there is no shared memory, or
/// where the wall clock has been set back since the transaction started.
pub fn as_of_start() -> Option<i64> {
    super::control()?.clock.dated_back(xact::started_at(), clock::now)
}

/// The time of a value that is read after this call. That may be in a snapshot that has been taken before it: the
/// transaction's, or, in a cursor or a function that is not volatile, that of a statement whose start is not known.
pub fn current_as_of() -> Option<i64> {
    let now = as_of_now();
    let comes_first = snapshot::is_ours_alone() ||
        // Asked after the time was taken: whatever is committed from now on is invalidated at a later one.
        snapshot::is_current();
    if !xact::keeps_one_snapshot() && comes_first { now } else { as_of_start() }
}

/// The time of what is read in the transaction's next snapshot, taken after this call.
pub fn as_of_next_snapshot() -> Option<i64> {
    if xact::keeps_one_snapshot() { as_of_start() } else { as_of_now() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgrx::pg_sys::Oid;

    fn cell(tag: &str) -> TagCell {
        TagCell::of(Oid::from(5), tag.as_bytes())
    }

    #[test]
    fn levels_are_kept_apart_until_they_end() {
        let mut notes = Notes::default();
        notes.at(1).cells.insert(cell("one"));
        notes.at(3).cells.insert(cell("three"));
        notes.commit_level(3);
        assert_eq!(notes.0.iter().map(|note| note.level).collect::<Vec<_>>(), [1, 2]);
        notes.at(3).cells.insert(cell("four"));
        notes.commit_level(3);
        notes.at(3).cells.insert(cell("rolled back"));
        assert!(notes.contains(cell("rolled back")));
        notes.abort_level(3);
        assert!(!notes.contains(cell("rolled back")));
        notes.commit_level(2);
        assert!(notes.contains(cell("one")) && notes.contains(cell("three")));
        notes.abort_level(2);
        assert!(notes.contains(cell("four")), "it was part of the outermost by then");
        notes.at(1);
        assert_eq!(notes.0.len(), 1);
        assert!(notes.contains(cell("one")) && notes.contains(cell("three")));
        notes.at(2).all = true;
        notes.commit_level(2);
        assert!(notes.contains(cell("anything")));
    }
}
