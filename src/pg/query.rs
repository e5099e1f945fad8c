//! A query that a caller hands in as text: what it reads, what it calls, and its rows as JSON.

use std::ffi::{CStr, CString, c_void};

use pgrx::memcx;
use pgrx::pg_sys::{self, Datum, Oid};
use pgrx::{PgMemoryContexts, list::List};

use crate::pg::datum::json_of_row;

/// What may be wrong with a query before it runs. What PostgreSQL itself finds wrong is raised as is.
#[derive(Debug, PartialEq, Eq)]
pub struct NotAQuery;

/// A prepared query. Lives within one use of the server programming interface.
pub struct Query {
    plan: pg_sys::SPIPlanPtr,
    parameters: Vec<Oid>,
}

impl Query {
    /// Parses, analyses and plans a query. The types of its parameters follow from where they stand.
    pub fn prepare(sql: &str) -> Result<Query, NotAQuery> {
        let text = CString::new(sql).map_err(|_| NotAQuery)?;
        // SAFETY: every list and tree is made here, in the memory of the interface's use, and looked at as what it says it is.
        unsafe {
            let statements = pg_sys::raw_parser(text.as_ptr(), pg_sys::RawParseMode::RAW_PARSE_DEFAULT);
            let [statement] = pointers::<pg_sys::RawStmt>(statements)[..] else { return Err(NotAQuery) };
            let (mut types, mut count) = (std::ptr::null_mut(), 0);
            #[cfg(feature = "pg14")]
            let query = pg_sys::parse_analyze_varparams(statement, text.as_ptr(), &mut types, &mut count);
            #[cfg(not(feature = "pg14"))]
            let query = {
                let no_environment = std::ptr::null_mut();
                pg_sys::parse_analyze_varparams(statement, text.as_ptr(), &mut types, &mut count, no_environment)
            };
            if (*query).commandType != pg_sys::CmdType::CMD_SELECT {
                return Err(NotAQuery);
            }
            let parameters = if count == 0 { &[] } else { std::slice::from_raw_parts(types, count as usize) };
            let options = pg_sys::CURSOR_OPT_PARALLEL_OK as i32;
            let plan = pg_sys::SPI_prepare_cursor(text.as_ptr(), count, types, options);
            Ok(Query { plan, parameters: parameters.to_vec() })
        }
    }

    /// How many parameters it has.
    pub fn parameter_count(&self) -> usize {
        self.parameters.len()
    }

    /// Whether a parameter, counted from zero, is an array.
    pub fn is_array(&self, parameter: usize) -> bool {
        // SAFETY: a look-up in the system caches.
        unsafe { pg_sys::get_element_type(self.parameters[parameter]) != pg_sys::InvalidOid }
    }

    /// Whether a parameter, counted from zero, is a json or jsonb.
    pub fn is_json(&self, parameter: usize) -> bool {
        [pg_sys::JSONOID, pg_sys::JSONBOID].contains(&self.parameters[parameter])
    }

    /// The relations that it depends on, views among them, whatever way leads to them: by its plan.
    pub fn relations(&self) -> Vec<Oid> {
        // SAFETY: the plan is made for this, and lists of this kind are of OIDs.
        unsafe {
            let cached = pg_sys::SPI_plan_get_cached_plan(self.plan);
            let statements = pointers::<pg_sys::PlannedStmt>((*cached).stmt_list);
            let lists = statements.into_iter().flat_map(|statement| oids((*statement).relationOids));
            let mut relations: Vec<Oid> = lists.collect();
            pg_sys::ReleaseCachedPlan(cached, std::ptr::null_mut());
            relations.sort_unstable_by_key(|oid| oid.to_u32());
            relations.dedup();
            relations
        }
    }

    /// The functions that it calls, with views and policies put in for what they stand for.
    pub fn functions(&self) -> Vec<Oid> {
        // SAFETY: the rewritten queries belong to the plan.
        unsafe {
            let sources = pointers::<pg_sys::CachedPlanSource>(pg_sys::SPI_plan_get_plan_sources(self.plan));
            let queries = sources.into_iter().flat_map(|source| pointers::<pg_sys::Node>((*source).query_list));
            queries.flat_map(|query| called_functions(query)).collect()
        }
    }

    /// Runs it in the transaction's newest snapshot, read only, and returns its rows as a JSON array of objects. An
    /// argument is the text form of a value, or `None` for NULL; there is one for each parameter.
    pub fn rows_as_json(&self, arguments: &[Option<CString>]) -> String {
        let values = self.parameters.iter().zip(arguments).map(|(of_type, text)| match text {
            Some(text) => parse(*of_type, text),
            None => Datum::null(),
        });
        let mut values: Vec<Datum> = values.collect();
        let nulls: Vec<std::ffi::c_char> =
            arguments.iter().map(|text| if text.is_none() { b'n' } else { b' ' } as std::ffi::c_char).collect();
        // SAFETY: as many values as the plan has parameters, each of its type. The table of rows lives until the use of the
        // interface ends.
        unsafe {
            let (snapshot, no_check) = (pg_sys::GetTransactionSnapshot(), std::ptr::null_mut());
            let (values, nulls) = (values.as_mut_ptr(), nulls.as_ptr());
            pg_sys::SPI_execute_snapshot(self.plan, values, nulls, snapshot, no_check, true, false, 0);
            rows_as_json(pg_sys::SPI_tuptable, pg_sys::SPI_processed as usize)
        }
    }
}

/// # Safety
/// The table has this many rows.
unsafe fn rows_as_json(table: *mut pg_sys::SPITupleTable, count: usize) -> String {
    let mut json = String::from("[");
    // What one row needs on the way is given back before the next.
    let mut scratch = PgMemoryContexts::new("pg_stash row");
    // SAFETY: per the contract.
    unsafe {
        let descriptor = pg_sys::BlessTupleDesc((*table).tupdesc);
        for row in 0..count {
            pgrx::check_for_interrupts!();
            if row > 0 {
                json.push(',');
            }
            scratch.switch_to(|_| {
                let row = pg_sys::heap_copy_tuple_as_datum(*(*table).vals.add(row), descriptor);
                json.push_str(&json_of_row(row));
            });
            scratch.reset();
        }
    }
    json.push(']');
    json
}

/// A value from its text form. Raises what the type's input function finds wrong with it.
fn parse(of_type: Oid, text: &CStr) -> Datum {
    let (mut function, mut parameter) = (pg_sys::InvalidOid, pg_sys::InvalidOid);
    // SAFETY: a type that exists; the input function copies.
    unsafe {
        pg_sys::getTypeInputInfo(of_type, &mut function, &mut parameter);
        pg_sys::OidInputFunctionCall(function, text.as_ptr().cast_mut(), parameter, -1)
    }
}

/// CURRENT_DATE to LOCALTIMESTAMP; those of the user come after them.
const LAST_THAT_TELLS_TIME: pg_sys::SQLValueFunctionOp::Type = pg_sys::SQLValueFunctionOp::SVFOP_LOCALTIMESTAMP_N;

/// The functions that are called in a tree of nodes, or a list of such.
///
/// # Safety
/// A node of a query or of expressions, or NULL.
pub(in crate::pg) unsafe fn called_functions(node: *mut pg_sys::Node) -> Vec<Oid> {
    let mut calls = Calls::default();
    // SAFETY: per the contract; the walker gets back what it is given.
    unsafe { walk(node, (&raw mut calls).cast()) };
    calls.functions
}

/// Functions that a walk through a query has met.
#[derive(Default)]
struct Calls {
    functions: Vec<Oid>,
}

unsafe extern "C-unwind" fn note_function(function: Oid, calls: *mut c_void) -> bool {
    // SAFETY: what `walk` was given.
    unsafe { (*calls.cast::<Calls>()).functions.push(function) };
    false
}

/// Notes the functions that are called in a tree of nodes. Returns `false`, which has the walk go on.
#[pgrx::pg_guard]
unsafe extern "C-unwind" fn walk(node: *mut pg_sys::Node, calls: *mut c_void) -> bool {
    // SAFETY: a node says what it is; the context is passed on as it came.
    unsafe {
        let Some(tag) = node.as_ref().map(|node| node.type_) else { return false };
        // What the parser has a notation of its own for, and no function call.
        let stands_for = match tag {
            pg_sys::NodeTag::T_NextValueExpr => Some(pg_sys::F_NEXTVAL),
            pg_sys::NodeTag::T_SQLValueFunction => {
                let tells_time = (*node.cast::<pg_sys::SQLValueFunction>()).op <= LAST_THAT_TELLS_TIME;
                tells_time.then_some(pg_sys::F_NOW)
            }
            _ => None,
        };
        if let Some(function) = stands_for {
            note_function(Oid::from(function), calls);
        }
        pg_sys::check_functions_in_node(node, Some(note_function), calls);
        if tag == pg_sys::NodeTag::T_Query {
            walkers::query(node.cast(), walk, calls)
        } else {
            walkers::expression(node, walk, calls)
        }
    }
}

type Walker = unsafe extern "C-unwind" fn(*mut pg_sys::Node, *mut c_void) -> bool;

/// PostgreSQL's walks through trees of nodes, which the bindings have from version 16 on.
mod walkers {
    use super::{Walker, c_void, pg_sys};

    #[cfg(any(feature = "pg14", feature = "pg15"))]
    unsafe extern "C-unwind" {
        fn query_tree_walker(query: *mut pg_sys::Query, walker: Walker, context: *mut c_void, flags: i32) -> bool;
        fn expression_tree_walker(node: *mut pg_sys::Node, walker: Walker, context: *mut c_void) -> bool;
    }

    /// # Safety
    /// A query, and a context that the walker takes.
    pub unsafe fn query(query: *mut pg_sys::Query, walker: Walker, context: *mut c_void) -> bool {
        // SAFETY: per the contract. An error on the way is carried over the frames of this library.
        #[cfg(any(feature = "pg14", feature = "pg15"))]
        unsafe {
            pg_sys::ffi::pg_guard_ffi_boundary(|| query_tree_walker(query, walker, context, 0))
        }
        // SAFETY: as above.
        #[cfg(not(any(feature = "pg14", feature = "pg15")))]
        unsafe {
            pg_sys::query_tree_walker_impl(query, Some(walker), context, 0)
        }
    }

    /// # Safety
    /// A node other than a query, and a context that the walker takes.
    pub unsafe fn expression(node: *mut pg_sys::Node, walker: Walker, context: *mut c_void) -> bool {
        // SAFETY: as above.
        #[cfg(any(feature = "pg14", feature = "pg15"))]
        unsafe {
            pg_sys::ffi::pg_guard_ffi_boundary(|| expression_tree_walker(node, walker, context))
        }
        // SAFETY: as above.
        #[cfg(not(any(feature = "pg14", feature = "pg15")))]
        unsafe {
            pg_sys::expression_tree_walker_impl(node, Some(walker), context)
        }
    }
}

/// # Safety
/// A list of pointers to `T`, or NULL.
unsafe fn pointers<T>(list: *mut pg_sys::List) -> Vec<*mut T> {
    memcx::current_context(|mcx| {
        // SAFETY: per the contract.
        let list = unsafe { List::<*mut c_void>::downcast_ptr_in_memcx(list, mcx) };
        list.map(|list| list.iter().map(|pointer| pointer.cast()).collect()).unwrap_or_default()
    })
}

/// # Safety
/// A list of OIDs, or NULL.
unsafe fn oids(list: *mut pg_sys::List) -> Vec<Oid> {
    memcx::current_context(|mcx| {
        // SAFETY: per the contract.
        let list = unsafe { List::<Oid>::downcast_ptr_in_memcx(list, mcx) };
        list.map(|list| list.iter().copied().collect()).unwrap_or_default()
    })
}

/// What is said of a function in the catalog.
pub struct Function(Oid);

impl Function {
    pub fn new(oid: Oid) -> Function {
        Function(oid)
    }

    pub fn oid(&self) -> Oid {
        self.0
    }

    /// Whether it may return another result each time.
    pub fn is_volatile(&self) -> bool {
        // SAFETY: a look-up in the system caches.
        unsafe { pg_sys::func_volatile(self.0) as u8 == pg_sys::PROVOLATILE_VOLATILE }
    }

    /// Whether its result depends on its arguments alone.
    pub fn is_immutable(&self) -> bool {
        // SAFETY: as above.
        unsafe { pg_sys::func_volatile(self.0) as u8 == pg_sys::PROVOLATILE_IMMUTABLE }
    }

    /// Whether it is PostgreSQL's own.
    pub fn is_built_in(&self) -> bool {
        self.0.to_u32() < pg_sys::FirstNormalObjectId
    }

    /// Whether its result depends on the time.
    pub fn reads_time(&self) -> bool {
        const THOSE: [u32; 5] = [
            pg_sys::F_NOW,
            pg_sys::F_TRANSACTION_TIMESTAMP,
            pg_sys::F_STATEMENT_TIMESTAMP,
            pg_sys::F_AGE_TIMESTAMP,
            pg_sys::F_AGE_TIMESTAMPTZ,
        ];
        THOSE.contains(&self.0.to_u32())
    }

    /// Whether its result depends on the session, in a way that no user or role shows.
    pub fn reads_session(&self) -> bool {
        const THOSE: [u32; 6] = [
            pg_sys::F_CURRENT_SETTING_TEXT,
            pg_sys::F_CURRENT_SETTING_TEXT_BOOL,
            pg_sys::F_PG_BACKEND_PID,
            pg_sys::F_INET_CLIENT_ADDR,
            pg_sys::F_INET_CLIENT_PORT,
            pg_sys::F_PG_MY_TEMP_SCHEMA,
        ];
        THOSE.contains(&self.0.to_u32())
    }

    pub fn name(&self) -> String {
        // SAFETY: a C string in this memory context, or NULL.
        unsafe {
            let name = pg_sys::get_func_name(self.0);
            if name.is_null() {
                self.0.to_u32().to_string()
            } else {
                CStr::from_ptr(name).to_string_lossy().into_owned()
            }
        }
    }
}
