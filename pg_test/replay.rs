//! Eviction keeps the right entries: a stream of requests misses about as seldom as with exact LRU, or less.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::support::database;

/// Requests of a trace that are replayed.
const SLICE: usize = 60_000;

/// The first requests of real traces (the CSV files in the directory TRACES, or in ../shared/traces), by name; zipfian
/// ones where there are none.
fn traces() -> Vec<(String, Vec<String>)> {
    let directory = std::env::var_os("TRACES").map_or_else(|| PathBuf::from("../shared/traces"), PathBuf::from);
    let files = std::fs::read_dir(directory).into_iter().flatten().flatten().map(|file| file.path());
    let mut traces: Vec<_> = files.filter_map(|path| Some((path.display().to_string(), read(&path)?))).collect();
    if traces.is_empty() {
        traces.push(("synthetic, zipfian 0.9".to_owned(), zipfian()));
    }
    traces
}

/// The column `key` of a CSV file without quotes, compressed by xz or not.
fn read(path: &Path) -> Option<Vec<String>> {
    let name = path.file_name()?.to_str()?;
    let text = if name.ends_with(".csv.xz") {
        String::from_utf8(Command::new("xz").arg("-dc").arg(path).output().ok()?.stdout).ok()?
    } else if name.ends_with(".csv") {
        std::fs::read_to_string(path).ok()?
    } else {
        return None;
    };
    let mut lines = text.lines();
    let column = lines.next()?.split(',').position(|column| column == "key")?;
    let keys = lines.take(SLICE).filter_map(|line| line.split(',').nth(column)).map(str::to_owned);
    Some(keys.collect()).filter(|keys: &Vec<String>| !keys.is_empty())
}

fn zipfian() -> Vec<String> {
    let weights: Vec<f64> = (1..=8000).map(|rank| f64::from(rank).powf(-0.9)).collect();
    let total: f64 = weights.iter().sum();
    let mut state = 1_u64;
    let mut draw = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut point = (state >> 11) as f64 / (1_u64 << 53) as f64 * total;
        weights.iter().position(|weight| (point -= weight, point <= 0.0).1).unwrap_or(0)
    };
    (0..SLICE).map(|_| draw().to_string()).collect()
}

/// Misses of exact LRU.
fn lru(keys: &[String], capacity: usize) -> usize {
    let (mut used, mut order, mut misses) = (HashMap::new(), BTreeMap::new(), 0);
    for (time, key) in keys.iter().enumerate() {
        match used.insert(key, time) {
            Some(last) => _ = order.remove(&last),
            None => misses += 1,
        }
        order.insert(time, key);
        if order.len() > capacity {
            let (_, oldest) = order.pop_first().expect("not empty");
            used.remove(oldest);
        }
    }
    misses
}

#[test]
fn real_requests_miss_no_more_than_a_twentieth_above_exact_lru() {
    let db = database();
    let mut s = db.session();
    s.run("CREATE TABLE trace (n bigint GENERATED ALWAYS AS IDENTITY, key text)");
    for (name, keys) in traces() {
        s.run("TRUNCATE trace");
        for batch in keys.chunks(10_000) {
            let array = format!("{{{}}}", batch.join(","));
            s.client().execute("INSERT INTO trace (key) SELECT unnest($1::text::text[])", &[&array]).expect("inserts");
        }
        let distinct = keys.iter().collect::<HashSet<_>>().len();
        for capacity in [distinct / 100, distinct / 10] {
            s.run(&format!("SELECT cache.create_cache('replay', max_entries => {capacity})"));
            s.run(
                "DO $$ DECLARE request record; BEGIN
                FOR request IN SELECT key FROM trace ORDER BY n LOOP
                    IF cache.get(request.key, cache => 'replay') IS NULL THEN
                        PERFORM cache.set(request.key, 'x', cache => 'replay');
                        COMMIT;
                    END IF;
                END LOOP;
            END $$",
            );
            let misses = s.number("SELECT misses FROM cache.stats WHERE cache = 'replay'");
            let entries = s.number("SELECT count(*) FROM cache.entries_replay");
            s.run("SELECT cache.drop_cache('replay')");
            assert!(entries as usize <= capacity, "{name}: {entries} entries");
            let ratio = misses as f64 / lru(&keys, capacity) as f64;
            assert!(ratio <= 1.05, "{name}, {capacity} entries: {ratio:.3} × the misses of exact LRU");
        }
    }
}
