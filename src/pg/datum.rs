//! SQL values as they come and go: raw datums behind types, never parsed and copied at most once.

use std::marker::PhantomData;

use pgrx::callconv::{Arg, ArgAbi, BoxRet, FcInfo};
use pgrx::datum::{Datum as BoxedDatum, FromDatum, IntoDatum};
use pgrx::pg_sys::{self, Datum};
use pgrx::pgrx_sql_entity_graph::metadata::{
    ArgumentError, ReturnsError, ReturnsRef, SqlMappingRef, SqlTranslatable, TypeOrigin,
};

use crate::pg::array::{Array, ArrayBuilder};
use crate::ttl::Ttl;
use pgrx::varlena::{varatt_is_1b, varatt_is_1b_e, varatt_is_4b_u};

/// Calls one of PostgreSQL's own functions, which needs no look-up, collation or memory of earlier calls.
///
/// # Safety
/// The arguments are of the function's types, and it returns NULL for none such.
unsafe fn call(function: unsafe fn(pg_sys::FunctionCallInfo) -> Datum, arguments: &[Datum]) -> Datum {
    let arguments: Vec<Option<Datum>> = arguments.iter().copied().map(Some).collect();
    // SAFETY: per the contract.
    unsafe { pgrx::direct_function_call_as_datum(function, &arguments) }.expect("not null for arguments that are not")
}

/// Declares a type that stands for an SQL type in a function's signature and holds the datum as it is.
macro_rules! sql_datum {
    ($(#[$doc:meta])* $name:ident, $sql:literal, $oid:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub struct $name(Datum);

        // SAFETY: the type is passed as the SQL type it names, and the datum is not interpreted on the way.
        unsafe impl SqlTranslatable for $name {
            const TYPE_IDENT: &'static str = pgrx::pgrx_resolved_type!($name);
            const TYPE_ORIGIN: TypeOrigin = TypeOrigin::External;
            const ARGUMENT_SQL: Result<SqlMappingRef, ArgumentError> = Ok(SqlMappingRef::literal($sql));
            const RETURN_SQL: Result<ReturnsRef, ReturnsError> = Ok(ReturnsRef::One(SqlMappingRef::literal($sql)));
        }

        // SAFETY: PostgreSQL passes a datum of the declared SQL type.
        unsafe impl<'fcx> ArgAbi<'fcx> for $name {
            unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
                // SAFETY: called for an argument that is not null, per the trait.
                $name(unsafe { arg.unbox_arg_using_from_datum::<Datum>() }.expect("argument is not null"))
            }
        }

        // SAFETY: the datum is of the declared SQL type and lives in the caller's memory context.
        unsafe impl BoxRet for $name {
            unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> BoxedDatum<'fcx> {
                // SAFETY: as above.
                unsafe { fcinfo.return_raw_datum(self.0) }
            }
        }

        impl FromDatum for $name {
            unsafe fn from_polymorphic_datum(datum: Datum, is_null: bool, _: pg_sys::Oid) -> Option<Self> {
                (!is_null).then_some($name(datum))
            }
        }

        impl IntoDatum for $name {
            fn into_datum(self) -> Option<Datum> {
                Some(self.0)
            }

            fn type_oid() -> pg_sys::Oid {
                $oid
            }
        }
    };
}

sql_datum!(/// A text.
    Text, "text", pg_sys::TEXTOID);
sql_datum!(/// A jsonb.
    Jsonb, "jsonb", pg_sys::JSONBOID);
sql_datum!(/// A bytea.
    Bytea, "bytea", pg_sys::BYTEAOID);
sql_datum!(/// A text[].
    TextArray, "text[]", pg_sys::TEXTARRAYOID);
sql_datum!(/// A jsonb[].
    JsonbArray, "jsonb[]", pg_sys::JSONBARRAYOID);
sql_datum!(/// A bytea[].
    ByteaArray, "bytea[]", pg_sys::BYTEAARRAYOID);
sql_datum!(/// A bigint[].
    BigintArray, "bigint[]", pg_sys::INT8ARRAYOID);
sql_datum!(/// An interval.
    Interval, "interval", pg_sys::INTERVALOID);
sql_datum!(/// A timestamptz.
    Timestamptz, "timestamptz", pg_sys::TIMESTAMPTZOID);

impl Text {
    pub fn as_varlena(&self) -> Varlena<'_> {
        Varlena(self.0, PhantomData)
    }

    /// A new text in the current memory context.
    pub fn new(text: &str) -> Text {
        Text::from_bytes(text.as_bytes())
    }

    /// The same from bytes that are text in the database's encoding.
    pub fn from_bytes(text: &[u8]) -> Text {
        // SAFETY: the pointer and length are of one allocation; the function copies.
        Text(Datum::from(unsafe { pg_sys::cstring_to_text_with_len(text.as_ptr().cast(), text.len() as i32) }))
    }
}

impl Jsonb {
    pub fn as_varlena(&self) -> Varlena<'_> {
        Varlena(self.0, PhantomData)
    }
}

impl Jsonb {
    /// A new jsonb from its text form. Raises 22P02 and 54000 where it is none.
    pub fn parse(json: &str) -> Jsonb {
        let json = std::ffi::CString::new(json).unwrap_or_default();
        // SAFETY: the function takes a C string and returns a jsonb in this memory context.
        Jsonb(unsafe { call(pg_sys::jsonb_in, &[Datum::from(json.as_ptr())]) })
    }
}

impl Bytea {
    /// The SHA-256 of some bytes.
    pub fn sha256(bytes: &[u8]) -> Bytea {
        // SAFETY: the function takes a bytea and returns another.
        Bytea(unsafe { call(pg_sys::sha256_bytea, &[Bytea::new(bytes).0]) })
    }

    /// A new bytea in the current memory context; as a varlena, it is one of any type that has these bytes.
    pub fn new(bytes: &[u8]) -> Bytea {
        // A text and a bytea are laid out in the same way.
        Bytea(Text::from_bytes(bytes).0)
    }

    pub fn as_varlena(&self) -> Varlena<'_> {
        Varlena(self.0, PhantomData)
    }
}

impl Interval {
    pub fn new(ttl: Ttl) -> Interval {
        // SAFETY: palloc'd memory of the right size, filled before use.
        unsafe {
            let interval = pg_sys::palloc(size_of::<pg_sys::Interval>()).cast::<pg_sys::Interval>();
            interval.write(pg_sys::Interval { time: ttl.micros, day: ttl.days, month: ttl.months });
            Interval(Datum::from(interval))
        }
    }

    /// The datum for a call of one of PostgreSQL's own functions.
    pub(in crate::pg) fn datum(&self) -> Datum {
        self.0
    }

    /// A span of microseconds, shown in days and hours.
    pub fn from_micros(micros: i64) -> Interval {
        let span = Interval::new(Ttl { months: 0, days: 0, micros });
        // SAFETY: the function takes one interval and returns another.
        Interval(unsafe { call(pg_sys::interval_justify_hours, &[span.0]) })
    }

    /// # Safety
    /// `datum` is an interval that lives as long as the result is used.
    pub(in crate::pg) unsafe fn from_raw(datum: Datum) -> Interval {
        Interval(datum)
    }

    pub fn ttl(&self) -> Ttl {
        // SAFETY: the datum is an interval, which is fixed-width and passed by reference.
        let interval = unsafe { &*self.0.cast_mut_ptr::<pg_sys::Interval>() };
        Ttl { months: interval.month, days: interval.day, micros: interval.time }
    }
}

impl Timestamptz {
    pub fn micros(self) -> i64 {
        self.0.value() as i64
    }

    pub fn new(micros: i64) -> Timestamptz {
        Timestamptz(Datum::from(micros))
    }
}

/// A variable-length value that is borrowed: from an argument, or from a row that is still pinned.
#[derive(Clone, Copy)]
pub struct Varlena<'a>(Datum, PhantomData<&'a ()>);

impl<'a> Varlena<'a> {
    /// # Safety
    /// `datum` is a varlena that lives at least for `'a`.
    pub(in crate::pg) unsafe fn new(datum: Datum) -> Varlena<'a> {
        Varlena(datum, PhantomData)
    }

    pub(in crate::pg) fn datum(self) -> Datum {
        self.0
    }

    /// The size that a text such as '256 MB' names, in bytes. Raises 22023 where it names none.
    pub fn size_in_bytes(self) -> i64 {
        // SAFETY: the function takes a text and returns a bigint.
        unsafe { call(pg_sys::pg_size_bytes, &[self.0]) }.value() as i64
    }

    /// Size in bytes of the value itself: uncompressed, without its header.
    pub fn size(self) -> usize {
        // SAFETY: a varlena; the function looks at headers only.
        unsafe { pg_sys::toast_raw_datum_size(self.0) - pg_sys::VARHDRSZ }
    }

    /// The value with its compression and out-of-line storage undone. Copies only where there was any.
    pub fn plain(self) -> Varlena<'a> {
        // SAFETY: a varlena; its first byte tells.
        let is_plain = unsafe {
            let varlena = self.0.cast_mut_ptr::<pg_sys::varlena>();
            varatt_is_4b_u(varlena) || (varatt_is_1b(varlena) && !varatt_is_1b_e(varlena))
        };
        if is_plain {
            return self;
        }
        // SAFETY: a varlena. What has to be detoasted is allocated in the current memory context, which outlives the
        // call that borrows it.
        Varlena(Datum::from(unsafe { pg_sys::pg_detoast_datum_packed(self.0.cast_mut_ptr()) }), PhantomData)
    }

    /// The bytes of a plain value.
    pub fn bytes(self) -> &'a [u8] {
        // SAFETY: a varlena that `plain` has made readable, alive for 'a.
        unsafe {
            let varlena = self.plain().0.cast_mut_ptr::<pg_sys::varlena>();
            std::slice::from_raw_parts(
                pgrx::varlena::vardata_any(varlena).cast::<u8>(),
                pgrx::varlena::varsize_any_exhdr(varlena),
            )
        }
    }

    /// Shows the bytes of the value, and frees what had to be allocated for that.
    pub fn with_bytes<R>(self, look: impl FnOnce(&[u8]) -> R) -> R {
        let plain = self.plain();
        let result = look(plain.bytes());
        if plain.0.value() != self.0.value() {
            // SAFETY: a copy that `plain` has allocated, and nothing refers to any more.
            unsafe { pg_sys::pfree(plain.0.cast_mut_ptr()) };
        }
        result
    }

    /// The bytes as text for a message.
    pub fn to_message(self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }

    /// A copy of its own, in the current memory context.
    fn copied(self) -> Datum {
        // SAFETY: a varlena; always copies.
        Datum::from(unsafe { pg_sys::pg_detoast_datum_copy(self.0.cast_mut_ptr()) })
    }

    pub fn to_text(self) -> Text {
        Text(self.copied())
    }

    pub fn to_jsonb(self) -> Jsonb {
        Jsonb(self.copied())
    }

    pub fn to_bytea(self) -> Bytea {
        Bytea(self.copied())
    }

    /// A jsonb's text form.
    pub fn json_to_text(self) -> Text {
        // SAFETY: the caller's value is a jsonb; the output function returns a C string in this memory context.
        unsafe {
            let out = call(pg_sys::jsonb_out, &[self.0]);
            Text(Datum::from(pg_sys::cstring_to_text(out.cast_mut_ptr())))
        }
    }

    /// Equality of two jsonb values.
    pub fn json_eq(self, other: Varlena<'_>) -> bool {
        // SAFETY: both values are jsonb.
        unsafe { call(pg_sys::jsonb_eq, &[self.0, other.0]) }.value() & 0xff != 0
    }
}

/// A row as a JSON object.
///
/// # Safety
/// The datum is a row with its type.
pub(in crate::pg) unsafe fn json_of_row(row: Datum) -> String {
    // SAFETY: the function takes a row and returns a text in this memory context.
    let json = unsafe { Varlena::new(call(pg_sys::row_to_json, &[row])) };
    json.to_message()
}

/// Tags as they are stored: a text[] of one dimension without NULLs, plain.
#[derive(Clone, Copy)]
pub struct Tags<'a>(Varlena<'a>);

impl<'a> Tags<'a> {
    /// A new array in the current memory context.
    pub fn new(tags: &[Varlena<'a>]) -> Tags<'a> {
        let mut array = ArrayBuilder::<TextArray>::new();
        for tag in tags {
            array.push(*tag);
        }
        Tags(Varlena(array.build().0, PhantomData))
    }

    /// The same of tags that do not live as long as it, for they are copied.
    pub fn copied(tags: &[Varlena<'_>]) -> Tags<'a> {
        Tags(Varlena(Tags::new(tags).0.0, PhantomData))
    }

    /// Tags from a row.
    pub fn stored(array: Varlena<'a>) -> Tags<'a> {
        Tags(array)
    }

    pub fn as_varlena(self) -> Varlena<'a> {
        self.0
    }

    /// The tags one by one. `None` where the array is not as it was written, for which somebody has to have changed the
    /// table by hand. Calls nothing, so that it can be used under a page's lock.
    pub fn each(self) -> Option<impl Iterator<Item = &'a [u8]>> {
        const HEADER: usize = size_of::<pg_sys::ArrayType>() + 2 * size_of::<i32>();
        let array = self.0.0.cast_mut_ptr::<pg_sys::varlena>();
        // SAFETY: a varlena that is an array. Its header is read if it is plain, and its elements if there is one dimension
        // and no bitmap of NULLs; they lie one behind the other, each aligned to four bytes.
        unsafe {
            let size = varatt_is_4b_u(array).then(|| pgrx::varlena::varsize_4b(array))?;
            let header = array.cast::<pg_sys::ArrayType>();
            if size < HEADER || (*header).ndim != 1 || (*header).dataoffset != 0 {
                return None;
            }
            let count = *header.add(1).cast::<i32>();
            let mut offset = HEADER.next_multiple_of(align_of::<u64>());
            Some((0..count).map(move |_| {
                let element = array.cast::<u8>().add(offset).cast::<pg_sys::varlena>();
                offset = (offset + pgrx::varlena::varsize_any(element)).next_multiple_of(align_of::<i32>());
                let text = pgrx::varlena::vardata_any(element).cast::<u8>();
                std::slice::from_raw_parts(text, pgrx::varlena::varsize_any_exhdr(element))
            }))
        }
    }
}

/// Lets an array be built.
macro_rules! array {
    ($name:ident, $element:expr) => {
        impl Array for $name {
            const ELEMENT: pg_sys::Oid = $element;

            unsafe fn from_datum(array: Datum) -> $name {
                $name(array)
            }
        }
    };
}

/// The elements of a one-dimensional array; `None` for a NULL. `None` as a whole: more than one dimension.
macro_rules! array_elements {
    ($name:ident, $element:expr) => {
        array!($name, $element);

        impl $name {
            pub fn elements(&self) -> Option<Vec<Option<Varlena<'_>>>> {
                // SAFETY: the datum is an array of this element type, which is a varlena.
                unsafe { varlena_elements(self.0, $element) }
            }
        }
    };
}

array_elements!(TextArray, pg_sys::TEXTOID);
array_elements!(JsonbArray, pg_sys::JSONBOID);
array_elements!(ByteaArray, pg_sys::BYTEAOID);
array!(BigintArray, pg_sys::INT8OID);

/// # Safety
/// `array` is an array whose elements are varlenas (alignment int) of type `element`.
unsafe fn varlena_elements<'a>(array: Datum, element: pg_sys::Oid) -> Option<Vec<Option<Varlena<'a>>>> {
    // SAFETY: per the contract; the detoasted copy and the arrays live in the current memory context.
    unsafe {
        let array = pg_sys::pg_detoast_datum(array.cast_mut_ptr()).cast::<pg_sys::ArrayType>();
        match (*array).ndim {
            0 => return Some(Vec::new()),
            1 => {}
            _ => return None,
        }
        let (mut datums, mut nulls, mut count) = (std::ptr::null_mut(), std::ptr::null_mut(), 0);
        let align = pg_sys::TYPALIGN_INT as std::ffi::c_char;
        pg_sys::deconstruct_array(array, element, -1, false, align, &mut datums, &mut nulls, &mut count);
        let element = |i: usize| (!*nulls.add(i)).then(|| Varlena::new(*datums.add(i)));
        Some((0..count as usize).map(element).collect())
    }
}
