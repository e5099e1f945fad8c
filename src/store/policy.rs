//! The table `cache.caches`: what happens when a row of it comes, changes or goes. Everything that makes or drops a
//! cache ends here, also a restore of the database and SQL written by hand.

use crate::error::{Error, Result};
use crate::pg::acl::{self, ActingAs};
use crate::pg::lock::{Access, TableLock};
use crate::pg::relation::Relation;
use crate::pg::{ddl, lookup};
use crate::store::catalog::{POLICIES, SCHEMA, table_name};
use crate::sweeper;

/// The definition of a cache's table.
const TABLE_DEFINITION: &str = include_str!("../../sql/entries.sql");
/// Longest name of a cache, so that its table's name fits a PostgreSQL name.
const MAX_NAME_BYTES: usize = 48;

/// Checks that a cache may be called `name`, which makes it safe to write into a command as it is.
///
/// Error: [`Error::InvalidCacheName`] (42602).
pub fn check_name(name: &str) -> Result<()> {
    let first_is_fine = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    let rest_is_fine = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if first_is_fine && rest_is_fine && name.len() <= MAX_NAME_BYTES {
        Ok(())
    } else {
        Err(Error::InvalidCacheName(name.to_owned()))
    }
}

/// A new policy: makes the cache's table, as a member of the extension that belongs to the extension's owner, and
/// grants the current user the use of it.
pub fn apply_insert(name: &str, durable: bool) -> Result<()> {
    check_name(name)?;
    let table = table_name(name);
    let caller = acl::current_user();
    let policies = policies_oid()?;
    let owner = owner_of(policies);
    as_role(owner, || {
        let persistence = if durable { "" } else { "UNLOGGED" };
        let command = TABLE_DEFINITION.replace("{persistence}", persistence).replace("{table}", &table);
        ddl::run(&command)
    })?;
    if let Some(oid) = lookup::table_oid(SCHEMA, &table) {
        ddl::add_to_extension(oid, c"pg_stash");
    }
    if caller != owner {
        let role = ddl::quoted_role(caller);
        let grant = format!("GRANT SELECT, INSERT, UPDATE, DELETE ON {SCHEMA}.{table} TO {role}");
        as_role(owner, || ddl::run(&grant))?;
    }
    lookup::announce_change(policies);
    Ok(())
}

/// A changed policy. A cache keeps its name; its table follows `durable`.
pub fn apply_update(name: &str, new_name: &str, was_durable: bool, durable: bool) -> Result<()> {
    if name != new_name {
        return Err(Error::InvalidPolicy("a cache cannot be renamed".to_owned()));
    }
    let policies = policies_oid()?;
    lookup::announce_change(policies);
    // A smaller budget is for the sweeper to enforce.
    sweeper::ensure_running();
    if was_durable == durable {
        return Ok(());
    }
    let persistence = if durable { "LOGGED" } else { "UNLOGGED" };
    let command = format!("ALTER TABLE {SCHEMA}.{} SET {persistence}", table_name(name));
    as_role(owner_of(policies), || ddl::run(&command))
}

/// A policy that goes takes its table along.
pub fn apply_delete(name: &str) -> Result<()> {
    let policies = policies_oid()?;
    lookup::announce_change(policies);
    let table = table_name(name);
    let Some(oid) = lookup::table_oid(SCHEMA, &table) else { return Ok(()) };
    ddl::remove_from_extension(oid);
    as_role(owner_of(policies), || ddl::run(&format!("DROP TABLE {SCHEMA}.{table}")))
}

fn policies_oid() -> Result<pgrx::pg_sys::Oid> {
    lookup::table_oid(SCHEMA, POLICIES).ok_or(Error::NotInstalled)
}

fn owner_of(table: pgrx::pg_sys::Oid) -> pgrx::pg_sys::Oid {
    let lock = TableLock::acquire(table, Access::Read);
    Relation::open_table(&lock).owner()
}

fn as_role<R>(role: pgrx::pg_sys::Oid, work: impl FnOnce() -> R) -> R {
    let _acting = ActingAs::new(role);
    work()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_identifiers_of_up_to_48_bytes() {
        for good in ["pages", "_", "a1_b", &"x".repeat(48)] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "1a", "Pages", "a-b", "x\"; DROP TABLE", "ä", &"x".repeat(49)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
