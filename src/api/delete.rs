//! `delete`, `delete_many`, `delete_prefix`, `clear`.

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{default, pg_extern};

use super::arguments;
use crate::error::{self, Error};
use crate::pg::acl::Privileges;
use crate::pg::datum::{Text, TextArray, Varlena};
use crate::store::{self, Change, Table, modify};

fn open(cache: Option<&str>) -> error::Result<Option<Table>> {
    Table::open_for_write(arguments::cache(cache)?, Privileges::DELETE)
}

fn delete_key(table: &mut Table, key: Varlena<'_>) -> error::Result<bool> {
    table.overtake_lease(key);
    modify(table, key, |entry| Ok((Change::Remove, entry.is_some())))
}

/// Deletes an entry. Returns whether there was a live one. Errors: 22004 and 22023 key, 42704, 42501, 25006.
#[pg_extern]
fn delete(key: Option<Text>, cache: default!(Option<&str>, "'default'")) -> Result<bool, ErrorReport> {
    let key = arguments::key(&key)?;
    Ok(match open(cache)? {
        Some(mut table) => delete_key(&mut table, key)?,
        None => false,
    })
}

/// Deletes entries, in the order of their keys. Returns how many live ones there were. Errors: as for [`delete`].
#[pg_extern]
fn delete_many(keys: Option<TextArray>, cache: default!(Option<&str>, "'default'")) -> Result<i64, ErrorReport> {
    let mut keys = arguments::sorted_keys(&keys)?;
    keys.dedup_by(|(a, _), (b, _)| a.bytes() == b.bytes());
    let mut deleted = 0;
    if let Some(mut table) = open(cache)? {
        for (key, _) in keys {
            deleted += i64::from(delete_key(&mut table, key)?);
        }
    }
    Ok(deleted)
}

/// Deletes the entries whose keys start with `prefix`, in which every character stands for itself. Returns how many
/// live ones there were. Errors: 22004 prefix is NULL, 42704, 42501, 25006.
#[pg_extern]
fn delete_prefix(prefix: Option<Text>, cache: default!(Option<&str>, "'default'")) -> Result<i64, ErrorReport> {
    let prefix = prefix.ok_or(Error::NullArgument("prefix"))?;
    Ok(match open(cache)? {
        Some(mut table) => store::remove_prefix(&mut table, prefix.as_varlena().plain().bytes())?,
        None => 0,
    })
}

/// Deletes all entries. Readers go on meanwhile: it locks no more than the rows it deletes. Errors: 42704, 42501, 25006.
#[pg_extern]
fn clear(cache: default!(Option<&str>, "'default'")) -> Result<(), ErrorReport> {
    if let Some(mut table) = open(cache)? {
        store::remove_prefix(&mut table, b"")?;
    }
    Ok(())
}
