//! The four types that a value can have, and the forms in which each can be read.

use std::fmt;

/// Type of a stored value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    Json,
    Bytes,
    Int,
}

impl Kind {
    /// The function that reads a value of this type as it was stored.
    pub fn reader(self) -> &'static str {
        match self {
            Kind::Text | Kind::Int => "cache.get()",
            Kind::Json => "cache.get_json()",
            Kind::Bytes => "cache.get_bytes()",
        }
    }

    /// Whether a value of this type can be read in `form`.
    pub fn readable_as(self, form: Form) -> bool {
        match form {
            Form::Text => self != Kind::Bytes,
            Form::Json => self == Kind::Json,
            Form::Bytes => self == Kind::Bytes,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Text => "text",
            Kind::Json => "jsonb",
            Kind::Bytes => "bytea",
            Kind::Int => "bigint",
        })
    }
}

/// Form in which a reader returns values: `get`, `get_json`, `get_bytes` and their families.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Text,
    Json,
    Bytes,
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Form::Text => "text",
            Form::Json => "jsonb",
            Form::Bytes => "bytea",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_reads_all_but_bytea_and_the_others_only_themselves() {
        let readable = |form| [Kind::Text, Kind::Json, Kind::Bytes, Kind::Int].map(|kind| kind.readable_as(form));
        assert_eq!(readable(Form::Text), [true, true, false, true]);
        assert_eq!(readable(Form::Json), [false, true, false, false]);
        assert_eq!(readable(Form::Bytes), [false, false, true, false]);
    }
}
