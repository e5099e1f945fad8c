//! Which row versions a look-up sees. Neither kind depends on the transaction's isolation level, takes a predicate
//! lock, or holds anything back from VACUUM.

use pgrx::pg_sys;

use crate::pg::query::{Function, called_functions};

/// What a look-up sees.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Visibility {
    /// The newest committed version, and the transaction's own.
    Latest,
    /// Also versions that other transactions have not committed yet, so that a writer can wait for them.
    InFlight,
}

/// A snapshot in memory that PostgreSQL may point to for as long as the box lives.
pub(in crate::pg) struct Snapshot(Box<pg_sys::SnapshotData>);

impl Snapshot {
    pub fn new(visibility: Visibility) -> Snapshot {
        // SAFETY: all of the struct's fields may be zero; these two kinds use the type and the fields that they set.
        let mut data: pg_sys::SnapshotData = unsafe { std::mem::zeroed() };
        data.snapshot_type = match visibility {
            Visibility::Latest => pg_sys::SnapshotType::SNAPSHOT_SELF,
            Visibility::InFlight => pg_sys::SnapshotType::SNAPSHOT_DIRTY,
        };
        Snapshot(Box::new(data))
    }

    pub fn as_ptr(&mut self) -> pg_sys::Snapshot {
        &mut *self.0
    }

    /// The transaction, with its speculative token if it has one, that inserted the version seen last and has not
    /// committed. Only in-flight snapshots tell.
    pub fn inserter_in_flight(&self) -> Option<(pg_sys::TransactionId, u32)> {
        (self.0.xmin != pg_sys::InvalidTransactionId).then_some((self.0.xmin, self.0.speculativeToken))
    }

    /// Whether another transaction that has not committed inserted the version seen last. Only in-flight snapshots tell.
    pub fn is_arriving(&self) -> bool {
        self.0.xmin != pg_sys::InvalidTransactionId
    }

    /// Whether another transaction that has not committed is changing or deleting the version seen last. Only in-flight
    /// snapshots tell.
    pub fn is_changing(&self) -> bool {
        self.0.xmax != pg_sys::InvalidTransactionId
    }
}

/// Whether nothing has been committed since the snapshot was taken that the current statement, or function, sees: a new
/// one would be the same.
pub fn is_current() -> bool {
    // SAFETY: both snapshots are valid while they are compared. The caller is not part of a parallel operation, in which
    // no snapshot can be taken.
    unsafe {
        if !pg_sys::ActiveSnapshotSet() || pg_sys::RecoveryInProgress() {
            return false;
        }
        let (active, latest) = (&*pg_sys::GetActiveSnapshot(), &*pg_sys::GetLatestSnapshot());
        let running = |snapshot: &pg_sys::SnapshotData| match snapshot.xcnt {
            0 => &[],
            count => std::slice::from_raw_parts(snapshot.xip, count as usize),
        };
        active.xmin == latest.xmin && active.xmax == latest.xmax && running(active) == running(latest)
    }
}

/// Runs `work`, which may take long, without a snapshot where that can be: then it does not keep rows that others delete from
/// being reclaimed. The statement that is being run goes on with a new snapshot.
///
/// That can be where the statement is the client's own and calls one function, this one, and nothing else that could look at
/// a table: it has done nothing yet that depends on the snapshot that it had.
pub fn without<R>(work: impl FnOnce() -> R) -> R {
    // SAFETY: the portal, its query and its state live for as long as the statement is being run. Both of the query's
    // references to the snapshot are counted, and nothing else refers to it; they are replaced before anything looks at
    // them. An error in `work` leaves none, and the abort asks for none.
    unsafe {
        let Some((query, state)) = only_holder() else { return work() };
        pg_sys::PopActiveSnapshot();
        for snapshot in [&mut (*state).es_snapshot, &mut (*query).snapshot] {
            pg_sys::UnregisterSnapshot(std::mem::replace(snapshot, std::ptr::null_mut()));
        }
        pg_sys::InvalidateCatalogSnapshot();
        let result = work();
        (*query).snapshot = pg_sys::RegisterSnapshot(pg_sys::GetTransactionSnapshot());
        (*state).es_snapshot = pg_sys::RegisterSnapshot((*query).snapshot);
        pg_sys::PushActiveSnapshot((*query).snapshot);
        result
    }
}

/// Whether the client's statement calls one function, this one, and does nothing else: what is read after it is read by other
/// statements, which have snapshots of their own unless the isolation level keeps one.
pub fn is_ours_alone() -> bool {
    // SAFETY: called by a function that a statement runs.
    unsafe { only_holder() }.is_some()
}

/// Whether a plan reads no table, and consists of one call of a function, as it stands in FROM or in the list of columns.
///
/// # Safety
/// A whole plan.
unsafe fn calls_one_function(plan: &pg_sys::PlannedStmt) -> bool {
    // SAFETY: a node says what it is; lists are looked at as what they hold.
    unsafe {
        let Some(node) = plan.planTree.as_ref() else { return false };
        let is_leaf = matches!(node.type_, pg_sys::NodeTag::T_FunctionScan | pg_sys::NodeTag::T_Result)
            && node.lefttree.is_null()
            && plan.subplans.is_null()
            && plan.relationOids.is_null();
        if !is_leaf {
            return false;
        }
        let mut functions = called_functions(node.targetlist.cast());
        functions.extend(called_functions(node.qual.cast()));
        if node.type_ == pg_sys::NodeTag::T_FunctionScan {
            let scan = &*std::ptr::from_ref(node).cast::<pg_sys::FunctionScan>();
            functions.extend(called_functions(scan.functions.cast()));
        }
        functions.into_iter().map(Function::new).filter(|function| !function.is_immutable()).count() <= 1
    }
}

/// The client's statement and its state, where nothing else in this session uses a snapshot.
///
/// # Safety
/// Called by a function that a statement runs.
unsafe fn only_holder() -> Option<(*mut pg_sys::QueryDesc, *mut pg_sys::EState)> {
    // SAFETY: what is looked at is checked to be there.
    unsafe {
        let portal = pg_sys::ActivePortal.as_ref()?;
        let query = portal.queryDesc.as_mut()?;
        let state = query.estate.as_mut()?;
        let reads_tables = query.plannedstmt.as_ref().is_none_or(|plan| !calls_one_function(plan));
        let is_plain = portal.strategy == pg_sys::PortalStrategy::PORTAL_ONE_SELECT
            && portal.portalSnapshot.is_null()
            && portal.holdSnapshot.is_null()
            && state.es_crosscheck_snapshot.is_null();
        let is_free = !crate::pg::xact::keeps_one_snapshot() && pg_sys::GetCurrentTransactionNestLevel() == 1;
        if reads_tables || !is_plain || !is_free || !pg_sys::ActiveSnapshotSet() {
            return None;
        }
        let active = pg_sys::GetActiveSnapshot();
        if state.es_snapshot != query.snapshot || (*active).active_count != 1 || (*active).regd_count != 2 {
            return None;
        }
        // Nothing below it on the stack: a function or a cursor around this statement has one of its own.
        pg_sys::PopActiveSnapshot();
        let is_only = !pg_sys::ActiveSnapshotSet();
        pg_sys::PushActiveSnapshot(query.snapshot);
        is_only.then_some((std::ptr::from_mut(query), std::ptr::from_mut(state)))
    }
}
