//! `incr` and `decr`.

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{default, pg_extern};

use super::arguments;
use crate::error::{self, Error};
use crate::pg::acl::Privileges;
use crate::pg::datum::{Interval, Text};
use crate::store::{Change, Table, Terms, Value, modify};

/// What a counter is changed by. Its negative may not fit a bigint, so the direction is kept apart.
#[derive(Clone, Copy)]
enum Step {
    Up(i64),
    Down(i64),
}

impl Step {
    fn from(self, count: i64) -> Option<i64> {
        match self {
            Step::Up(by) => count.checked_add(by),
            Step::Down(by) => count.checked_sub(by),
        }
    }
}

/// Changes a counter in one step, and returns what it then is. One that is not there starts at `initial` and is
/// changed at once; the TTL is for that case only.
///
/// Errors: 42804 the entry is no bigint, 22003 the count leaves the range of bigint (the entry stays), and as for
/// `set`.
fn count(
    step: Option<Step>,
    key: Option<Text>,
    ttl: Option<Interval>,
    initial: Option<i64>,
    cache: Option<&str>,
) -> error::Result<i64> {
    let key = arguments::key(&key)?;
    let step = step.ok_or(Error::NullArgument("by"))?;
    let initial = initial.ok_or(Error::NullArgument("initial"))?;
    let next = |count| step.from(count).ok_or_else(|| Error::CounterOutOfRange { key: key.to_message() });
    let privileges = Privileges::SELECT.and(Privileges::INSERT).and(Privileges::UPDATE);
    let Some(mut table) = Table::open_for_write(arguments::cache(cache)?, privileges)? else {
        return next(initial);
    };
    let first_expiry = table.expiry(ttl)?;
    modify(&mut table, key, |entry| match entry.map(|entry| (entry.value(), entry.expires_at())) {
        Some((Value::Int(count), expires_at)) => {
            let count = next(count)?;
            Ok((Change::Revalue { value: Value::Int(count), expires_at }, count))
        }
        Some((other, _)) => Err(Error::NotACounter { key: key.to_message(), stored: other.kind() }),
        None => {
            let count = next(initial)?;
            Ok((Change::Put { value: Value::Int(count), terms: Terms::until(first_expiry) }, count))
        }
    })
}

/// Adds to a counter. Arguments and errors: see [`count`].
#[pg_extern]
fn incr(
    key: Option<Text>,
    by: default!(Option<i64>, "1"),
    ttl: default!(Option<Interval>, "NULL"),
    initial: default!(Option<i64>, "0"),
    cache: default!(Option<&str>, "'default'"),
) -> Result<i64, ErrorReport> {
    Ok(count(by.map(Step::Up), key, ttl, initial, cache)?)
}

/// Subtracts from a counter. Arguments and errors: see [`count`].
#[pg_extern]
fn decr(
    key: Option<Text>,
    by: default!(Option<i64>, "1"),
    ttl: default!(Option<Interval>, "NULL"),
    initial: default!(Option<i64>, "0"),
    cache: default!(Option<&str>, "'default'"),
) -> Result<i64, ErrorReport> {
    Ok(count(by.map(Step::Down), key, ttl, initial, cache)?)
}
