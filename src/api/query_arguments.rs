//! From the JSON array that holds a query's parameters to values that PostgreSQL can read.

use std::ffi::CString;

use serde_json::Value as Json;

use crate::error::{Error, Result};
use crate::pg::datum::Jsonb;
use crate::pg::query::Query;

/// The text forms of a query's parameters, of which one is given for each in a JSON array; `None` for NULL.
///
/// Errors: [`Error::ArgsNotAnArray`], [`Error::ArgsCount`] (22023).
pub fn texts(args: &Option<Jsonb>, query: &Query) -> Result<Vec<Option<CString>>> {
    let args = match args {
        None => Vec::new(),
        Some(args) => {
            let text = args.as_varlena().json_to_text();
            match serde_json::from_slice(text.as_varlena().bytes()) {
                Ok(Json::Array(elements)) => elements,
                _ => return Err(Error::ArgsNotAnArray),
            }
        }
    };
    if args.len() != query.parameter_count() {
        return Err(Error::ArgsCount { given: args.len(), wanted: query.parameter_count() });
    }
    let text = |(parameter, arg): (usize, &Json)| match arg {
        Json::Null => None,
        Json::Array(elements) if query.is_array(parameter) => Some(array_text(elements)),
        Json::String(text) if !query.is_json(parameter) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    // JSON has no zero byte that jsonb would have let in.
    Ok(args.iter().enumerate().map(text).map(|text| text.map(|text| CString::new(text).unwrap_or_default())).collect())
}

/// An array in the text form that PostgreSQL reads.
fn array_text(elements: &[Json]) -> String {
    let element = |element: &Json| match element {
        Json::Null => "NULL".to_owned(),
        Json::Array(elements) => array_text(elements),
        Json::String(text) => quoted(text),
        other => quoted(&other.to_string()),
    };
    format!("{{{}}}", elements.iter().map(element).collect::<Vec<_>>().join(","))
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_are_written_as_postgresql_reads_them() {
        let elements: Json = serde_json::from_str(r#"[1, "a,b", "q\"\\", null, true, [1.50], {"k": "v"}]"#).unwrap();
        let expected = r#"{"1","a,b","q\"\\",NULL,"true",{"1.50"},"{\"k\":\"v\"}"}"#;
        assert_eq!(array_text(elements.as_array().unwrap()), expected);
    }
}
