//! The only place with raw PostgreSQL calls, behind types that are safe to use.
//!
//! Guards release in `drop` what PostgreSQL would otherwise hold until the end of the transaction. After an ERROR they
//! leave it: the resource owner of the aborted transaction has released everything then (see [`unwinding`]).

pub mod acl;
pub mod array;
pub mod clock;
pub mod condition;
pub mod datum;
pub mod ddl;
pub mod heap;
pub mod index;
pub mod lock;
pub mod lookup;
pub mod page;
pub mod place;
pub mod prefetch;
pub mod process;
pub mod query;
pub mod relation;
pub mod shmem;
pub mod slot;
pub mod snapshot;
pub mod trigger;
pub mod worker;
pub mod xact;

/// Whether an ERROR is on its way to the top: guards then touch nothing, because the abort of the transaction
/// releases locks, pins and relations by itself.
pub(in crate::pg) fn unwinding() -> bool {
    std::thread::panicking()
}
