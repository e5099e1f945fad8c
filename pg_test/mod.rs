//! Tests by behaviour, one file each. Most talk to private servers as clients do, over several connections; those
//! marked `#[pg_test]` run inside one session's transaction.

#[cfg(test)]
mod access;
#[cfg(test)]
mod altered_tables;
#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod bounded;
#[cfg(test)]
mod caches;
#[cfg(test)]
mod cost;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod documentation;
#[cfg(test)]
mod entries;
#[cfg(test)]
mod exactness;
#[cfg(test)]
mod isolation;
#[cfg(test)]
mod leases;
#[cfg(test)]
mod model;
#[cfg(test)]
mod monitoring;
#[cfg(test)]
mod own_transaction;
#[cfg(test)]
mod remember;
#[cfg(test)]
mod replay;
#[cfg(test)]
mod shared_memory;
#[cfg(test)]
mod standby;
#[cfg(test)]
mod statistics;
#[cfg(test)]
mod support;
#[cfg(test)]
mod sweeper_life;
#[cfg(test)]
mod sweeping;
#[cfg(test)]
mod tags;
#[cfg(test)]
mod watch;

/// Asked for by pgrx before the first test.
pub fn setup(_options: Vec<&str>) {}

/// Settings of the server that pgrx starts for `#[pg_test]`.
pub fn postgresql_conf_options() -> Vec<&'static str> {
    vec!["fsync = off"]
}

#[pgrx::pg_schema]
mod tests {
    use pgrx::prelude::*;

    /// Running it has pgrx install the extension as it is now, which the private servers then use.
    #[pg_test]
    fn the_extension_installs() {
        let known = Spi::get_one::<String>("SELECT name FROM cache.caches").expect("the policies can be read");
        assert_eq!(known.as_deref(), Some("default"));
    }
}
