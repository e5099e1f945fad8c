//! `expires_at`, `ttl`, `touch`, `persist`, `never`.

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{default, pg_extern};

use super::arguments;
use crate::error;
use crate::pg::acl::Privileges;
use crate::pg::clock;
use crate::pg::datum::{Interval, Text, Timestamptz};
use crate::store::{Change, Table, modify};
use crate::ttl::{self, Ttl};

/// When the live entry under `key` expires, in microseconds since 2000. Errors: as for `exists`.
fn look_up(key: Option<Text>, cache: Option<&str>) -> error::Result<Option<i64>> {
    let key = arguments::key(&key)?;
    let table = Table::open_for_read(arguments::cache(cache)?, Privileges::SELECT)?;
    Ok(table.and_then(|mut table| table.peek(key).map(|entry| entry.expires_at())))
}

/// Gives a live entry another expiry; the value stays. Returns whether there was one.
///
/// Errors: as for `replace`.
fn reschedule(
    key: Option<Text>,
    cache: Option<&str>,
    expires_at: impl FnOnce(&Table) -> error::Result<i64>,
) -> error::Result<bool> {
    let key = arguments::key(&key)?;
    let Some(mut table) = Table::open_for_write(arguments::cache(cache)?, Privileges::UPDATE)? else {
        return Ok(false);
    };
    let expires_at = expires_at(&table)?;
    modify(&mut table, key, |entry| {
        let change = if entry.is_some() { Change::Reschedule { expires_at } } else { Change::Keep };
        Ok((change, entry.is_some()))
    })
}

/// When a live entry expires: 'infinity' for never, NULL where there is none. Errors: as for `exists`.
#[pg_extern(parallel_restricted)]
fn expires_at(
    key: Option<Text>,
    cache: default!(Option<&str>, "'default'"),
) -> Result<Option<Timestamptz>, ErrorReport> {
    Ok(look_up(key, cache)?.map(Timestamptz::new))
}

/// How long a live entry has left: NULL where there is none, or where it never expires. Errors: as for `exists`.
#[pg_extern(name = "ttl", parallel_restricted)]
fn time_left(key: Option<Text>, cache: default!(Option<&str>, "'default'")) -> Result<Option<Interval>, ErrorReport> {
    let expires_at = look_up(key, cache)?.filter(|expires_at| *expires_at != ttl::NEVER);
    Ok(expires_at.map(|expires_at| Interval::from_micros((expires_at - clock::now()).max(0))))
}

/// Gives a live entry a new TTL: NULL is the cache's default, else never. Errors: see [`reschedule`].
#[pg_extern]
fn touch(
    key: Option<Text>,
    ttl: default!(Option<Interval>, "NULL"),
    cache: default!(Option<&str>, "'default'"),
) -> Result<bool, ErrorReport> {
    Ok(reschedule(key, cache, |table| table.expiry(ttl))?)
}

/// Has a live entry never expire. Errors: see [`reschedule`].
#[pg_extern]
fn persist(key: Option<Text>, cache: default!(Option<&str>, "'default'")) -> Result<bool, ErrorReport> {
    Ok(reschedule(key, cache, |_| Ok(ttl::NEVER))?)
}

/// The TTL of an entry that does not expire.
#[pg_extern(immutable, parallel_safe)]
fn never() -> Interval {
    Interval::new(Ttl::NEVER)
}
