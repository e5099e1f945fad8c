//! Shared memory without shared_preload_libraries: a small struct from the room that every server keeps to spare,
//! made by whichever process asks first, as contrib/pg_prewarm's autoprewarm does it, and dynamic memory for what is
//! larger, which the struct says where to find.

use std::ffi::CStr;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use pgrx::{PgTryBuilder, pg_sys};

/// Place of AddinShmemInitLock in the array of named locks: the same in PostgreSQL 14 to 18.
const ADDIN_SHMEM_INIT_LOCK: usize = 21;

/// The struct called `name`, which is all zeros when it is made. `None` where the server has no room for it.
///
/// # Safety
/// Every process asks for the same `T` under the same name, and all bytes zero is a valid `T` that is only changed
/// through atomics.
pub unsafe fn shared_struct<T>(name: &'static CStr) -> Option<&'static T> {
    one_at_a_time(|| {
        let mut found = false;
        // SAFETY: runs under the lock that serialises the first use; the memory has room for a T.
        unsafe {
            let address = pg_sys::ShmemInitStruct(name.as_ptr(), size_of::<T>(), &mut found).cast::<T>();
            if !found {
                address.write_bytes(0, 1);
            }
            // Shared memory lives as long as the process; per the contract the bytes are a valid T.
            address.as_ref()
        }
    })
}

/// Has the postmaster, which is loading this library before it starts, keep room for a `T`.
pub fn reserve<T>() {
    // SAFETY: called while libraries are being loaded; the hook that was there is called by the new one.
    unsafe {
        #[cfg(feature = "pg14")]
        pg_sys::RequestAddinShmemSpace(size_of::<T>());
        #[cfg(not(feature = "pg14"))]
        {
            request::BYTES.store(size_of::<T>(), Ordering::Relaxed);
            request::PREVIOUS.set(pg_sys::shmem_request_hook).ok();
            pg_sys::shmem_request_hook = Some(request::hook);
        }
    }
}

/// From PostgreSQL 15 on shared memory is asked for in a hook.
#[cfg(not(feature = "pg14"))]
mod request {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use pgrx::pg_sys;

    pub static BYTES: AtomicUsize = AtomicUsize::new(0);
    pub static PREVIOUS: OnceLock<pg_sys::shmem_request_hook_type> = OnceLock::new();

    #[pgrx::pg_guard]
    pub unsafe extern "C-unwind" fn hook() {
        // SAFETY: called by the postmaster when memory may be asked for.
        unsafe {
            if let Some(Some(previous)) = PREVIOUS.get() {
                previous();
            }
            pg_sys::RequestAddinShmemSpace(BYTES.load(Ordering::Relaxed));
        }
    }
}

/// Says where a piece of dynamic shared memory is. All zeros: it has not been made.
#[repr(C)]
pub struct DynamicMemory {
    handle: AtomicU32,
    cells: AtomicU64,
}

/// The cells that `memory` stands for. If they are made now there are `count` of them, zeros that are then shown to
/// `prepare`. They live as long as the server. `None` where the server has no memory for them.
pub fn dynamic_cells(
    memory: &DynamicMemory,
    count: usize,
    prepare: impl FnOnce(&'static [AtomicU64]),
) -> Option<&'static [AtomicU64]> {
    one_at_a_time(|| {
        // SAFETY: runs under the lock that serialises the first use. The segment is pinned, and mapped to the end of the
        // process; it has room for as many cells as were asked for when it was made.
        unsafe {
            let handle = memory.handle.load(Ordering::Relaxed);
            let segment = if handle == 0 {
                pg_sys::dsm_create(count * size_of::<AtomicU64>(), pg_sys::DSM_CREATE_NULL_IF_MAXSEGMENTS as i32)
            } else {
                pg_sys::dsm_attach(handle)
            };
            if segment.is_null() {
                return None;
            }
            pg_sys::dsm_pin_mapping(segment);
            let cells = pg_sys::dsm_segment_address(segment).cast::<AtomicU64>();
            if handle == 0 {
                cells.write_bytes(0, count);
                prepare(std::slice::from_raw_parts(cells, count));
                pg_sys::dsm_pin_segment(segment);
                memory.cells.store(count as u64, Ordering::Relaxed);
                memory.handle.store(pg_sys::dsm_segment_handle(segment), Ordering::Relaxed);
            }
            Some(std::slice::from_raw_parts(cells, memory.cells.load(Ordering::Relaxed) as usize))
        }
    })
}

/// Runs `work` under the lock for making shared memory. An error in it, which is for want of memory, becomes `None`.
fn one_at_a_time<R>(work: impl FnOnce() -> Option<R>) -> Option<R> {
    let mut work = Some(work);
    // SAFETY: the lock is released on both ways out. An error has reset the count of held-off interrupts, which
    // LWLockRelease takes one from; adding one keeps the count right.
    unsafe {
        let lock = &raw mut (*pg_sys::MainLWLockArray.add(ADDIN_SHMEM_INIT_LOCK)).lock;
        pg_sys::LWLockAcquire(lock, pg_sys::LWLockMode::LW_EXCLUSIVE);
        let result = PgTryBuilder::new(AssertUnwindSafe(|| work.take().and_then(|work| work())))
            .catch_others(|_| {
                pg_sys::InterruptHoldoffCount += 1;
                None
            })
            .execute();
        pg_sys::LWLockRelease(lock);
        result
    }
}
