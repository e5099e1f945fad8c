//! `create_cache`, `alter_cache`, `drop_cache`: rows of `cache.caches`. Privileges on that table decide who may; a
//! trigger on it does the work, so that SQL written by hand and a restore of the database have the same effect.

use pgrx::datum::DatumWithOid;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::spi::Spi;
use pgrx::{default, pg_extern, search_path};

use crate::error::{self, Error};
use crate::pg::datum::{Interval, Text};
use crate::pg::{clock, xact};
use crate::store;
use crate::ttl;

/// The arguments that the two functions share, checked.
struct Policy {
    default_ttl: Option<Interval>,
    max_size: Option<i64>,
    max_entries: Option<i64>,
}

impl Policy {
    /// Errors: 22023 for a TTL that is not positive, a size that is none, or a negative number; 22008 TTL.
    fn new(default_ttl: Option<Interval>, max_size: Option<Text>, max_entries: Option<i64>) -> error::Result<Policy> {
        if let Some(ttl) = default_ttl {
            ttl::expiry(clock::now(), ttl.ttl(), clock::add_calendar)?;
        }
        let max_size = max_size.map(|size| size.as_varlena().size_in_bytes());
        for (name, limit) in [("max_size", max_size), ("max_entries", max_entries)] {
            if limit.is_some_and(|limit| limit < 0) {
                return Err(Error::InvalidPolicy(format!("{name} must not be negative")));
            }
        }
        Ok(Policy { default_ttl, max_size, max_entries })
    }

    fn arguments<'a>(&self, name: &'a str, durable: Option<bool>) -> [DatumWithOid<'a>; 5] {
        [name.into(), self.default_ttl.into(), self.max_size.into(), self.max_entries.into(), durable.into()]
    }
}

/// Makes a cache. `default_ttl`: of entries that are stored without one, NULL is never; `max_size` and `max_entries`:
/// its budget, NULL or 0 is none; `durable`: kept over a crash, at the price of WAL.
///
/// Errors: 42602 name, 42710 it exists, 22023 and 22008 TTL and budget, 42501 no INSERT on cache.caches, 25006 on a
/// standby.
#[pg_extern]
#[search_path(pg_catalog, pg_temp)]
fn create_cache(
    name: Option<&str>,
    default_ttl: default!(Option<Interval>, "NULL"),
    max_size: default!(Option<Text>, "NULL"),
    max_entries: default!(Option<i64>, "NULL"),
    durable: default!(Option<bool>, "false"),
) -> Result<(), ErrorReport> {
    let name = policy_name(name)?;
    store::check_name(name)?;
    if store::known_names()?.iter().any(|known| known == name) {
        return Err(Error::CacheExists(name.to_owned()).into());
    }
    let policy = Policy::new(default_ttl, max_size, max_entries)?;
    let command = "INSERT INTO cache.caches (name, default_ttl, max_size, max_entries, durable)
        VALUES ($1, $2, nullif($3, 0), nullif($4, 0), coalesce($5, false))";
    write_policy(command, &policy.arguments(name, durable))?;
    Ok(())
}

/// Changes the policy of a cache; NULL leaves a part of it as it is. A budget of 0 is none, a default TTL of
/// cache.never() is none. Errors: as for [`create_cache`], and 42704 there is no such cache.
#[pg_extern]
#[search_path(pg_catalog, pg_temp)]
fn alter_cache(
    name: Option<&str>,
    default_ttl: default!(Option<Interval>, "NULL"),
    max_size: default!(Option<Text>, "NULL"),
    max_entries: default!(Option<i64>, "NULL"),
    durable: default!(Option<bool>, "NULL"),
) -> Result<(), ErrorReport> {
    let name = policy_name(name)?;
    let policy = Policy::new(default_ttl, max_size, max_entries)?;
    let command = "UPDATE cache.caches SET default_ttl = coalesce($2, default_ttl),
        max_size = nullif(coalesce($3, max_size), 0), max_entries = nullif(coalesce($4, max_entries), 0),
        durable = coalesce($5, durable) WHERE name = $1";
    let changed = write_policy(command, &policy.arguments(name, durable))?;
    Ok(must_exist(name, changed)?)
}

/// Drops a cache with all its entries. Errors: 42704 there is no such cache, 42501 no DELETE on cache.caches, 25006.
#[pg_extern]
#[search_path(pg_catalog, pg_temp)]
fn drop_cache(name: Option<&str>) -> Result<(), ErrorReport> {
    let name = policy_name(name)?;
    let dropped = write_policy("DELETE FROM cache.caches WHERE name = $1", &[name.into()])?;
    Ok(must_exist(name, dropped)?)
}

fn policy_name(name: Option<&str>) -> error::Result<&str> {
    name.ok_or(Error::NullArgument("name"))
}

/// Runs a command on `cache.caches` as the current user, and returns how many rows it changed.
fn write_policy(command: &str, arguments: &[DatumWithOid<'_>]) -> error::Result<usize> {
    if xact::in_recovery() {
        return Err(Error::WriteInRecovery);
    }
    Ok(Spi::connect_mut(|client| client.update(command, None, arguments).map(|rows| rows.len()))?)
}

fn must_exist(name: &str, rows: usize) -> error::Result<()> {
    match rows {
        0 => Err(Error::NoSuchCache { name: name.to_owned(), known: store::known_names()? }),
        _ => Ok(()),
    }
}
