//! Names to OIDs and back, and news that a definition has changed.

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, CString};

use pgrx::IntoDatum;
use pgrx::pg_sys::{self, Oid};

/// The OID of a table by schema and name, both exactly as they are stored.
pub fn table_oid(schema: &str, table: &str) -> Option<Oid> {
    let (schema, table) = (CString::new(schema).ok()?, CString::new(table).ok()?);
    // SAFETY: look-ups in the system caches by C strings.
    let oid = unsafe {
        let schema = pg_sys::get_namespace_oid(schema.as_ptr(), true);
        if schema == pg_sys::InvalidOid {
            return None;
        }
        pg_sys::get_relname_relid(table.as_ptr(), schema)
    };
    (oid != pg_sys::InvalidOid).then_some(oid)
}

/// What a table takes up on disk, in bytes, with what is stored out of line and without its indexes.
pub fn table_size(table: Oid) -> i64 {
    // SAFETY: the function takes an OID and returns an int8, or NULL for a table that is gone.
    unsafe { pgrx::direct_function_call(pg_sys::pg_table_size, &[table.into_datum()]) }.unwrap_or(0)
}

/// The OID of a function without arguments by schema and name.
pub fn function_oid(schema: &CStr, name: &CStr) -> Option<Oid> {
    // SAFETY: the list and the strings are copied into this memory context; a missing function is no error.
    let oid = unsafe {
        let part = |name: &CStr| pg_sys::makeString(pg_sys::pstrdup(name.as_ptr())).cast();
        let names = pg_sys::lappend(pg_sys::lappend(std::ptr::null_mut(), part(schema)), part(name));
        pg_sys::LookupFuncName(names, 0, std::ptr::null(), true)
    };
    (oid != pg_sys::InvalidOid).then_some(oid)
}

/// Whether a function is in the schema and has the name.
pub fn is_function(oid: Oid, schema: &CStr, name: &CStr) -> bool {
    // SAFETY: look-ups in the system caches; both names are C strings or NULL.
    unsafe {
        let found = pg_sys::get_func_name(oid);
        let is_named = !found.is_null() && CStr::from_ptr(found) == name;
        is_named && pg_sys::get_func_namespace(oid) == pg_sys::get_namespace_oid(schema.as_ptr(), true)
    }
}

/// The schema of the session's temporary tables; zero where it has had none.
pub fn own_temporary_schema() -> Oid {
    let (mut schema, mut toast_schema) = (pg_sys::InvalidOid, pg_sys::InvalidOid);
    // SAFETY: reads the process's own state.
    unsafe { pg_sys::GetTempNamespaceState(&mut schema, &mut toast_schema) };
    schema
}

/// The value of a setting in this session, in its text form; empty where it is not set.
pub fn setting(name: &CStr) -> String {
    // SAFETY: a C string that PostgreSQL keeps until the setting is changed, or NULL.
    unsafe {
        let value = pg_sys::GetConfigOption(name.as_ptr(), true, false);
        if value.is_null() { String::new() } else { CStr::from_ptr(value).to_string_lossy().into_owned() }
    }
}

/// The OID of an extension by name.
pub fn extension_oid(name: &CStr) -> Option<Oid> {
    // SAFETY: a look-up by C string; a missing one is no error.
    let oid = unsafe { pg_sys::get_extension_oid(name.as_ptr(), true) };
    (oid != pg_sys::InvalidOid).then_some(oid)
}

/// The database that this process is connected to.
pub fn current_database() -> Oid {
    // SAFETY: set once when the process connects.
    unsafe { pg_sys::MyDatabaseId }
}

/// Whether a database exists, as of the catalogs now.
pub fn database_exists(database: Oid) -> bool {
    // SAFETY: a look-up in the system caches; NULL where there is none.
    !unsafe { pg_sys::get_database_name(database) }.is_null()
}

/// The databases that one can connect to and that are no templates. Needs a transaction, and no database.
pub fn databases() -> Vec<Oid> {
    let mut databases = Vec::new();
    // SAFETY: a scan of a shared catalog, whose rows start with the struct.
    unsafe {
        let lock = pg_sys::AccessShareLock as i32;
        let catalog = pg_sys::table_open(pg_sys::DatabaseRelationId, lock);
        let (no_index, no_snapshot, no_keys) = (pg_sys::InvalidOid, std::ptr::null_mut(), std::ptr::null_mut());
        let scan = pg_sys::systable_beginscan(catalog, no_index, false, no_snapshot, 0, no_keys);
        while let Some(tuple) = pg_sys::systable_getnext(scan).as_ref() {
            let header = tuple.t_data;
            let row = header.cast::<u8>().add((*header).t_hoff as usize).cast::<pg_sys::FormData_pg_database>();
            if (*row).datallowconn && !(*row).datistemplate {
                databases.push((*row).oid);
            }
        }
        pg_sys::systable_endscan(scan);
        pg_sys::table_close(catalog, lock);
    }
    databases
}

thread_local! {
    static WATCHED: RefCell<Vec<Oid>> = const { RefCell::new(Vec::new()) };
    static CHANGES: Cell<u64> = const { Cell::new(0) };
    static REGISTERED: Cell<bool> = const { Cell::new(false) };
}

/// From now on a changed definition of the table, in whatever session, moves [`definition_changes`] on, at the latest
/// when the next lock on it is taken.
pub fn watch_definition(table: Oid) {
    if !REGISTERED.replace(true) {
        // SAFETY: the callback lives as long as the process, which never unloads the library.
        unsafe { pg_sys::CacheRegisterRelcacheCallback(Some(on_relcache_invalidation), pg_sys::Datum::null()) }
    }
    WATCHED.with_borrow_mut(|watched| {
        if !watched.contains(&table) {
            watched.push(table);
        }
    });
}

/// How many times the definition of a watched table has changed, as far as this session has been told.
pub fn definition_changes() -> u64 {
    CHANGES.get()
}

/// Called by PostgreSQL, also while a transaction aborts: it must not fail and allocates nothing.
unsafe extern "C-unwind" fn on_relcache_invalidation(_: pg_sys::Datum, table: Oid) {
    let concerns_us = table == pg_sys::InvalidOid
        || WATCHED.with(|watched| watched.try_borrow().is_ok_and(|watched| watched.contains(&table)));
    if concerns_us {
        CHANGES.set(CHANGES.get() + 1);
    }
}

/// Tells every session, at commit, that what it knows of the table has to be looked up again.
pub fn announce_change(table: Oid) {
    // SAFETY: registers an invalidation message with the transaction.
    unsafe { pg_sys::CacheInvalidateRelcacheByRelid(table) }
}
