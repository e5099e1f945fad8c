//! Private servers to test against, and sessions on them.

mod edition;
mod server;
mod session;

pub use edition::{edition, skips};
pub use server::{Database, PORTABLE_OWNER, Server, StopOnDrop, database, note_time, wait_until};
pub use session::Session;
