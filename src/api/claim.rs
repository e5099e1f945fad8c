//! `claim`: reading an entry, and being told whether to make its value.

use pgrx::iter::TableIterator;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{default, name, pg_extern};

use super::arguments::{self, AnyForm};
use crate::error::{self, Error};
use crate::pg::datum::{Bytea, Interval, Jsonb, Text};
use crate::store::{self, Claim, Entry, Patience};

/// The longest lease, in microseconds: an hour. Whoever dies behind a pooler, whose session stays, keeps one until it ends.
const LONGEST_LEASE: i64 = 3_600_000_000;

/// Reads a value, and where it is missing or past its freshness takes the lease to make another, if nobody has it. Returns
/// the state of the entry, its value, and the lease as a client holds it.
///
/// `lease` is how long the caller may take before another one is let try; `wait` how long to wait, on a miss, for a value
/// that somebody else is making.
///
/// Errors: as for `get`; 42501 also where the caller may not write; 22004 and 22023 the spans of time.
fn claim_as<T>(
    key: Option<Text>,
    lease: Option<Interval>,
    wait: Option<Interval>,
    cache: Option<&str>,
    copy: impl Fn(Entry<'_>) -> error::Result<T>,
) -> error::Result<(&'static str, Option<T>, Option<Bytea>)> {
    let key = arguments::key(&key)?;
    let cache = arguments::cache(cache)?;
    let lease = arguments::time_span("lease", lease, false)?;
    if lease > LONGEST_LEASE {
        return Err(Error::LeaseTooLong);
    }
    let patience = Patience { lease, wait: arguments::time_span("wait", wait, true)? };
    let Claim { state, value, grant, .. } = store::claim(cache, key, patience, copy)?;
    let token = grant.map(|grant| Bytea::new(&grant.token(cache, key.bytes())));
    Ok((state.name(), value, token))
}

/// The function for one form.
macro_rules! claims {
    ($form:ident, $claim:ident) => {
        /// Claims an entry. Arguments and errors: see [`claim_as`].
        #[pg_extern]
        fn $claim(
            key: Option<Text>,
            lease: default!(Option<Interval>, "'10 s'"),
            wait: default!(Option<Interval>, "'0'"),
            cache: default!(Option<&str>, "'default'"),
        ) -> Result<
            TableIterator<
                'static,
                (name!(state, &'static str), name!(value, Option<$form>), name!(lease, Option<Bytea>)),
            >,
            ErrorReport,
        > {
            Ok(TableIterator::once(claim_as(key, lease, wait, cache, arguments::read)?))
        }
    };
}

claims!(Text, claim);
claims!(Jsonb, claim_json);
claims!(Bytea, claim_bytes);

/// Claims an entry, whose value is in the column of its type. Arguments and errors: see [`claim_as`], but 42804.
#[pg_extern]
#[expect(clippy::type_complexity, reason = "the columns of the SQL function's result")]
fn claim_any(
    key: Option<Text>,
    lease: default!(Option<Interval>, "'10 s'"),
    wait: default!(Option<Interval>, "'0'"),
    cache: default!(Option<&str>, "'default'"),
) -> Result<
    TableIterator<
        'static,
        (
            name!(state, &'static str),
            name!(value_text, Option<Text>),
            name!(value_json, Option<Jsonb>),
            name!(value_bytes, Option<Bytea>),
            name!(value_int, Option<i64>),
            name!(lease, Option<Bytea>),
        ),
    >,
    ErrorReport,
> {
    let (state, value, token) = claim_as(key, lease, wait, cache, |entry| Ok(AnyForm::copied(entry)))?;
    let AnyForm { text, json, bytes, int } = value.unwrap_or(AnyForm::NONE);
    Ok(TableIterator::once((state, text, json, bytes, int, token)))
}
