//! `fill` and `release`: the ends of a lease.

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{default, pg_extern};

use super::arguments::{self, Conditions, ValueArgument};
use crate::error::{self, Error};
use crate::pg::acl::Privileges;
use crate::pg::datum::{Bytea, Interval, Jsonb, Text, TextArray, Timestamptz, Varlena};
use crate::store::{self, Grant, Table};

/// The bytes of a lease. Error: [`Error::NullArgument`] (22004).
fn token_of(lease: &Option<Bytea>) -> error::Result<Varlena<'_>> {
    Ok(lease.as_ref().ok_or(Error::NullArgument("lease"))?.as_varlena().plain())
}

/// Stores what has been made under a lease, for others to see when the transaction commits; those who wait for it are woken
/// then. Returns whether it was stored: not where the lease has ended, where what the value depends on has changed since the
/// claim, or where the entry has been set or deleted meanwhile.
///
/// Errors: 22023 the lease is none, or has been used, and as for `set`.
fn fill_with<T: ValueArgument>(
    lease: Option<Bytea>,
    value: Option<T>,
    ttl: Option<Interval>,
    fresh: Option<Interval>,
    tags: Option<TextArray>,
) -> error::Result<bool> {
    let bytes = token_of(&lease)?;
    let token = store::checked_token(bytes.bytes())?;
    let value = arguments::value(&value)?;
    let key = Bytea::new(token.key);
    let privileges = Privileges::INSERT.and(Privileges::UPDATE);
    let mut table = match Table::open_for_write(token.cache, privileges) {
        Ok(Some(table)) => table,
        // A cache that has been dropped since has lost its leases.
        Ok(None) | Err(Error::NoSuchCache { .. }) => return Ok(false),
        Err(error) => return Err(error),
    };
    let grant = Grant::from_token(&token, &table);
    let as_of = Some(Timestamptz::new(grant.as_of));
    let conditions = Conditions { ttl, fresh, tags, as_of };
    let terms = conditions.terms(&table)?;
    table.check_size(key.as_varlena(), &value, terms.basis)?;
    store::fill(&mut table, key.as_varlena(), value, terms, grant)
}

/// The function for one type of value.
macro_rules! fills {
    ($value:ident, $fill:ident) => {
        /// Stores a value under a lease. Arguments and errors: see [`fill_with`].
        #[pg_extern(name = "fill")]
        fn $fill(
            lease: Option<Bytea>,
            value: Option<$value>,
            ttl: default!(Option<Interval>, "NULL"),
            fresh: default!(Option<Interval>, "NULL"),
            tags: default!(Option<TextArray>, "NULL"),
        ) -> Result<bool, ErrorReport> {
            Ok(fill_with(lease, value, ttl, fresh, tags)?)
        }
    };
}

fills!(Text, fill_text);
fills!(Jsonb, fill_json);
fills!(Bytea, fill_bytes);
fills!(i64, fill_int);

/// Gives a lease up, at once and whatever becomes of the transaction: another caller may have it. One that has ended is none
/// to give up.
///
/// Errors: 22004 the lease is NULL, 22023 it is none.
#[pg_extern]
fn release(lease: Option<Bytea>) -> Result<(), ErrorReport> {
    let bytes = token_of(&lease)?;
    store::release(&store::checked_token(bytes.bytes())?);
    Ok(())
}
