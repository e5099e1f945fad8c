//! `get`, `exists`, and `take`, which reads and deletes.

use pgrx::iter::TableIterator;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{default, name, pg_extern};

use super::arguments::{self, AnyForm};
use crate::error;
use crate::pg::acl::Privileges;
use crate::pg::datum::{Bytea, Jsonb, Text};
use crate::store::{Change, Entry, Table, modify};

/// Reads a value; `None` on a miss.
///
/// Errors: 22004 and 22023 key, 42704 cache, 42501 privileges, 42804 the value is of another type, 25006 on a standby
/// where that is asked for.
fn read<T>(
    key: Option<Text>,
    cache: Option<&str>,
    copy: impl Fn(Entry<'_>) -> error::Result<T>,
) -> error::Result<Option<T>> {
    let key = arguments::key(&key)?;
    match Table::open_for_read(arguments::cache(cache)?, Privileges::SELECT)? {
        Some(mut table) => table.get(key).map(copy).transpose(),
        None => Ok(None),
    }
}

/// Reads a value and deletes its entry, in one step. Errors: as for [`read`], and 25006 on any standby.
fn read_and_delete<T>(
    key: Option<Text>,
    cache: Option<&str>,
    copy: impl Fn(Entry<'_>) -> error::Result<T>,
) -> error::Result<Option<T>> {
    let key = arguments::key(&key)?;
    let privileges = Privileges::SELECT.and(Privileges::DELETE);
    let Some(mut table) = Table::open_for_write(arguments::cache(cache)?, privileges)? else { return Ok(None) };
    table.overtake_lease(key);
    modify(&mut table, key, |entry| match entry {
        Some(entry) => Ok((Change::Remove, Some(copy(entry)?))),
        None => Ok((Change::Keep, None)),
    })
}

/// The two functions for one form.
macro_rules! readers {
    ($form:ident, $get:ident, $take:ident) => {
        /// The value of a live entry; NULL on a miss. Errors: see [`read`].
        #[pg_extern(parallel_restricted)]
        fn $get(key: Option<Text>, cache: default!(Option<&str>, "'default'")) -> Result<Option<$form>, ErrorReport> {
            Ok(read(key, cache, arguments::read)?)
        }

        /// The value of a live entry, which is deleted; NULL on a miss. Errors: see [`read_and_delete`].
        #[pg_extern]
        fn $take(key: Option<Text>, cache: default!(Option<&str>, "'default'")) -> Result<Option<$form>, ErrorReport> {
            Ok(read_and_delete(key, cache, arguments::read)?)
        }
    };
}

readers!(Text, get, take);
readers!(Jsonb, get_json, take_json);
readers!(Bytea, get_bytes, take_bytes);

/// A function that returns a row with the value in the column of its type, and no row on a miss.
macro_rules! any_form {
    ($(#[$attribute:meta])* $name:ident, $read:ident) => {
        $(#[$attribute])*
        fn $name(
            key: Option<Text>,
            cache: default!(Option<&str>, "'default'"),
        ) -> Result<
            TableIterator<
                'static,
                (
                    name!(value_text, Option<Text>),
                    name!(value_json, Option<Jsonb>),
                    name!(value_bytes, Option<Bytea>),
                    name!(value_int, Option<i64>),
                ),
            >,
            ErrorReport,
        > {
            let value = $read(key, cache, |entry| Ok(AnyForm::copied(entry)))?;
            Ok(TableIterator::new(value.map(|AnyForm { text, json, bytes, int }| (text, json, bytes, int))))
        }
    };
}

any_form! {
    /// The value of a live entry, whatever its type. Errors: as for [`get`], but 42804.
    #[pg_extern(parallel_restricted)]
    get_any, read
}

any_form! {
    /// The value of a live entry, whatever its type, which is deleted. Errors: as for [`take`], but 42804.
    #[pg_extern]
    take_any, read_and_delete
}

/// Whether there is a live entry. Errors: as for [`get`], except for the value's type, which does not matter.
#[pg_extern(parallel_restricted)]
fn exists(key: Option<Text>, cache: default!(Option<&str>, "'default'")) -> Result<bool, ErrorReport> {
    let key = arguments::key(&key)?;
    let table = Table::open_for_read(arguments::cache(cache)?, Privileges::SELECT)?;
    Ok(table.is_some_and(|mut table| table.peek(key).is_some()))
}
