//! The SQL functions: one file for each family, thin and safe. Arguments come in here, are checked, and go to `store`.

pub mod apply_policy;
mod arguments;
mod batch;
mod caches;
pub mod changes;
mod claim;
mod compare_and_set;
mod counter;
mod delete;
mod dependencies;
mod expiry;
mod fill;
mod get;
mod invalidate;
mod keys;
pub mod maintenance;
mod query_arguments;
mod remember;
mod set;
