//! Privileges, and acting as another role.

use pgrx::pg_sys::{self, Oid};

/// Privileges on a table, as a set.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Privileges(u32);

impl Privileges {
    pub const SELECT: Privileges = Privileges(pg_sys::ACL_SELECT);
    pub const INSERT: Privileges = Privileges(pg_sys::ACL_INSERT);
    pub const UPDATE: Privileges = Privileges(pg_sys::ACL_UPDATE);
    pub const DELETE: Privileges = Privileges(pg_sys::ACL_DELETE);

    pub const fn and(self, other: Privileges) -> Privileges {
        Privileges(self.0 | other.0)
    }

    /// The privileges one by one, with their names in SQL.
    fn each(self) -> impl Iterator<Item = (Privileges, &'static str)> {
        [(Self::SELECT, "SELECT"), (Self::INSERT, "INSERT"), (Self::UPDATE, "UPDATE"), (Self::DELETE, "DELETE")]
            .into_iter()
            .filter(move |(one, _)| self.0 & one.0 != 0)
    }
}

/// The first of the privileges that the current user lacks on the table; `None` where it has them all.
pub fn missing(table: Oid, privileges: Privileges) -> Option<&'static str> {
    let has = |one: Privileges| {
        // SAFETY: looks up a system cache; an unknown table counts as no privilege.
        unsafe { pg_sys::pg_class_aclcheck(table, current_user(), one.0 as _) == pg_sys::AclResult::ACLCHECK_OK }
    };
    privileges.each().find(|(one, _)| !has(*one)).map(|(_, name)| name)
}

pub fn current_user() -> Oid {
    // SAFETY: reads a variable of the backend.
    unsafe { pg_sys::GetUserId() }
}

/// The role that the session was started as.
pub fn session_user() -> Oid {
    // SAFETY: reads a variable of the backend.
    unsafe { pg_sys::GetSessionUserId() }
}

/// Runs as another role until dropped, as a SECURITY DEFINER function does. An abort restores the role by itself.
pub struct ActingAs {
    user: Oid,
    context: std::ffi::c_int,
}

impl ActingAs {
    pub fn new(role: Oid) -> ActingAs {
        let mut saved = ActingAs { user: pg_sys::InvalidOid, context: 0 };
        // SAFETY: saves and sets variables of the backend; `drop` and transaction abort restore them.
        unsafe {
            pg_sys::GetUserIdAndSecContext(&mut saved.user, &mut saved.context);
            let context = saved.context | pg_sys::SECURITY_LOCAL_USERID_CHANGE as i32;
            pg_sys::SetUserIdAndSecContext(role, context);
        }
        saved
    }
}

impl Drop for ActingAs {
    fn drop(&mut self) {
        // SAFETY: restores what `new` saved.
        unsafe { pg_sys::SetUserIdAndSecContext(self.user, self.context) }
    }
}
