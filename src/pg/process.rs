//! What a background worker needs of its process: signals, a database, waiting, transactions.

use std::ffi::CString;
use std::panic::AssertUnwindSafe;
use std::sync::Once;
use std::time::Duration;

use pgrx::pg_sys::panic::CaughtError;
use pgrx::pg_sys::{self, Datum, Oid};
use pgrx::{PgLogLevel, PgTryBuilder};

#[cfg(not(feature = "pg18"))]
use pg_sys::pqsignal;
#[cfg(feature = "pg18")]
use pg_sys::pqsignal_be as pqsignal;

// PostgreSQL's own signal handlers, as a signal calls them: not through the wrappers that bindings put around them.
unsafe extern "C-unwind" {
    fn die(signal: std::ffi::c_int);
    fn SignalHandlerForConfigReload(signal: std::ffi::c_int);
}

/// A shorter nap than this is slept to its end, as a latch's time-out is in whole milliseconds.
const SHORT_NAP: Duration = Duration::from_millis(5);

/// Whether the postmaster is loading the library before it starts, as shared_preload_libraries tells it to.
pub fn is_preloading() -> bool {
    // SAFETY: the process's own state.
    unsafe { pg_sys::process_shared_preload_libraries_in_progress }
}

/// Has the process keep the memory that one statement frees and the next one needs again, up to 2 MB, where it would give
/// it back to the system and ask for it anew each time: a fifth of the time of a large read.
///
/// The freed block tells the allocator of the C library that blocks of its size come and go; see M_MMAP_THRESHOLD in
/// mallopt(3). To other allocators it is nothing special.
pub fn keep_freed_memory() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| drop(std::hint::black_box(Vec::<u8>::with_capacity(1 << 20))));
}

/// Connects the worker to a database, or to none, which leaves the catalogs that all databases share. From then on SIGTERM
/// ends it at its next check for interrupts, as it ends a session, and SIGHUP has it read the configuration.
///
/// `on_exit` runs when the process ends, in whatever way; it must not fail.
pub fn connect(database: Option<Oid>, on_exit: Option<unsafe extern "C-unwind" fn(i32, Datum)>) {
    // SAFETY: called once, first thing in the worker's main function.
    unsafe {
        if on_exit.is_some() {
            pg_sys::before_shmem_exit(on_exit, Datum::null());
        }
        pqsignal(pg_sys::SIGTERM as i32, Some(die));
        pqsignal(pg_sys::SIGHUP as i32, Some(SignalHandlerForConfigReload));
        pg_sys::BackgroundWorkerUnblockSignals();
        pg_sys::BackgroundWorkerInitializeConnectionByOid(database.unwrap_or_default(), pg_sys::InvalidOid, 0);
    }
    for (name, value) in [
        ("default_transaction_isolation", "read committed"),
        ("search_path", "pg_catalog, pg_temp"),
        // What a crash brings back is removed again: nothing that the worker does is worth waiting for the disk.
        ("synchronous_commit", "off"),
    ] {
        set(name, value);
    }
}

/// Sets a parameter for this process.
fn set(name: &str, value: &str) {
    let (name, value) = (CString::new(name).expect("no zero byte"), CString::new(value).expect("no zero byte"));
    // SAFETY: both strings are copied.
    unsafe {
        pg_sys::SetConfigOption(
            name.as_ptr(),
            value.as_ptr(),
            pg_sys::GucContext::PGC_SUSET,
            pg_sys::GucSource::PGC_S_OVERRIDE,
        );
    }
}

/// Sleeps for `time` or until the process is woken, and takes up signals: ends the process when it is asked to.
pub fn nap(time: Duration) {
    let events = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
    // SAFETY: the process's own latch; sleeping has no conditions.
    unsafe {
        let millis = if time < SHORT_NAP {
            pg_sys::pg_usleep(time.as_micros() as _);
            0
        } else {
            time.as_micros().div_ceil(1000)
        };
        pg_sys::WaitLatch(pg_sys::MyLatch, events as i32, millis as _, pg_sys::PG_WAIT_EXTENSION);
        pg_sys::ResetLatch(pg_sys::MyLatch);
    }
    pgrx::check_for_interrupts!();
    // SAFETY: the flag is set by the SIGHUP handler alone.
    unsafe {
        if pg_sys::ConfigReloadPending != 0 {
            pg_sys::ConfigReloadPending = 0;
            pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP);
        }
    }
}

/// Runs `work` in a transaction. What it changed goes to the statistics system within about a second if there are more
/// transactions, and with [`report_changes`]. An error is logged as a warning and rolls the transaction back; the result is
/// then `None`.
pub fn transaction<R>(work: impl FnOnce() -> R) -> Option<R> {
    let mut work = Some(work);
    PgTryBuilder::new(AssertUnwindSafe(|| {
        // SAFETY: the worker is outside of a transaction here.
        unsafe {
            pg_sys::SetCurrentStatementStartTimestamp();
            pg_sys::StartTransactionCommand();
            pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
            let result = work.take().expect("runs once")();
            pg_sys::PopActiveSnapshot();
            pg_sys::CommitTransactionCommand();
            pg_sys::pgstat_report_stat(false);
            Some(result)
        }
    }))
    .catch_others(|error| {
        log_error(error);
        // SAFETY: the error has been caught; the abort releases all that the transaction held.
        unsafe { pg_sys::AbortCurrentTransaction() };
        None
    })
    .execute()
}

/// Tells the statistics system what transactions have changed, so that autovacuum knows of it.
pub fn report_changes() {
    // SAFETY: outside of a transaction.
    unsafe { pg_sys::pgstat_report_stat(true) };
}

fn log_error(error: CaughtError) {
    let (CaughtError::PostgresError(report)
    | CaughtError::ErrorReport(report)
    | CaughtError::RustPanic { ereport: report, .. }) = error;
    pgrx::ereport!(PgLogLevel::WARNING, report.sql_error_code(), format!("pg_stash sweeper: {}", report.message()));
}

/// Shows in pg_stat_activity what the process is doing.
pub fn report_activity(activity: &str) {
    let activity = CString::new(activity).unwrap_or_default();
    // SAFETY: the string is copied.
    unsafe { pg_sys::pgstat_report_activity(pg_sys::BackendState::STATE_RUNNING, activity.as_ptr()) }
}

/// Shows in pg_stat_activity that the process is idle.
pub fn report_idle() {
    // SAFETY: no string to copy.
    unsafe { pg_sys::pgstat_report_activity(pg_sys::BackendState::STATE_IDLE, std::ptr::null()) }
}

/// Has `work` run when this process ends, in whatever way but a crash. It must not fail.
pub fn at_exit(work: unsafe extern "C-unwind" fn(i32, Datum)) {
    // SAFETY: a callback for the life of the process, which never unloads the library.
    unsafe { pg_sys::before_shmem_exit(Some(work), Datum::null()) }
}

/// Whether another process waits for a lock that a transaction holds. `false` where there is no such process.
pub fn waits_for_lock(pid: i32) -> bool {
    // SAFETY: a process's entry stays where it is when the process ends. It is looked at without a lock, which may see a
    // moment that has passed.
    unsafe { pg_sys::BackendPidGetProc(pid).as_ref().is_some_and(|process| !process.waitLock.is_null()) }
}

/// When this process started, by the wall clock.
pub fn started_at() -> i64 {
    // SAFETY: set once when the process starts.
    unsafe { pg_sys::MyStartTimestamp }
}

/// A number that no other server has, and that the server keeps for as long as its data.
pub fn server_number() -> u64 {
    // SAFETY: read from the control file when the server started.
    unsafe { pg_sys::GetSystemIdentifier() }
}

/// A random number from above 0 to 1.
pub fn random() -> f64 {
    let bits = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), crate::pg::clock::now());
    ((bits >> 11) + 1) as f64 / (1_u64 << 53) as f64
}

/// This process's id.
pub fn id() -> i32 {
    // SAFETY: set once when the process starts.
    unsafe { pg_sys::MyProcPid }
}

/// Refuses settings under the prefix that nobody has defined.
#[cfg(not(feature = "pg14"))]
pub fn reserve_settings(prefix: &'static std::ffi::CStr) {
    // SAFETY: the string is copied.
    unsafe { pg_sys::MarkGUCPrefixReserved(prefix.as_ptr()) }
}

/// Warns of settings under the prefix that nobody has defined.
#[cfg(feature = "pg14")]
pub fn warn_of_unknown_settings(prefix: &'static std::ffi::CStr) {
    // SAFETY: the string is only read.
    unsafe { pg_sys::EmitWarningsOnPlaceholders(prefix.as_ptr()) }
}
