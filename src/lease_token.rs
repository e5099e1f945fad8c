//! What a client holds of a lease: the record that [`claim`](crate::api) gives out and `fill` takes back.
//!
//! It tells everything that a fill needs, and a sum over it with a number of the server's, so that a token that has been cut,
//! mistyped or taken from elsewhere is noticed. Whoever may fill may also set, so it has no secret to keep.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde::{Deserialize, Serialize};

/// Format of the record.
const VERSION: u8 = 1;
const SUM_BYTES: usize = size_of::<u64>();

/// The record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseToken<'a> {
    version: u8,
    pub database: u32,
    #[serde(borrow)]
    pub cache: &'a str,
    #[serde(borrow)]
    pub key: &'a [u8],
    /// Tells the lease from all others. Also the time of the claim.
    pub number: i64,
    /// A time at which what is read after the claim is certainly current.
    pub as_of: i64,
    /// The transaction that wrote the stale value that was there.
    pub seen: Option<u32>,
}

impl<'a> LeaseToken<'a> {
    pub fn new(database: u32, cache: &'a str, key: &'a [u8], number: i64, as_of: i64, seen: Option<u32>) -> Self {
        LeaseToken { version: VERSION, database, cache, key, number, as_of, seen }
    }

    /// `server` is a number that no other server has.
    pub fn encode(&self, server: u64) -> Vec<u8> {
        let mut bytes = postcard::to_allocvec(self).expect("a vector takes in any record");
        let sum = sum(server, &bytes);
        bytes.extend_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// `None` where it is not a token of this server and this version.
    pub fn decode(bytes: &'a [u8], server: u64) -> Option<LeaseToken<'a>> {
        let (record, found) = bytes.split_at_checked(bytes.len().checked_sub(SUM_BYTES)?)?;
        if found != sum(server, record).to_le_bytes() {
            return None;
        }
        postcard::from_bytes(record).ok().filter(|token: &LeaseToken<'_>| token.version == VERSION)
    }
}

fn sum(server: u64, record: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (server, record).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> LeaseToken<'static> {
        LeaseToken::new(5, "pages", &[0, 1, 0x7f, 0x80, 0xff], i64::MAX, -7, Some(9))
    }

    #[test]
    fn it_comes_back_as_it_was() {
        assert_eq!(LeaseToken::decode(&token().encode(1), 1), Some(token()));
    }

    #[test]
    fn any_other_bytes_are_none() {
        let bytes = token().encode(1);
        assert_eq!(LeaseToken::decode(&bytes, 2), None);
        for length in 0..bytes.len() {
            assert_eq!(LeaseToken::decode(&bytes[..length], 1), None, "{length}");
            let mut spoilt = bytes.clone();
            spoilt[length] ^= 1;
            assert_eq!(LeaseToken::decode(&spoilt, 1), None, "{length}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert_eq!(LeaseToken::decode(&longer, 1), None);
    }
}
