//! What the documentation says is so: every object has a comment, and every example in the README runs.

use super::support::{Server, Session, database, edition, note_time};

#[test]
fn every_object_has_a_comment() {
    let db = database();
    let bare = db.session().column(
        "SELECT pg_describe_object(classid, objid, 0) FROM pg_depend
         WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
             AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pg_stash')
             AND obj_description(objid, classid::regclass::text) IS NULL
             AND pg_describe_object(classid, objid, 0) !~ '^(schema tests|function tests\\.|type )'
         UNION ALL
         SELECT attrelid::regclass || '.' || attname FROM pg_attribute JOIN pg_class AS c ON c.oid = attrelid
         WHERE relnamespace = 'cache'::regnamespace AND relkind IN ('r', 'v') AND attnum > 0
             AND col_description(attrelid, attnum) IS NULL",
    );
    assert_eq!(bare, [""; 0]);
}

/// Examples whose answer is another one in the portable edition: it counts no reads, and holds budgets within a quarter.
const OF_THE_NATIVE_EDITION: [&str; 2] = ["FROM cache.stats", "FROM cache.sweeper"];

/// A statement of the README with what is said about it.
struct Example {
    sql: String,
    mark: Option<Mark>,
}

enum Mark {
    /// `-- → value`: the first column of the first row.
    Value(String),
    /// `-- ✗ SQLSTATE`: it fails.
    Error(String),
}

/// What psql knows of `\gset`: the values of a row, for the statements that come after.
#[derive(Default)]
struct Variables(Vec<(String, String)>);

impl Variables {
    /// The statement with the values in their places, as psql puts them there.
    fn put_in(&self, sql: &str) -> String {
        let quoted = |value: &str| format!("'{}'", value.replace('\'', "''"));
        self.0.iter().fold(sql.to_owned(), |sql, (name, value)| sql.replace(&format!(":'{name}'"), &quoted(value)))
    }

    /// Runs a statement that ends with `\gset` instead of a semicolon.
    fn set_from(&mut self, s: &mut Session, sql: &str) {
        let row = s.client().query_one(&format!("SELECT to_jsonb(q)::text FROM ({sql}) AS q"), &[]).expect("a row");
        let columns: serde_json::Map<String, serde_json::Value> = serde_json::from_str(row.get(0)).expect("an object");
        for (name, value) in columns {
            self.0.retain(|(other, _)| *other != name);
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            self.0.push((name, value));
        }
    }
}

/// The statements of all ```sql blocks, in order. Each ends with a semicolon, or with `\gset`, at the end of a line.
fn examples(readme: &str) -> Vec<Example> {
    let mut examples = Vec::new();
    let (mut is_sql, mut is_block, mut sql) = (false, false, String::new());
    for line in readme.lines() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            is_block = !is_block;
            is_sql = is_block && language.trim() == "sql";
            continue;
        }
        if !is_sql {
            continue;
        }
        let (code, comment) = line.split_once("-- ").unwrap_or((line, ""));
        sql.push_str(code);
        sql.push('\n');
        let is_end = code.trim_end().ends_with(';') || code.trim_end().ends_with("\\gset");
        if is_end && sql.matches("$$").count() % 2 == 0 {
            let mark = (comment.strip_prefix("→ ").map(|value| Mark::Value(value.trim().to_owned())))
                .or_else(|| comment.strip_prefix("✗ ").map(|code| Mark::Error(code.trim()[..5].to_owned())));
            examples.push(Example { sql: std::mem::take(&mut sql), mark });
        }
    }
    examples
}

#[test]
fn the_examples_of_the_readme_run() {
    let readme =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).expect("the README is there");
    let examples = examples(&readme);
    assert!(examples.iter().filter(|example| example.mark.is_some()).count() > 20);
    // A server of its own, because the examples make roles.
    let server = Server::start("readme", &[]);
    server.make_cache("readme");
    let mut s = server.session("readme");
    let mut variables = Variables::default();
    for Example { sql, mark } in examples {
        let sql = variables.put_in(&sql);
        note_time(&mut s);
        if let Some((query, "")) = sql.trim_end().rsplit_once("\\gset") {
            variables.set_from(&mut s, query);
            continue;
        }
        match mark {
            None => s.run(&sql),
            Some(Mark::Error(sqlstate)) => {
                s.fails(&sql, &sqlstate);
            }
            Some(Mark::Value(expected)) => {
                let rows = s.rows(&sql);
                let first = rows.first().map(|row| row[0].clone());
                let got = first.unwrap_or_else(|| panic!("no row: {sql}")).unwrap_or_else(|| "NULL".to_owned());
                let is_native = OF_THE_NATIVE_EDITION.iter().any(|part| sql.contains(part));
                assert!(got == expected || (is_native && edition().is_portable()), "{sql}: {got}, not {expected}");
            }
        }
    }
}
