//! `keys`.

use std::collections::VecDeque;

use pgrx::iter::SetOfIterator;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{PgLogLevel, default, pg_extern};

use super::arguments;
use crate::error::{self, Error};
use crate::pg::acl::Privileges;
use crate::pg::datum::Text;
use crate::pg::index::Start;
use crate::store::{self, Table};

/// Keys read at a time. Between two readings nothing is held open, so that a query may stop anywhere.
const PAGE: usize = 1000;

/// Goes through keys page by page, each from where the last one ended.
struct Keys {
    cache: String,
    prefix: Vec<u8>,
    page: VecDeque<Vec<u8>>,
    last: Option<Vec<u8>>,
}

impl Keys {
    fn read_page(&mut self) -> error::Result<()> {
        let Some(mut table) = Table::open_for_read(&self.cache, Privileges::SELECT)? else { return Ok(()) };
        let start = self.last.as_deref().map_or(Start::At(&self.prefix), Start::After);
        self.page = store::keys_page(&mut table, start, &self.prefix, PAGE).into();
        self.last = self.page.back().cloned();
        Ok(())
    }
}

impl Iterator for Keys {
    type Item = Text;

    fn next(&mut self) -> Option<Text> {
        if self.page.is_empty()
            && self.last.is_some()
            && let Err(error) = self.read_page()
        {
            ErrorReport::from(error).report(PgLogLevel::ERROR);
        }
        self.page.pop_front().map(|key| Text::from_bytes(&key))
    }
}

/// The keys of live entries that start with `prefix`, in the order of their bytes.
///
/// Errors: 22004 prefix is NULL, 42704, 42501, and 25006 on a standby where that is asked for.
#[pg_extern(parallel_restricted)]
fn keys(
    prefix: default!(Option<Text>, "''"),
    cache: default!(Option<&str>, "'default'"),
) -> Result<SetOfIterator<'static, Text>, ErrorReport> {
    let prefix = prefix.ok_or(Error::NullArgument("prefix"))?.as_varlena().plain().bytes().to_vec();
    let cache = arguments::cache(cache)?.to_owned();
    let mut keys = Keys { cache, prefix, page: VecDeque::new(), last: None };
    keys.read_page()?;
    Ok(SetOfIterator::new(keys))
}
