//! `invalidate` and `clock`.

use pgrx::datum::VariadicArray;
use pgrx::pg_extern;
use pgrx::pg_sys::panic::ErrorReport;

use crate::error::{self, Error};
use crate::pg::datum::Timestamptz;
use crate::pg::xact;
use crate::shared;

/// Makes all entries with one of these tags invalid: for this transaction at once, for others when it commits. No entry is
/// touched, however many there are.
///
/// Errors: 22004 a tag is NULL, 22023 a tag is empty, 25006 on a standby; and 0A000 at PREPARE TRANSACTION.
#[pg_extern]
fn invalidate(tags: Option<VariadicArray<'_, &str>>) -> Result<(), ErrorReport> {
    Ok(note_all(tags)?)
}

fn note_all(tags: Option<VariadicArray<'_, &str>>) -> error::Result<()> {
    if xact::in_recovery() {
        return Err(Error::WriteInRecovery);
    }
    // All are looked at before the first is noted.
    let tags = tags.ok_or(Error::NullTag)?;
    let tags = tags.iter().map(|tag| tag.ok_or(Error::NullTag)).collect::<error::Result<Vec<_>>>()?;
    if tags.iter().any(|tag| tag.is_empty()) {
        return Err(Error::EmptyTag);
    }
    tags.iter().for_each(|tag| shared::note_tag(tag.as_bytes()));
    Ok(())
}

/// A time by the clock that orders values and invalidations. What is read after this call, in a snapshot taken after it,
/// was current then: pass it as `as_of`. Where the isolation level keeps one snapshot, the start of the transaction.
///
/// Error: 53200 there is no shared memory.
#[pg_extern]
fn clock() -> Result<Timestamptz, ErrorReport> {
    Ok(Timestamptz::new(shared::current_as_of().ok_or(Error::NoSharedMemory)?))
}
