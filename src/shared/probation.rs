//! Probation: the queue of a cache's newest entries, each with the place of its row.
//!
//! An entry leaves the queue when about a fifth of the cache is newer than it. If it has not been used by then, it is
//! evicted at once instead of waiting for the clock hand to come round: most keys that are asked for once are never asked
//! for again. Method: the small queue of S3-FIFO (Yang et al., SOSP 2023), with marks and ghosts in hashed tables.

use std::sync::atomic::{AtomicU64, Ordering};

use super::KeyHash;
use crate::pg::place::Place;

const PLACE_BITS: u32 = 48;
const PLACE_MASK: u64 = (1 << PLACE_BITS) - 1;

/// A queue in a ring of words. `head` and `tail` count from the queue's beginning and never go back.
#[derive(Clone, Copy)]
pub struct Probation {
    pub words: &'static [AtomicU64],
    pub head: &'static AtomicU64,
    pub tail: &'static AtomicU64,
}

/// An entry that is, or was, on probation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub block: u32,
    tag: u16,
}

impl Candidate {
    /// Whether a key may be the candidate's. One key in 65,536 is taken for it by mistake.
    pub fn may_be(self, hash: KeyHash) -> bool {
        self.tag == hash.tag16()
    }
}

impl Probation {
    /// Entries on probation in one cache, at most.
    pub const CAPACITY: u32 = 8192;

    /// Puts an entry on probation. Where the ring is full, the oldest has passed.
    pub fn push(self, hash: KeyHash, place: Place) {
        let position = self.tail.fetch_add(1, Ordering::Relaxed);
        let word = u64::from(hash.tag16()) << PLACE_BITS | place.to_bits();
        self.words[position as usize % self.words.len()].store(word, Ordering::Relaxed);
    }

    /// The oldest entry, if more than `keep` are on probation.
    pub fn pop(self, keep: u64) -> Option<Candidate> {
        let capacity = self.words.len() as u64;
        loop {
            let (head, tail) = (self.head.load(Ordering::Relaxed), self.tail.load(Ordering::Relaxed));
            let oldest = head.max(tail.saturating_sub(capacity));
            if tail.saturating_sub(oldest) <= keep.min(capacity - 1) {
                return None;
            }
            let word = self.words[oldest as usize % self.words.len()].load(Ordering::Relaxed);
            if self.head.compare_exchange(head, oldest + 1, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                let block = Place::from_bits(word & PLACE_MASK).block;
                return Some(Candidate { block, tag: (word >> PLACE_BITS) as u16 });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(capacity: usize) -> Probation {
        let zero = || &*Box::leak(Box::new(AtomicU64::new(0)));
        let words = Box::leak((0..capacity).map(|_| AtomicU64::new(0)).collect());
        Probation { words, head: zero(), tail: zero() }
    }

    fn push(queue: Probation, number: u32) {
        queue.push(KeyHash::new(1, &number.to_be_bytes()), Place { block: number, offset: 1 });
    }

    #[test]
    fn the_oldest_goes_first_and_some_are_kept() {
        let queue = queue(8);
        (0..5).for_each(|number| push(queue, number));
        let popped: Vec<u32> = std::iter::from_fn(|| queue.pop(2)).map(|candidate| candidate.block).collect();
        assert_eq!(popped, [0, 1, 2]);
        assert_eq!(queue.pop(2), None);
    }

    #[test]
    fn a_full_ring_loses_the_oldest_and_keeps_at_least_a_place_free() {
        let queue = queue(4);
        (0..11).for_each(|number| push(queue, number));
        let popped: Vec<u32> = std::iter::from_fn(|| queue.pop(100)).map(|candidate| candidate.block).collect();
        assert_eq!(popped, [7]);
        let popped: Vec<u32> = std::iter::from_fn(|| queue.pop(0)).map(|candidate| candidate.block).collect();
        assert_eq!(popped, [8, 9, 10]);
    }

    #[test]
    fn a_candidate_is_known_by_its_key() {
        let queue = queue(4);
        push(queue, 3);
        let candidate = queue.pop(0).expect("there is one");
        assert!(candidate.may_be(KeyHash::new(1, &3_u32.to_be_bytes())));
        assert!(!candidate.may_be(KeyHash::new(1, &4_u32.to_be_bytes())));
    }
}
