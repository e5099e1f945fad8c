//! The caches that there are: their policies and tables, remembered by each session until a definition changes.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use pgrx::pg_sys::Oid;

use crate::error::{Error, Result};
use crate::pg::datum::Text;
use crate::pg::index::{KeyScan, Start};
use crate::pg::lock::{Access, TableLock};
use crate::pg::lookup;
use crate::pg::process;
use crate::pg::relation::Relation;
use crate::pg::slot::Row;
use crate::pg::snapshot::Visibility;
use crate::pg::xact;
use crate::shared::{self, CacheKey, CacheSlot, Delta};
use crate::store::budget::Budget;
use crate::store::entry::{self, COLUMNS};
use crate::ttl::Ttl;

/// Schema of the extension, fixed in its control file.
pub const SCHEMA: &str = "cache";
/// Table of the policies.
pub const POLICIES: &str = "caches";

/// A cache: its policy, and what it takes to open its table.
pub struct Cache {
    pub name: String,
    pub table: Oid,
    /// Tells the table from what it was before it was rewritten or truncated, and from any other table.
    pub storage: u64,
    /// The primary key first.
    pub indexes: Vec<Oid>,
    pub default_ttl: Option<Ttl>,
    pub budget: Budget,
    pub durable: bool,
    key: CacheKey,
    slot: Cell<Option<&'static CacheSlot>>,
}

impl Cache {
    /// The table's name with its schema, as it is written in SQL. Names of caches need no quoting.
    pub fn table_name(&self) -> String {
        format!("{SCHEMA}.{}", table_name(&self.name))
    }

    /// Tells it from all caches of all databases.
    pub fn key(&self) -> CacheKey {
        self.key
    }

    /// Its place in shared memory, if there is one. The sweeper takes the place of a cache that is dropped, or that it
    /// does not see yet because the transaction that makes it has not committed.
    pub fn slot(&self) -> Option<&'static CacheSlot> {
        let slot = self.slot.get()?;
        if !self.key.owns(slot) {
            self.slot.set(shared::cache_slot(self.key));
        }
        self.slot.get()
    }

    /// Notes what the transaction has done, for others to learn when it commits.
    pub fn note(&self, delta: Delta) {
        if let Some(slot) = self.slot() {
            shared::note(self.key, slot, delta);
        }
    }
}

/// Name of the table of the cache `name`.
pub fn table_name(name: &str) -> String {
    match name {
        "default" => "entries".to_owned(),
        _ => format!("entries_{name}"),
    }
}

/// What the session knows, and how many definitions had changed when it learnt the first of it.
#[derive(Default)]
struct Known {
    changes: u64,
    caches: Vec<Rc<Cache>>,
}

thread_local! {
    static KNOWN: RefCell<Known> = RefCell::default();
}

/// The cache `name`, with its table locked for `access`. Error: [`Error::NoSuchCache`] (42704).
///
/// Locking brings in what other sessions have changed; where that concerns the caches, the look-up starts again.
pub fn locked(name: &str, access: Access, check: impl Fn(&Cache) -> Result<()>) -> Result<(Rc<Cache>, TableLock)> {
    loop {
        let cache = by_name(name)?;
        check(&cache)?;
        let changes = lookup::definition_changes();
        let lock = TableLock::acquire(cache.table, access);
        if lookup::definition_changes() == changes {
            return Ok((cache, lock));
        }
        lock.release();
    }
}

/// The cache `name`. Error: [`Error::NoSuchCache`] (42704).
pub fn by_name(name: &str) -> Result<Rc<Cache>> {
    loop {
        let changes = lookup::definition_changes();
        let known = KNOWN.with_borrow_mut(|known| {
            if known.changes != changes {
                *known = Known { changes, caches: Vec::new() };
            }
            known.caches.iter().find(|cache| cache.name == name).cloned()
        });
        if let Some(cache) = known {
            return Ok(cache);
        }
        let policy = with_policies(|scan| {
            let name = Text::new(name);
            scan.find(name.as_varlena()).map(Policy::from_row)
        })?;
        let Some(policy) = policy else {
            return Err(Error::NoSuchCache { name: name.to_owned(), known: known_names()? });
        };
        // `None`: the table's definition changed while its lock was waited for.
        if let Some(cache) = resolve(policy)?.map(Rc::new) {
            KNOWN.with_borrow_mut(|known| known.caches.push(cache.clone()));
            return Ok(cache);
        }
    }
}

/// The names of all caches, in order.
pub fn known_names() -> Result<Vec<String>> {
    with_policies(|scan| {
        let mut names = Vec::new();
        scan.start(Start::At(b""));
        while let Some(row) = scan.next() {
            names.push(Policy::from_row(row).name);
        }
        names
    })
}

/// All caches whose tables can be used, in order of their names.
pub fn all() -> Result<Vec<Rc<Cache>>> {
    Ok(known_names()?.iter().filter_map(|name| by_name(name).ok()).collect())
}

/// A row of the table of policies.
struct Policy {
    name: String,
    default_ttl: Option<Ttl>,
    budget: Budget,
    durable: bool,
}

impl Policy {
    /// Columns as in `sql/tables.sql`.
    fn from_row(row: Row<'_>) -> Policy {
        Policy {
            name: row.varlena(1).map(|name| name.to_message()).unwrap_or_default(),
            default_ttl: row.interval(2),
            budget: Budget { bytes: row.int64(3), entries: row.int64(4) },
            durable: row.boolean(5).unwrap_or_default(),
        }
    }
}

/// Looks at the newest committed policies, whatever the transaction's snapshot.
fn with_policies<R>(look: impl FnOnce(&mut KeyScan) -> R) -> Result<R> {
    let table = lookup::table_oid(SCHEMA, POLICIES).ok_or(Error::NotInstalled)?;
    lookup::watch_definition(table);
    let lock = TableLock::acquire(table, Access::Read);
    let heap = Relation::open_table(&lock);
    let keys = heap.index_oids();
    let index = *keys.first().ok_or(Error::NotInstalled)?;
    let mut scan = KeyScan::new(&heap, index, Access::Read, Visibility::Latest);
    Ok(look(&mut scan))
}

/// What it takes to open the cache. `None` where its table has been altered or dropped meanwhile.
fn resolve(policy: Policy) -> Result<Option<Cache>> {
    process::keep_freed_memory();
    let name = format!("{SCHEMA}.{}", table_name(&policy.name));
    let Some(table) = lookup::table_oid(SCHEMA, &table_name(&policy.name)) else {
        let hint = format!("Run SELECT cache.drop_cache('{}'), and create the cache anew.", policy.name);
        return Err(altered(&name, "it does not exist", &hint));
    };
    lookup::watch_definition(table);
    let changes = lookup::definition_changes();
    let lock = TableLock::acquire(table, Access::Read);
    if lookup::definition_changes() != changes {
        return Ok(None);
    }
    let heap = Relation::open_table(&lock);
    let (storage, indexes) = (heap.storage(), check_shape(&name, &heap)?);
    let key = CacheKey::new(lookup::current_database(), table);
    let slot = shared::cache_slot(key);
    // On a standby there is no file of an UNLOGGED table to look at.
    if let Some(slot) = slot.filter(|_| !xact::in_recovery()) {
        slot.begin_file(storage, || heap.block_count() == 0);
    }
    let Policy { name, default_ttl, budget, durable } = policy;
    Ok(Some(Cache { name, table, storage, indexes, default_ttl, budget, durable, key, slot: Cell::new(slot) }))
}

/// Whether the table is as `create_cache` made it, as far as direct access relies on it. Returns its indexes, the
/// primary key first. Columns may have been added; rows that are written leave them NULL.
fn check_shape(name: &str, heap: &Relation) -> Result<Vec<Oid>> {
    if !heap.is_ordinary_heap() {
        return Err(altered(name, "it is not an ordinary heap table", "Drop the cache, and create it anew."));
    }
    if heap.has_row_security() {
        let hint = format!("Run ALTER TABLE {name} DISABLE ROW LEVEL SECURITY, and use one cache for each audience.");
        return Err(altered(name, "row-level security is enabled", &hint));
    }
    let columns = heap.columns();
    for (number, (column, of_type)) in COLUMNS.iter().enumerate() {
        let found = columns.get(number).and_then(|column| column.as_ref());
        if !found.is_some_and(|(found, found_type)| found == column && found_type == of_type) {
            let what = format!("column \"{column}\" is not in its place");
            return Err(altered(name, &what, "Undo the change, or drop the cache and create it anew."));
        }
    }
    let mut indexes = Vec::new();
    for oid in heap.index_oids() {
        let index = Relation::open_index(oid, Access::Read);
        if !index.is_plain_btree_on(entry::KEY) {
            let hint = "Drop the index. With a second index every overwrite would have to change both.";
            return Err(altered(name, "it has an index other than that on the key", hint));
        }
        if index.is_primary_key() {
            indexes.insert(0, oid);
        } else {
            indexes.push(oid);
        }
    }
    if indexes.is_empty() {
        let hint = format!("Run ALTER TABLE {name} ADD PRIMARY KEY (key).");
        return Err(altered(name, "it has no primary key", &hint));
    }
    Ok(indexes)
}

fn altered(table: &str, what: &str, hint: &str) -> Error {
    Error::AlteredTable { table: table.to_owned(), what: what.to_owned(), hint: hint.to_owned() }
}
