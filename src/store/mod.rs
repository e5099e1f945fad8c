//! One cache's table: finding entries, changing them, walking over them.

mod budget;
mod catalog;
mod claim;
mod entry;
mod evict;
mod modify;
mod policy;
mod table;
mod walk;

pub use catalog::{Cache, all, by_name, known_names};
pub use claim::{Claim, Grant, Holder, Patience, checked_token, claim, fill, release};
pub use entry::{Basis, Entry, Moment, Terms, Value};
pub use evict::{blocks_of_all_laps, evict};
pub use modify::{Change, modify};
pub use policy::{apply_delete, apply_insert, apply_update, check_name};
pub use table::Table;
pub use walk::{Tally, census, keys_page, largest, remove_prefix, sweep, sweep_and_evict};
