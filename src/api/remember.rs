//! `remember`: the result of a query, computed once for all who ask for it, and again when what it was made from has changed.

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::spi::Spi;
use pgrx::{default, pg_extern};

use super::arguments::{self, Conditions};
use super::dependencies::{self, Dependencies, Frame};
use super::query_arguments;
use crate::error::{self, Error};
use crate::pg::acl::{self, Privileges};
use crate::pg::datum::{Bytea, Interval, Jsonb, Text, TextArray, Varlena};
use crate::pg::lock::{Access, TableLock};
use crate::pg::query::{Function, Query};
use crate::pg::relation::Relation;
use crate::pg::{lookup, process, xact};
use crate::shared;
use crate::store::{self, Basis, Claim, Grant, Holder, Patience, Table, Terms, Value};

/// The lease of a session that computes lasts until it has, or has failed: a day, in microseconds, is as good as that.
const LEASE: i64 = 86_400_000_000;
/// How long a session waits before it looks whether it is right to go on waiting.
const PATIENCE: i64 = 1_000_000;

/// Settings that have a say in what a query means, or in how its values are written.
const SETTINGS: [&std::ffi::CStr; 16] = [
    c"search_path",
    c"TimeZone",
    c"DateStyle",
    c"IntervalStyle",
    c"bytea_output",
    c"extra_float_digits",
    c"lc_monetary",
    c"lc_numeric",
    c"lc_time",
    c"default_text_search_config",
    c"timezone_abbreviations",
    c"transform_null_equals",
    c"standard_conforming_strings",
    c"array_nulls",
    c"xmlbinary",
    c"xmloption",
];

/// The rows of a query as a jsonb array of objects: remembered ones, or, where there are none or what they were made from has
/// changed, new ones. Of all sessions that find none, one runs the query, and the others wait for its result.
///
/// `args` is an array of the query's parameters $1, $2, …. `key` is made from the query, its arguments, the user and the
/// session's settings, unless it is given. The tables that the query reads have to be watched, or `ttl` or `tags` be given.
///
/// Errors: those of the query; 22004 and 22023 arguments, something that is no query, and functions whose result no table
/// decides; 55000 a table that is not watched; and as for `set`.
#[pg_extern]
fn remember(
    sql: Option<&str>,
    args: default!(Option<Jsonb>, "NULL"),
    key: default!(Option<Text>, "NULL"),
    ttl: default!(Option<Interval>, "NULL"),
    fresh: default!(Option<Interval>, "NULL"),
    tags: default!(Option<TextArray>, "NULL"),
    cache: default!(Option<&str>, "'default'"),
) -> Result<Jsonb, ErrorReport> {
    let sql = sql.ok_or(Error::NullArgument("sql"))?;
    let call = Call { sql, args, has_key: key.is_some(), conditions: Conditions { ttl, fresh, tags, as_of: None } };
    let key = key.unwrap_or_else(|| call.derived_key());
    Ok(call.answer(key, arguments::cache(cache)?)?)
}

/// A call of `remember`.
struct Call<'a> {
    sql: &'a str,
    args: Option<Jsonb>,
    has_key: bool,
    /// Those for the entry; the time that the value is of comes with the computation.
    conditions: Conditions,
}

impl Call<'_> {
    /// A key that another call has only if it would get the same result.
    fn derived_key(&self) -> Text {
        let args = self.args.as_ref().map(|args| args.as_varlena().json_to_text());
        let args = args.as_ref().map_or(&b""[..], |args| args.as_varlena().bytes());
        let mut said: Vec<u8> = Vec::new();
        // Each part with its length, so that no two calls say the same in different parts.
        let mut say = |part: &[u8]| {
            said.extend_from_slice(&part.len().to_le_bytes());
            said.extend_from_slice(part);
        };
        say(self.sql.as_bytes());
        say(args);
        for user in [acl::current_user(), acl::session_user()] {
            say(&user.to_u32().to_le_bytes());
        }
        // A temporary table may stand in front of another one.
        say(&lookup::own_temporary_schema().to_u32().to_le_bytes());
        SETTINGS.iter().for_each(|name| say(lookup::setting(name).as_bytes()));
        let sum = Bytea::sha256(&said);
        let hexadecimal: String = sum.as_varlena().bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        Text::new(&format!("remember:{hexadecimal}"))
    }

    fn answer(&self, key: Text, cache: &str) -> error::Result<Jsonb> {
        let key = Some(key);
        let key = arguments::key(&key)?;
        let mut has_seen_it_filled = false;
        loop {
            let patience = Patience { lease: LEASE, wait: PATIENCE };
            let patience = if xact::has_written() { Patience { wait: 0, ..patience } } else { patience };
            let Claim { value, grant, holder, .. } = store::claim(cache, key, patience, |entry| {
                dependencies::note_entry(entry);
                arguments::read::<Jsonb>(entry)
            })?;
            match (value, grant, holder) {
                (Some(value), None, _) => return Ok(value),
                (_, Some(grant), _) => return self.compute_and_store(key, cache, grant),
                (None, None, Some(holder)) if is_to_be_waited_for(holder, has_seen_it_filled) => {
                    has_seen_it_filled = holder.is_filled;
                }
                (None, None, _) => return Ok(self.compute(None)?.0),
            }
        }
    }

    fn compute_and_store(&self, key: Varlena<'_>, cache: &str, grant: Grant) -> error::Result<Jsonb> {
        grant.settle_with_transaction();
        let (rows, dependencies) = self.compute(Some(grant))?;
        let Some(mut table) = Table::open_for_write(cache, Privileges::INSERT.and(Privileges::UPDATE))? else {
            return Ok(rows);
        };
        let value = Value::Json(rows.as_varlena());
        let tags = dependencies.tags();
        let basis = tags.map(|tags| Basis { as_of: dependencies.as_of, tags });
        let terms = Terms { basis, ..table.terms(self.conditions.ttl, self.conditions.fresh)? };
        match table.check_size(key, &value, basis) {
            Ok(()) => store::fill(&mut table, key, value, terms, grant).map(|_| rows),
            // It is no less the result.
            Err(Error::LargerThanBudget { .. } | Error::TooLarge(_)) => {
                grant.release();
                Ok(rows)
            }
            Err(error) => Err(error),
        }
    }

    /// Runs the query. `grant`: the result is to be stored, which it can be where all that it depends on is known.
    fn compute(&self, grant: Option<Grant>) -> error::Result<(Jsonb, Dependencies)> {
        let frame = Frame::push();
        let json = Spi::connect(|_| {
            let query = Query::prepare(self.sql).map_err(|_| Error::NotAQuery)?;
            let args = query_arguments::texts(&self.args, &query)?;
            if grant.is_some() {
                self.check_functions(&query)?;
            }
            self.note_relations(&query)?;
            // Before the query's snapshot: what is invalidated after this is too new for its rows.
            dependencies::note(&[], shared::as_of_next_snapshot().unwrap_or(i64::MIN));
            Ok::<_, Error>(query.rows_as_json(&args))
        })?;
        if let Some(tags) = arguments::tags(&self.conditions.tags)? {
            let given: Vec<Vec<u8>> = tags.each().into_iter().flatten().map(<[u8]>::to_vec).collect();
            dependencies::note(&given, i64::MAX);
        }
        Ok((Jsonb::parse(&json), frame.pop()))
    }

    /// Errors: 22023 for a function whose result no table decides, unless the call says otherwise.
    fn check_functions(&self, query: &Query) -> error::Result<()> {
        for function in query.functions().into_iter().map(Function::new) {
            let is_own = lookup::is_function(function.oid(), c"cache", c"remember");
            if function.is_volatile() && !is_own {
                return Err(Error::VolatileFunction(function.name()));
            }
            let may_read_session = function.reads_session() || !(function.is_built_in() || function.is_immutable());
            if may_read_session && !self.has_key && !is_own {
                return Err(Error::SessionFunction(function.name()));
            }
            if function.reads_time() && self.conditions.ttl.is_none() {
                return Err(Error::TimeFunction(function.name()));
            }
        }
        Ok(())
    }

    /// Notes the tags of all tables that the query reads. Errors: 55000, 22023.
    fn note_relations(&self, query: &Query) -> error::Result<()> {
        let trigger = lookup::function_oid(c"cache", c"note_change");
        let is_limited = self.conditions.ttl.is_some() || self.conditions.tags.is_some();
        for oid in query.relations() {
            let lock = TableLock::acquire(oid, Access::Read);
            let relation = Relation::open_any(&lock);
            if relation.is_temporary() {
                return Err(Error::TemporaryTable(relation.qualified_name()));
            }
            // Which rows there are depends on the user, whom the key has to tell.
            if relation.has_row_security() && self.has_key {
                return Err(Error::KeyWithRowSecurity(relation.qualified_name()));
            }
            // A view is rewritten to the tables behind it, which are among the relations.
            if relation.kind() == b'v' {
                continue;
            }
            let tags = trigger.map(|trigger| relation.statement_triggers(trigger)).unwrap_or_default();
            if tags.is_empty() && !is_limited {
                return Err(Error::NotWatched(relation.qualified_name()));
            }
            dependencies::note(&tags, i64::MAX);
        }
        Ok(())
    }
}

/// Whether another session's result is worth waiting for. One that itself waits for a lock may wait for this session.
fn is_to_be_waited_for(holder: Holder, was_filled: bool) -> bool {
    let commits_late = was_filled && holder.is_filled;
    let is_self = holder.pid == process::id();
    !is_self && !commits_late && !xact::has_written() && !process::waits_for_lock(holder.pid)
}
