//! Where the library is preloaded: a worker that starts with the server, has a sweeper look into each database, and ends.

use std::time::Duration;

use pgrx::pg_sys::Datum;

use crate::pg::{clock, lookup, process, worker};
use crate::shared::{self, SweeperState};
use crate::sweeper::start::{Reason, request};

/// How often, and how long, the launcher waits for room for a sweeper.
const TRIES: u32 = 30;
const WAIT: Duration = Duration::from_secs(1);

/// Called when the library is loaded by the postmaster.
pub fn start_with_server() {
    shared::reserve();
    worker::start_with_server("pg_stash launcher", "pg_stash_launcher_main");
}

/// Entry point of the background worker.
#[pgrx::pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn pg_stash_launcher_main(_argument: Datum) {
    process::connect(None, None);
    let databases = process::transaction(lookup::databases).unwrap_or_default();
    for database in databases {
        for _ in 0..TRIES {
            let Some(slot) = shared::control().and_then(|control| control.database(database)) else { return };
            let is_absent = slot.change_state(SweeperState::Absent, SweeperState::Starting, clock::now());
            if !is_absent || request(slot, Reason::ServerStart) {
                break;
            }
            slot.set_state(SweeperState::Absent, 0);
            process::nap(WAIT);
        }
    }
}
