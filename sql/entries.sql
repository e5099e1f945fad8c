-- The table of one cache. {persistence} is UNLOGGED, or nothing for a durable cache; {table} is its name.
--
-- The expiry comes first, where a sweep reads it without looking at the rest of the row. The key is the only index: one
-- on the expiry would make every overwrite change it, and none of them HOT. Keys are neither compressed nor stored out
-- of line, so that an overwrite is seen to leave them as they are; nor are tags, which are looked at with each read. A
-- fifth of each page is left for overwrites. VACUUM comes early, and rests often: at full speed it would be felt by those
-- who use the cache. ANALYZE does not come by itself: no plan here needs it, and while it runs, its snapshot keeps every
-- version that is overwritten.
CREATE {persistence} TABLE cache.{table} (
    expires_at  timestamptz NOT NULL,
    key         text COLLATE "C" NOT NULL,
    value_text  text,
    value_json  jsonb,
    value_bytes bytea,
    value_int   bigint,
    fresh_until timestamptz,
    as_of       timestamptz,
    tags        text[],
    fill_micros bigint,
    CONSTRAINT {table}_pkey PRIMARY KEY (key) WITH (fillfactor = 90),
    CONSTRAINT {table}_key_check CHECK (octet_length(key) BETWEEN 1 AND 1024),
    CONSTRAINT {table}_value_check CHECK (num_nonnulls(value_text, value_json, value_bytes, value_int) = 1)
) USING heap WITH (
    fillfactor = 80,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 2,
    autovacuum_vacuum_cost_limit = 100,
    autovacuum_analyze_threshold = 2147483647,
    vacuum_truncate = off,
    toast.autovacuum_vacuum_scale_factor = 0.02,
    toast.autovacuum_vacuum_threshold = 1000,
    toast.autovacuum_vacuum_cost_delay = 2,
    toast.autovacuum_vacuum_cost_limit = 100,
    toast.vacuum_truncate = off
);

ALTER TABLE cache.{table} ALTER COLUMN key SET STORAGE EXTERNAL, ALTER COLUMN tags SET STORAGE PLAIN;

COMMENT ON TABLE cache.{table} IS 'entries of a cache; written by the functions of schema cache';
COMMENT ON COLUMN cache.{table}.expires_at IS 'when the entry expires; infinity: never';
COMMENT ON COLUMN cache.{table}.key IS '1 to 1024 bytes';
COMMENT ON COLUMN cache.{table}.value_text IS 'the value, if it is text';
COMMENT ON COLUMN cache.{table}.value_json IS 'the value, if it is jsonb';
COMMENT ON COLUMN cache.{table}.value_bytes IS 'the value, if it is bytea';
COMMENT ON COLUMN cache.{table}.value_int IS 'the value, if it is bigint, as counters are';
COMMENT ON COLUMN cache.{table}.fresh_until IS 'until when the value needs no other; NULL: until the entry expires';
COMMENT ON COLUMN cache.{table}.as_of IS 'a time at which the value was certainly current; NULL without tags';
COMMENT ON COLUMN cache.{table}.tags IS 'the entry is gone once one of these has been invalidated after as_of';
COMMENT ON COLUMN cache.{table}.fill_micros IS 'microseconds from the claim of the entry to its fill, if it was filled';
