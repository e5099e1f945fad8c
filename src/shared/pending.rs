//! What the transaction has done to caches so far, to be told to others when it commits.

use super::arena::CacheKey;
use super::cache_slot::{CacheSlot, Delta, Usage};

/// One cache at one level of nesting.
struct Note {
    key: CacheKey,
    slot: &'static CacheSlot,
    /// Nesting level of the (sub)transaction: 1 for the transaction itself.
    level: i32,
    delta: Delta,
    /// How much of what it has moved the slot knows of already.
    announced: Usage,
}

/// Notes of the transaction and its subtransactions. What ends them allocates nothing.
#[derive(Default)]
pub struct Pending(Vec<Note>);

impl Pending {
    pub fn add(&mut self, level: i32, key: CacheKey, slot: &'static CacheSlot, delta: Delta) {
        match self.0.iter_mut().find(|note| note.level == level && std::ptr::eq(note.slot, slot)) {
            Some(note) => note.delta.add(delta),
            None => self.0.push(Note { key, slot, level, delta, announced: Usage::default() }),
        }
    }

    /// What the transaction has done to one cache.
    pub fn of(&self, slot: &CacheSlot) -> Delta {
        let mut sum = Delta::default();
        self.0.iter().filter(|note| std::ptr::eq(note.slot, slot)).for_each(|note| sum.add(note.delta));
        sum
    }

    /// A subtransaction has become part of the one around it.
    pub fn commit_level(&mut self, level: i32) {
        for last in (0..self.0.len()).rev().filter(|_| level > 1) {
            if self.0[last].level != level {
                continue;
            }
            let (slot, delta) = (self.0[last].slot, self.0[last].delta);
            let parent = self.0.iter_mut().find(|note| note.level == level - 1 && std::ptr::eq(note.slot, slot));
            if let Some(parent) = parent {
                parent.delta.add(delta);
                self.0.swap_remove(last);
            } else {
                self.0[last].level = level - 1;
            }
        }
    }

    /// A subtransaction has been rolled back.
    pub fn abort_level(&mut self, level: i32) {
        self.0.retain(|note| note.level < level);
    }

    /// The transaction is about to become visible to others, unless it fails yet.
    pub fn announce(&mut self) {
        for note in self.0.iter_mut().filter(|note| note.key.owns(note.slot)) {
            note.slot.announce(note.delta.moved.less(note.announced));
            note.announced = note.delta.moved;
        }
    }

    /// The transaction has become visible to others.
    pub fn commit(&mut self) {
        self.announce();
        for note in self.0.drain(..).filter(|note| note.key.owns(note.slot)) {
            note.slot.apply(note.delta);
        }
    }

    /// The transaction has been rolled back.
    pub fn abort(&mut self) {
        for note in self.0.drain(..).filter(|note| note.key.owns(note.slot)) {
            note.slot.settle(note.announced);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::arena::tests::arena;
    use pgrx::pg_sys::Oid;

    fn sets(sets: u64) -> Delta {
        Delta { sets, ..Delta::default() }
    }

    #[test]
    fn levels_are_kept_apart_until_they_end() {
        let arena = arena();
        let key = CacheKey::new(Oid::from(5), Oid::from(6));
        let slot = arena.cache(key, 1).unwrap();
        let mut pending = Pending::default();
        pending.add(1, key, slot, sets(1));
        pending.add(2, key, slot, sets(10));
        pending.add(3, key, slot, sets(100));
        pending.commit_level(3);
        assert_eq!(pending.of(slot), sets(111));
        pending.add(3, key, slot, sets(1000));
        pending.abort_level(3);
        pending.commit_level(2);
        pending.add(2, key, slot, sets(5000));
        pending.abort_level(2);
        assert_eq!(pending.0.len(), 1);
        assert_eq!(slot.totals().sets, 0);
        pending.commit();
        assert_eq!(slot.totals().sets, 111);
        pending.commit();
        assert_eq!(slot.totals().sets, 111);
    }

    #[test]
    fn a_slot_that_another_cache_has_now_is_left_alone() {
        let arena = arena();
        let key = CacheKey::new(Oid::from(5), Oid::from(6));
        let slot = arena.cache(key, 1).unwrap();
        let mut pending = Pending::default();
        pending.add(1, key, slot, sets(1));
        arena.retain_caches(Oid::from(5), |_| false);
        arena.cache(CacheKey::new(Oid::from(5), Oid::from(7)), 1).unwrap();
        pending.commit();
        assert_eq!(slot.totals().sets, 0);
    }

    #[test]
    fn a_commit_that_fails_on_its_way_leaves_no_doubt() {
        let arena = arena();
        let key = CacheKey::new(Oid::from(5), Oid::from(6));
        let slot = arena.cache(key, 1).unwrap();
        let moved = Usage { entries: 100, bytes: 10_000 };
        let mut pending = Pending::default();
        pending.add(1, key, slot, Delta::removed(moved));
        pending.announce();
        slot.correct(7, Usage { entries: 500, bytes: 50_000 }, slot.reading());
        assert!(slot.is_to_be_counted(), "it may be visible already");
        pending.abort();
        slot.correct(7, Usage { entries: 500, bytes: 50_000 }, slot.reading());
        assert!(!slot.is_to_be_counted());
    }
}
