//! The files under `monitoring/` fit the views: every query runs, and every metric that the dashboard draws is collected.

use std::collections::{BTreeMap, BTreeSet};

use super::support::database;

const QUERIES: &str = include_str!("../monitoring/postgres_exporter.yaml");
const DASHBOARD: &str = include_str!("../monitoring/grafana.json");

/// The queries of the file by name, each with the columns that it declares. Reads the YAML as the file is laid out.
fn queries() -> BTreeMap<String, (String, Vec<String>)> {
    let mut queries: BTreeMap<String, (String, Vec<String>)> = BTreeMap::new();
    let mut name = String::new();
    for line in QUERIES.lines().filter(|line| !line.starts_with('#')) {
        if let Some(top) = line.strip_suffix(':').filter(|_| !line.starts_with(' ')) {
            name = top.to_owned();
        } else if let Some(metric) = line.strip_prefix("    - ") {
            let column = metric.split(':').next().expect("split gives one at least").to_owned();
            queries.entry(name.clone()).or_default().1.push(column);
        } else if line.starts_with("    ") {
            let query = &mut queries.entry(name.clone()).or_default().0;
            query.push_str(line);
            query.push('\n');
        }
    }
    queries
}

#[test]
fn every_query_runs_for_a_monitoring_role_and_gives_the_columns_that_it_declares() {
    let db = database();
    let mut s = db.session();
    s.run("SELECT cache.set('k', 'x', ttl => '1 hour'), cache.get('k')");
    s.run("CREATE ROLE exporter LOGIN IN ROLE pg_monitor");
    let mut exporter = db.session_as("exporter");
    let queries = queries();
    assert_eq!(queries.keys().collect::<Vec<_>>(), ["pg_stash", "pg_stash_sweeper"]);
    for (name, (query, columns)) in &queries {
        let rows = exporter.client().query(query, &[]).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(rows.len(), 1, "{name}");
        let found: Vec<&str> = rows[0].columns().iter().map(|column| column.name()).collect();
        assert_eq!(&found, columns, "{name}");
    }
    exporter.fails("SELECT cache.get('k')", "42501");
    drop(exporter);
    s.run("DROP ROLE exporter");
}

#[test]
fn the_dashboard_draws_metrics_that_are_collected() {
    let collected: BTreeSet<String> = queries()
        .iter()
        .flat_map(|(name, (_, columns))| columns.iter().map(move |column| format!("{name}_{column}")))
        .collect();
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).expect("the dashboard is JSON");
    let panels = dashboard["panels"].as_array().expect("it has panels");
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().expect("a panel has targets"));
    let expressions: Vec<&str> = targets.map(|target| target["expr"].as_str().expect("a target has an expr")).collect();
    assert!(expressions.len() >= 8);
    for expression in expressions {
        let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let metrics: Vec<&str> = words.filter(|word| word.starts_with("pg_stash_")).collect();
        assert!(!metrics.is_empty(), "{expression}");
        for metric in metrics {
            assert!(collected.contains(metric), "{metric} in {expression}");
        }
    }
}
