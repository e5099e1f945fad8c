//! What a key may be.

use crate::error::{Error, Result};

/// Longest key in bytes. A btree index tuple has to fit a third of a page, and 1 KB is what other caches allow at most.
pub const MAX_KEY_BYTES: usize = 1024;

/// Checks a key's length in bytes. Error: [`Error::KeyLength`] (22023).
pub fn check_length(bytes: usize) -> Result<()> {
    match bytes {
        1..=MAX_KEY_BYTES => Ok(()),
        _ => Err(Error::KeyLength(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_1_to_1024_bytes() {
        assert!(check_length(0).is_err());
        assert!(check_length(1).is_ok());
        assert!(check_length(1024).is_ok());
        assert!(check_length(1025).is_err());
    }
}
