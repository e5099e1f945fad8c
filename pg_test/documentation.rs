//! What the documentation says is so: every object has a comment, and every example in the README runs.

use super::support::{Server, database};

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

/// The statements of all ```sql blocks, in order. Each ends with a semicolon at the end of a line.
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
        if code.trim_end().ends_with(';') && sql.matches("$$").count() % 2 == 0 {
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
    let mut s = server.session("postgres");
    s.run("CREATE EXTENSION pg_stash");
    for Example { sql, mark } in examples {
        match mark {
            None => s.run(&sql),
            Some(Mark::Error(sqlstate)) => {
                s.fails(&sql, &sqlstate);
            }
            Some(Mark::Value(expected)) => {
                let rows = s.rows(&sql);
                let first = rows.first().map(|row| row[0].clone());
                let got = first.unwrap_or_else(|| panic!("no row: {sql}")).unwrap_or_else(|| "NULL".to_owned());
                assert_eq!(got, expected, "{sql}");
            }
        }
    }
}
