-- Every error of the portable edition: one place that gives each its SQLSTATE, message, detail and hint. They are those of
-- the native edition.
CREATE OR REPLACE FUNCTION cache._error(kind text, VARIADIC args text[] DEFAULT '{}') RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    state text := '22023';
    said text;
    detail text;
    hint text;
BEGIN
    CASE kind
    WHEN 'null key' THEN state := '22004'; said := 'cache key must not be null';
    WHEN 'null value' THEN state := '22004'; said := 'cache value must not be null';
    WHEN 'null tag' THEN state := '22004'; said := 'tag must not be null';
    WHEN 'null argument' THEN state := '22004'; said := args[1] || ' must not be null';
    WHEN 'empty key' THEN
        said := 'cache key must not be empty';
        hint := 'Use a key of 1 to 1024 bytes.';
    WHEN 'long key' THEN
        said := 'cache key is longer than 1024 bytes';
        detail := format('The key is %s bytes long.', args[1]);
        hint := 'Use a key of 1 to 1024 bytes, for example a hash of the long key.';
    WHEN 'no such cache' THEN
        state := '42704';
        said := format('cache "%s" does not exist', args[1]);
        detail := 'The caches are: ' || (SELECT string_agg(name, ', ' ORDER BY name) FROM cache.caches) || '.';
        hint := 'Make it with cache.create_cache(), or pass another name as cache.';
    WHEN 'cache exists' THEN state := '42710'; said := format('cache "%s" already exists', args[1]);
    WHEN 'invalid cache name' THEN
        state := '42602';
        said := format('invalid cache name "%s"', args[1]);
        hint := 'Use up to 48 lower-case letters, digits and underscores, not starting with a digit.';
    WHEN 'invalid policy' THEN said := args[1];
    WHEN 'one snapshot' THEN
        state := '0A000';
        said := 'cannot change caches in a transaction that keeps one snapshot';
        hint := 'Use the isolation level READ COMMITTED.';
    WHEN 'negative' THEN said := args[1] || ' must not be negative';
    WHEN 'not positive' THEN said := args[1] || ' must be positive';
    WHEN 'wrong form' THEN
        state := '42804';
        said := format('cache entry "%s" is of type %s and cannot be read as %s', args[1], args[2], args[3]);
        hint := format('Read it with cache.%s().',
            CASE args[2] WHEN 'jsonb' THEN 'get_json' WHEN 'bytea' THEN 'get_bytes' ELSE 'get' END);
    WHEN 'no counter' THEN
        state := '42804';
        said := format('cache entry "%s" is of type %s, not a counter', args[1], args[2]);
        hint := 'A counter is an entry that was set to a bigint, or made by cache.incr().';
    WHEN 'counter range' THEN
        state := '22003'; said := format('counter "%s" would leave the range of bigint', args[1]);
    WHEN 'ttl not positive' THEN
        said := 'ttl must be positive';
        hint := 'Use cache.never() for an entry that does not expire, or cache.delete() to remove one.';
    WHEN 'ttl range' THEN state := '22008'; said := 'ttl leads to an expiry out of range';
    WHEN 'fresh not positive' THEN
        said := 'fresh must be positive';
        hint := 'Leave fresh out for a value that is fresh until it expires.';
    WHEN 'fresh beyond ttl' THEN
        said := 'fresh must not be longer than ttl';
        hint := 'fresh is how long the value needs no other; ttl is how long it may be used at all.';
    WHEN 'empty tag' THEN said := 'tag must not be empty';
    WHEN 'long tags' THEN
        state := '54000';
        said := 'tags of cache entry are too long';
        detail := format('They take %s bytes of the %s that are left beside the key.', args[1], args[2]);
        hint := 'Use fewer or shorter tags, for example one for all of a group.';
    WHEN 'as_of in future' THEN
        said := 'as_of must not be later than now';
        hint := 'Read cache.clock() before the data, and pass what it returned.';
    WHEN 'larger than budget' THEN
        state := '54000';
        said := format('entry of %s bytes is larger than the budget of cache "%s" (%s bytes)', args[1], args[2], args[3]);
        detail := 'An entry that there was under this key is still there.';
        hint := 'Raise max_size with cache.alter_cache(), or store the value in smaller parts.';
    WHEN 'too large' THEN
        state := '54000'; said := format('entry of %s bytes is larger than a row can be', args[1]);
    WHEN 'array lengths' THEN
        said := 'keys and vals must have the same length';
        detail := format('There are %s keys and %s values.', args[1], args[2]);
    WHEN 'array dimensions' THEN said := args[1] || ' must be a one-dimensional array';
    WHEN 'permission denied' THEN
        state := '42501';
        said := format('permission denied for table %s', args[1]);
        hint := format('Access to a cache is granted on its table: GRANT %s ON %s TO the role.', args[2], args[1]);
    WHEN 'write in recovery' THEN
        state := '25006';
        said := 'cannot write to a cache during recovery';
        hint := 'Connect to the primary to write to a cache.';
    WHEN 'read in recovery' THEN
        state := '25006';
        said := format('cannot read cache "%s" during recovery: it is not durable', args[1]);
        hint := 'Read on the primary, or set pg_stash.on_standby to miss.';
    WHEN 'invalid lease' THEN
        said := 'invalid lease';
        hint := 'Pass what cache.claim() returned as lease, in the same database.';
    WHEN 'long lease' THEN said := 'lease must not be longer than one hour';
    WHEN 'lease used' THEN
        said := 'lease has been used';
        hint := 'Claim the key anew to make another value.';
    WHEN 'not watched' THEN
        state := '55000';
        said := format('table %s is not watched', args[1]);
        hint := format('Run SELECT cache.watch(%L), or say with ttl or tags how long the result is good.', args[1]);
    WHEN 'args no array' THEN
        said := 'args must be a jsonb array';
        hint := 'Pass the parameters $1, $2, … as a jsonb array, such as ''[42, "Ada"]''.';
    WHEN 'args count' THEN said := format('the query has %s parameters, and args has %s elements', args[1], args[2]);
    WHEN 'no query' THEN said := 'sql must be one query that returns rows';
    WHEN 'volatile function' THEN
        said := 'cannot remember a query that calls volatile function ' || args[1];
        hint := 'What the query returns must depend on nothing but tables and parameters. Pass what varies as args.';
    WHEN 'session function' THEN
        said := format('cannot remember a query that calls function %s, whose result may depend on the session', args[1]);
        hint := 'Pass what the session knows as args, or a key that tells apart whatever the function''s result depends on.';
    WHEN 'time function' THEN
        said := format('cannot remember a query that calls function %s, whose result depends on the time', args[1]);
        hint := 'Say with ttl how long the result is good, or pass the time as args.';
    WHEN 'temporary table' THEN said := format('cannot remember a query that reads temporary table %s', args[1]);
    WHEN 'key with row security' THEN
        said := format('key must be null: row-level security is enabled on table %s', args[1]);
        hint := 'Leave key out: the key is then made for each user.';
    WHEN 'locks rows' THEN state := '0A000'; said := 'cannot remember a query that locks rows';
    WHEN 'no such relation' THEN state := '42P01'; said := format('relation with OID %s does not exist', args[1]);
    WHEN 'not watchable' THEN
        state := '42809';
        said := format('cannot watch "%s": it is not a table', args[1]);
        hint := 'Watch the tables that it is made from.';
    WHEN 'watch in one snapshot' THEN
        state := '25001';
        said := 'cannot watch a table in a transaction that keeps one snapshot';
        hint := 'Use the isolation level READ COMMITTED.';
    WHEN 'not in a tag' THEN
        said := format('column "%s" of type %s cannot be part of a tag', args[1], args[2]);
        hint := 'The text of its values depends on settings of the session.';
    WHEN 'no such column' THEN
        state := '42703';
        said := format('column "%s" of relation "%s" does not exist', args[1], args[2]);
        hint := 'In a tag, braces stand for the value of a column of the table.';
    WHEN 'no column of row' THEN
        state := '42703';
        said := format('column "%s" of watched table does not exist', args[1]);
        hint := 'In a tag, braces stand for the value of a column of the table.';
    END CASE;
    IF detail IS NULL AND hint IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = state, MESSAGE = said;
    ELSIF detail IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = state, MESSAGE = said, HINT = hint;
    ELSIF hint IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = state, MESSAGE = said, DETAIL = detail;
    END IF;
    RAISE EXCEPTION USING ERRCODE = state, MESSAGE = said, DETAIL = detail, HINT = hint;
END $body$;
COMMENT ON FUNCTION cache._error(text, text[]) IS 'raises an error of pg_stash';
