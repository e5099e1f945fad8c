//! Every error that the extension raises: one type, and one place that gives each its SQLSTATE, message and hint.

use std::fmt;

use pgrx::PgSqlErrorCode as Code;
use pgrx::pg_sys::panic::{ErrorReport, ErrorReportable};

use crate::value::{Form, Kind};

/// Result of everything below `api`.
pub type Result<T> = std::result::Result<T, Error>;

/// What can be wrong with a call. [`From<Error> for ErrorReport`] says what the client is told.
#[derive(Debug)]
pub enum Error {
    /// A key, or an element of an array of keys, is NULL.
    NullKey,
    /// A value, or an element of an array of values, is NULL.
    NullValue,
    /// Another argument that has to be given is NULL.
    NullArgument(&'static str),
    /// A key is empty or longer than [`crate::key::MAX_KEY_BYTES`].
    KeyLength(usize),
    /// No cache has this name; the names that there are.
    NoSuchCache { name: String, known: Vec<String> },
    /// `create_cache` with a name that is taken.
    CacheExists(String),
    /// `create_cache` with a name that cannot be part of a table's name.
    InvalidCacheName(String),
    /// A policy that cannot be: the column and what is wrong with it.
    InvalidPolicy(String),
    /// The cache's table is not as `create_cache` made it.
    AlteredTable { table: String, what: String, hint: String },
    /// The entry holds another type than the one asked for.
    WrongForm { key: String, stored: Kind, wanted: Form },
    /// A counter function met an entry that is no counter.
    NotACounter { key: String, stored: Kind },
    /// A counter left the range of bigint.
    CounterOutOfRange { key: String },
    /// TTL of zero or less.
    TtlNotPositive,
    /// The expiry does not fit a timestamptz.
    TtlOutOfRange,
    /// `fresh` of zero or less.
    FreshNotPositive,
    /// A value would be fresh for longer than it lives.
    FreshBeyondTtl,
    /// A tag is NULL, in an array of tags or as an argument.
    NullTag,
    /// A tag is empty.
    EmptyTag,
    /// The tags of an entry, with its key, do not fit into its row.
    TagsTooLong { size: usize, limit: usize },
    /// A value is said to be of a time that has not come.
    AsOfInFuture,
    /// What was passed as a lease is none, or one of another database or server.
    InvalidLease,
    /// A claim asks for a lease that would keep others waiting for too long.
    LeaseTooLong,
    /// A lease under which a value has been stored already.
    LeaseUsed,
    /// A time span that must be positive, or must not be negative, and is not.
    TimeSpan { name: &'static str, may_be_zero: bool },
    /// A tag names a column that its table does not have.
    NoSuchColumn(String),
    /// `args` of `remember` is no array.
    ArgsNotAnArray,
    /// `remember` was given another number of arguments than its query has parameters.
    ArgsCount { given: usize, wanted: usize },
    /// `remember` was given something that is not one query.
    NotAQuery,
    /// The query of `remember` calls a function whose result may be another one each time.
    VolatileFunction(String),
    /// The query of `remember` reads a temporary table, which no other session has.
    TemporaryTable(String),
    /// The query of `remember` calls a function whose result may depend on the session in a way that its key does not show.
    SessionFunction(String),
    /// The query of `remember` calls a function whose result depends on the time, and no TTL is given.
    TimeFunction(String),
    /// The query of `remember` reads something of whose changes nobody is told.
    NotWatched(String),
    /// The rows that the query of `remember` sees depend on who runs it.
    KeyWithRowSecurity(String),
    /// An invalidation that others could not be told of.
    CannotInvalidate,
    /// The shared memory, by which invalidations are known, is missing.
    NoSharedMemory,
    /// An entry would be larger than the whole budget of the cache.
    LargerThanBudget { cache: String, size: i64, budget: i64 },
    /// The value is larger than a row can be.
    TooLarge(usize),
    /// The values of a batch are larger together than an array can be.
    ArrayTooLarge,
    /// A count that must not be negative is.
    NegativeCount(&'static str),
    /// Two arrays that have to be of one length are not.
    ArrayLengths { keys: usize, vals: usize },
    /// An array of more than one dimension.
    ArrayDimensions(&'static str),
    /// The current user lacks a privilege on a table of the schema.
    PermissionDenied { table: String, privilege: &'static str },
    /// A write on a standby.
    WriteInRecovery,
    /// A read on a standby, where the setting asks for an error.
    ReadInRecovery { cache: String },
    /// The extension's own tables are not there.
    NotInstalled,
    /// A command of the extension's own could not be run. What PostgreSQL itself finds wrong with one is raised as is.
    Command(pgrx::spi::Error),
}

impl Error {
    fn code(&self) -> Code {
        match self {
            Error::NullKey | Error::NullValue | Error::NullTag | Error::NullArgument(_) => {
                Code::ERRCODE_NULL_VALUE_NOT_ALLOWED
            }
            Error::KeyLength(_)
            | Error::TtlNotPositive
            | Error::FreshNotPositive
            | Error::FreshBeyondTtl
            | Error::EmptyTag
            | Error::AsOfInFuture
            | Error::InvalidLease
            | Error::LeaseUsed
            | Error::TimeSpan { .. }
            | Error::ArgsNotAnArray
            | Error::ArgsCount { .. }
            | Error::NotAQuery
            | Error::VolatileFunction(_)
            | Error::SessionFunction(_)
            | Error::TemporaryTable(_)
            | Error::LeaseTooLong
            | Error::TimeFunction(_)
            | Error::KeyWithRowSecurity(_)
            | Error::InvalidPolicy(_)
            | Error::NegativeCount(_)
            | Error::ArrayLengths { .. }
            | Error::ArrayDimensions(_) => Code::ERRCODE_INVALID_PARAMETER_VALUE,
            Error::NoSuchCache { .. } => Code::ERRCODE_UNDEFINED_OBJECT,
            Error::CacheExists(_) => Code::ERRCODE_DUPLICATE_OBJECT,
            Error::InvalidCacheName(_) => Code::ERRCODE_INVALID_NAME,
            Error::AlteredTable { .. } | Error::NotInstalled => Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            Error::WrongForm { .. } | Error::NotACounter { .. } => Code::ERRCODE_DATATYPE_MISMATCH,
            Error::CounterOutOfRange { .. } => Code::ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
            Error::TtlOutOfRange => Code::ERRCODE_DATETIME_FIELD_OVERFLOW,
            Error::LargerThanBudget { .. } | Error::TooLarge(_) | Error::ArrayTooLarge | Error::TagsTooLong { .. } => {
                Code::ERRCODE_PROGRAM_LIMIT_EXCEEDED
            }
            Error::CannotInvalidate => Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            Error::NoSuchColumn(_) => Code::ERRCODE_UNDEFINED_COLUMN,
            Error::NotWatched(_) => Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            Error::NoSharedMemory => Code::ERRCODE_OUT_OF_MEMORY,
            Error::PermissionDenied { .. } => Code::ERRCODE_INSUFFICIENT_PRIVILEGE,
            Error::Command(_) => Code::ERRCODE_INTERNAL_ERROR,
            Error::WriteInRecovery | Error::ReadInRecovery { .. } => Code::ERRCODE_READ_ONLY_SQL_TRANSACTION,
        }
    }

    fn detail(&self) -> Option<String> {
        match self {
            Error::KeyLength(bytes) if *bytes > 0 => Some(format!("The key is {bytes} bytes long.")),
            Error::NoSuchCache { known, .. } if !known.is_empty() => {
                Some(format!("The caches are: {}.", known.join(", ")))
            }
            Error::LargerThanBudget { cache, .. } => {
                Some(format!("An entry of cache \"{cache}\" under this key, if there was one, has been dropped."))
            }
            Error::TagsTooLong { size, limit } => {
                Some(format!("They take {size} bytes of the {limit} that are left beside the key."))
            }
            Error::ArrayLengths { keys, vals } => Some(format!("There are {keys} keys and {vals} values.")),
            _ => None,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Error::KeyLength(0) => "Use a key of 1 to 1024 bytes.".into(),
            Error::KeyLength(_) => "Use a key of 1 to 1024 bytes, for example a hash of the long key.".into(),
            Error::NoSuchCache { .. } => "Make it with cache.create_cache(), or pass another name as cache.".into(),
            Error::InvalidCacheName(_) => {
                "Use up to 48 lower-case letters, digits and underscores, not starting with a digit.".into()
            }
            Error::AlteredTable { hint, .. } => hint.clone(),
            Error::WrongForm { stored, .. } => format!("Read it with {}.", stored.reader()),
            Error::NotACounter { .. } => {
                "A counter is an entry that was set to a bigint, or made by cache.incr().".into()
            }
            Error::TtlNotPositive => {
                "Use cache.never() for an entry that does not expire, or cache.delete() to remove one.".into()
            }
            Error::FreshNotPositive => "Leave fresh out for a value that is fresh until it expires.".into(),
            Error::FreshBeyondTtl => {
                "fresh is how long the value needs no other; ttl is how long it may be used at all.".into()
            }
            Error::TagsTooLong { .. } => "Use fewer or shorter tags, for example one for all of a group.".into(),
            Error::AsOfInFuture => "Read cache.clock() before the data, and pass what it returned.".into(),
            Error::InvalidLease => "Pass what cache.claim() returned as lease, in the same database.".into(),
            Error::LeaseUsed => "Claim the key anew to make another value.".into(),
            Error::NoSuchColumn(_) => "In a tag, braces stand for the value of a column of the table.".into(),
            Error::ArgsNotAnArray => "Pass the parameters $1, $2, … as a jsonb array, such as '[42, \"Ada\"]'.".into(),
            Error::VolatileFunction(_) => {
                "What the query returns must depend on nothing but tables and parameters. Pass what varies as args."
                    .into()
            }
            Error::SessionFunction(_) => {
                "Pass what the session knows as args, or a key that tells apart whatever the function's result depends on.".into()
            }
            Error::TimeFunction(_) => "Say with ttl how long the result is good, or pass the time as args.".into(),
            Error::NotWatched(table) => {
                format!("Run SELECT cache.watch('{table}'), or say with ttl or tags how long the result is good.")
            }
            Error::KeyWithRowSecurity(_) => "Leave key out: the key is then made for each user.".into(),
            Error::CannotInvalidate => {
                "Another version of the library may be in use: restart the server after an upgrade.".into()
            }
            Error::NoSharedMemory => "Make room in /dev/shm.".into(),
            Error::LargerThanBudget { .. } => {
                "Raise max_size with cache.alter_cache(), or store the value in smaller parts.".into()
            }
            Error::ArrayTooLarge => "Ask for fewer keys at a time.".into(),
            Error::PermissionDenied { table, privilege } => {
                format!("Access to a cache is granted on its table: GRANT {privilege} ON {table} TO the role.")
            }
            Error::WriteInRecovery => "Connect to the primary to write to a cache.".into(),
            Error::ReadInRecovery { .. } => "Read on the primary, or set pg_stash.on_standby to miss.".into(),
            Error::NotInstalled => "Run CREATE EXTENSION pg_stash in this database.".into(),
            _ => return None,
        })
    }
}

impl Error {
    /// Raises it, where no caller can be returned to.
    pub fn raise(self) -> ! {
        Err::<std::convert::Infallible, _>(ErrorReport::from(self)).unwrap_or_report();
        unreachable!("raised above")
    }

    /// The same of a freshness that is wrong in a way that a TTL can be.
    pub fn about_fresh(self) -> Error {
        if matches!(self, Error::TtlNotPositive) { Error::FreshNotPositive } else { self }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NullKey => write!(f, "cache key must not be null"),
            Error::NullValue => write!(f, "cache value must not be null"),
            Error::NullArgument(name) => write!(f, "{name} must not be null"),
            Error::KeyLength(0) => write!(f, "cache key must not be empty"),
            Error::KeyLength(_) => write!(f, "cache key is longer than {} bytes", crate::key::MAX_KEY_BYTES),
            Error::NoSuchCache { name, .. } => write!(f, "cache \"{name}\" does not exist"),
            Error::CacheExists(name) => write!(f, "cache \"{name}\" already exists"),
            Error::InvalidCacheName(name) => write!(f, "invalid cache name \"{name}\""),
            Error::InvalidPolicy(what) => write!(f, "{what}"),
            Error::NegativeCount(name) => write!(f, "{name} must not be negative"),
            Error::AlteredTable { table, what, .. } => write!(f, "cannot use table {table} as a cache: {what}"),
            Error::WrongForm { key, stored, wanted } => {
                write!(f, "cache entry \"{key}\" is of type {stored} and cannot be read as {wanted}")
            }
            Error::NotACounter { key, stored } => {
                write!(f, "cache entry \"{key}\" is of type {stored}, not a counter")
            }
            Error::CounterOutOfRange { key } => write!(f, "counter \"{key}\" would leave the range of bigint"),
            Error::TtlNotPositive => write!(f, "ttl must be positive"),
            Error::TtlOutOfRange => write!(f, "ttl leads to an expiry out of range"),
            Error::FreshNotPositive => write!(f, "fresh must be positive"),
            Error::FreshBeyondTtl => write!(f, "fresh must not be longer than ttl"),
            Error::NullTag => write!(f, "tag must not be null"),
            Error::EmptyTag => write!(f, "tag must not be empty"),
            Error::TagsTooLong { .. } => write!(f, "tags of cache entry are too long"),
            Error::AsOfInFuture => write!(f, "as_of must not be later than now"),
            Error::InvalidLease => write!(f, "invalid lease"),
            Error::LeaseUsed => write!(f, "lease has been used"),
            Error::TimeSpan { name, may_be_zero: true } => write!(f, "{name} must not be negative"),
            Error::TimeSpan { name, .. } => write!(f, "{name} must be positive"),
            Error::NoSuchColumn(name) => write!(f, "column \"{name}\" of watched table does not exist"),
            Error::ArgsNotAnArray => write!(f, "args must be a jsonb array"),
            Error::ArgsCount { given, wanted } => {
                write!(f, "the query has {wanted} parameters, and args has {given} elements")
            }
            Error::NotAQuery => write!(f, "sql must be one query that returns rows"),
            Error::VolatileFunction(name) => write!(f, "cannot remember a query that calls volatile function {name}"),
            Error::SessionFunction(name) => {
                write!(f, "cannot remember a query that calls function {name}, whose result may depend on the session")
            }
            Error::TemporaryTable(table) => write!(f, "cannot remember a query that reads temporary table {table}"),
            Error::LeaseTooLong => write!(f, "lease must not be longer than one hour"),
            Error::TimeFunction(name) => {
                write!(f, "cannot remember a query that calls function {name}, whose result depends on the time")
            }
            Error::NotWatched(table) => write!(f, "table {table} is not watched"),
            Error::KeyWithRowSecurity(table) => {
                write!(f, "key must be null: row-level security is enabled on table {table}")
            }
            Error::CannotInvalidate => write!(f, "cannot invalidate cache entries without pg_stash's shared memory"),
            Error::NoSharedMemory => write!(f, "pg_stash has no shared memory"),
            Error::LargerThanBudget { cache, size, budget } => {
                write!(f, "entry of {size} bytes is larger than the budget of cache \"{cache}\" ({budget} bytes)")
            }
            Error::TooLarge(size) => write!(f, "entry of {size} bytes is larger than a row can be"),
            Error::ArrayTooLarge => write!(f, "array size exceeds the maximum allowed (1073741823)"),
            Error::ArrayLengths { .. } => write!(f, "keys and vals must have the same length"),
            Error::ArrayDimensions(name) => write!(f, "{name} must be a one-dimensional array"),
            Error::PermissionDenied { table, .. } => write!(f, "permission denied for table {table}"),
            Error::WriteInRecovery => write!(f, "cannot write to a cache during recovery"),
            Error::ReadInRecovery { cache } => {
                write!(f, "cannot read cache \"{cache}\" during recovery: it is not durable")
            }
            Error::NotInstalled => write!(f, "table cache.caches does not exist"),
            Error::Command(error) => write!(f, "{error}"),
        }
    }
}

impl From<pgrx::spi::Error> for Error {
    fn from(error: pgrx::spi::Error) -> Error {
        Error::Command(error)
    }
}

impl From<pgrx::datum::TryFromDatumError> for Error {
    fn from(error: pgrx::datum::TryFromDatumError) -> Error {
        Error::InvalidPolicy(error.to_string())
    }
}

impl From<Error> for ErrorReport {
    fn from(error: Error) -> ErrorReport {
        let mut report = ErrorReport::new(error.code(), error.to_string(), "pg_stash");
        if let Some(detail) = error.detail() {
            report = report.set_detail(detail);
        }
        if let Some(hint) = error.hint() {
            report = report.set_hint(hint);
        }
        report
    }
}
