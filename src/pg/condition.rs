//! Waiting for what another process does: PostgreSQL's condition variables, in shared memory of our own.

use std::cell::UnsafeCell;
use std::time::Duration;

use pgrx::pg_sys;

/// Something to wait at. Lies in shared memory, and nowhere else.
#[repr(C, align(8))]
pub struct Condition(UnsafeCell<pg_sys::ConditionVariable>);

// SAFETY: a condition variable is made to be shared; it has a lock of its own.
unsafe impl Sync for Condition {}

impl Condition {
    /// Makes it ready, before anybody else can reach it.
    pub fn prepare(&self) {
        // SAFETY: the memory is large enough.
        unsafe { pg_sys::ConditionVariableInit(self.0.get()) }
    }

    /// Wakes all who wait. Allocates nothing and cannot fail.
    pub fn wake_all(&self) {
        // SAFETY: prepared when the memory was made.
        unsafe { pg_sys::ConditionVariableBroadcast(self.0.get()) }
    }

    /// Has this process woken by [`Self::wake_all`] from now on, until the guard is dropped.
    pub fn watch(&self) -> Watch<'_> {
        // SAFETY: prepared when the memory was made. An error on the way cancels the wait when the transaction aborts.
        unsafe { pg_sys::ConditionVariablePrepareToSleep(self.0.get()) }
        Watch(self)
    }
}

/// A process that is about to wait.
pub struct Watch<'a>(&'a Condition);

impl Watch<'_> {
    /// Waits until woken, for `longest` at most. May return early for no reason. Takes up cancellation, timeouts and
    /// termination.
    pub fn sleep(&self, longest: Duration) {
        let millis = longest.as_micros().div_ceil(1000).clamp(1, i32::MAX as u128);
        // SAFETY: this process has been prepared to wait at it.
        unsafe {
            pg_sys::ConditionVariableTimedSleep(self.0.0.get(), millis as _, pg_sys::PG_WAIT_EXTENSION);
        }
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if !crate::pg::unwinding() {
            // SAFETY: undoes what `watch` has done.
            unsafe { pg_sys::ConditionVariableCancelSleep() };
        }
    }
}
