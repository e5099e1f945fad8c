//! `get_many` and `set_many`. Every batch takes its keys in the order of their bytes, so that batches cannot deadlock
//! with each other.

use pgrx::iter::TableIterator;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{default, name, pg_extern};

use super::arguments::{self, Conditions, ValuesArgument};
use crate::error::{self, Error};
use crate::pg::acl::Privileges;
use crate::pg::array::{Array, ArrayBuilder};
use crate::pg::datum::{BigintArray, Bytea, ByteaArray, Interval, Jsonb, JsonbArray, Text, TextArray, Timestamptz};
use crate::store::{Change, Entry, Moment, Table, Value, modify};

/// So many keys are prepared for at one time, which the processor's caches have room for.
const LOOK_AHEAD: usize = 256;

/// The live entries among `keys`, each once, in the order of their keys.
///
/// Errors: as for `get`, and 22023 for an array of more than one dimension.
fn read_many<T>(
    keys: Option<TextArray>,
    cache: Option<&str>,
    copy: impl Fn(Entry<'_>) -> error::Result<T>,
) -> error::Result<Vec<(Text, T)>> {
    let mut keys = arguments::sorted_keys(&keys)?;
    keys.dedup_by(|(a, _), (b, _)| a.bytes() == b.bytes());
    let Some(mut table) = Table::open_for_read(arguments::cache(cache)?, Privileges::SELECT)? else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for keys in keys.chunks(LOOK_AHEAD) {
        pgrx::check_for_interrupts!();
        table.look_ahead(keys.iter().map(|(key, _)| key.bytes()));
        let moment = Moment::now();
        for (key, _) in keys {
            if let Some(entry) = table.get_at(*key, &moment) {
                found.push((key.to_text(), copy(entry)?));
            }
        }
    }
    Ok(found)
}

/// Stores each value under its key; of a repeated key the last. Returns the number of entries written.
///
/// Errors: as for `set`, and 22023 for arrays of different lengths or more than one dimension. An error stores nothing.
fn write_many<T: ValuesArgument>(
    keys: Option<TextArray>,
    vals: Option<T>,
    conditions: Conditions,
    cache: Option<&str>,
) -> error::Result<i64> {
    let mut keys = arguments::sorted_keys(&keys)?;
    let values = arguments::values(&vals, keys.len())?;
    // Equal keys stand in the order of their places: keep the last of each.
    keys.reverse();
    keys.dedup_by(|(a, _), (b, _)| a.bytes() == b.bytes());
    keys.reverse();
    let privileges = Privileges::INSERT.and(Privileges::UPDATE);
    let Some(mut table) = Table::open_for_write(arguments::cache(cache)?, privileges)? else {
        return Ok(keys.len() as i64);
    };
    let terms = conditions.terms(&table)?;
    for (key, place) in &keys {
        table.check_size(*key, &values[*place], terms.basis)?;
    }
    for keys in keys.chunks(LOOK_AHEAD) {
        table.look_ahead(keys.iter().map(|(key, _)| key.bytes()));
        for (key, place) in keys {
            modify(&mut table, *key, |_| Ok((Change::Put { value: values[*place], terms }, ())))?;
        }
    }
    Ok(keys.len() as i64)
}

/// The two functions for one type.
macro_rules! batches {
    ($form:ident, $array:ident, $get_many:ident, $set_many:ident) => {
        /// The live entries among the keys. Errors: see [`read_many`].
        #[pg_extern(parallel_restricted)]
        fn $get_many(
            keys: Option<TextArray>,
            cache: default!(Option<&str>, "'default'"),
        ) -> Result<TableIterator<'static, (name!(key, Text), name!(value, $form))>, ErrorReport> {
            Ok(TableIterator::new(read_many(keys, cache, arguments::read)?))
        }

        /// Stores many values. Errors: see [`write_many`].
        #[pg_extern(name = "set_many")]
        fn $set_many(
            keys: Option<TextArray>,
            vals: Option<$array>,
            ttl: default!(Option<Interval>, "NULL"),
            fresh: default!(Option<Interval>, "NULL"),
            tags: default!(Option<TextArray>, "NULL"),
            as_of: default!(Option<Timestamptz>, "NULL"),
            cache: default!(Option<&str>, "'default'"),
        ) -> Result<i64, ErrorReport> {
            Ok(write_many(keys, vals, Conditions { ttl, fresh, tags, as_of }, cache)?)
        }
    };
}

batches!(Text, TextArray, get_many, set_many_text);
batches!(Jsonb, JsonbArray, get_many_json, set_many_json);
batches!(Bytea, ByteaArray, get_many_bytes, set_many_bytes);

/// The values under the keys, in their order, as an array for each type; in each of them all else is NULL.
struct Columns {
    text: ArrayBuilder<TextArray>,
    json: ArrayBuilder<JsonbArray>,
    bytes: ArrayBuilder<ByteaArray>,
    int: ArrayBuilder<BigintArray>,
}

impl Columns {
    fn new() -> Columns {
        let (text, json) = (ArrayBuilder::new(), ArrayBuilder::new());
        Columns { text, json, bytes: ArrayBuilder::new(), int: ArrayBuilder::new() }
    }

    /// Adds the value under the key at this place. Error: [`Error::ArrayTooLarge`] (54000).
    fn add(&mut self, place: usize, value: Value<'_>) -> error::Result<()> {
        let is_too_large = match value {
            Value::Text(text) => self.text.padded(place).push(text).is_too_large(),
            Value::Json(json) => self.json.padded(place).push(json).is_too_large(),
            Value::Bytes(bytes) => self.bytes.padded(place).push(bytes).is_too_large(),
            Value::Int(int) => self.int.padded(place).push_int(int).is_too_large(),
        };
        if is_too_large { Err(Error::ArrayTooLarge) } else { Ok(()) }
    }
}

/// The array with as many elements as there are keys; `None` where there are no values of its type. Error:
/// [`Error::ArrayTooLarge`] (54000).
fn built<A: Array>(mut array: ArrayBuilder<A>, keys: usize) -> error::Result<Option<A>> {
    if array.is_empty() {
        return Ok(None);
    }
    if array.padded(keys).is_too_large() {
        return Err(Error::ArrayTooLarge);
    }
    Ok(Some(array.build()))
}

/// The values under the keys, in their order, in one row: an array for each type that there are values of, in which all
/// else is NULL. Errors: as for [`get_many`], but 42804, and 54000 values of more than 1 GB.
#[pg_extern(parallel_restricted)]
#[expect(clippy::type_complexity, reason = "the columns of the SQL function's result")]
fn get_many_any(
    keys: Option<TextArray>,
    cache: default!(Option<&str>, "'default'"),
) -> Result<
    TableIterator<
        'static,
        (
            name!(value_text, Option<TextArray>),
            name!(value_json, Option<JsonbArray>),
            name!(value_bytes, Option<ByteaArray>),
            name!(value_int, Option<BigintArray>),
        ),
    >,
    ErrorReport,
> {
    let keys = arguments::keys(&keys)?;
    let mut columns = Columns::new();
    if let Some(mut table) = Table::open_for_read(arguments::cache(cache)?, Privileges::SELECT)? {
        for (chunk, keys) in keys.chunks(LOOK_AHEAD).enumerate() {
            pgrx::check_for_interrupts!();
            table.look_ahead(keys.iter().map(|key| key.bytes()));
            let moment = Moment::now();
            for (place, key) in keys.iter().enumerate() {
                if let Some(entry) = table.get_at(*key, &moment) {
                    columns.add(chunk * LOOK_AHEAD + place, entry.value())?;
                }
            }
        }
    }
    let Columns { text, json, bytes, int } = columns;
    let count = keys.len();
    Ok(TableIterator::once((built(text, count)?, built(json, count)?, built(bytes, count)?, built(int, count)?)))
}
