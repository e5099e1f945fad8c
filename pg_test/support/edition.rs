//! The two editions, of which one is under test: the native one, or where `PG_STASH_EDITION` is `portable`, the one in SQL
//! and PL/pgSQL.

/// What is under test.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Edition {
    /// The extension, with its library.
    Native,
    /// `sql/portable/pg_stash.sql`.
    Portable,
}

impl Edition {
    pub fn is_portable(self) -> bool {
        self == Edition::Portable
    }
}

pub fn edition() -> Edition {
    match std::env::var("PG_STASH_EDITION").as_deref() {
        Ok("portable") => Edition::Portable,
        Ok("native") | Err(_) => Edition::Native,
        Ok(other) => panic!("PG_STASH_EDITION is {other}: neither native nor portable"),
    }
}

/// Tests of what the portable edition does not have, each with the reason.
const NATIVE_ONLY: [(&str, &str); 10] = [
    ("each_call_is_counted_once", "reads write nothing, so nobody counts them"),
    ("a_set_that_is_rolled_back_is_not_a_set", "writes are counted by PostgreSQL, which counts those too"),
    ("rows_deleted_or_truncated_by_hand_are_found_out", "writes are counted by PostgreSQL, some time after the commit"),
    ("counting_can_be_switched_off", "writes are counted by PostgreSQL, reads by nobody"),
    ("a_hundred_caches_are_counted_and_bounded_each_by_itself", "a budget is held within a quarter"),
    ("sizes_add_up_over_overwrites_and_deletes", "sizes are of the columns, without what a row has around them"),
    ("the_sweeper_tells_its_last_pass_and_what_holds_it_back", "no process sweeps"),
    ("caches_of_two_databases_are_apart", "a budget is held within a quarter; databases share nothing"),
    ("serializable_transactions_do_not_fail_because_of_the_cache", "there the cache's tables have the rules of tables"),
    ("read_only_transactions_get_and_set", "a write in them fails, as on any table"),
];

/// Whether a test has to be left out. Says so, with the reason.
#[track_caller]
pub fn skips(test: &str) -> bool {
    let (_, reason) = NATIVE_ONLY
        .iter()
        .find(|(name, _)| *name == test)
        .unwrap_or_else(|| panic!("{test} is not in the list of tests for the native edition alone"));
    if edition().is_portable() {
        println!("left out on the portable edition: {reason}");
    }
    edition().is_portable()
}
