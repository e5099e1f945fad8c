//! Ghosts: fingerprints of keys whose entries were evicted before they were used a second time. One that comes back has
//! shown that it is wanted, and is not put on probation again (see [`super::probation`]).
//!
//! A ghost has 16 bits in a bucket of four that the key's hash addresses; the newest push the oldest out. A mistaken
//! one spares an entry its probation, no more.

use std::sync::atomic::{AtomicU64, Ordering};

use super::KeyHash;

const BITS: u32 = 16;
const PER_BUCKET: u32 = u64::BITS / BITS;

/// The buckets, a word each; their number is a power of two.
#[derive(Clone, Copy)]
pub struct Ghosts(&'static [AtomicU64]);

impl Ghosts {
    /// The number of words for `ghosts` ghosts or a few more.
    pub fn words_for(ghosts: usize) -> usize {
        ghosts.div_ceil(PER_BUCKET as usize).next_power_of_two()
    }

    pub fn new(words: &'static [AtomicU64]) -> Ghosts {
        debug_assert!(words.len().is_power_of_two());
        Ghosts(words)
    }

    fn bucket(self, hash: KeyHash) -> &'static AtomicU64 {
        &self.0[hash.folded() & (self.0.len() - 1)]
    }

    /// Remembers the key of an entry that has been evicted.
    pub fn remember(self, hash: KeyHash) {
        let bucket = self.bucket(hash);
        let word = bucket.load(Ordering::Relaxed);
        bucket.store(word << BITS | u64::from(fingerprint(hash)), Ordering::Relaxed);
    }

    /// Whether the key is remembered; it then is no longer.
    pub fn recall(self, hash: KeyHash) -> bool {
        let bucket = self.bucket(hash);
        let word = bucket.load(Ordering::Relaxed);
        let found = (0..PER_BUCKET).map(|i| i * BITS).find(|shift| (word >> shift) as u16 == fingerprint(hash));
        if let Some(shift) = found {
            bucket.store(word & !(u64::from(u16::MAX) << shift), Ordering::Relaxed);
        }
        found.is_some()
    }
}

/// Never zero, which is no ghost.
fn fingerprint(hash: KeyHash) -> u16 {
    hash.tag16().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ghosts(count: usize) -> Ghosts {
        Ghosts::new(Box::leak((0..Ghosts::words_for(count)).map(|_| AtomicU64::new(0)).collect()))
    }

    #[test]
    fn a_key_is_recalled_once() {
        let ghosts = ghosts(1024);
        let (key, other) = (KeyHash::new(1, b"key"), KeyHash::new(1, b"other"));
        assert!(!ghosts.recall(key));
        ghosts.remember(key);
        assert!(!ghosts.recall(other));
        assert!(ghosts.recall(key));
        assert!(!ghosts.recall(key));
    }

    #[test]
    fn the_newest_push_the_oldest_out() {
        let ghosts = ghosts(1);
        let keys: Vec<KeyHash> = (0..9_u8).map(|key| KeyHash::new(1, &[key])).collect();
        keys.iter().for_each(|key| ghosts.remember(*key));
        let recalled: Vec<bool> = keys.iter().map(|key| ghosts.recall(*key)).collect();
        assert_eq!(recalled, [false, false, false, false, false, true, true, true, true]);
    }
}
