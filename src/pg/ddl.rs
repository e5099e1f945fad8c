//! Running commands, and making tables part of the extension.

use std::ffi::CStr;

use pgrx::pg_sys::{self, Oid};

use crate::error::Result;
use crate::pg::lookup;

/// Runs one command as the current user.
pub fn run(command: &str) -> Result<()> {
    Ok(pgrx::Spi::run(command)?)
}

fn table_address(table: Oid) -> pg_sys::ObjectAddress {
    pg_sys::ObjectAddress { classId: pg_sys::RelationRelationId, objectId: table, objectSubId: 0 }
}

/// Makes the table a member of the extension, as ALTER EXTENSION … ADD does: dropped with it, and not dumped by itself.
/// Nothing to do while CREATE EXTENSION runs, which makes every new object a member.
pub fn add_to_extension(table: Oid, extension: &CStr) {
    // SAFETY: reads a variable of the backend.
    if unsafe { pg_sys::creating_extension } {
        return;
    }
    if let Some(extension) = lookup::extension_oid(extension) {
        let extension =
            pg_sys::ObjectAddress { classId: pg_sys::ExtensionRelationId, objectId: extension, objectSubId: 0 };
        // SAFETY: two complete addresses, copied into the catalog.
        unsafe {
            pg_sys::recordDependencyOn(&table_address(table), &extension, pg_sys::DependencyType::DEPENDENCY_EXTENSION)
        }
    }
}

/// Undoes [`add_to_extension`], so that the table can be dropped by itself.
pub fn remove_from_extension(table: Oid) {
    // SAFETY: deletes rows of pg_depend by address.
    unsafe {
        pg_sys::deleteDependencyRecordsForClass(
            pg_sys::RelationRelationId,
            table,
            pg_sys::ExtensionRelationId,
            pg_sys::DependencyType::DEPENDENCY_EXTENSION as std::ffi::c_char,
        );
        pg_sys::CommandCounterIncrement();
    }
}

/// A role's name, quoted for a command.
pub fn quoted_role(role: Oid) -> String {
    // SAFETY: both functions return C strings in the current memory context.
    unsafe {
        let name = pg_sys::GetUserNameFromId(role, false);
        CStr::from_ptr(pg_sys::quote_identifier(name)).to_string_lossy().into_owned()
    }
}
