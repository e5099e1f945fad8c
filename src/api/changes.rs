//! The triggers on watched tables: they note which tags a change concerns. `sql/watch.sql` makes them.

use std::cell::RefCell;
use std::collections::HashMap;

use pgrx::heap_tuple::PgHeapTuple;
use pgrx::pg_sys::Oid;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{AllocatedByPostgres, PgTrigger, PgTriggerError, pg_extern, pg_trigger};

use crate::error::Error;
use crate::pg::slot::Row;
use crate::pg::trigger::{self, Column};
use crate::pg::xact;
use crate::shared;
use crate::tag_pattern::{self, Part};

/// What a trigger after the change returns: nothing.
type Nothing<'a> = Result<Option<PgHeapTuple<'a, AllocatedByPostgres>>, PgTriggerError>;

/// Trigger for each statement: the tag that is its argument is invalid.
#[pg_trigger]
fn note_change<'a>(trigger: &'a PgTrigger<'a>) -> Nothing<'a> {
    shared::note_tag(trigger::argument(trigger));
    Ok(None)
}

/// Trigger for each row: the tags are invalid that its argument stands for with the values that the row had, and has.
/// A NULL in one of its columns makes no tag.
///
/// Error: 42703 the table has no such column any more.
#[pg_trigger]
fn note_row_change<'a>(trigger: &'a PgTrigger<'a>) -> Nothing<'a> {
    let pattern = trigger::argument(trigger);
    PATTERNS.with_borrow_mut(|patterns| {
        let compiled = patterns.entry(trigger::oid(trigger)).or_insert_with(|| Pattern::compile(trigger, pattern));
        if !compiled.is_valid(trigger, pattern) {
            *compiled = Pattern::compile(trigger, pattern);
        }
        trigger::rows(trigger).for_each(|row| compiled.note(row));
    });
    Ok(None)
}

/// Trigger for each TRUNCATE of a table that is watched row by row: nobody knows which rows there were, so everything in
/// the database that has a tag is invalid.
#[pg_trigger]
fn note_truncate<'a>(_trigger: &'a PgTrigger<'a>) -> Nothing<'a> {
    shared::note_all();
    Ok(None)
}

/// Makes everything in this database that has a tag invalid, as [`invalidate`](super::invalidate) does for one tag. Called
/// where a watched table has changed in a way of which no trigger is told.
///
/// Error: 25006 on a standby.
#[pg_extern]
fn invalidate_all() -> Result<(), ErrorReport> {
    if xact::in_recovery() {
        return Err(Error::WriteInRecovery.into());
    }
    shared::note_all();
    Ok(())
}

thread_local! {
    /// Of the triggers that this session has run, by their OIDs.
    static PATTERNS: RefCell<HashMap<Oid, Pattern>> = RefCell::default();
}

/// A trigger's argument, ready for use.
struct Pattern {
    argument: Vec<u8>,
    pieces: Vec<Piece>,
    /// The tag of the row at hand.
    tag: Vec<u8>,
}

enum Piece {
    Literal(Vec<u8>),
    Column(Column),
}

impl Pattern {
    fn compile(trigger: &PgTrigger<'_>, argument: &[u8]) -> Pattern {
        let piece = |part| match part {
            Part::Literal(text) => Piece::Literal(text),
            Part::Column(name) => match Column::find(trigger, &name) {
                Some(column) => Piece::Column(column),
                None => Error::NoSuchColumn(String::from_utf8_lossy(&name).into_owned()).raise(),
            },
        };
        let pieces = tag_pattern::parse(argument).into_iter().map(piece).collect();
        Pattern { argument: argument.to_vec(), pieces, tag: Vec::new() }
    }

    fn is_valid(&self, trigger: &PgTrigger<'_>, argument: &[u8]) -> bool {
        let is_valid = |piece: &Piece| {
            matches!(piece, Piece::Literal(_)) || matches!(piece, Piece::Column(column) if column.is_valid(trigger))
        };
        self.argument == argument && self.pieces.iter().all(is_valid)
    }

    fn note(&mut self, row: Row<'_>) {
        self.tag.clear();
        for piece in &mut self.pieces {
            match piece {
                Piece::Literal(text) => self.tag.extend_from_slice(text),
                Piece::Column(column) => {
                    if !column.write(row, &mut self.tag) {
                        return;
                    }
                }
            }
        }
        shared::note_tag(&self.tag);
    }
}
