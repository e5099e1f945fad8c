//! pg_stash: the PostgreSQL that an application already runs, as its cache.
//!
//! `api` holds the SQL functions; `store` a cache's table; `shared` what sessions share in memory; `sweeper` the
//! removal of expired entries; `pg` every raw call of PostgreSQL. Dependencies go down that list, never up, but for
//! writers in `store` that see to it that a sweeper runs.

mod api;
mod early;
mod error;
mod key;
mod lease_token;
mod pg;
mod settings;
mod shared;
mod store;
mod sweeper;
mod tag_pattern;
mod ttl;
mod value;

#[cfg(any(test, feature = "pg_test"))]
#[path = "../pg_test/mod.rs"]
pub mod pg_test;

pgrx::pg_module_magic!(name, version);

pgrx::extension_sql_file!("../sql/tables.sql", name = "tables", requires = [api::apply_policy::apply_policy]);
pgrx::extension_sql_file!(
    "../sql/views.sql",
    name = "views",
    requires = ["tables", api::maintenance::stats_data, api::maintenance::sweeper_data]
);
pgrx::extension_sql_file!(
    "../sql/watch.sql",
    name = "watch",
    requires = [
        api::changes::note_change,
        api::changes::note_row_change,
        api::changes::note_truncate,
        api::changes::invalidate_all
    ]
);
pgrx::extension_sql_file!("../sql/comments.sql", name = "comments", finalize);

/// Called when the library is loaded.
#[pgrx::pg_guard]
pub extern "C-unwind" fn _PG_init() {
    settings::init();
    if pg::process::is_preloading() {
        sweeper::start_with_server();
    }
}
