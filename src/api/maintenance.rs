//! `sweep`, `stats_reset`, and the functions behind the views.

use std::sync::atomic::Ordering::Relaxed;

use pgrx::iter::TableIterator;
use pgrx::pg_sys::Oid;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{default, name, pg_extern};

use crate::error::{self, Error};
use crate::pg::acl::Privileges;
use crate::pg::datum::{Interval, Text, Timestamptz};
use crate::pg::{clock, xact};
use crate::shared::{self, Read, Usage};
use crate::store::{self, Table};

/// The cache that is named, or all of them.
fn names(cache: Option<&str>) -> error::Result<Vec<String>> {
    match cache {
        Some(name) => Ok(vec![name.to_owned()]),
        None => store::known_names(),
    }
}

/// Makes a pass now, in this transaction, over one cache or all: removes expired entries, and evicts from a cache that is
/// over its budget. Waits for nobody's row locks. Returns, for each cache, how many row versions it looked at and how many
/// entries it removed.
///
/// Errors: 42704, 42501 no DELETE on a table, 25006 on a standby.
#[pg_extern]
fn sweep(
    cache: default!(Option<&str>, "NULL"),
) -> Result<
    TableIterator<'static, (name!(cache, String), name!(scanned, i64), name!(expired, i64), name!(evicted, i64))>,
    ErrorReport,
> {
    let mut rows = Vec::new();
    for name in names(cache)? {
        let Some(table) = Table::open_for_write(&name, Privileges::DELETE)? else { continue };
        let tally = store::sweep_and_evict(&table);
        rows.push((name, tally.scanned as i64, tally.expired as i64, tally.evicted as i64));
    }
    Ok(TableIterator::new(rows))
}

/// Sets the counters of one cache, or of all, to zero. Only the extension's owner may call it, unless it is granted.
///
/// Error: 42704.
#[pg_extern]
fn stats_reset(cache: default!(Option<&str>, "NULL")) -> Result<(), ErrorReport> {
    for name in names(cache)? {
        if let Some(slot) = store::by_name(&name)?.slot() {
            slot.reset(clock::now());
        }
    }
    Ok(())
}

/// What is behind the view `cache.stats`: the counters, and how much there is in each cache. Where that is not known, the
/// table is read. On a standby a cache that is not durable has nothing.
#[pg_extern(parallel_restricted)]
#[expect(clippy::type_complexity, reason = "the columns of the SQL function's result")]
fn stats_data() -> Result<
    TableIterator<
        'static,
        (
            name!(cache, String),
            name!(relation, Oid),
            name!(entries, i64),
            name!(live_bytes, i64),
            name!(hits, i64),
            name!(misses, i64),
            name!(sets, i64),
            name!(deletes, i64),
            name!(expired, i64),
            name!(evicted, i64),
            name!(invalidated, i64),
            name!(stale_served, i64),
            name!(recomputes_saved, i64),
            name!(stats_reset, Option<Timestamptz>),
        ),
    >,
    ErrorReport,
> {
    let mut rows = Vec::new();
    for cache in store::all()? {
        let is_readable = cache.durable || !xact::in_recovery();
        let slot = cache.slot();
        let known = slot.filter(|_| !xact::in_recovery()).and_then(shared::usage_with_own);
        let usage = match known {
            Some(usage) => usage,
            None if is_readable => store::census(&cache),
            None => Usage::default(),
        };
        let reads = |read| slot.map_or(0, |slot| slot.reads(read) as i64);
        let totals = slot.map(|slot| slot.totals()).unwrap_or_default();
        rows.push((
            cache.name.clone(),
            cache.table,
            usage.entries,
            usage.bytes,
            reads(Read::Hit),
            reads(Read::Miss),
            totals.sets as i64,
            totals.deletes as i64,
            totals.expired as i64,
            totals.evicted as i64,
            totals.invalidated as i64,
            reads(Read::StaleServed),
            reads(Read::RecomputeSaved),
            slot.map(|slot| Timestamptz::new(slot.counting_since())),
        ));
    }
    Ok(TableIterator::new(rows))
}

/// The largest live entries of a cache, the largest first, with what they take up in the table and out of line. Reads the
/// whole table.
///
/// Errors: 22023 `n` is negative, 42704, 42501 no SELECT on the table, 25006 on a standby where that is asked for.
#[pg_extern(parallel_restricted)]
fn top(
    n: default!(Option<i32>, "10"),
    cache: default!(Option<&str>, "'default'"),
) -> Result<TableIterator<'static, (name!(key, Text), name!(bytes, i64), name!(expires_at, Timestamptz))>, ErrorReport>
{
    let count = n.ok_or(Error::NullArgument("n"))?;
    let count = usize::try_from(count).map_err(|_| Error::NegativeCount("n"))?;
    let Some(table) = Table::open_for_read(super::arguments::cache(cache)?, Privileges::SELECT)? else {
        return Ok(TableIterator::empty());
    };
    let largest = store::largest(table.cache(), count).into_iter();
    let rows = largest.map(|entry| (Text::from_bytes(&entry.key), entry.bytes, Timestamptz::new(entry.expires_at)));
    Ok(TableIterator::new(rows.collect::<Vec<_>>()))
}

/// What is behind the view `cache.sweeper`: one row for each database that has needed a sweeper.
#[pg_extern(parallel_restricted)]
#[expect(clippy::type_complexity, reason = "the columns of the SQL function's result")]
fn sweeper_data() -> TableIterator<
    'static,
    (
        name!(database, Oid),
        name!(pid, Option<i32>),
        name!(state, &'static str),
        name!(last_pass, Option<Timestamptz>),
        name!(duration, Option<Interval>),
        name!(scanned, i64),
        name!(expired, i64),
        name!(evicted, i64),
        name!(pace, Option<Interval>),
        name!(lateness, Option<Interval>),
    ),
> {
    let databases = shared::control().into_iter().flat_map(|control| control.databases());
    let now = clock::now();
    let rows = databases.map(move |slot| {
        let started = Some(slot.pass_started.load(Relaxed)).filter(|started| *started != 0);
        let pace = Some(slot.pace_micros.load(Relaxed)).filter(|pace| *pace != 0);
        let late = shared::earliest_expiry_in(slot.oid()).map(|expiry| now - expiry).filter(|late| *late > 0);
        (
            slot.oid(),
            Some(slot.pid.load(Relaxed)).filter(|pid| *pid != 0),
            slot.state().name(),
            started.map(Timestamptz::new),
            started.map(|_| Interval::from_micros(slot.pass_micros.load(Relaxed))),
            slot.pass_scanned.load(Relaxed) as i64,
            slot.pass_expired.load(Relaxed) as i64,
            slot.pass_evicted.load(Relaxed) as i64,
            pace.map(Interval::from_micros),
            late.map(Interval::from_micros),
        )
    });
    TableIterator::new(rows)
}
