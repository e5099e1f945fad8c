//! A cache's table, open for one call.

use std::cell::OnceCell;
use std::rc::Rc;

use crate::error::{Error, Result};
use crate::pg::acl::{self, Privileges};
use crate::pg::clock;
use crate::pg::datum::{Interval, Varlena};
use crate::pg::index::KeyScan;
use crate::pg::lock::{Access, TableLock};
use crate::pg::place::Place;
use crate::pg::relation::Relation;
use crate::pg::slot::Row;
use crate::pg::snapshot::Visibility;
use crate::pg::{lookup, page, prefetch, xact};
use crate::settings::{self, OnStandby};
use crate::shared::{self, Hint, KeyHash, Read};
use crate::store::catalog::{self, Cache};
use crate::store::entry::{Basis, Entry, Moment, Terms, Value};
use crate::sweeper;
use crate::ttl::{self, Ttl};

/// What a key and its entry's tags may take together, so that a row is not split up for their sake: neither is stored
/// out of line. In bytes.
const MAX_KEY_AND_TAGS: usize = 1900;

/// What has been found of an entry that is live.
pub enum Look<'a> {
    Fresh(Entry<'a>),
    Stale(Entry<'a>),
}

/// The fields are dropped in this order: scan, indexes, table, lock.
pub struct Table {
    scan: Option<KeyScan>,
    indexes: OnceCell<Vec<Relation>>,
    heap: Relation,
    cache: Rc<Cache>,
    lock: TableLock,
    /// Of the key that was looked up last, where there is shared memory to use it with.
    hash: Option<KeyHash>,
}

impl Table {
    /// Opens a cache to read from it. `None` where every read is a miss: the caches are disabled, or on a standby.
    ///
    /// Errors: 42704 no such cache, 42501 the current user lacks a privilege, 25006 on a standby where that is asked
    /// for, 55000 the table has been altered.
    pub fn open_for_read(name: &str, privileges: Privileges) -> Result<Option<Table>> {
        let (cache, lock) = catalog::locked(name, Access::Read, |cache| check_privileges(cache, privileges))?;
        if !settings::enabled() {
            return Ok(None);
        }
        if xact::in_recovery() && !cache.durable {
            return match settings::on_standby() {
                OnStandby::Miss => Ok(None),
                OnStandby::Error => Err(Error::ReadInRecovery { cache: cache.name.clone() }),
            };
        }
        Ok(Some(Table::open(cache, lock)))
    }

    /// Opens a cache to write to it. `None` where every write is dropped: the caches are disabled.
    ///
    /// Errors: as for a read, and 25006 on any standby.
    pub fn open_for_write(name: &str, privileges: Privileges) -> Result<Option<Table>> {
        if xact::in_recovery() {
            return Err(Error::WriteInRecovery);
        }
        let (cache, lock) = catalog::locked(name, Access::Write, |cache| check_privileges(cache, privileges))?;
        Ok(settings::enabled().then(|| Table::open(cache, lock)))
    }

    /// Opens a cache to sweep it, unless somebody would have to be waited for, or has just changed its definition.
    /// Checks no privileges.
    pub fn open_for_sweep(cache: Rc<Cache>) -> Option<Table> {
        let changes = lookup::definition_changes();
        let lock = TableLock::try_acquire(cache.table, Access::Write)?;
        if lookup::definition_changes() != changes {
            lock.release();
            return None;
        }
        Some(Table::open(cache, lock))
    }

    fn open(cache: Rc<Cache>, lock: TableLock) -> Table {
        let heap = Relation::open_table(&lock);
        Table { scan: None, indexes: OnceCell::new(), heap, cache, lock, hash: None }
    }

    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    pub fn heap(&self) -> &Relation {
        &self.heap
    }

    /// All indexes, opened when first asked for: reads and most overwrites do without.
    pub(in crate::store) fn indexes(&self) -> &[Relation] {
        let access = self.lock.access();
        let open = || self.cache.indexes.iter().map(|index| Relation::open_index(*index, access)).collect();
        self.indexes.get_or_init(open)
    }

    /// The scan that this call looks keys up with. A call uses one kind of visibility throughout.
    pub(in crate::store) fn scan(&mut self, visibility: Visibility) -> &mut KeyScan {
        let new = || KeyScan::new(&self.heap, self.cache.indexes[0], self.lock.access(), visibility);
        self.scan.get_or_insert_with(new)
    }

    /// The row that the scan stands on, if it does.
    pub(in crate::store) fn current(&self) -> Option<Row<'_>> {
        self.scan.as_ref()?.current_if_any()
    }

    /// Ends the scan, and with it every pin, before something that may take long.
    pub(in crate::store) fn end_scan(&mut self) {
        self.scan = None;
    }

    /// The row under `key`: where it was last found, or through the index.
    pub(in crate::store) fn find(&mut self, key: Varlena<'_>, visibility: Visibility) -> Option<Row<'_>> {
        let arena = shared::arena();
        self.hash = arena.map(|_| KeyHash::new(self.cache.storage, key.bytes()));
        let hinted = arena.and_then(|arena| arena.locations).zip(self.hash);
        let scan = self.scan(visibility);
        if let Some((cells, hash)) = hinted
            && let Some(Hint { place, buffer }) = cells.get(hash)
            && scan.fetch(place, buffer, |row| Entry::new(row).key().bytes() == key.bytes()).is_some()
        {
            if scan.buffer() != buffer {
                cells.put(hash, Hint { place, buffer: scan.buffer() });
            }
            return scan.current_if_any();
        }
        if scan.find(key).is_some()
            && let (Some((cells, hash)), Some((place, buffer))) = (hinted, scan.found_at())
        {
            cells.put(hash, Hint { place, buffer });
        }
        scan.current_if_any()
    }

    /// Prepares for look-ups of these keys, one after the other.
    pub fn look_ahead<'k>(&self, keys: impl Iterator<Item = &'k [u8]>) {
        if let Some(arena) = shared::arena() {
            let hashes: Vec<_> = keys.map(|key| self.hash_of(key)).collect();
            arena.look_ahead(&hashes);
            if let Some(cells) = arena.locations {
                let hints = hashes.iter().filter_map(|hash| cells.get(*hash));
                prefetch::load_rows(hints.map(|Hint { place, buffer }| (place, buffer)));
            }
        }
    }

    /// Remembers where the entry that was looked up last is from now on.
    pub(in crate::store) fn note_place(&self, place: Place) {
        if let (Some(cells), Some(hash)) = (shared::locations(), self.hash) {
            cells.put(hash, Hint { place, buffer: 0 });
        }
    }

    /// Marks the entry that was looked up last as used, for eviction to spare it.
    pub(in crate::store) fn mark_used(&self) {
        if self.cache.budget.is_limited()
            && let (Some(arena), Some(hash)) = (shared::arena(), self.hash)
        {
            arena.marks.raise(hash);
        }
    }

    /// Has eviction know of the entry that was looked up last, not found, and has been made at this place.
    pub(in crate::store) fn admit(&self, place: Place) {
        if self.cache.budget.is_limited()
            && let (Some(arena), Some(hash), Some(slot)) = (shared::arena(), self.hash, self.cache.slot())
        {
            shared::admit(arena, slot, hash, place);
        }
    }

    /// The entry under `key` that is live now. Counts a hit or a miss, and marks the entry as used.
    pub fn get(&mut self, key: Varlena<'_>) -> Option<Entry<'_>> {
        self.get_at(key, &Moment::now())
    }

    /// The same for one key of many, all of which are looked at as of one moment.
    pub fn get_at(&mut self, key: Varlena<'_>, moment: &Moment) -> Option<Entry<'_>> {
        let is_hit = self.find(key, Visibility::Latest).map(|row| Entry::new(row).is_live(moment));
        match is_hit {
            Some(true) => self.mark_used(),
            Some(false) => sweeper::ensure_running(),
            None => {}
        }
        let is_hit = is_hit == Some(true);
        self.count(if is_hit { Read::Hit } else { Read::Miss });
        if is_hit { self.current().map(Entry::new) } else { None }
    }

    /// Counts a read in the statistics.
    pub(crate) fn count(&self, read: Read) {
        if settings::track_stats()
            && let Some(slot) = self.cache.slot()
        {
            shared::count_read(slot, read);
        }
    }

    /// The live entry under `key`, for a claim. Counts nothing, and marks the entry as used.
    pub(in crate::store) fn look(&mut self, key: Varlena<'_>) -> Option<Look<'_>> {
        let moment = Moment::now();
        let is_live = self.find(key, Visibility::Latest).map(|row| Entry::new(row).is_live(&moment));
        if is_live == Some(false) {
            sweeper::ensure_running();
        }
        if is_live != Some(true) {
            return None;
        }
        self.mark_used();
        let entry = Entry::new(self.current()?);
        let is_fresh = entry.terms().fresh_until.is_none_or(|fresh_until| fresh_until > moment.now);
        Some(if is_fresh { Look::Fresh(entry) } else { Look::Stale(entry) })
    }

    /// Makes the lease of a key void: its entry is about to be deleted, if there is one. Before the look for it, so that no
    /// value comes in between.
    pub fn overtake_lease(&self, key: Varlena<'_>) {
        shared::overtake(self.hash_of(key.bytes()), self.cache.key());
    }

    /// The hash of a key in this cache.
    pub fn hash_of(&self, key: &[u8]) -> KeyHash {
        KeyHash::new(self.cache.storage, key)
    }

    /// The live entry under `key`, for functions that ask about it without reading its value. Counts nothing.
    pub fn peek(&mut self, key: Varlena<'_>) -> Option<Entry<'_>> {
        let moment = Moment::now();
        self.find(key, Visibility::Latest).map(Entry::new).filter(|entry| entry.is_live(&moment))
    }

    /// When an entry written now expires. NULL: the cache's default, else never.
    ///
    /// Errors: [`Error::TtlNotPositive`] (22023), [`Error::TtlOutOfRange`] (22008).
    pub fn expiry(&self, ttl: Option<Interval>) -> Result<i64> {
        let ttl = ttl.map(|ttl| ttl.ttl()).or(self.cache.default_ttl).unwrap_or(Ttl::NEVER);
        ttl::expiry(clock::now(), ttl, clock::add_calendar)
    }

    /// The terms of a value written now, without tags. NULL for `fresh`: it is fresh until it expires.
    ///
    /// Errors: as for [`Table::expiry`], and [`Error::FreshBeyondTtl`] (22023).
    pub fn terms(&self, ttl: Option<Interval>, fresh: Option<Interval>) -> Result<Terms<'static>> {
        let expires_at = self.expiry(ttl)?;
        let fresh_until = fresh.map(|fresh| ttl::expiry(clock::now(), fresh.ttl(), clock::add_calendar)).transpose();
        let fresh_until = fresh_until.map_err(Error::about_fresh)?.filter(|fresh_until| *fresh_until != ttl::NEVER);
        if fresh_until.is_some_and(|fresh_until| fresh_until > expires_at) {
            return Err(Error::FreshBeyondTtl);
        }
        Ok(Terms { fresh_until, ..Terms::until(expires_at) })
    }

    /// Checks that a value may be stored at all. Where its entry would be larger than the whole budget, one that is there
    /// is expired in place, so that a caller who ignores the error does not go on reading the old value; that holds
    /// although the error rolls the transaction back.
    ///
    /// Errors: [`Error::LargerThanBudget`], [`Error::TooLarge`], [`Error::TagsTooLong`] (54000).
    pub fn check_size(&mut self, key: Varlena<'_>, value: &Value<'_>, basis: Option<Basis<'_>>) -> Result<()> {
        let (size, tags) = (value.size(), basis.map_or(0, |basis| basis.tags.as_varlena().size()));
        let limit = MAX_KEY_AND_TAGS - key.size();
        if tags > limit {
            return Err(Error::TagsTooLong { size: tags, limit });
        }
        if size + crate::key::MAX_KEY_BYTES > crate::pg::heap::MAX_ROW_BYTES {
            return Err(Error::TooLarge(size));
        }
        let entry = (key.size() + tags + size) as i64;
        match self.cache.budget.bytes {
            Some(budget) if entry > budget => {
                self.forget(key);
                Err(Error::LargerThanBudget { cache: self.cache.name.clone(), size: entry, budget })
            }
            _ => Ok(()),
        }
    }

    /// Expires the entry under `key` for everybody, at once and whatever becomes of the transaction: as if evicted.
    fn forget(&mut self, key: Varlena<'_>) {
        if let Some(row) = self.find(key, Visibility::InFlight) {
            let tid = row.tid();
            page::overwrite_expiry(&self.heap, tid, i64::MIN);
            if let Some(slot) = self.cache.slot() {
                slot.note_expiry(i64::MIN);
            }
        }
    }
}

fn check_privileges(cache: &Cache, privileges: Privileges) -> Result<()> {
    match acl::missing(cache.table, privileges) {
        None => Ok(()),
        Some(privilege) => Err(Error::PermissionDenied { table: cache.table_name(), privilege }),
    }
}
