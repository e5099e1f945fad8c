//! Seeing to it that the database has a sweeper.

use pgrx::pg_sys::{Datum, Oid};

use crate::pg::{clock, worker, xact};
use crate::settings;
use crate::shared::{self, DatabaseSlot, SweeperState};
use crate::sweeper::writers;

/// A sweeper that has not reported after this time, in microseconds, has failed to start.
const START_TIMEOUT: i64 = 10_000_000;
/// Where there was no room for a sweeper, it is asked for again after this time, in microseconds.
const RETRY_AFTER: i64 = 60_000_000;
/// The C name of [`super::worker::pg_stash_sweeper_main`].
const MAIN: &str = "pg_stash_sweeper_main";

/// Starts the sweeper of this database if there is none. Where there can be none, has this transaction sweep a little
/// before it commits. Costs one look at shared memory as long as a sweeper runs.
pub fn ensure_running() {
    if !settings::autostart() || xact::in_recovery() {
        return;
    }
    let Some(slot) = shared::database_slot() else {
        xact::before_commit(writers::sweep_a_little);
        return;
    };
    let state = slot.state();
    if matches!(state, SweeperState::Idle | SweeperState::Sweeping) {
        return;
    }
    let now = clock::now();
    let waited = now - slot.since.load(std::sync::atomic::Ordering::Relaxed);
    match state {
        SweeperState::Absent => start(slot, state, now),
        SweeperState::Starting if waited > START_TIMEOUT => start(slot, state, now),
        SweeperState::Unavailable if waited > RETRY_AFTER => start(slot, state, now),
        SweeperState::Unavailable => xact::before_commit(writers::sweep_a_little),
        _ => {}
    }
}

/// Why a sweeper is started, which is told to it with the OID of its database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A transaction has written to a cache. It may be the one that creates the extension.
    Write,
    /// The server has started; the database may have no caches.
    ServerStart,
}

const SERVER_START: u64 = 1 << 32;

impl Reason {
    fn argument(self, database: Oid) -> Datum {
        let flag = if self == Reason::ServerStart { SERVER_START } else { 0 };
        Datum::from(u64::from(database.to_u32()) | flag)
    }

    /// The database and the reason that a sweeper's argument tells.
    pub fn from_argument(argument: Datum) -> (Oid, Reason) {
        let word = argument.value() as u64;
        let reason = if word & SERVER_START == 0 { Reason::Write } else { Reason::ServerStart };
        (Oid::from(word as u32), reason)
    }
}

/// Asks for a sweeper. `false` where there is no room for one.
pub fn request(slot: &DatabaseSlot, reason: Reason) -> bool {
    worker::start("pg_stash sweeper", MAIN, reason.argument(slot.oid()))
}

fn start(slot: &DatabaseSlot, seen: SweeperState, now: i64) {
    // Of several sessions that saw the same state, one goes on.
    if !slot.change_state(seen, SweeperState::Starting, now) {
        return;
    }
    if request(slot, Reason::Write) {
        return;
    }
    slot.set_state(SweeperState::Unavailable, now);
    xact::before_commit(writers::sweep_a_little);
    if seen != SweeperState::Unavailable {
        pgrx::ereport!(
            pgrx::PgLogLevel::WARNING,
            pgrx::PgSqlErrorCode::ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
            "no background worker is free for the pg_stash sweeper; sessions that write sweep instead",
            "Raise max_worker_processes."
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_argument_tells_database_and_reason() {
        for reason in [Reason::Write, Reason::ServerStart] {
            let database = Oid::from(u32::MAX - 1);
            assert_eq!(Reason::from_argument(reason.argument(database)), (database, reason));
        }
    }
}
