//! Claiming an entry: its value, if there is one, and where it is missing or stale the lease to make another. And filling
//! it with what was made.

use std::time::Duration;

use crate::early;
use crate::error::{Error, Result};
use crate::lease_token::LeaseToken;
use crate::pg::acl::Privileges;
use crate::pg::datum::Varlena;
use crate::pg::{clock, lookup, process, snapshot};
use crate::settings;
use crate::shared::{self, Answer, Fate, KeyHash, Lease, Read};
use crate::store::catalog;
use crate::store::entry::{Basis, Entry, Moment, Terms, Value};
use crate::store::modify::{Change, modify};
use crate::store::table::{Look, Table};

/// What a claim has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Hit,
    /// It may be used, and needs another value.
    Stale,
    Miss,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            State::Hit => "hit",
            State::Stale => "stale",
            State::Miss => "miss",
        }
    }
}

/// The right to make the value of an entry.
#[derive(Clone, Copy, Debug)]
pub struct Grant {
    lease: Lease,
    pub as_of: i64,
    /// The transaction that wrote the stale value that was there.
    seen: Option<u32>,
}

impl Grant {
    /// What the client holds of it.
    pub fn token(&self, cache: &str, key: &[u8]) -> Vec<u8> {
        let database = lookup::current_database().to_u32();
        LeaseToken::new(database, cache, key, self.lease.number, self.as_of, self.seen).encode(process::server_number())
    }

    /// A lease from the token that a client holds of it. Error: [`Error::InvalidLease`] (22023).
    pub fn from_token(token: &LeaseToken<'_>, table: &Table) -> Grant {
        let lease = Lease { key: table.hash_of(token.key), number: token.number };
        Grant { lease, as_of: token.as_of, seen: token.seen }
    }

    /// How long ago it was granted, in microseconds.
    fn age(&self) -> i64 {
        (clock::now() - self.lease.number).max(0)
    }

    /// Has it end with the transaction, or with the part of it that is going on, if that is rolled back.
    pub fn settle_with_transaction(&self) {
        shared::settle_with(self.lease, true);
    }

    /// Gives it up.
    pub fn release(&self) {
        shared::release(self.lease);
    }
}

/// The token that a client has passed. Error: [`Error::InvalidLease`] (22023): it is none, or one of another database.
pub fn checked_token(bytes: &[u8]) -> Result<LeaseToken<'_>> {
    LeaseToken::decode(bytes, process::server_number())
        .filter(|token| token.database == lookup::current_database().to_u32())
        .ok_or(Error::InvalidLease)
}

/// What a caller is given.
pub struct Claim<T> {
    pub state: State,
    /// `None` on a miss.
    pub value: Option<T>,
    /// With it, the caller is to make the value.
    pub grant: Option<Grant>,
    /// Who else has the lease.
    pub holder: Option<Holder>,
}

/// The session that has the lease of an entry.
#[derive(Clone, Copy, Debug)]
pub struct Holder {
    pub pid: i32,
    /// When its lease ends by itself.
    deadline: i64,
    /// It has written the value, and not committed.
    pub is_filled: bool,
}

impl<T> Claim<T> {
    /// What there is where nothing is cached: a miss, and nobody to wait for.
    pub const NOTHING: Claim<T> = Claim { state: State::Miss, value: None, grant: None, holder: None };
}

/// How a caller wants to be served, in microseconds.
#[derive(Clone, Copy)]
pub struct Patience {
    /// How long it may take to make the value before another caller is let try.
    pub lease: i64,
    /// How long to wait for one that somebody else is making.
    pub wait: i64,
}

/// Claims the entry under `key`. The value is copied by `copy`.
///
/// Errors: as for a read and a write of the entry.
pub fn claim<T>(
    cache: &str,
    key: Varlena<'_>,
    terms: Patience,
    mut copy: impl FnMut(Entry<'_>) -> Result<T>,
) -> Result<Claim<T>> {
    let give_up_at = clock::now().saturating_add(terms.wait);
    let mut has_waited = false;
    loop {
        let privileges = Privileges::SELECT.and(Privileges::INSERT).and(Privileges::UPDATE);
        let Some(mut table) = Table::open_for_read(cache, privileges)? else { return Ok(Claim::NOTHING) };
        if crate::pg::xact::in_recovery() {
            // A lease is for a write.
            let value = table.get(key).map(&mut copy).transpose()?;
            let state = if value.is_some() { State::Hit } else { State::Miss };
            return Ok(Claim { state, value, ..Claim::NOTHING });
        }
        let hash = table.hash_of(key.bytes());
        // Before the look: what happens after it is not missed.
        let wait = (terms.wait > 0).then(|| shared::wait_for(hash)).flatten();
        let (state, seen, value) = match table.look(key) {
            Some(Look::Fresh(entry)) => {
                let value = Some(copy(entry)?);
                let (seen, is_due) = (Some(entry.writer()), is_due_early(entry));
                table.count(if has_waited { Read::RecomputeSaved } else { Read::Hit });
                if has_waited {
                    table.count(Read::Hit);
                }
                if !is_due {
                    return Ok(Claim { state: State::Hit, value, grant: None, holder: None });
                }
                (State::Hit, seen, value)
            }
            Some(Look::Stale(entry)) => (State::Stale, Some(entry.writer()), Some(copy(entry)?)),
            None => (State::Miss, None, None),
        };
        let (grant, holder) = ask_for_lease(&table, hash, seen, terms.lease);
        if let (State::Miss, Some(holder), Some(wait)) = (state, holder, wait)
            && clock::now() < give_up_at
        {
            drop(table);
            has_waited = true;
            // A value that waits for a commit is waited for, though the lease is past its deadline.
            let until = if holder.is_filled { give_up_at } else { give_up_at.min(holder.deadline) };
            let longest = Duration::from_micros((until - clock::now()).max(0) as u64);
            snapshot::without(|| wait.sleep(longest));
            continue;
        }
        match state {
            State::Hit => {}
            State::Stale if grant.is_none() => {
                table.count(Read::Hit);
                table.count(Read::StaleServed);
            }
            State::Stale => table.count(Read::Hit),
            State::Miss => table.count(Read::Miss),
        }
        return Ok(Claim { state, value, grant, holder });
    }
}

fn ask_for_lease(table: &Table, hash: KeyHash, seen: Option<u32>, length: i64) -> (Option<Grant>, Option<Holder>) {
    let number = shared::as_of_now().unwrap_or_else(clock::now);
    let lease = Lease { key: hash, number };
    let now = clock::now();
    match shared::acquire(lease, table.cache().key(), now, now.saturating_add(length)) {
        Some(Answer::Held { holder: pid, deadline, is_filled }) => (None, Some(Holder { pid, deadline, is_filled })),
        Some(Answer::NoRoom) => (None, None),
        Some(Answer::Granted) | None => {
            // Where no time can be told, what depends on tags is not current.
            let as_of = shared::current_as_of().unwrap_or(i64::MIN);
            (Some(Grant { lease, as_of, seen }), None)
        }
    }
}

fn is_due_early(entry: Entry<'_>) -> bool {
    let beta = settings::early_recompute();
    let Terms { expires_at, fresh_until, fill_micros, .. } = entry.terms();
    match fill_micros {
        Some(cost) if beta > 0.0 => {
            early::is_due(clock::now(), fresh_until.unwrap_or(expires_at), cost, beta, process::random())
        }
        _ => false,
    }
}

/// Stores what has been made under a lease. Returns whether it was stored: not where the lease has ended, where what the
/// value depends on has changed since the claim, or where somebody else has stored or deleted something meanwhile.
///
/// Error: [`Error::LeaseUsed`] (22023): it has been stored already.
pub fn fill(table: &mut Table, key: Varlena<'_>, value: Value<'_>, terms: Terms<'_>, grant: Grant) -> Result<bool> {
    match shared::fate(grant.lease) {
        Fate::Held => {}
        Fate::Lost => return Ok(false),
        Fate::Used => return Err(Error::LeaseUsed),
    }
    if terms.basis.is_some_and(|basis: Basis<'_>| !Moment::now().spares(basis)) {
        grant.release();
        return Ok(false);
    }
    let terms = Terms { fill_micros: Some(grant.age()), ..terms };
    let is_stored = modify(table, key, |entry| {
        let is_overtaken = entry.is_some_and(|entry| Some(entry.writer()) != grant.seen);
        Ok(if is_overtaken { (Change::Keep, false) } else { (Change::Put { value, terms }, true) })
    })?;
    if !is_stored {
        grant.release();
        return Ok(false);
    }
    // Asked once the row is there: a delete from now on meets it, and one before has made the lease void.
    let is_wanted = shared::fill(grant.lease);
    if !is_wanted {
        modify(table, key, |_| Ok((Change::Remove, ())))?;
    }
    Ok(is_wanted)
}

/// Gives a lease up from the token that a client holds of it; one that has ended is given up already.
pub fn release(token: &LeaseToken<'_>) {
    // Without its cache there is no lease.
    if let Ok(cache) = catalog::by_name(token.cache) {
        shared::release(Lease { key: KeyHash::new(cache.storage, token.key), number: token.number });
    }
}
