//! A connection, with the few ways in which tests ask and check.

use postgres::error::DbError;
use postgres::{Client, SimpleQueryMessage};

/// A session. Every value is read in its text form.
pub struct Session(Client);

impl Session {
    pub fn new(client: Client) -> Session {
        Session(client)
    }

    pub fn client(&mut self) -> &mut Client {
        &mut self.0
    }

    /// Runs statements. Panics on an error.
    #[track_caller]
    pub fn run(&mut self, sql: &str) {
        if let Err(error) = self.0.batch_execute(sql) {
            panic!("{sql}: {}", describe(&error));
        }
    }

    /// Runs statements, and returns the error if there is one.
    pub fn attempt(&mut self, sql: &str) -> Result<(), DbError> {
        match self.0.batch_execute(sql) {
            Ok(()) => Ok(()),
            Err(error) => Err(error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error}")).clone()),
        }
    }

    /// The same where the connection itself may break.
    pub fn attempt_anything(&mut self, sql: &str) -> Result<(), postgres::Error> {
        self.0.batch_execute(sql)
    }

    /// The rows of a query, each as its columns in text form.
    #[track_caller]
    pub fn rows(&mut self, sql: &str) -> Vec<Vec<Option<String>>> {
        let messages = self.0.simple_query(sql).unwrap_or_else(|error| panic!("{sql}: {}", describe(&error)));
        let row = |message: &SimpleQueryMessage| match message {
            SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|i| row.get(i).map(str::to_owned)).collect()),
            _ => None,
        };
        messages.iter().filter_map(row).collect()
    }

    /// The first column of the only row; `None` for NULL.
    #[track_caller]
    pub fn ask(&mut self, sql: &str) -> Option<String> {
        let rows = self.rows(sql);
        assert_eq!(rows.len(), 1, "rows of: {sql}");
        rows[0][0].clone()
    }

    /// The first column of the only row, which is not NULL.
    #[track_caller]
    pub fn value(&mut self, sql: &str) -> String {
        self.ask(sql).unwrap_or_else(|| panic!("NULL: {sql}"))
    }

    /// The same as a number.
    #[track_caller]
    pub fn number(&mut self, sql: &str) -> i64 {
        self.value(sql).parse().unwrap_or_else(|_| panic!("no number: {sql}"))
    }

    /// The first column of all rows.
    #[track_caller]
    pub fn column(&mut self, sql: &str) -> Vec<String> {
        self.rows(sql).into_iter().map(|row| row[0].clone().unwrap_or_default()).collect()
    }

    /// Checks that a statement fails with this SQLSTATE, and returns the error for a look at its texts.
    #[track_caller]
    pub fn fails(&mut self, sql: &str, sqlstate: &str) -> DbError {
        match self.attempt(sql) {
            Ok(()) => panic!("expected an error {sqlstate} from: {sql}"),
            Err(error) => {
                assert_eq!(error.code().code(), sqlstate, "{sql}: {error}");
                error
            }
        }
    }
}

fn describe(error: &postgres::Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), |db| format!("{} {}", db.code().code(), db))
}
