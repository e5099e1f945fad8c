//! Arrays of one dimension, put together element by element: each is copied once, from the page where it lies.

use std::marker::PhantomData;

use pgrx::pg_sys::{self, Datum, Oid};

use crate::pg::datum::Varlena;

/// Header and the one dimension; the elements, or the bitmap of NULLs, follow.
const HEADER: usize = size_of::<pg_sys::ArrayType>() + 2 * size_of::<i32>();
/// Elements start at a multiple of this, and each varlena at one of four.
const MAX_ALIGN: usize = align_of::<u64>();
/// PostgreSQL allocates no more in one piece.
const MAX_SIZE: usize = 0x3fff_ffff;

/// An SQL array type.
pub trait Array: Sized {
    const ELEMENT: Oid;

    /// # Safety
    /// The datum is an array of this type.
    unsafe fn from_datum(array: Datum) -> Self;
}

/// An array that is being made.
pub struct ArrayBuilder<A> {
    /// The elements that are not NULL, as they will lie in the array.
    data: Vec<u8>,
    is_null: Vec<bool>,
    kind: PhantomData<A>,
}

impl<A: Array> ArrayBuilder<A> {
    pub fn new() -> ArrayBuilder<A> {
        ArrayBuilder { data: Vec::new(), is_null: Vec::new(), kind: PhantomData }
    }

    /// The same after as many NULLs as it takes to have `count` elements.
    pub fn padded(&mut self, count: usize) -> &mut ArrayBuilder<A> {
        self.is_null.resize(count, true);
        self
    }

    /// Adds a varlena, whose type is that of the elements.
    pub fn push(&mut self, value: Varlena<'_>) -> &ArrayBuilder<A> {
        value.with_bytes(|bytes| {
            self.data.extend_from_slice(&varlena_header(bytes.len()));
            self.data.extend_from_slice(bytes);
        });
        self.data.resize(self.data.len().next_multiple_of(align_of::<i32>()), 0);
        self.is_null.push(false);
        self
    }

    /// Adds a bigint; all elements are such.
    pub fn push_int(&mut self, int: i64) -> &ArrayBuilder<A> {
        self.data.extend_from_slice(&int.to_ne_bytes());
        self.is_null.push(false);
        self
    }

    /// Whether all elements are NULL.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// Whether it is larger than PostgreSQL can allocate.
    pub fn is_too_large(&self) -> bool {
        self.start(true) + self.data.len() > MAX_SIZE
    }

    /// Where the elements start in the array.
    fn start(&self, has_nulls: bool) -> usize {
        let bitmap = if has_nulls { self.is_null.len().div_ceil(8) } else { 0 };
        (HEADER + bitmap).next_multiple_of(MAX_ALIGN)
    }

    /// The array, in the current memory context. It has an element, and is not too large.
    pub fn build(self) -> A {
        let has_nulls = self.is_null.contains(&true);
        let start = self.start(has_nulls);
        let size = start + self.data.len();
        // SAFETY: the memory is of this size and zeroed. The header is written as an array's has it, the bitmap lies
        // between it and the elements, and these fill the rest.
        unsafe {
            let array = pg_sys::palloc0(size).cast::<pg_sys::ArrayType>();
            pgrx::varlena::set_varsize_4b(array.cast(), size as i32);
            (*array).ndim = 1;
            (*array).dataoffset = if has_nulls { start as i32 } else { 0 };
            (*array).elemtype = A::ELEMENT;
            let dimension = array.add(1).cast::<i32>();
            *dimension = self.is_null.len() as i32;
            *dimension.add(1) = 1;
            let bits = array.cast::<u8>().add(HEADER);
            for place in (0..self.is_null.len()).filter(|place| has_nulls && !self.is_null[*place]) {
                *bits.add(place / 8) |= 1 << (place % 8);
            }
            array.cast::<u8>().add(start).copy_from_nonoverlapping(self.data.as_ptr(), self.data.len());
            A::from_datum(Datum::from(array))
        }
    }
}

/// The header of a plain varlena of so many bytes.
fn varlena_header(bytes: usize) -> [u8; pg_sys::VARHDRSZ] {
    let size = (bytes + pg_sys::VARHDRSZ) as u32;
    if cfg!(target_endian = "big") { size } else { size << 2 }.to_ne_bytes()
}
