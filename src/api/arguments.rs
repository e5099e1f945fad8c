//! From arguments that may be anything to ones that can be worked with.

use crate::error::{Error, Result};
use crate::key;
use crate::pg::datum::{Bytea, ByteaArray, Interval, Jsonb, JsonbArray, Tags, Text, TextArray, Timestamptz, Varlena};
use crate::shared;
use crate::store::{Basis, Entry, Table, Terms, Value};
use crate::value::Form;

/// The key of a call, detoasted and of a length that a key may have.
///
/// Errors: [`Error::NullKey`] (22004), [`Error::KeyLength`] (22023).
pub fn key(key: &Option<Text>) -> Result<Varlena<'_>> {
    checked_key(key.as_ref().map(Text::as_varlena))
}

fn checked_key(key: Option<Varlena<'_>>) -> Result<Varlena<'_>> {
    let key = key.ok_or(Error::NullKey)?.plain();
    key::check_length(key.bytes().len())?;
    Ok(key)
}

/// The keys of a batch.
///
/// Errors: as for [`key`], and [`Error::ArrayDimensions`] (22023).
pub fn keys(keys: &Option<TextArray>) -> Result<Vec<Varlena<'_>>> {
    let elements = keys.as_ref().ok_or(Error::NullArgument("keys"))?.elements();
    elements.ok_or(Error::ArrayDimensions("keys"))?.into_iter().map(checked_key).collect()
}

/// The keys of a batch, each with its place in the array, in the order of their bytes.
///
/// Errors: as for [`keys`].
pub fn sorted_keys(keys: &Option<TextArray>) -> Result<Vec<(Varlena<'_>, usize)>> {
    let mut keys: Vec<_> = self::keys(keys)?.into_iter().enumerate().map(|(place, key)| (key, place)).collect();
    keys.sort_by(|(a, a_place), (b, b_place)| a.bytes().cmp(b.bytes()).then(a_place.cmp(b_place)));
    Ok(keys)
}

/// The name of the cache.
pub fn cache(cache: Option<&str>) -> Result<&str> {
    cache.ok_or(Error::NullArgument("cache"))
}

/// An argument that holds a value.
pub trait ValueArgument {
    fn value(&self) -> Value<'_>;
}

impl ValueArgument for Text {
    fn value(&self) -> Value<'_> {
        Value::Text(self.as_varlena())
    }
}

impl ValueArgument for Jsonb {
    fn value(&self) -> Value<'_> {
        Value::Json(self.as_varlena())
    }
}

impl ValueArgument for Bytea {
    fn value(&self) -> Value<'_> {
        Value::Bytes(self.as_varlena())
    }
}

impl ValueArgument for i64 {
    fn value(&self) -> Value<'_> {
        Value::Int(*self)
    }
}

/// The value of a call. Error: [`Error::NullValue`] (22004).
pub fn value<T: ValueArgument>(value: &Option<T>) -> Result<Value<'_>> {
    value.as_ref().map(T::value).ok_or(Error::NullValue)
}

/// An argument that holds the values of a batch.
pub trait ValuesArgument {
    /// `None`: more than one dimension.
    fn values(&self) -> Option<Vec<Option<Value<'_>>>>;
}

macro_rules! values_argument {
    ($array:ident, $variant:ident) => {
        impl ValuesArgument for $array {
            fn values(&self) -> Option<Vec<Option<Value<'_>>>> {
                Some(self.elements()?.into_iter().map(|element| element.map(Value::$variant)).collect())
            }
        }
    };
}

values_argument!(TextArray, Text);
values_argument!(JsonbArray, Json);
values_argument!(ByteaArray, Bytes);

/// The values of a batch of `count` keys.
///
/// Errors: [`Error::NullValue`] (22004), [`Error::ArrayDimensions`], [`Error::ArrayLengths`] (22023).
pub fn values<T: ValuesArgument>(vals: &Option<T>, count: usize) -> Result<Vec<Value<'_>>> {
    let values = vals.as_ref().ok_or(Error::NullArgument("vals"))?.values();
    let values = values.ok_or(Error::ArrayDimensions("vals"))?;
    if values.len() != count {
        return Err(Error::ArrayLengths { keys: count, vals: values.len() });
    }
    values.into_iter().map(|value| value.ok_or(Error::NullValue)).collect()
}

/// The tags of a call; `None` for an entry without.
///
/// Errors: [`Error::NullTag`] (22004), [`Error::EmptyTag`], [`Error::ArrayDimensions`] (22023).
pub fn tags(tags: &Option<TextArray>) -> Result<Option<Tags<'_>>> {
    let Some(tags) = tags else { return Ok(None) };
    let tags = tags.elements().ok_or(Error::ArrayDimensions("tags"))?;
    let tags = tags.into_iter().map(tag).collect::<Result<Vec<_>>>()?;
    Ok((!tags.is_empty()).then(|| Tags::new(&tags)))
}

/// A tag that is not NULL and not empty.
pub fn tag(tag: Option<Varlena<'_>>) -> Result<Varlena<'_>> {
    let tag = tag.ok_or(Error::NullTag)?.plain();
    if tag.bytes().is_empty() { Err(Error::EmptyTag) } else { Ok(tag) }
}

/// How long a value is good, and what it depends on, as a call says it.
#[derive(Clone, Copy)]
pub struct Conditions {
    pub ttl: Option<Interval>,
    pub fresh: Option<Interval>,
    pub tags: Option<TextArray>,
    pub as_of: Option<Timestamptz>,
}

impl Conditions {
    /// The terms of a value written now. A value is of the transaction's start if nothing else is said.
    ///
    /// Errors: as for [`Table::terms`] and [`tags`], and [`Error::AsOfInFuture`] (22023).
    pub fn terms(&self, table: &Table) -> Result<Terms<'_>> {
        let terms = table.terms(self.ttl, self.fresh)?;
        let as_of = match self.as_of.map(Timestamptz::micros) {
            Some(as_of) if shared::as_of_now().is_some_and(|now| as_of > now) => return Err(Error::AsOfInFuture),
            as_of => as_of,
        };
        let basis = tags(&self.tags)?.map(|tags| Basis {
            tags,
            // Where that cannot be told, it is not current.
            as_of: as_of.or_else(shared::as_of_start).unwrap_or(i64::MIN),
        });
        Ok(Terms { basis, ..terms })
    }
}

/// A span of time in microseconds, a hundred years at most.
///
/// Errors: [`Error::NullArgument`] (22004), [`Error::TimeSpan`] (22023).
pub fn time_span(name: &'static str, span: Option<Interval>, may_be_zero: bool) -> Result<i64> {
    let ttl = span.ok_or(Error::NullArgument(name))?.ttl();
    let days = i64::from(ttl.months) * 30 + i64::from(ttl.days);
    let micros = days.saturating_mul(DAY).saturating_add(ttl.micros);
    if micros < 0 || (micros == 0 && !may_be_zero) {
        return Err(Error::TimeSpan { name, may_be_zero });
    }
    Ok(micros.min(LONGEST_SPAN_DAYS * DAY))
}

const DAY: i64 = 86_400_000_000;
const LONGEST_SPAN_DAYS: i64 = 36_500;

/// A form in which values are returned.
pub trait Returned: Sized {
    const FORM: Form;

    /// A copy of a value whose type is readable in this form.
    fn copied(value: Value<'_>) -> Self;
}

impl Returned for Text {
    const FORM: Form = Form::Text;

    fn copied(value: Value<'_>) -> Text {
        match value {
            Value::Text(text) | Value::Bytes(text) => text.to_text(),
            Value::Json(json) => json.json_to_text(),
            Value::Int(int) => Text::new(&int.to_string()),
        }
    }
}

impl Returned for Jsonb {
    const FORM: Form = Form::Json;

    fn copied(value: Value<'_>) -> Jsonb {
        match value {
            Value::Json(json) => json.to_jsonb(),
            _ => unreachable!("read() lets only jsonb through"),
        }
    }
}

impl Returned for Bytea {
    const FORM: Form = Form::Bytes;

    fn copied(value: Value<'_>) -> Bytea {
        match value {
            Value::Bytes(bytes) => bytes.to_bytea(),
            _ => unreachable!("read() lets only bytea through"),
        }
    }
}

/// A value in the column of its type; the others are NULL.
pub struct AnyForm {
    pub text: Option<Text>,
    pub json: Option<Jsonb>,
    pub bytes: Option<Bytea>,
    pub int: Option<i64>,
}

impl AnyForm {
    pub const NONE: AnyForm = AnyForm { text: None, json: None, bytes: None, int: None };

    /// A copy of an entry's value.
    pub fn copied(entry: Entry<'_>) -> AnyForm {
        match entry.value() {
            Value::Text(text) => AnyForm { text: Some(text.to_text()), ..AnyForm::NONE },
            Value::Json(json) => AnyForm { json: Some(json.to_jsonb()), ..AnyForm::NONE },
            Value::Bytes(bytes) => AnyForm { bytes: Some(bytes.to_bytea()), ..AnyForm::NONE },
            Value::Int(int) => AnyForm { int: Some(int), ..AnyForm::NONE },
        }
    }
}

/// An entry's value in the form that the caller asked for. Error: [`Error::WrongForm`] (42804).
pub fn read<T: Returned>(entry: Entry<'_>) -> Result<T> {
    let value = entry.value();
    if value.kind().readable_as(T::FORM) {
        Ok(T::copied(value))
    } else {
        Err(Error::WrongForm { key: entry.key().to_message(), stored: value.kind(), wanted: T::FORM })
    }
}
