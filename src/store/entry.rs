//! An entry as it lies in its row.

use crate::pg::clock;
use crate::pg::datum::{Tags, Varlena};
use crate::pg::heap::Cell;
use crate::pg::page::{AS_OF, TAGS, Version};
use crate::pg::slot::Row;
use crate::shared::Invalidations;
use crate::ttl;
use crate::value::Kind;

/// The columns of a cache's table, in this order. The expiry is first, where the sweep finds it without looking at the
/// rest; see `sql/entries.sql`.
pub const COLUMNS: [(&str, pgrx::pg_sys::Oid); 10] = [
    ("expires_at", pgrx::pg_sys::TIMESTAMPTZOID),
    ("key", pgrx::pg_sys::TEXTOID),
    ("value_text", pgrx::pg_sys::TEXTOID),
    ("value_json", pgrx::pg_sys::JSONBOID),
    ("value_bytes", pgrx::pg_sys::BYTEAOID),
    ("value_int", pgrx::pg_sys::INT8OID),
    ("fresh_until", pgrx::pg_sys::TIMESTAMPTZOID),
    ("as_of", pgrx::pg_sys::TIMESTAMPTZOID),
    ("tags", pgrx::pg_sys::TEXTARRAYOID),
    ("fill_micros", pgrx::pg_sys::INT8OID),
];
pub const EXPIRES_AT: i16 = 1;
pub const KEY: i16 = 2;
const VALUE_TEXT: i16 = 3;
const VALUE_JSON: i16 = 4;
const VALUE_BYTES: i16 = 5;
const VALUE_INT: i16 = 6;
const FRESH_UNTIL: i16 = 7;
const FILL_MICROS: i16 = 10;

/// What an entry depends on.
#[derive(Clone, Copy)]
pub struct Basis<'a> {
    /// A time at which the value was certainly current.
    pub as_of: i64,
    pub tags: Tags<'a>,
}

/// How long, and on what conditions, a value is good.
#[derive(Clone, Copy)]
pub struct Terms<'a> {
    /// [`ttl::NEVER`] for an entry that does not expire.
    pub expires_at: i64,
    /// Until when it needs no other value; `None`: until it expires.
    pub fresh_until: Option<i64>,
    /// `None` for an entry without tags.
    pub basis: Option<Basis<'a>>,
    /// How long it took to make the value, in microseconds, where that is known.
    pub fill_micros: Option<i64>,
}

impl Terms<'_> {
    /// Those of an entry that is good until it expires.
    pub fn until(expires_at: i64) -> Terms<'static> {
        Terms { expires_at, fresh_until: None, basis: None, fill_micros: None }
    }
}

/// What has become of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Live,
    Expired,
    Invalidated,
}

/// What decides on the state of entries, looked up once for many of them.
#[derive(Clone, Copy)]
pub struct Moment {
    pub now: i64,
    invalidations: Invalidations,
}

impl Moment {
    pub fn now() -> Moment {
        Moment { now: clock::now(), invalidations: Invalidations::known() }
    }

    /// The state of a version that is looked at under its page's lock.
    pub fn state_of(&self, version: &Version<'_>) -> State {
        let basis = || version.basis.map(|(as_of, tags)| Basis { as_of, tags });
        self.state(version.expires_at, basis, || version.writer)
    }

    fn state<'a>(
        &self,
        expires_at: i64,
        basis: impl FnOnce() -> Option<Basis<'a>>,
        writer: impl FnOnce() -> u32,
    ) -> State {
        if ttl::is_expired(expires_at, self.now) {
            return State::Expired;
        }
        match basis() {
            Some(basis) if !self.invalidations.know(writer()) || !self.spares(basis) => State::Invalidated,
            _ => State::Live,
        }
    }

    /// Whether nothing that the value depends on has changed since.
    pub fn spares(&self, basis: Basis<'_>) -> bool {
        basis.tags.each().is_some_and(|tags| self.invalidations.spare(basis.as_of, tags))
    }
}

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

    /// The transaction that wrote it.
    pub fn writer(self) -> u32 {
        self.0.writer()
    }

    /// Microseconds since 2000-01-01 UTC; [`ttl::NEVER`] for an entry that does not expire.
    pub fn expires_at(self) -> i64 {
        self.0.int64(EXPIRES_AT).expect("expires_at is never null")
    }

    pub fn state(self, moment: &Moment) -> State {
        moment.state(self.expires_at(), || self.basis(), || self.writer())
    }

    pub fn is_live(self, moment: &Moment) -> bool {
        self.state(moment) == State::Live
    }

    fn basis(self) -> Option<Basis<'a>> {
        let tags = Tags::stored(self.0.varlena(TAGS)?);
        // A time that somebody has removed by hand is as good as one before all others.
        Some(Basis { as_of: self.0.int64(AS_OF).unwrap_or(i64::MIN), tags })
    }

    pub fn terms(self) -> Terms<'a> {
        let (fresh_until, fill_micros) = (self.0.int64(FRESH_UNTIL), self.0.int64(FILL_MICROS));
        Terms { expires_at: self.expires_at(), fresh_until, basis: self.basis(), fill_micros }
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
pub fn cells<'a>(key: Varlena<'a>, value: Value<'a>, terms: &Terms<'a>) -> [Cell<'a>; COLUMNS.len()] {
    let mut cells = [Cell::Null; COLUMNS.len()];
    let mut put = |column: i16, cell| cells[column as usize - 1] = cell;
    put(EXPIRES_AT, Cell::Int64(terms.expires_at));
    put(KEY, Cell::Varlena(key));
    match value {
        Value::Text(varlena) => put(VALUE_TEXT, Cell::Varlena(varlena)),
        Value::Json(varlena) => put(VALUE_JSON, Cell::Varlena(varlena)),
        Value::Bytes(varlena) => put(VALUE_BYTES, Cell::Varlena(varlena)),
        Value::Int(int) => put(VALUE_INT, Cell::Int64(int)),
    }
    if let Some(fresh_until) = terms.fresh_until {
        put(FRESH_UNTIL, Cell::Int64(fresh_until));
    }
    if let Some(Basis { as_of, tags }) = terms.basis {
        put(AS_OF, Cell::Int64(as_of));
        put(TAGS, Cell::Varlena(tags.as_varlena()));
    }
    if let Some(micros) = terms.fill_micros {
        put(FILL_MICROS, Cell::Int64(micros));
    }
    cells
}
