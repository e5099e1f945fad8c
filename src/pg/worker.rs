//! Starting background workers.

use pgrx::pg_sys::{self, Datum};

/// A worker that runs `function` of this library, and is not restarted when it ends.
fn describe(name: &str, function: &str, argument: Datum) -> pg_sys::BackgroundWorker {
    // SAFETY: all of the struct's fields may be zero; every needed one is set.
    let mut worker: pg_sys::BackgroundWorker = unsafe { std::mem::zeroed() };
    worker.bgw_flags = (pg_sys::BGWORKER_SHMEM_ACCESS | pg_sys::BGWORKER_BACKEND_DATABASE_CONNECTION) as i32;
    worker.bgw_start_time = pg_sys::BgWorkerStartTime::BgWorkerStart_RecoveryFinished;
    worker.bgw_restart_time = pg_sys::BGW_NEVER_RESTART;
    worker.bgw_main_arg = argument;
    put(&mut worker.bgw_name, name);
    put(&mut worker.bgw_type, name);
    put(&mut worker.bgw_library_name, "pg_stash");
    put(&mut worker.bgw_function_name, function);
    worker
}

/// Asks the postmaster for a worker. `false` where max_worker_processes leaves no room.
pub fn start(name: &str, function: &str, argument: Datum) -> bool {
    let mut worker = describe(name, function, argument);
    // SAFETY: the postmaster copies the struct.
    unsafe { pg_sys::RegisterDynamicBackgroundWorker(&mut worker, std::ptr::null_mut()) }
}

/// Has the postmaster, which is loading this library before it starts, run a worker once the server takes writes.
pub fn start_with_server(name: &str, function: &str) {
    let mut worker = describe(name, function, Datum::null());
    // SAFETY: the postmaster copies the struct.
    unsafe { pg_sys::RegisterBackgroundWorker(&mut worker) }
}

/// Copies a short name into a zeroed C buffer, which keeps a zero at its end.
fn put(buffer: &mut [std::ffi::c_char], text: &str) {
    let room = buffer.len() - 1;
    for (to, from) in buffer[..room].iter_mut().zip(text.bytes()) {
        *to = from as std::ffi::c_char;
    }
}
