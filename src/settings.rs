//! Every setting, under the prefix `pg_stash`.

use std::time::Duration;

use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting, PostgresGucEnum};

use crate::shared::Sizes;

/// What a read does on a standby, where UNLOGGED tables cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PostgresGucEnum)]
pub enum OnStandby {
    /// It finds nothing, as in an empty cache.
    #[name = c"miss"]
    Miss,
    /// It is refused.
    #[name = c"error"]
    Error,
}

/// Off: reads find nothing, writes are accepted and dropped.
static ENABLED: GucSetting<bool> = GucSetting::<bool>::new(true);
/// What a read does on a standby.
static ON_STANDBY: GucSetting<OnStandby> = GucSetting::<OnStandby>::new(OnStandby::Miss);
/// Whether a write may start the sweeper of its database.
static AUTOSTART: GucSetting<bool> = GucSetting::<bool>::new(true);
/// Whether reads are counted.
static TRACK_STATS: GucSetting<bool> = GucSetting::<bool>::new(true);
/// Longest time, in milliseconds, that an expired entry waits for the sweep that removes it.
static SWEEP_MAX_STALE: GucSetting<i32> = GucSetting::<i32>::new(10_000);
/// Share of the time, in percent, that the sweeper works at most.
static SWEEP_MAX_DUTY: GucSetting<i32> = GucSetting::<i32>::new(10);
/// Blocks that the sweeper looks at in one transaction.
static SWEEP_BATCH_BLOCKS: GucSetting<i32> = GucSetting::<i32>::new(128);

/// Location hints that the table of them has room for, 16 bytes each; zero for none.
static LOCATION_HINTS: GucSetting<i32> = GucSetting::<i32>::new(1 << 20);
/// Cells in the table of use marks, two to a byte.
static MARK_CELLS: GucSetting<i32> = GucSetting::<i32>::new(1 << 23);

/// Leases that can be held at one time, 48 bytes each.
static LEASE_SLOTS: GucSetting<i32> = GucSetting::<i32>::new(1024);
/// How early a value is recomputed that will not be fresh for much longer; zero for not before that.
static EARLY_RECOMPUTE: GucSetting<f64> = GucSetting::<f64>::new(0.0);

pub fn enabled() -> bool {
    ENABLED.get()
}

pub fn on_standby() -> OnStandby {
    ON_STANDBY.get()
}

pub fn autostart() -> bool {
    AUTOSTART.get()
}

pub fn track_stats() -> bool {
    TRACK_STATS.get()
}

pub fn sweep_max_stale() -> Duration {
    Duration::from_millis(SWEEP_MAX_STALE.get() as u64)
}

/// As a fraction: above 0, at most 1.
pub fn sweep_max_duty() -> f64 {
    f64::from(SWEEP_MAX_DUTY.get()) / 100.0
}

pub fn sweep_batch_blocks() -> u32 {
    SWEEP_BATCH_BLOCKS.get() as u32
}

/// The factor beta of early recomputes; zero for none.
pub fn early_recompute() -> f64 {
    EARLY_RECOMPUTE.get()
}

/// The sizes of the shared memory's tables.
pub fn arena_sizes() -> Sizes {
    let size = |setting: &GucSetting<i32>| setting.get() as usize;
    Sizes { location_hints: size(&LOCATION_HINTS), mark_cells: size(&MARK_CELLS), lease_slots: size(&LEASE_SLOTS) }
}

/// Defines the settings and reserves the prefix. Called once, when the library is loaded.
pub fn init() {
    let flags = GucFlags::default();
    GucRegistry::define_bool_guc(
        c"pg_stash.enabled",
        c"Uses the caches.",
        c"When off, reads find nothing, and writes are accepted and dropped.",
        &ENABLED,
        GucContext::Userset,
        flags,
    );
    GucRegistry::define_enum_guc(
        c"pg_stash.on_standby",
        c"What a read of a cache that is not durable does on a standby.",
        c"miss: it finds nothing; error: it is refused.",
        &ON_STANDBY,
        GucContext::Userset,
        flags,
    );
    GucRegistry::define_bool_guc(
        c"pg_stash.autostart",
        c"Lets a write start the sweeper of its database.",
        c"When off, only cache.sweep() removes expired entries.",
        &AUTOSTART,
        GucContext::Suset,
        flags,
    );
    GucRegistry::define_bool_guc(
        c"pg_stash.track_stats",
        c"Counts hits and misses of each cache.",
        c"The counts are shown in the view cache.stats.",
        &TRACK_STATS,
        GucContext::Suset,
        flags,
    );
    GucRegistry::define_int_guc(
        c"pg_stash.sweep_max_stale",
        c"Longest time that an expired entry waits for the sweep that removes it.",
        c"An expired entry is never returned, however long it waits.",
        &SWEEP_MAX_STALE,
        100,
        3_600_000,
        GucContext::Suset,
        flags | GucFlags::UNIT_MS,
    );
    GucRegistry::define_int_guc(
        c"pg_stash.sweep_max_duty",
        c"Share of the time that the sweeper works at most, in percent.",
        c"It sleeps between its batches to stay below it.",
        &SWEEP_MAX_DUTY,
        1,
        100,
        GucContext::Suset,
        flags,
    );
    GucRegistry::define_int_guc(
        c"pg_stash.sweep_batch_blocks",
        c"Blocks of a cache's table that the sweeper looks at in one transaction.",
        c"Fewer make each transaction shorter and the sweep longer.",
        &SWEEP_BATCH_BLOCKS,
        1,
        65_536,
        GucContext::Suset,
        flags,
    );
    GucRegistry::define_int_guc(
        c"pg_stash.location_hints",
        c"Room for hints on where entries were last found, 16 bytes each.",
        c"With about one for each entry most look-ups do without the index. Made at first use; zero is none.",
        &LOCATION_HINTS,
        0,
        1 << 28,
        GucContext::Suset,
        flags,
    );
    GucRegistry::define_int_guc(
        c"pg_stash.mark_cells",
        c"Cells in the table of use marks, by which eviction knows what is used; two to a byte.",
        c"About eight for each entry in all caches together. Made at first use.",
        &MARK_CELLS,
        1 << 10,
        1 << 30,
        GucContext::Suset,
        flags,
    );
    GucRegistry::define_int_guc(
        c"pg_stash.lease_slots",
        c"Leases that can be held at one time in all databases.",
        c"Made at first use.",
        &LEASE_SLOTS,
        8,
        1 << 20,
        GucContext::Suset,
        flags,
    );
    GucRegistry::define_float_guc(
        c"pg_stash.early_recompute",
        c"How early a claim may be handed the lease of a value that is still fresh.",
        c"Zero is never; one is right for most; more is earlier. Values that took longer to make are renewed earlier.",
        &EARLY_RECOMPUTE,
        0.0,
        1000.0,
        GucContext::Userset,
        flags,
    );
    reserve_prefix();
}

/// Has PostgreSQL warn of misspelt settings; from version 15 on.
fn reserve_prefix() {
    #[cfg(not(feature = "pg14"))]
    crate::pg::process::reserve_settings(c"pg_stash");
    #[cfg(feature = "pg14")]
    crate::pg::process::warn_of_unknown_settings(c"pg_stash");
}
