//! The promise that matters most: once a change has been acknowledged, nobody reads what was cached before it.
//!
//! Writers add to counters in watched tables, and note each value when its commit has been acknowledged. Readers read the
//! same counters through the cache, and compare with what had been acknowledged when they began. Rollbacks, savepoints,
//! TRUNCATE and killed sessions come in between. How long, in seconds: `EXACT_SECONDS`, 10 if not given.
//!
//! The same is run with the protocol broken on purpose, to know that a breach would be seen.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::support::{Database, Session, StopOnDrop, database, edition};

const WRITERS: usize = 8;
const READERS: usize = 8;
/// Counters, a few for each writer.
const COUNTERS: usize = 16;

/// What is wrong with the protocol, if anything.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Breach {
    None,
    /// The tag is invalidated before the change is visible to others, not after.
    BumpBeforeCommit,
    /// A value is said to be of a time after it was read, not before.
    AsOfAfterRead,
}

/// What readers compare with.
struct Ledger {
    /// The last acknowledged value of each counter.
    acknowledged: [AtomicI64; COUNTERS],
    /// What was found wrong.
    stale: Mutex<Vec<String>>,
    reads: AtomicU64,
    commits: AtomicU64,
    stop: AtomicBool,
}

/// Numbers for one thread: a linear congruential generator.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

fn seconds() -> u64 {
    std::env::var("EXACT_SECONDS").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(10)
}

/// Runs writers and readers, and returns what readers found stale.
fn check(breach: Breach, seconds: u64) -> (Vec<String>, u64, u64) {
    let db = database();
    let mut s = db.session();
    s.run("CREATE TABLE counters (id int PRIMARY KEY, n bigint) PARTITION BY LIST (id)");
    s.run("CREATE TABLE low PARTITION OF counters FOR VALUES IN (0, 1, 2, 3, 4, 5, 6, 7)");
    s.run("CREATE TABLE high PARTITION OF counters DEFAULT; CREATE TABLE log (id int)");
    s.run(&format!("INSERT INTO counters SELECT i, 0 FROM generate_series(0, {}) AS i", COUNTERS - 1));
    if breach != Breach::BumpBeforeCommit {
        s.run("SELECT cache.watch('counters'), cache.watch('counters', 'counter:{id}'), cache.watch('log')");
    }
    let ledger = Ledger {
        acknowledged: [const { AtomicI64::new(0) }; COUNTERS],
        stale: Mutex::new(Vec::new()),
        reads: AtomicU64::new(0),
        commits: AtomicU64::new(0),
        stop: AtomicBool::new(false),
    };
    thread::scope(|scope| {
        for number in 0..WRITERS {
            let (db, ledger) = (&db, &ledger);
            scope.spawn(move || write(db, ledger, number, breach));
        }
        for number in 0..READERS {
            let (db, ledger) = (&db, &ledger);
            scope.spawn(move || read(db, ledger, number, breach));
        }
        let _stop = StopOnDrop(&ledger.stop);
        let (begun, mut random) = (Instant::now(), Random(7));
        while begun.elapsed() < Duration::from_secs(seconds) {
            thread::sleep(Duration::from_millis(100));
            // Sessions end in the middle of what they do, and are replaced.
            let victims = s.column(
                "SELECT pid FROM pg_stat_activity WHERE application_name = 'exactness'
                AND datname = current_database()",
            );
            if !victims.is_empty() {
                let victim = &victims[random.below(victims.len() as u64) as usize];
                s.run(&format!("SELECT pg_terminate_backend({victim})"));
            }
        }
    });
    let stale = ledger.stale.into_inner().expect("no thread panics");
    (stale, ledger.reads.into_inner(), ledger.commits.into_inner())
}

/// A session that may be ended at any time.
fn connect(db: &Database) -> Session {
    loop {
        let mut s = db.session();
        if s.attempt_anything("SET application_name = 'exactness'").is_ok() {
            return s;
        }
    }
}

/// Each counter has one writer, so that its values come in order.
fn write(db: &Database, ledger: &Ledger, number: usize, breach: Breach) {
    let (mut s, mut bump) = (connect(db), db.session());
    let mut random = Random(number as u64);
    let mut next: HashMap<usize, i64> = HashMap::new();
    while !ledger.stop.load(Ordering::Relaxed) {
        let id = number + WRITERS * random.below((COUNTERS / WRITERS) as u64) as usize;
        let n = *next.get(&id).unwrap_or(&1);
        let table = if id < 8 { "low" } else { "high" };
        let table = if random.below(2) == 0 { "counters" } else { table };
        let change = format!("UPDATE {table} SET n = {n} WHERE id = {id}");
        let statements = match random.below(6) {
            0 => format!("BEGIN; UPDATE {table} SET n = {} WHERE id = {id}; ROLLBACK", n + 1_000_000),
            1 => format!(
                "BEGIN; SAVEPOINT a; UPDATE {table} SET n = -1 WHERE id = {id}; ROLLBACK TO a; {change}; COMMIT"
            ),
            2 => format!("BEGIN; SAVEPOINT a; SAVEPOINT b; {change}; RELEASE b; RELEASE a; COMMIT"),
            3 => format!("BEGIN; TRUNCATE log; INSERT INTO log VALUES (1); {change}; COMMIT"),
            4 => {
                format!("BEGIN; DELETE FROM counters WHERE id = {id}; INSERT INTO counters VALUES ({id}, {n}); COMMIT")
            }
            _ => change,
        };
        let is_change = !statements.ends_with("ROLLBACK");
        let run = |s: &mut Session, sql: &str| s.attempt_anything(sql);
        let outcome = if breach == Breach::BumpBeforeCommit && is_change {
            let (before, _) = statements.rsplit_once("COMMIT").unwrap_or((&statements, ""));
            let before = if before.starts_with("BEGIN") { before.to_owned() } else { format!("BEGIN; {before};") };
            run(&mut s, &before)
                .and_then(|()| run(&mut bump, &format!("SELECT cache.invalidate('counter:{id}')")))
                .and_then(|()| {
                    thread::sleep(Duration::from_millis(2));
                    run(&mut s, "COMMIT")
                })
        } else {
            run(&mut s, &statements)
        };
        match outcome {
            Ok(()) if is_change => {
                ledger.acknowledged[id].store(n, Ordering::SeqCst);
                ledger.commits.fetch_add(1, Ordering::Relaxed);
                next.insert(id, n + 1);
            }
            Ok(()) => {}
            // The change may have been committed though nobody was told: the next one is larger.
            Err(error) => {
                next.insert(id, n + 1);
                if error.is_closed() || s.attempt_anything("ROLLBACK").is_err() {
                    s = connect(db);
                }
            }
        }
    }
}

fn read(db: &Database, ledger: &Ledger, number: usize, breach: Breach) {
    let mut s = connect(db);
    let mut random = Random(100 + number as u64);
    while !ledger.stop.load(Ordering::Relaxed) {
        let id = random.below(COUNTERS as u64) as usize;
        let way = if breach == Breach::None { random.below(4) } else { 0 };
        let acknowledged = ledger.acknowledged[id].load(Ordering::SeqCst);
        match read_once(&mut s, id, way, breach) {
            Ok(Some(n)) => {
                ledger.reads.fetch_add(1, Ordering::Relaxed);
                if n < acknowledged {
                    let mut stale = ledger.stale.lock().expect("no thread panics");
                    stale.push(format!("counter {id} was {n} by way {way} after {acknowledged} had been acknowledged"));
                }
            }
            Ok(None) => {}
            Err(_) => s = connect(db),
        }
    }
}

/// The value of a counter, by way of the cache. `None` where this session is not to make it.
fn read_once(s: &mut Session, id: usize, way: u64, breach: Breach) -> Result<Option<i64>, postgres::Error> {
    let source = format!("SELECT n FROM counters WHERE id = {id}");
    let client = s.client();
    let text = |value: &str| value.parse().expect("a number");
    match way {
        // get, and what one does without a lease: read the clock, read the data, set.
        0 | 1 => {
            let cached = client.query_one(&format!("SELECT cache.get('get:{id}')"), &[])?;
            if let Some(value) = cached.get::<_, Option<String>>(0) {
                return Ok(Some(text(&value)));
            }
            let clock = |client: &mut postgres::Client| -> Result<String, postgres::Error> {
                Ok(client.query_one("SELECT cache.clock()::text", &[])?.get(0))
            };
            let before = clock(client)?;
            let n: i64 = client.query_one(&source, &[])?.get(0);
            if breach != Breach::None {
                thread::sleep(Duration::from_millis(2));
            }
            let as_of = if breach == Breach::AsOfAfterRead { clock(client)? } else { before };
            client.batch_execute(&format!(
                "SELECT cache.set('get:{id}', '{n}', tags => ARRAY['counter:{id}'], as_of => '{as_of}')"
            ))?;
            Ok(Some(n))
        }
        2 => {
            let claim = "SELECT state, value, lease FROM cache.claim($1, wait => '1 s', lease => '1 s')";
            let row = client.query_one(claim, &[&format!("claim:{id}")])?;
            if let Some(lease) = row.get::<_, Option<Vec<u8>>>(2) {
                let n: i64 = client.query_one(&source, &[])?.get(0);
                let fill = "SELECT cache.fill($1, $2::text, tags => ARRAY[$3])";
                client.query_one(fill, &[&lease, &n.to_string(), &format!("counter:{id}")])?;
                return Ok(Some(n));
            }
            Ok(row.get::<_, Option<String>>(1).map(|value| text(&value)))
        }
        _ => {
            let remember =
                "SELECT (cache.remember('SELECT n FROM counters WHERE id = $1', jsonb_build_array($1)) -> 0 ->> 'n')";
            Ok(client.query_one(remember, &[&(id as i32)])?.get::<_, Option<String>>(0).map(|value| text(&value)))
        }
    }
}

#[test]
fn nothing_stale_is_read_after_an_acknowledged_commit() {
    let (stale, reads, commits) = check(Breach::None, seconds());
    println!("{reads} reads, {commits} commits, {} stale", stale.len());
    let enough = if edition().is_portable() { 300 } else { 1000 };
    assert!(reads > enough && commits > 500, "{reads} reads and {commits} commits are too few to tell");
    assert!(stale.is_empty(), "{} stale reads, for example: {}", stale.len(), stale[0]);
}

#[test]
fn a_broken_protocol_is_found_out() {
    for breach in [Breach::BumpBeforeCommit, Breach::AsOfAfterRead] {
        let (stale, reads, _) = check(breach, 5);
        println!("{} of {reads} reads were stale", stale.len());
        assert!(!stale.is_empty());
    }
}
