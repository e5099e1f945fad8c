//! Leases: who computes the value of a key that is missing or stale. One caller at a time holds the lease of a key; the
//! others wait for it, or do without.
//!
//! A key has its lease in one of the slots of its bucket. A bucket is locked for the few instructions that a change takes,
//! in which nothing can fail or be interrupted; a process that is killed in them takes the server down, and this memory
//! with it.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::KeyHash;

/// Leases in one bucket. Where all are held, the next caller is granted none.
const WAYS: usize = 8;
/// How often a process looks at the lock of a bucket before it lets others run.
const SPINS: u32 = 100;

/// What is known of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
enum State {
    Free = 0,
    Held = 1,
    /// The value has been written, by a transaction that has not committed.
    Filled = 2,
    /// The value is there. The slot is free for any other lease, and tells until then that this one has been used.
    Used = 3,
}

/// A lease: 64-bit atomics alone, valid when all are zero.
#[repr(C)]
struct Slot {
    state: AtomicU64,
    key: AtomicU64,
    /// The cache's place among all; see [`super::CacheKey`].
    cache: AtomicU64,
    /// Tells the lease from all others.
    number: AtomicI64,
    /// When it ends by itself.
    deadline: AtomicI64,
    holder: AtomicU64,
}

/// One line of slots under one lock.
#[repr(C)]
struct Bucket {
    lock: AtomicU64,
    slots: [Slot; WAYS],
}

pub(super) const BUCKET_WORDS: usize = size_of::<Bucket>() / size_of::<AtomicU64>();

/// A lease that has been granted, or is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    pub key: KeyHash,
    pub number: i64,
}

/// What a caller that asks for a lease is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Granted,
    /// Somebody else has it: this process, until this time. `is_filled`: the value waits for a commit.
    Held {
        holder: i32,
        deadline: i64,
        is_filled: bool,
    },
    /// There is no room for another lease.
    NoRoom,
}

/// What has become of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Held,
    /// It has ended, or something else has been done to its entry.
    Lost,
    /// It has been used.
    Used,
}

/// The table of leases.
#[derive(Clone, Copy)]
pub struct Leases(&'static [Bucket]);

impl Leases {
    /// The number of words for this many leases or a few more.
    pub fn words_for(leases: usize) -> usize {
        Self::buckets_for(leases) * BUCKET_WORDS
    }

    /// The number of buckets, each of which has something to wait at.
    pub fn buckets_for(leases: usize) -> usize {
        leases.div_ceil(WAYS).next_power_of_two()
    }

    pub fn new(words: &'static [AtomicU64]) -> Leases {
        let buckets = words.len() / BUCKET_WORDS;
        assert!(buckets.is_power_of_two() && words.len().is_multiple_of(BUCKET_WORDS));
        // SAFETY: a bucket consists of 64-bit atomics, any value of which is valid, so a run of words is one of buckets.
        Leases(unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), buckets) })
    }

    /// The number of the bucket that has the key's lease.
    pub fn bucket_of(self, key: KeyHash) -> usize {
        key.folded() & (self.0.len() - 1)
    }

    /// Asks for the lease of a key from `now` until `deadline`.
    pub fn acquire(self, lease: Lease, cache: u64, holder: i32, now: i64, deadline: i64) -> Answer {
        self.locked(lease.key, |slots| {
            let slot = match slots.iter().find(|slot| slot.is_of(lease.key) && slot.state() != State::Free) {
                Some(slot) if slot.is_held(now) => return slot.as_held(),
                Some(slot) => slot,
                None => {
                    let oldest_of = |state| {
                        let those = slots.iter().filter(move |slot| slot.state() == state);
                        those.min_by_key(|slot| slot.number.load(Ordering::Relaxed))
                    };
                    let ended = || slots.iter().find(|slot| !slot.is_held(now));
                    match oldest_of(State::Free).or_else(|| oldest_of(State::Used)).or_else(ended) {
                        Some(slot) => slot,
                        None => return Answer::NoRoom,
                    }
                }
            };
            slot.key.store(lease.key.bits(), Ordering::Relaxed);
            slot.cache.store(cache, Ordering::Relaxed);
            slot.number.store(lease.number, Ordering::Relaxed);
            slot.deadline.store(deadline, Ordering::Relaxed);
            slot.holder.store(holder as u64, Ordering::Relaxed);
            slot.set(State::Held);
            Answer::Granted
        })
    }

    /// Whether the lease is still held. One that is past its deadline is, as long as nobody else has asked for it.
    pub fn fate(self, lease: Lease) -> Fate {
        self.locked(lease.key, |slots| match find(slots, lease).map(Slot::state) {
            Some(State::Held) => Fate::Held,
            Some(State::Filled | State::Used) => Fate::Used,
            Some(State::Free) | None => Fate::Lost,
        })
    }

    /// The value has been written, and is there for others once the transaction commits. `false` where the lease has been
    /// lost meanwhile, so that the value must not stay.
    pub fn fill(self, lease: Lease) -> bool {
        self.change(lease, State::Held, State::Filled)
    }

    /// The transaction that wrote the value has committed. Cannot fail.
    pub fn settle(self, lease: Lease) {
        self.change(lease, State::Filled, State::Used);
    }

    /// A part of a transaction that wrote the value has been rolled back.
    pub fn unfill(self, lease: Lease) {
        self.change(lease, State::Filled, State::Held);
    }

    /// Gives a lease up. Returns whether it was held. Cannot fail.
    pub fn release(self, lease: Lease) -> bool {
        self.locked(lease.key, |slots| {
            let slot = find(slots, lease).filter(|slot| matches!(slot.state(), State::Held | State::Filled));
            slot.inspect(|slot| slot.set(State::Free)).is_some()
        })
    }

    /// Something else has been done to the entry, so whoever holds the key's lease may have seen less; but for the process
    /// `spared`. Returns whether somebody has lost it.
    pub fn overtake(self, key: KeyHash, spared: i32) -> bool {
        let is_it = |slot: &Slot| slot.is_of(key) && slot.holder.load(Ordering::Relaxed) != spared as u64;
        self.release_where(std::iter::once(self.bucket_of(key)), is_it, |_| {})
    }

    /// The same for all of a cache's entries. `tell` is told of the buckets concerned.
    pub fn overtake_all(self, cache: u64, spared: i32, tell: impl FnMut(usize)) {
        let is_it = |slot: &Slot| {
            slot.cache.load(Ordering::Relaxed) == cache && slot.holder.load(Ordering::Relaxed) != spared as u64
        };
        self.release_where(0..self.0.len(), is_it, tell);
    }

    /// Whether values of the cache have been written under leases by transactions that have not committed.
    pub fn await_commit(self, cache: u64) -> bool {
        let awaits = |slot: &Slot| slot.state() == State::Filled && slot.cache.load(Ordering::Relaxed) == cache;
        self.0.iter().any(|bucket| bucket.slots.iter().any(awaits))
    }

    /// A process has ended. `tell` is told of the buckets concerned. Cannot fail.
    pub fn release_all_of(self, holder: i32, tell: impl FnMut(usize)) {
        let is_its = |slot: &Slot| slot.holder.load(Ordering::Relaxed) == holder as u64;
        self.release_where(0..self.0.len(), is_its, tell);
    }

    fn release_where(
        self,
        buckets: impl Iterator<Item = usize>,
        is_it: impl Fn(&Slot) -> bool,
        mut tell: impl FnMut(usize),
    ) -> bool {
        let mut has_released = false;
        for bucket in buckets {
            // Most of the time there is no lease at all: that is seen without the lock.
            if !self.0[bucket].slots.iter().any(|slot| slot.state() == State::Held) {
                continue;
            }
            let released = self.0[bucket].locked(|slots| {
                let its = slots.iter().filter(|slot| slot.state() == State::Held && is_it(slot));
                its.map(|slot| slot.set(State::Free)).count()
            });
            if released > 0 {
                has_released = true;
                tell(bucket);
            }
        }
        has_released
    }

    fn change(self, lease: Lease, from: State, to: State) -> bool {
        self.locked(lease.key, |slots| {
            let slot = find(slots, lease).filter(|slot| slot.state() == from);
            slot.inspect(|slot| slot.set(to)).is_some()
        })
    }

    fn locked<R>(self, key: KeyHash, work: impl FnOnce(&[Slot]) -> R) -> R {
        self.0[self.bucket_of(key)].locked(work)
    }
}

fn find(slots: &[Slot], lease: Lease) -> Option<&Slot> {
    slots.iter().find(|slot| slot.is_of(lease.key) && slot.number.load(Ordering::Relaxed) == lease.number)
}

impl Bucket {
    fn locked<R>(&self, work: impl FnOnce(&[Slot]) -> R) -> R {
        let mut spins = 0;
        while self.lock.compare_exchange_weak(0, 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
            spins += 1;
            if spins % SPINS == 0 { std::thread::yield_now() } else { std::hint::spin_loop() }
        }
        let result = work(&self.slots);
        self.lock.store(0, Ordering::Release);
        result
    }
}

impl Slot {
    fn state(&self) -> State {
        match self.state.load(Ordering::Relaxed) {
            1 => State::Held,
            2 => State::Filled,
            3 => State::Used,
            _ => State::Free,
        }
    }

    fn set(&self, state: State) {
        self.state.store(state as u64, Ordering::Relaxed);
    }

    fn is_of(&self, key: KeyHash) -> bool {
        self.key.load(Ordering::Relaxed) == key.bits()
    }

    /// A value that waits for a commit is waited for, however long that takes.
    fn is_held(&self, now: i64) -> bool {
        match self.state() {
            State::Held => self.deadline.load(Ordering::Relaxed) > now,
            State::Filled => true,
            State::Free | State::Used => false,
        }
    }

    fn as_held(&self) -> Answer {
        Answer::Held {
            holder: self.holder.load(Ordering::Relaxed) as i32,
            deadline: self.deadline.load(Ordering::Relaxed),
            is_filled: self.state() == State::Filled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leases(count: usize) -> Leases {
        Leases::new(Box::leak((0..Leases::words_for(count)).map(|_| AtomicU64::new(0)).collect()))
    }

    fn lease(key: u32, number: i64) -> Lease {
        Lease { key: KeyHash::new(1, &key.to_be_bytes()), number }
    }

    fn is_held_by(answer: Answer, pid: i32) -> bool {
        matches!(answer, Answer::Held { holder, .. } if holder == pid)
    }

    #[test]
    fn one_holds_a_key_until_it_gives_it_up_or_the_deadline_comes() {
        let leases = leases(64);
        assert_eq!(leases.acquire(lease(1, 10), 7, 100, 0, 50), Answer::Granted);
        assert!(is_held_by(leases.acquire(lease(1, 11), 7, 101, 49, 99), 100));
        assert_eq!(leases.acquire(lease(2, 12), 7, 101, 0, 50), Answer::Granted);
        assert!(leases.release(lease(1, 10)) && !leases.release(lease(1, 10)));
        assert_eq!(leases.acquire(lease(1, 13), 7, 101, 0, 50), Answer::Granted);
        assert_eq!(leases.fate(lease(1, 10)), Fate::Lost);
        assert_eq!(leases.acquire(lease(1, 14), 7, 102, 50, 99), Answer::Granted, "the deadline has come");
        assert_eq!((leases.fate(lease(1, 13)), leases.fate(lease(1, 14))), (Fate::Lost, Fate::Held));
    }

    #[test]
    fn a_late_holder_still_fills_if_nobody_else_has_come() {
        let leases = leases(64);
        leases.acquire(lease(1, 10), 7, 100, 0, 50);
        assert_eq!(leases.fate(lease(1, 10)), Fate::Held);
        assert!(!leases.await_commit(7));
        assert!(leases.fill(lease(1, 10)) && !leases.fill(lease(1, 10)));
        assert!(leases.await_commit(7) && !leases.await_commit(8));
        assert!(matches!(leases.acquire(lease(1, 11), 7, 101, 99, 150), Answer::Held { is_filled: true, .. }));
        leases.settle(lease(1, 10));
        assert_eq!(leases.fate(lease(1, 10)), Fate::Used);
        assert_eq!(leases.acquire(lease(1, 11), 7, 101, 99, 150), Answer::Granted);
        assert_eq!(leases.fate(lease(1, 10)), Fate::Lost);
    }

    #[test]
    fn what_is_rolled_back_can_be_filled_again() {
        let leases = leases(64);
        leases.acquire(lease(1, 10), 7, 100, 0, 50);
        assert!(leases.fill(lease(1, 10)));
        leases.unfill(lease(1, 10));
        assert_eq!(leases.fate(lease(1, 10)), Fate::Held);
    }

    #[test]
    fn a_full_bucket_grants_no_more_and_forgets_what_was_used() {
        let leases = leases(WAYS);
        for key in 0..WAYS as u32 {
            assert_eq!(leases.acquire(lease(key, 10), 7, 100, 0, 50), Answer::Granted);
        }
        assert_eq!(leases.acquire(lease(99, 10), 7, 100, 49, 99), Answer::NoRoom);
        assert!(leases.fill(lease(3, 10)));
        leases.settle(lease(3, 10));
        assert_eq!(leases.acquire(lease(99, 10), 7, 100, 49, 99), Answer::Granted);
        assert_eq!(leases.fate(lease(3, 10)), Fate::Lost);
        assert_eq!(leases.acquire(lease(98, 10), 7, 100, 50, 99), Answer::Granted, "others have ended");
    }

    #[test]
    fn an_ended_process_and_a_cleared_cache_give_up_theirs() {
        let leases = leases(64);
        for (key, cache, holder) in [(1, 7, 100), (2, 8, 100), (3, 7, 101)] {
            leases.acquire(lease(key, 10), cache, holder, 0, 50);
        }
        let mut told = Vec::new();
        leases.release_all_of(100, |bucket| told.push(bucket));
        let mut buckets = [1, 2].map(|key| leases.bucket_of(lease(key, 0).key)).to_vec();
        buckets.sort_unstable();
        buckets.dedup();
        told.sort_unstable();
        assert_eq!(told, buckets);
        assert_eq!([1, 2, 3].map(|key| leases.fate(lease(key, 10))), [Fate::Lost, Fate::Lost, Fate::Held]);
        leases.overtake_all(7, 101, |_| {});
        assert_eq!(leases.fate(lease(3, 10)), Fate::Held);
        leases.overtake_all(7, 0, |_| {});
        assert_eq!(leases.fate(lease(3, 10)), Fate::Lost);
        assert!(!leases.overtake(lease(3, 10).key, 0));
    }

    #[test]
    fn of_many_at_once_one_is_granted() {
        for key in 0..100 {
            let leases = leases(64);
            let granted = std::thread::scope(|scope| {
                let ask = |number| leases.acquire(lease(key, number), 7, number as i32, 0, 50) == Answer::Granted;
                let threads: Vec<_> = (1..5).map(|number| scope.spawn(move || ask(number))).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).filter(|granted| *granted).count()
            });
            assert_eq!(granted, 1);
        }
    }
}
