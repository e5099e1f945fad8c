//! An entry as it lies in its row.

use crate::pg::datum::Varlena;
use crate::pg::heap::Cell;
use crate::pg::slot::Row;
use crate::ttl;
use crate::value::Kind;

/// The columns of a cache's table, in this order. The expiry is first, where the sweep finds it without looking at the
/// rest; see `sql/entries.sql`.
pub const COLUMNS: [(&str, pgrx::pg_sys::Oid); 6] = [
    ("expires_at", pgrx::pg_sys::TIMESTAMPTZOID),
    ("key", pgrx::pg_sys::TEXTOID),
    ("value_text", pgrx::pg_sys::TEXTOID),
    ("value_json", pgrx::pg_sys::JSONBOID),
    ("value_bytes", pgrx::pg_sys::BYTEAOID),
    ("value_int", pgrx::pg_sys::INT8OID),
];
pub const EXPIRES_AT: i16 = 1;
pub const KEY: i16 = 2;
const VALUE_TEXT: i16 = 3;
const VALUE_JSON: i16 = 4;
const VALUE_BYTES: i16 = 5;
const VALUE_INT: i16 = 6;

/// A value, borrowed from an argument or from its row.
#[derive(Clone, Copy)]
pub enum Value<'a> {
    Text(Varlena<'a>),
    Json(Varlena<'a>),
    Bytes(Varlena<'a>),
    Int(i64),
}

impl Value<'_> {
    pub fn kind(&self) -> Kind {
        match self {
            Value::Text(_) => Kind::Text,
            Value::Json(_) => Kind::Json,
            Value::Bytes(_) => Kind::Bytes,
            Value::Int(_) => Kind::Int,
        }
    }

    /// Size in bytes, uncompressed.
    pub fn size(&self) -> usize {
        match self {
            Value::Text(varlena) | Value::Json(varlena) | Value::Bytes(varlena) => varlena.size(),
            Value::Int(_) => size_of::<i64>(),
        }
    }

    /// Equality as SQL's `=` has it for the type; values of different types are different.
    pub fn equals(&self, other: &Value<'_>) -> bool {
        match (self, other) {
            (Value::Text(a), Value::Text(b)) | (Value::Bytes(a), Value::Bytes(b)) => a.bytes() == b.bytes(),
            (Value::Json(a), Value::Json(b)) => a.json_eq(*b),
            (Value::Int(a), Value::Int(b)) => a == b,
            _ => false,
        }
    }
}

/// An entry, borrowed from its row while the row's page is pinned.
#[derive(Clone, Copy)]
pub struct Entry<'a>(Row<'a>);

impl<'a> Entry<'a> {
    pub fn new(row: Row<'a>) -> Entry<'a> {
        Entry(row)
    }

    pub fn key(self) -> Varlena<'a> {
        self.0.varlena(KEY).expect("the primary key is never null")
    }

    /// Microseconds since 2000-01-01 UTC; [`ttl::NEVER`] for an entry that does not expire.
    pub fn expires_at(self) -> i64 {
        self.0.int64(EXPIRES_AT).expect("expires_at is never null")
    }

    pub fn is_expired(self, now: i64) -> bool {
        ttl::is_expired(self.expires_at(), now)
    }

    /// The table's CHECK constraint keeps exactly one of the value columns from being NULL.
    pub fn value(self) -> Value<'a> {
        let row = self.0;
        (row.varlena(VALUE_TEXT).map(Value::Text))
            .or_else(|| row.varlena(VALUE_JSON).map(Value::Json))
            .or_else(|| row.varlena(VALUE_BYTES).map(Value::Bytes))
            .or_else(|| row.int64(VALUE_INT).map(Value::Int))
            .expect("an entry has a value")
    }
}

/// The row of an entry.
pub fn cells<'a>(key: Varlena<'a>, value: Value<'a>, expires_at: i64) -> [Cell<'a>; COLUMNS.len()] {
    let mut cells = [Cell::Null; COLUMNS.len()];
    cells[EXPIRES_AT as usize - 1] = Cell::Int64(expires_at);
    cells[KEY as usize - 1] = Cell::Varlena(key);
    let (column, cell) = match value {
        Value::Text(varlena) => (VALUE_TEXT, Cell::Varlena(varlena)),
        Value::Json(varlena) => (VALUE_JSON, Cell::Varlena(varlena)),
        Value::Bytes(varlena) => (VALUE_BYTES, Cell::Varlena(varlena)),
        Value::Int(int) => (VALUE_INT, Cell::Int64(int)),
    };
    cells[column as usize - 1] = cell;
    cells
}
