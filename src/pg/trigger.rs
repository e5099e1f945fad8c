//! What a trigger is called with, and the text of a row's columns.

use std::ffi::CStr;

use pgrx::PgTrigger;
use pgrx::pg_sys::{self, Oid};

use crate::pg::datum::Varlena;
use crate::pg::slot::Row;

/// The first argument that the trigger was made with; empty where there is none.
pub fn argument<'a>(trigger: &PgTrigger<'a>) -> &'a [u8] {
    let trigger = trigger.trigger();
    if trigger.tgnargs < 1 {
        return b"";
    }
    // SAFETY: a trigger has as many arguments as it says, each a C string.
    unsafe { CStr::from_ptr(*trigger.tgargs) }.to_bytes()
}

/// Tells the trigger from all others of the database.
pub fn oid(trigger: &PgTrigger<'_>) -> Oid {
    trigger.trigger().tgoid
}

/// The row as it was and as it is, as far as there are such, of a trigger for each row, after the change.
pub fn rows<'a>(trigger: &PgTrigger<'a>) -> impl Iterator<Item = Row<'a>> {
    let data = trigger.trigger_data();
    [data.tg_trigslot, data.tg_newslot].into_iter().filter(|slot| !slot.is_null()).map(|slot| {
        // SAFETY: the slots hold the rows while the trigger runs.
        unsafe { Row::borrowed(slot) }
    })
}

/// A column, and what turns its values into text. Good in this process for as long as the column's type is the same.
pub struct Column {
    number: i16,
    of_type: Oid,
    name: Vec<u8>,
    /// The function that makes a text or, where there is no cast, the type's output function, which makes a C string.
    function: Box<pg_sys::FmgrInfo>,
    is_cast: bool,
}

impl Column {
    /// The column of this name in the trigger's table; `None` where there is none.
    pub fn find(trigger: &PgTrigger<'_>, name: &[u8]) -> Option<Column> {
        let numbers = 1..=descriptor(trigger).natts as i16;
        let (number, of_type) = numbers.filter_map(|number| Some((number, type_of(trigger, number, name)?))).next()?;
        let (mut oid, mut is_varlena) = (pg_sys::InvalidOid, false);
        // SAFETY: a type that a column has. What the look-up keeps is allocated for the life of the process.
        unsafe {
            let context = pg_sys::CoercionContext::COERCION_EXPLICIT;
            let path = pg_sys::find_coercion_pathway(pg_sys::TEXTOID, of_type, context, &mut oid);
            let is_cast = path == pg_sys::CoercionPathType::COERCION_PATH_FUNC && pg_sys::get_func_nargs(oid) == 1;
            if !is_cast {
                pg_sys::getTypeOutputInfo(of_type, &mut oid, &mut is_varlena);
            }
            let mut function: Box<pg_sys::FmgrInfo> = Box::new(std::mem::zeroed());
            pg_sys::fmgr_info_cxt(oid, &mut *function, pg_sys::TopMemoryContext);
            Some(Column { number, of_type, name: name.to_vec(), function, is_cast })
        }
    }

    /// Whether the trigger's table still has the column as it was when it was found.
    pub fn is_valid(&self, trigger: &PgTrigger<'_>) -> bool {
        type_of(trigger, self.number, &self.name) == Some(self.of_type)
    }

    /// Adds the row's value to `text`, as a cast to text has it. `false` for NULL.
    pub fn write(&mut self, row: Row<'_>, text: &mut Vec<u8>) -> bool {
        let Some(value) = row.datum(self.number) else { return false };
        // SAFETY: the value is of the type whose function this is, which returns a text, or a C string, in this memory context.
        unsafe {
            if self.is_cast {
                let cast = pg_sys::FunctionCall1Coll(&mut *self.function, pg_sys::InvalidOid, value);
                text.extend_from_slice(Varlena::new(cast).bytes());
            } else {
                let shown = pg_sys::OutputFunctionCall(&mut *self.function, value);
                text.extend_from_slice(CStr::from_ptr(shown).to_bytes());
            }
        }
        true
    }
}

fn descriptor<'a>(trigger: &PgTrigger<'a>) -> &'a pg_sys::TupleDescData {
    // SAFETY: the table is open while the trigger runs.
    unsafe { &*(*trigger.trigger_data().tg_relation).rd_att }
}

/// The type of the column with this number, if there is one and it has this name.
fn type_of(trigger: &PgTrigger<'_>, number: i16, name: &[u8]) -> Option<Oid> {
    let descriptor = descriptor(trigger);
    if i32::from(number) > descriptor.natts {
        return None;
    }
    // SAFETY: the descriptor has as many attributes as it says; a name ends with a zero byte.
    unsafe {
        #[cfg(feature = "pg18")]
        let attribute = &*pg_sys::TupleDescAttr(std::ptr::from_ref(descriptor).cast_mut(), i32::from(number) - 1);
        #[cfg(not(feature = "pg18"))]
        let attribute = &*descriptor.attrs.as_ptr().add(number as usize - 1);
        let is_it = !attribute.attisdropped && CStr::from_ptr(attribute.attname.data.as_ptr()).to_bytes() == name;
        is_it.then_some(attribute.atttypid)
    }
}
