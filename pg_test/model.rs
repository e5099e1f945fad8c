//! Long random sequences of operations from several sessions, checked step by step against a plain model.
//!
//! One thread drives all sessions, so each answer is determined: a session sees its own writes, else what was committed
//! last. Keys that another session has written and not committed are left alone by writers, who would wait for it.

use std::collections::BTreeMap;

use super::support::{Server, Session};

const SESSIONS: usize = 4;
const KEYS: u64 = 40;
const STEPS: usize = 6000;

/// A small generator with a seed, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    /// A value: mostly small, some of a few pages, some out of line, none of which compress well.
    fn value(&mut self) -> String {
        let words = [1, 1, 1, 20, 150, 1500][self.below(6) as usize];
        (0..words).map(|_| format!("{:016x}", self.below(1 << 60).wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect()
    }
}

type Entries = BTreeMap<String, String>;

/// An open transaction: what it has written, level by level, one level for each savepoint.
type Levels = Vec<BTreeMap<String, Option<String>>>;

struct Actor {
    session: Session,
    open: Option<Levels>,
}

impl Actor {
    fn sees(&self, committed: &Entries, key: &str) -> Option<String> {
        let own = self.open.iter().flatten().rev().find_map(|level| level.get(key));
        own.cloned().unwrap_or_else(|| committed.get(key).cloned())
    }

    fn write(&mut self, committed: &mut Entries, key: &str, value: Option<String>) {
        match self.open.as_mut().and_then(|levels| levels.last_mut()) {
            Some(level) => drop(level.insert(key.to_owned(), value)),
            None => drop(apply(committed, key, value)),
        }
    }

    fn has_written(&self, key: &str) -> bool {
        self.open.iter().flatten().any(|level| level.contains_key(key))
    }
}

fn apply(entries: &mut Entries, key: &str, value: Option<String>) -> Option<String> {
    match value {
        Some(value) => entries.insert(key.to_owned(), value),
        None => entries.remove(key),
    }
}

/// One step of one session in a transaction's life.
fn control(actor: &mut Actor, committed: &mut Entries, random: &mut Random) {
    let Some(levels) = actor.open.as_mut() else {
        let level = ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"][random.below(3) as usize];
        actor.session.run(&format!("BEGIN ISOLATION LEVEL {level}; SELECT count(*) FROM pg_class"));
        actor.open = Some(vec![BTreeMap::new()]);
        return;
    };
    let depth = levels.len();
    match random.below(5) {
        0 | 1 => {
            actor.session.run(&format!("SAVEPOINT s{depth}"));
            levels.push(BTreeMap::new());
        }
        2 if depth > 1 => {
            // Rolled back to, the savepoint stays.
            actor.session.run(&format!("ROLLBACK TO SAVEPOINT s{}", depth - 1));
            levels[depth - 1].clear();
        }
        3 => {
            actor.session.run("ROLLBACK");
            actor.open = None;
        }
        _ => {
            actor.session.run("COMMIT");
            for (key, value) in actor.open.take().into_iter().flatten().flatten() {
                apply(committed, &key, value);
            }
        }
    }
}

/// One operation of one session on one key, with the answer that the model expects.
fn operate(actor: &mut Actor, committed: &mut Entries, key: &str, random: &mut Random) {
    let before = actor.sees(committed, key);
    let value = random.value();
    let flag = |is: bool| Some(if is { "t" } else { "f" }.to_owned());
    let (call, answer, after) = match random.below(11) {
        0..=2 => (format!("cache.set('{key}', '{value}', ttl => '1 hour')"), Some(String::new()), Some(value)),
        3 => {
            let after = before.clone().unwrap_or_else(|| value.clone());
            (format!("cache.add('{key}', '{value}')"), flag(before.is_none()), Some(after))
        }
        4 => {
            let after = before.as_ref().map(|_| value.clone());
            (format!("cache.replace('{key}', '{value}')"), flag(before.is_some()), after)
        }
        5 => (format!("cache.take('{key}')"), before.clone(), None),
        6 => (format!("cache.delete('{key}')"), flag(before.is_some()), None),
        7 => (format!("cache.touch('{key}', '1 day')"), flag(before.is_some()), before.clone()),
        8 => {
            let expected = before.clone().unwrap_or_default();
            let after = before.as_ref().map(|_| value.clone());
            (format!("cache.compare_and_set('{key}', '{expected}', '{value}')"), flag(before.is_some()), after)
        }
        9 => (format!("cache.exists('{key}')"), flag(before.is_some()), before.clone()),
        _ => (
            format!("cache.set_many(ARRAY['{key}', '{key}'], ARRAY['x', '{value}'])"),
            Some("1".to_owned()),
            Some(value),
        ),
    };
    assert_eq!(actor.session.ask(&format!("SELECT {call}")), answer, "{call}");
    if after != before {
        actor.write(committed, key, after);
    } else if before.is_some() {
        // Written all the same: others would wait for it.
        actor.write(committed, key, before);
    }
}

#[test]
fn random_sequences_agree_with_a_plain_model() {
    let seed = std::env::var("SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_nanos() as u64 | 1);
    eprintln!("SEED={seed}");
    let mut random = Random(seed);
    let server = Server::start("model", &["autovacuum_naptime = 1s", "pg_stash.sweep_max_stale = '500ms'"]);
    let mut admin = server.session("postgres");
    admin.run("CREATE EXTENSION pg_stash");
    let mut committed = Entries::new();
    let mut actors: Vec<Actor> =
        (0..SESSIONS).map(|_| Actor { session: server.session("postgres"), open: None }).collect();
    for step in 0..STEPS {
        let who = random.below(SESSIONS as u64) as usize;
        let key = format!("k{}", random.below(KEYS));
        let is_free = actors.iter().enumerate().all(|(other, actor)| other == who || !actor.has_written(&key));
        match random.below(20) {
            0 | 1 => control(&mut actors[who], &mut committed, &mut random),
            2 => admin.run("VACUUM cache.entries"),
            3 if actors.iter().all(|actor| actor.open.is_none()) => {
                let column = format!("ALTER TABLE cache.entries ADD COLUMN c{step} int");
                let commands = [
                    "VACUUM FULL cache.entries",
                    "CLUSTER cache.entries USING entries_pkey",
                    "REINDEX TABLE cache.entries",
                    "TRUNCATE cache.entries",
                    &column,
                    "SELECT cache.alter_cache('default', max_size => '200 MB')",
                    "SELECT * FROM cache.sweep()",
                ];
                let command = commands[random.below(commands.len() as u64) as usize];
                admin.run(command);
                if command.starts_with("TRUNCATE") {
                    committed.clear();
                }
            }
            _ if is_free => operate(&mut actors[who], &mut committed, &key, &mut random),
            _ => {}
        }
        let seen = actors[who].sees(&committed, &key);
        assert_eq!(actors[who].session.ask(&format!("SELECT cache.get('{key}')")), seen, "step {step}: {key}");
        if step % 50 == 0 {
            let all = "SELECT key, value FROM cache.get_many(ARRAY(SELECT 'k' || i FROM generate_series(0, 39) AS i))";
            let got: Vec<_> = actors[who].session.rows(all);
            let keys: Vec<String> = (0..KEYS).map(|number| format!("k{number}")).collect();
            let mut expected: Vec<_> = keys
                .iter()
                .filter_map(|key| Some(vec![Some(key.clone()), Some(actors[who].sees(&committed, key)?)]))
                .collect();
            expected.sort();
            assert_eq!(got, expected, "step {step}");
        }
    }
    drop(actors);
    let log = server.log();
    for sign in ["leak", "still referenced", "not closed", "WARNING", "PANIC", "TRAP"] {
        assert!(!log.contains(sign), "{sign} in the log:\n{log}");
    }
}

#[test]
fn errors_in_the_middle_leave_nothing_behind() {
    let server = Server::start("cancel", &[]);
    let mut s = server.session("postgres");
    s.run("CREATE EXTENSION pg_stash; SELECT cache.create_cache('unlimited')");
    s.run(
        "SELECT cache.set_many(array_agg('k' || i), array_agg(repeat('x', 200))) FROM generate_series(1, 20000) AS i",
    );
    let long = [
        "SELECT cache.set_many(array_agg('k' || i), array_agg(repeat('y', 200))) FROM generate_series(1, 2000000) AS i",
        "SELECT count(cache.get('k' || i)) FROM generate_series(1, 20000000) AS i",
        "SELECT count(*) FROM generate_series(1, 10000) AS i, cache.keys('k') AS k",
        "SELECT cache.clear(), cache.clear(), pg_sleep(5)",
        "SELECT count(*) FROM generate_series(1, 10000) AS i, cache.sweep(CASE WHEN i > 0 THEN 'default' END) AS swept",
    ];
    for statement in long {
        for timeout in [3, 20, 90] {
            s.run(&format!("SET statement_timeout = {timeout}"));
            s.fails(statement, "57014");
            s.run("RESET statement_timeout");
            s.run("BEGIN; SAVEPOINT a; SET LOCAL statement_timeout = 15");
            s.fails(statement, "57014");
            s.run("ROLLBACK TO SAVEPOINT a; SELECT cache.set('k1', 'z'); COMMIT");
        }
    }
    // A huge value, refused before and while the argument is made, and errors between two calls.
    for _ in 0..3 {
        s.fails(
            "SELECT cache.set('big', repeat('x', 600000000) || repeat('y', 600000000), cache => 'unlimited')",
            "XX000",
        );
        s.fails("SELECT cache.set('big', repeat('x', 1073741000), cache => 'unlimited')", "54000");
        s.run("BEGIN; SELECT cache.get('k1')");
        s.fails("SELECT cache.get_json('k1'), cache.get('k2')", "42804");
        s.run("ROLLBACK");
    }
    let held =
        "SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'relation' AND relation > 16384";
    assert_eq!(s.number(held), 0);
    assert_eq!(s.value("SELECT cache.get('k1')"), "z");
    drop(s);
    let log = server.log();
    for sign in ["leak", "still referenced", "not closed", "PANIC", "TRAP"] {
        assert!(!log.contains(sign), "{sign} in the log:\n{log}");
    }
}

#[test]
fn memory_stays_flat_over_many_calls() {
    let server = Server::start("memory", &[]);
    let mut s = server.session("postgres");
    s.run("CREATE EXTENSION pg_stash; SELECT cache.set_many(array_agg('k' || i), array_agg(repeat('x', 200))) FROM generate_series(1, 1000) AS i");
    let pid = s.number("SELECT pg_backend_pid()");
    // Private memory of the backend, in pages: what it has written to, without shared memory.
    let private = || {
        let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).expect("the backend lives");
        let fields: Vec<i64> = statm.split(' ').map(|field| field.trim().parse().expect("a number")).collect();
        fields[1] - fields[2]
    };
    let rounds = [
        "DO $$ BEGIN FOR i IN 1 .. 60000 LOOP PERFORM cache.get('k' || i % 1000); END LOOP; END $$",
        "SELECT count(cache.get('k' || i % 1000)), count(cache.get('none')) FROM generate_series(1, 100000) AS i",
        "DO $$ BEGIN FOR i IN 1 .. 5000 LOOP PERFORM cache.set('k' || i % 1000, repeat('y', 200)); END LOOP; END $$",
        "SELECT count(*) FROM generate_series(1, 500) AS i, cache.get_many(ARRAY['k1', 'k2', 'k3'])",
    ];
    for round in rounds {
        s.run(round);
    }
    for round in rounds {
        let before = private();
        s.run("BEGIN");
        for _ in 0..4 {
            s.run(round);
        }
        s.run("COMMIT");
        let grown = (private() - before) * 4;
        assert!(grown < 2048, "{round}: {grown} kB more");
    }
}
