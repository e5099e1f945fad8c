//! Tags that depend on a row: `order:{id}` stands for one tag for each value of the column `id`.

/// A part of a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    Literal(Vec<u8>),
    /// The name of a column.
    Column(Vec<u8>),
}

/// The parts of a tag. A brace without its partner stands for itself.
pub fn parse(tag: &[u8]) -> Vec<Part> {
    let (mut parts, mut rest) = (Vec::new(), tag);
    let position = |bytes: &[u8], byte| bytes.iter().position(|other| *other == byte);
    while let Some(open) = position(rest, b'{')
        && let Some(length) = position(&rest[open..], b'}')
    {
        let (literal, column) = (&rest[..open], &rest[open + 1..open + length]);
        if !literal.is_empty() {
            parts.push(Part::Literal(literal.to_vec()));
        }
        parts.push(Part::Column(column.to_vec()));
        rest = &rest[open + length + 1..];
    }
    if !rest.is_empty() {
        parts.push(Part::Literal(rest.to_vec()));
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(tag: &str) -> String {
        let show = |part: Part| match part {
            Part::Literal(text) => format!("[{}]", String::from_utf8(text).unwrap()),
            Part::Column(name) => format!("<{}>", String::from_utf8(name).unwrap()),
        };
        parse(tag.as_bytes()).into_iter().map(show).collect()
    }

    #[test]
    fn columns_stand_in_braces() {
        assert_eq!(shown("orders"), "[orders]");
        assert_eq!(shown("order:{id}"), "[order:]<id>");
        assert_eq!(shown("{a}{b c}/x"), "<a><b c>[/x]");
        assert_eq!(shown(""), "");
    }

    #[test]
    fn a_brace_alone_stands_for_itself() {
        assert_eq!(shown("a{b"), "[a{b]");
        assert_eq!(shown("a}b{c}{"), "[a}b]<c>[{]");
    }
}
