//! `compare_and_set`.

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{default, pg_extern};

use super::arguments::{self, ValueArgument};
use crate::error;
use crate::pg::acl::Privileges;
use crate::pg::datum::{Bytea, Interval, Jsonb, Text};
use crate::store::{Change, Table, modify};

/// Overwrites a live entry only if its value is `expected`, in one step. Returns whether it did. A value of another
/// type is another value. NULL as the TTL is the cache's default, else never. The entry's tags stay. Errors: as for `replace`.
fn swap<T: ValueArgument>(
    key: Option<Text>,
    expected: Option<T>,
    value: Option<T>,
    ttl: Option<Interval>,
    cache: Option<&str>,
) -> error::Result<bool> {
    let key = arguments::key(&key)?;
    let (expected, value) = (arguments::value(&expected)?, arguments::value(&value)?);
    let privileges = Privileges::SELECT.and(Privileges::UPDATE);
    let Some(mut table) = Table::open_for_write(arguments::cache(cache)?, privileges)? else { return Ok(false) };
    let expires_at = table.expiry(ttl)?;
    table.check_size(key, &value, None)?;
    modify(&mut table, key, |entry| {
        let is_expected = entry.is_some_and(|entry| entry.value().equals(&expected));
        let change = if is_expected { Change::Revalue { value, expires_at } } else { Change::Keep };
        Ok((change, is_expected))
    })
}

/// The function for one type of value.
macro_rules! compare_and_set {
    ($value:ident, $name:ident) => {
        /// Overwrites an entry only if its value is the expected one. Arguments and errors: see [`swap`].
        #[pg_extern(name = "compare_and_set")]
        fn $name(
            key: Option<Text>,
            expected: Option<$value>,
            value: Option<$value>,
            ttl: default!(Option<Interval>, "NULL"),
            cache: default!(Option<&str>, "'default'"),
        ) -> Result<bool, ErrorReport> {
            Ok(swap(key, expected, value, ttl, cache)?)
        }
    };
}

compare_and_set!(Text, compare_and_set_text);
compare_and_set!(Jsonb, compare_and_set_json);
compare_and_set!(Bytea, compare_and_set_bytes);
compare_and_set!(i64, compare_and_set_int);
