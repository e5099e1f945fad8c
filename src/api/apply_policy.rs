//! The trigger of `cache.caches`.

use pgrx::datum::TryFromDatumError;
use pgrx::heap_tuple::PgHeapTuple;
use pgrx::pg_sys::panic::{ErrorReport, ErrorReportable};
use pgrx::spi::Spi;
use pgrx::{PgTrigger, WhoAllocated, pg_trigger};

use crate::error::{self, Error};
use crate::store;

/// Trigger of `cache.caches`: before a row comes, changes or goes, makes, alters or drops the cache's table.
///
/// A restore of the database brings a row for the cache that CREATE EXTENSION has just made. It then changes the row
/// that there is.
#[pg_trigger]
fn apply_policy<'a>(trigger: &'a PgTrigger<'a>) -> Result<Option<PgHeapTuple<'a, impl WhoAllocated>>, ErrorReport> {
    let (old_row, new_row) = (trigger.old(), trigger.new());
    let read = |row: &Option<_>| row.as_ref().map(PolicyRow::read).transpose().map_err(Error::from);
    let outcome = read(&old_row).and_then(|old| apply(old, read(&new_row)?)).map_err(ErrorReport::from);
    // Raised here: returned, it would lose its SQLSTATE on the way out of a trigger.
    Ok(if outcome.unwrap_or_report() { new_row.or(old_row) } else { None })
}

/// Returns whether the change of the row itself is to go on.
fn apply(old: Option<PolicyRow>, new: Option<PolicyRow>) -> error::Result<bool> {
    match (old, new) {
        (None, Some(new)) if new.name == "default" && store::known_names()?.contains(&new.name) => {
            let command = "UPDATE cache.caches SET default_ttl = $2, max_size = $3, max_entries = $4, durable = $5
                WHERE name = $1";
            let PolicyRow { name, default_ttl, max_size, max_entries, durable } = new;
            let arguments = [name.into(), default_ttl.into(), max_size.into(), max_entries.into(), durable.into()];
            Spi::run_with_args(command, &arguments)?;
            return Ok(false);
        }
        (None, Some(new)) => store::apply_insert(&new.name, new.durable)?,
        (Some(old), Some(new)) => store::apply_update(&old.name, &new.name, old.durable, new.durable)?,
        (Some(old), None) => store::apply_delete(&old.name)?,
        (None, None) => {}
    }
    Ok(true)
}

/// A row of `cache.caches` as the trigger sees it.
struct PolicyRow {
    name: String,
    default_ttl: Option<pgrx::datum::Interval>,
    max_size: Option<i64>,
    max_entries: Option<i64>,
    durable: bool,
}

impl PolicyRow {
    fn read(row: &PgHeapTuple<'_, impl WhoAllocated>) -> Result<PolicyRow, TryFromDatumError> {
        Ok(PolicyRow {
            name: row.get_by_name("name")?.unwrap_or_default(),
            default_ttl: row.get_by_name("default_ttl")?,
            max_size: row.get_by_name("max_size")?,
            max_entries: row.get_by_name("max_entries")?,
            durable: row.get_by_name("durable")?.unwrap_or_default(),
        })
    }
}
