//! Removing what is expired: a background worker for each database that needs one, started by the first write that
//! does, or with the server where the library is preloaded; and the writers themselves where no worker can be had.

mod launcher;
mod pace;
mod start;
mod worker;
mod writers;

pub use launcher::start_with_server;
pub use start::ensure_running;
