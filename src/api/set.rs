//! `set`, `add`, `replace`.

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{default, pg_extern};

use super::arguments::{self, Conditions, ValueArgument};
use crate::error;
use crate::pg::acl::Privileges;
use crate::pg::datum::{Bytea, Interval, Jsonb, Text, TextArray, Timestamptz};
use crate::store::{Change, Table, modify};

/// Which entries a write may touch.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Condition {
    Always,
    Absent,
    Present,
}

impl Condition {
    fn privileges(self) -> Privileges {
        match self {
            Condition::Always => Privileges::INSERT.and(Privileges::UPDATE),
            Condition::Absent => Privileges::INSERT,
            Condition::Present => Privileges::UPDATE,
        }
    }

    fn allows(self, is_present: bool) -> bool {
        match self {
            Condition::Always => true,
            Condition::Absent => !is_present,
            Condition::Present => is_present,
        }
    }
}

/// Stores a value where the condition allows it. Returns whether it was stored.
///
/// Errors: 22004 key, value or a tag is NULL, 22023 key, TTL, freshness, tags or `as_of`, 22008 TTL, 42704 cache, 42501
/// privileges, 54000 size, 25006 on a standby.
fn write<T: ValueArgument>(
    condition: Condition,
    key: Option<Text>,
    value: Option<T>,
    conditions: Conditions,
    cache: Option<&str>,
) -> error::Result<bool> {
    let key = arguments::key(&key)?;
    let value = arguments::value(&value)?;
    let Some(mut table) = Table::open_for_write(arguments::cache(cache)?, condition.privileges())? else {
        return Ok(condition != Condition::Present);
    };
    let terms = conditions.terms(&table)?;
    table.check_size(key, &value, terms.basis)?;
    modify(&mut table, key, |entry| {
        let change = if condition.allows(entry.is_some()) { Change::Put { value, terms } } else { Change::Keep };
        let is_stored = matches!(change, Change::Put { .. });
        Ok((change, is_stored))
    })
}

/// The three functions for one type of value.
macro_rules! writers {
    ($value:ident, $set:ident, $add:ident, $replace:ident) => {
        /// Stores a value, whether or not there is an entry. Arguments and errors: see [`write`].
        #[pg_extern(name = "set")]
        fn $set(
            key: Option<Text>,
            value: Option<$value>,
            ttl: default!(Option<Interval>, "NULL"),
            fresh: default!(Option<Interval>, "NULL"),
            tags: default!(Option<TextArray>, "NULL"),
            as_of: default!(Option<Timestamptz>, "NULL"),
            cache: default!(Option<&str>, "'default'"),
        ) -> Result<(), ErrorReport> {
            write(Condition::Always, key, value, Conditions { ttl, fresh, tags, as_of }, cache)?;
            Ok(())
        }

        /// Stores a value only where there is no live entry. Arguments and errors: see [`write`].
        #[pg_extern(name = "add")]
        fn $add(
            key: Option<Text>,
            value: Option<$value>,
            ttl: default!(Option<Interval>, "NULL"),
            fresh: default!(Option<Interval>, "NULL"),
            tags: default!(Option<TextArray>, "NULL"),
            as_of: default!(Option<Timestamptz>, "NULL"),
            cache: default!(Option<&str>, "'default'"),
        ) -> Result<bool, ErrorReport> {
            Ok(write(Condition::Absent, key, value, Conditions { ttl, fresh, tags, as_of }, cache)?)
        }

        /// Stores a value only where there is a live entry. Arguments and errors: see [`write`].
        #[pg_extern(name = "replace")]
        fn $replace(
            key: Option<Text>,
            value: Option<$value>,
            ttl: default!(Option<Interval>, "NULL"),
            fresh: default!(Option<Interval>, "NULL"),
            tags: default!(Option<TextArray>, "NULL"),
            as_of: default!(Option<Timestamptz>, "NULL"),
            cache: default!(Option<&str>, "'default'"),
        ) -> Result<bool, ErrorReport> {
            Ok(write(Condition::Present, key, value, Conditions { ttl, fresh, tags, as_of }, cache)?)
        }
    };
}

writers!(Text, set_text, add_text, replace_text);
writers!(Jsonb, set_json, add_json, replace_json);
writers!(Bytea, set_bytes, add_bytes, replace_bytes);
writers!(i64, set_int, add_int, replace_int);
