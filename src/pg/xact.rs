//! The transaction that a call runs in, and what is to happen when it ends.

use std::cell::{Cell, RefCell};
use std::ffi::c_void;

use pgrx::pg_sys;

/// Whether the server is replaying WAL: a standby, or a server that is starting.
pub fn in_recovery() -> bool {
    // SAFETY: reads shared state.
    unsafe { pg_sys::RecoveryInProgress() }
}

/// 1 in a transaction, one more in each subtransaction in it.
pub fn nesting_level() -> i32 {
    // SAFETY: reads the process's own state.
    unsafe { pg_sys::GetCurrentTransactionNestLevel() }
}

/// When the transaction started, by the wall clock. Its snapshots are from after that.
pub fn started_at() -> i64 {
    // SAFETY: reads the process's own state.
    unsafe { pg_sys::GetCurrentTransactionStartTimestamp() }
}

/// The number that the next transaction that writes will have.
pub fn next_id() -> u32 {
    // SAFETY: reads shared state under a lock of PostgreSQL's.
    unsafe { pg_sys::ReadNextFullTransactionId() }.value as u32
}

/// Whether one transaction is older than another, as long as there are no more than two thousand million between them.
pub fn precedes(one: u32, other: u32) -> bool {
    (one.wrapping_sub(other) as i32) < 0
}

/// Whether all statements of the transaction see the snapshot of its first one.
pub fn keeps_one_snapshot() -> bool {
    // SAFETY: reads the process's own state.
    unsafe { pg_sys::XactIsoLevel >= pg_sys::XACT_REPEATABLE_READ as i32 }
}

/// Whether the transaction has written anything, and so may have rows locked.
pub fn has_written() -> bool {
    // SAFETY: reads the process's own state.
    unsafe { pg_sys::GetTopTransactionIdIfAny() != pg_sys::InvalidTransactionId }
}

/// How a transaction, or a subtransaction at a nesting level, ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It is about to become visible to others. One of the others follows.
    Committing,
    /// It is visible to others, or prepared for two-phase commit.
    Commit,
    Abort,
    SubCommit(i32),
    SubAbort(i32),
}

thread_local! {
    static REGISTERED: Cell<bool> = const { Cell::new(false) };
    static BEFORE_COMMIT: RefCell<Vec<fn()>> = const { RefCell::new(Vec::new()) };
    static AT_END: Cell<Option<fn(End)>> = const { Cell::new(None) };
    static BEFORE_PREPARE: Cell<Option<fn()>> = const { Cell::new(None) };
}

fn register() {
    if !REGISTERED.replace(true) {
        // SAFETY: callbacks for the life of the process, which never unloads the library.
        unsafe {
            pg_sys::RegisterXactCallback(Some(on_xact_event), std::ptr::null_mut());
            pg_sys::RegisterSubXactCallback(Some(on_subxact_event), std::ptr::null_mut());
        }
    }
}

/// Has `work` run once when the transaction is about to commit: after everything that the application waits for, so
/// that row locks taken then cannot be part of a deadlock. An error in it aborts the transaction. A rollback forgets it.
pub fn before_commit(work: fn()) {
    register();
    BEFORE_COMMIT.with_borrow_mut(|list| {
        if !list.iter().any(|other| std::ptr::fn_addr_eq(*other, work)) {
            list.push(work);
        }
    });
}

/// Has `tell` told of the end of every transaction and subtransaction from now on. It must not allocate, and not fail.
pub fn at_end(tell: fn(End)) {
    register();
    AT_END.set(Some(tell));
}

/// Has `check` run before any transaction is prepared for two-phase commit, from now on. An error in it aborts that.
pub fn before_prepare(check: fn()) {
    register();
    BEFORE_PREPARE.set(Some(check));
}

/// Called by PostgreSQL at each step of a transaction's end. Only the steps before a commit may fail.
#[pgrx::pg_guard]
unsafe extern "C-unwind" fn on_xact_event(event: pg_sys::XactEvent::Type, _unused: *mut c_void) {
    match event {
        pg_sys::XactEvent::XACT_EVENT_PRE_COMMIT => {
            while let Some(work) = BEFORE_COMMIT.with_borrow_mut(Vec::pop) {
                // SAFETY: the transaction is still going. Deleting what is stored out of line needs a snapshot.
                unsafe { pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot()) };
                work();
                // SAFETY: pushed above.
                unsafe { pg_sys::PopActiveSnapshot() };
            }
            tell(End::Committing);
        }
        pg_sys::XactEvent::XACT_EVENT_COMMIT | pg_sys::XactEvent::XACT_EVENT_PREPARE => tell(End::Commit),
        // Row locks that such work takes would outlive a prepared transaction's session.
        pg_sys::XactEvent::XACT_EVENT_PRE_PREPARE => {
            if let Some(check) = BEFORE_PREPARE.get() {
                check();
            }
            forget_work();
        }
        pg_sys::XactEvent::XACT_EVENT_ABORT => {
            forget_work();
            tell(End::Abort);
        }
        _ => {}
    }
}

/// The same for subtransactions.
#[pgrx::pg_guard]
unsafe extern "C-unwind" fn on_subxact_event(
    event: pg_sys::SubXactEvent::Type,
    _subtransaction: pg_sys::SubTransactionId,
    _parent: pg_sys::SubTransactionId,
    _unused: *mut c_void,
) {
    match event {
        pg_sys::SubXactEvent::SUBXACT_EVENT_COMMIT_SUB => tell(End::SubCommit(nesting_level())),
        pg_sys::SubXactEvent::SUBXACT_EVENT_ABORT_SUB => tell(End::SubAbort(nesting_level())),
        _ => {}
    }
}

fn forget_work() {
    BEFORE_COMMIT.with(|list| list.try_borrow_mut().map(|mut list| list.clear()).ok());
}

fn tell(end: End) {
    if let Some(tell) = AT_END.get() {
        tell(end);
    }
}

#[cfg(test)]
mod tests {
    use super::precedes;

    #[test]
    fn older_is_older_also_where_the_numbers_have_begun_anew() {
        assert!(precedes(100, 101) && !precedes(101, 101) && !precedes(102, 101));
        assert!(precedes(u32::MAX - 5, 3) && !precedes(3, u32::MAX - 5));
    }
}
