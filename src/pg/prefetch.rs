//! Rows on their way into the processor's caches, before they are fetched one after the other.

use std::ffi::c_char;
use std::mem::offset_of;

use pgrx::pg_sys;

use crate::pg::place::Place;

const BLOCK: usize = pg_sys::BLCKSZ as usize;
/// The start of each row is loaded, so many bytes of it; the processor goes on from there by itself.
const LINES: [usize; 3] = [0, 64, 128];
/// The bits of a line pointer that tell where in the page its row is.
const ROW_OFFSET: u32 = 0x7fff;

/// Loads rows at these places, each in the buffer that may still have its page. The loads of many rows are under way at the
/// same time, where fetches wait for one after the other.
pub fn load_rows(rows: impl Iterator<Item = (Place, i32)>) {
    let line_pointers = rows.filter_map(|(place, buffer)| {
        let page = page(buffer)?;
        let number = usize::from(place.offset).checked_sub(1)?;
        Some((page, load(page, offset_of!(pg_sys::PageHeaderData, pd_linp) + size_of::<u32>() * number)))
    });
    let line_pointers: Vec<_> = line_pointers.collect();
    for line in LINES {
        for (page, line_pointer) in &line_pointers {
            load(*page, (line_pointer & ROW_OFFSET) as usize + line);
        }
    }
}

/// The memory of a shared buffer.
fn page(buffer: i32) -> Option<*const c_char> {
    // SAFETY: so many shared buffers are there as long as the server runs.
    unsafe {
        (1..=pg_sys::NBuffers)
            .contains(&buffer)
            .then(|| pg_sys::BufferBlocks.add((buffer as usize - 1) * BLOCK).cast_const())
    }
}

/// Loads four bytes of a page. They may be changing: nothing is made of them but where to look next.
fn load(page: *const c_char, offset: usize) -> u32 {
    // SAFETY: the offset is brought within the page, and to a multiple of four.
    unsafe { page.add((offset % BLOCK) & !3).cast::<u32>().read_volatile() }
}
