//! A real standby: reads find nothing, writes are refused, and after a promotion the cache is empty and works.

use super::support::{Server, wait_until};

#[test]
fn a_standby_misses_and_a_promoted_one_works() {
    let primary = Server::start("primary", &["wal_level = replica", "max_wal_senders = 4", "hot_standby = on"]);
    let mut p = primary.session("postgres");
    p.run(
        "
        CREATE EXTENSION pg_stash;
        SELECT cache.create_cache('kept', durable => true);
        SELECT cache.set('k', 'x', ttl => '1 hour'), cache.set('k', 'durable', cache => 'kept');
        CREATE TABLE t AS SELECT 1 AS n;
    ",
    );
    p.run("SELECT cache.watch('t')");
    p.run("SELECT cache.set('tagged', 'old', tags => ARRAY['public.t'], cache => 'kept'); UPDATE t SET n = 2");
    let standby = Server::reserve("standby");
    primary.client_tool("pg_basebackup", &["-D", standby.data(), "-R", "-X", "stream", "--checkpoint=fast"]);
    standby.listen();
    let mut s = standby.session("postgres");
    assert_eq!(s.value("SELECT pg_is_in_recovery()"), "t");
    let lsn = p.value("SELECT pg_current_wal_lsn()");
    wait_until("the standby has caught up", || s.value(&format!("SELECT pg_last_wal_replay_lsn() >= '{lsn}'")) == "t");

    assert_eq!(s.ask("SELECT cache.get('k')"), None);
    assert_eq!(s.value("SELECT cache.exists('k')"), "f");
    assert_eq!(s.number("SELECT count(*) FROM cache.get_many(ARRAY['k'])"), 0);
    assert_eq!(s.number("SELECT count(*) FROM cache.keys()"), 0);
    assert_eq!(s.ask("SELECT cache.expires_at('k')"), None);
    assert_eq!(s.value("SELECT cache.get('k', cache => 'kept')"), "durable");
    for write in [
        "SELECT cache.set('k', 'y')",
        "SELECT cache.set_many(ARRAY['k'], ARRAY['y'])",
        "SELECT cache.add('k', 'y')",
        "SELECT cache.incr('n')",
        "SELECT cache.take('k')",
        "SELECT cache.touch('k')",
        "SELECT cache.delete('k')",
        "SELECT cache.clear()",
        "SELECT cache.set('k', 'y', cache => 'kept')",
        "SELECT cache.sweep()",
        "SELECT cache.create_cache('other')",
        "SELECT cache.alter_cache('kept', max_size => '1 MB')",
        "SELECT cache.drop_cache('kept')",
        "SELECT cache.invalidate('public.t')",
        "SELECT cache.invalidate_all()",
        "SELECT cache.watch('t', 'another tag')",
    ] {
        s.fails(write, "25006");
    }
    s.fails("SELECT cache.get('k', cache => 'none')", "42704");
    // Nobody is told to make what cannot be stored; a query is run each time.
    let claim = "SELECT concat_ws(' ', state, value, lease) FROM cache.claim('k', wait => '1 min'";
    assert_eq!(s.value(&format!("{claim})")), "miss");
    assert_eq!(s.value(&format!("{claim}, cache => 'kept')")), "hit durable");
    assert_eq!(s.value("SELECT cache.remember('SELECT n FROM t')"), "[{\"n\": 2}]");
    assert_eq!(
        s.ask("SELECT cache.get('tagged', cache => 'kept')"),
        None,
        "what the primary invalidates is not told here"
    );
    s.run("SET pg_stash.on_standby = error");
    let error = s.fails("SELECT cache.get('k')", "25006");
    assert!(error.hint().is_some_and(|hint| hint.contains("on_standby")));
    assert_eq!(s.value("SELECT cache.get('k', cache => 'kept')"), "durable");
    s.run("SET pg_stash.on_standby = miss; SELECT * FROM cache.stats; SELECT * FROM cache.sweeper");

    standby.promote();
    wait_until("the standby is promoted", || s.value("SELECT pg_is_in_recovery()") == "f");
    assert_eq!(s.ask("SELECT cache.get('k')"), None);
    assert_eq!(s.ask("SELECT cache.get('tagged', cache => 'kept')"), None, "nor was it, to a session from before");
    s.run("SELECT cache.set('k', 'new', ttl => '1 hour')");
    assert_eq!(s.value("SELECT cache.get('k')"), "new");
    assert_eq!(p.value("SELECT cache.get('k')"), "x");
}
