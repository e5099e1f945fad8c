-- Leases: of those who miss a key, one computes. A lease is a row that lasts until its deadline; nobody holds a lock or a
-- transaction open for it. Whoever takes one also holds an advisory lock until the transaction ends, because nobody sees its
-- row earlier. Nothing here waits for another session, except for as long as the caller says. Who deletes an entry ends the
-- lease of its key: what its holder makes is of before the delete.

CREATE UNLOGGED TABLE IF NOT EXISTS cache._leases (
    cache    text COLLATE "C" NOT NULL,
    key      text COLLATE "C" NOT NULL,
    nonce    uuid NOT NULL UNIQUE,
    deadline timestamptz NOT NULL,
    as_of    timestamptz NOT NULL,
    version  text,
    holder   integer NOT NULL DEFAULT pg_catalog.pg_backend_pid(),
    is_used  boolean NOT NULL DEFAULT false,
    PRIMARY KEY (cache, key)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000);
COMMENT ON TABLE cache._leases IS 'who computes what';
COMMENT ON COLUMN cache._leases.cache IS 'the cache';
COMMENT ON COLUMN cache._leases.key IS 'the key';
COMMENT ON COLUMN cache._leases.nonce IS 'a random number that the holder knows';
COMMENT ON COLUMN cache._leases.deadline IS 'until when the others wait';
COMMENT ON COLUMN cache._leases.as_of IS 'a time before the holder has read anything';
COMMENT ON COLUMN cache._leases.version IS 'the version of the entry that is to be overwritten; NULL: there is none';
COMMENT ON COLUMN cache._leases.holder IS 'the session that has taken it';
COMMENT ON COLUMN cache._leases.is_used IS 'whether a value has been stored under it';

-- What sessions there are PostgreSQL shows as of the first look of a transaction, unless it is told to look again.
CREATE OR REPLACE FUNCTION cache._has_ended(session integer) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    PERFORM pg_stat_clear_snapshot();
    RETURN NOT EXISTS (SELECT FROM pg_stat_get_activity(session));
END $body$;
COMMENT ON FUNCTION cache._has_ended(integer) IS 'whether a session is no more';

-- Takes the lease of a key; NULL where somebody else has it.
CREATE OR REPLACE FUNCTION cache._take_lease(cache text, key text, duration interval, version text) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
#variable_conflict use_column
DECLARE
    new_nonce uuid := gen_random_uuid();
BEGIN
    IF NOT cache._may_note()
        OR NOT pg_try_advisory_xact_lock(hashtext('pg_stash'), hashtextextended($1 || ' ' || $2, 0)::bit(32)::integer)
    THEN
        RETURN NULL;
    END IF;
    -- A lease that somebody holds is not even locked: its holder, giving it back, must not find it locked and think it lost.
    IF EXISTS (SELECT FROM cache._leases AS l WHERE l.cache = $1 AND l.key = $2) THEN
        PERFORM FROM cache._leases AS l
        WHERE l.cache = $1 AND l.key = $2 AND (l.is_used OR l.deadline <= clock_timestamp() OR cache._has_ended(l.holder))
        FOR UPDATE SKIP LOCKED;
        IF NOT FOUND THEN
            RETURN NULL;
        END IF;
    END IF;
    INSERT INTO cache._leases AS l (cache, key, nonce, deadline, as_of, version)
    VALUES ($1, $2, new_nonce, clock_timestamp() + $3, cache.clock(), $4)
    ON CONFLICT ON CONSTRAINT _leases_pkey DO UPDATE SET nonce = excluded.nonce, deadline = excluded.deadline,
        as_of = excluded.as_of, version = excluded.version, holder = excluded.holder, is_used = false;
    IF random() < 0.02 THEN
        DELETE FROM cache._leases WHERE ctid = ANY (ARRAY(
            SELECT l.ctid FROM cache._leases AS l WHERE l.deadline < clock_timestamp() FOR UPDATE SKIP LOCKED));
    END IF;
    RETURN new_nonce;
END $body$;
COMMENT ON FUNCTION cache._take_lease(text, text, interval, text) IS 'takes a lease, unless somebody has it';

-- A lease. Returns no row where it is lost: past its deadline, taken over, ended or given back.
CREATE OR REPLACE FUNCTION cache._held_lease(nonce uuid) RETURNS SETOF cache._leases
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    IF EXISTS (SELECT FROM cache._leases AS l WHERE l.nonce = $1 AND l.is_used) THEN
        PERFORM cache._error('lease used');
    END IF;
    RETURN QUERY SELECT l.* FROM cache._leases AS l WHERE l.nonce = $1 AND l.deadline > clock_timestamp();
END $body$;
COMMENT ON FUNCTION cache._held_lease(uuid) IS 'a lease that is not lost';

-- Notes that a lease has been used, and returns it. Returns no row where it is lost.
CREATE OR REPLACE FUNCTION cache._use_lease(nonce uuid) RETURNS SETOF cache._leases
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    RETURN QUERY UPDATE cache._leases AS l SET is_used = true WHERE l.ctid = ANY (ARRAY(
        SELECT h.ctid FROM cache._leases AS h WHERE h.nonce = $1 AND h.deadline > clock_timestamp() FOR UPDATE SKIP LOCKED))
    RETURNING l.*;
END $body$;
COMMENT ON FUNCTION cache._use_lease(uuid) IS 'notes that a lease has been used, and returns it';

-- Gives a lease back.
CREATE OR REPLACE FUNCTION cache._end_lease(nonce uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    DELETE FROM cache._leases AS l WHERE l.ctid = ANY (ARRAY(
        SELECT h.ctid FROM cache._leases AS h WHERE h.nonce = $1 FOR UPDATE SKIP LOCKED));
END $body$;
COMMENT ON FUNCTION cache._end_lease(uuid) IS 'gives a lease back';

-- Ends the leases of keys, or of all that start with a prefix, whose entries have just been deleted. Those that have ended are
-- left alone: a row that this transaction has locked could not be taken by others. One that is locked is being filled, with
-- a value that no look for the entry has found: the delete waits for it, as it does for those that it has found.
CREATE OR REPLACE FUNCTION cache._end_leases(cache text, keys text[], prefix text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    held text[];
    filled text[];
BEGIN
    IF keys IS NOT NULL THEN
        held := ARRAY(SELECT l.key FROM cache._leases AS l WHERE l.cache = $1 AND l.key = ANY (keys)
            AND NOT l.is_used AND l.deadline > clock_timestamp());
    ELSE
        held := ARRAY(SELECT l.key FROM cache._leases AS l WHERE l.cache = $1 AND starts_with(l.key, prefix)
            AND NOT l.is_used AND l.deadline > clock_timestamp());
    END IF;
    IF cardinality(held) = 0 THEN
        RETURN;
    END IF;
    PERFORM FROM cache._leases AS l WHERE l.cache = $1 AND l.key = ANY (held) ORDER BY l.key FOR UPDATE;
    filled := ARRAY(SELECT l.key FROM cache._leases AS l WHERE l.cache = $1 AND l.key = ANY (held) AND l.is_used ORDER BY l.key);
    DELETE FROM cache._leases AS l WHERE l.cache = $1 AND l.key = ANY (held) AND NOT l.is_used;
    IF cardinality(filled) > 0 THEN
        EXECUTE format('DELETE FROM cache.%I WHERE key = ANY ($1)', cache._table($1)) USING filled;
    END IF;
END $body$;
COMMENT ON FUNCTION cache._end_leases(text, text[], text) IS 'ends the leases of what is deleted';

-- A lease as the client holds it: a version, the number, and a check on both and the database.
CREATE OR REPLACE FUNCTION cache._token(nonce uuid) RETURNS bytea
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    plain bytea := '\x01' || uuid_send(nonce);
BEGIN
    RETURN plain || substr(sha256(plain || convert_to(current_database(), 'UTF8') || 'pg_stash lease'), 1, 8);
END $body$;
COMMENT ON FUNCTION cache._token(uuid) IS 'a lease as a client holds it';

CREATE OR REPLACE FUNCTION cache._nonce(token bytea) RETURNS uuid
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    nonce uuid;
BEGIN
    IF token IS NULL THEN
        PERFORM cache._error('null argument', 'lease');
    ELSIF octet_length(token) = 25 THEN
        nonce := encode(substr(token, 2, 16), 'hex')::uuid;
    END IF;
    IF nonce IS NULL OR cache._token(nonce) <> token THEN
        PERFORM cache._error('invalid lease');
    END IF;
    RETURN nonce;
END $body$;
COMMENT ON FUNCTION cache._nonce(bytea) IS 'the number in a lease; an error where it is none';

-- Whether a value that is still fresh is to be made anew, as pg_stash.early_recompute asks for: the sooner, the longer it
-- took to make. The method is XFetch (Vattani et al., 2015).
CREATE OR REPLACE FUNCTION cache._is_due_early(until timestamptz, fill_micros bigint) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    beta double precision := nullif(current_setting('pg_stash.early_recompute', true), '')::double precision;
BEGIN
    IF beta > 0 AND fill_micros > 0 AND until < 'infinity' THEN
        RETURN extract(epoch FROM until - clock_timestamp()) * 1000000 <= -ln(1 - random()) * beta * fill_micros;
    END IF;
    RETURN false;
END $body$;
COMMENT ON FUNCTION cache._is_due_early(timestamptz, bigint) IS 'whether a fresh value is to be made anew already';

CREATE OR REPLACE FUNCTION cache._claim(
    key text, duration interval, wait interval, cache text, form text DEFAULT NULL, OUT state text, OUT value_text text,
    OUT value_json jsonb, OUT value_bytes bytea, OUT value_int bigint, OUT token bytea, OUT tags text[])
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    waits_until timestamptz;
    pause double precision := 0.002;
    nonce uuid;
    e record;
    is_due boolean;
BEGIN
    IF $2 IS NULL OR $3 IS NULL THEN
        PERFORM cache._error('null argument', CASE WHEN $2 IS NULL THEN 'lease' ELSE 'wait' END);
    ELSIF $2 <= '0' THEN
        PERFORM cache._error('not positive', 'lease');
    ELSIF $2 > '1 hour' THEN
        PERFORM cache._error('long lease');
    ELSIF $3 < '0' THEN
        PERFORM cache._error('negative', 'wait');
    END IF;
    waits_until := clock_timestamp() + $3;
    LOOP
        e := cache._peek($1, $4);
        IF is_due IS NULL THEN
            PERFORM cache._check_privileges($4, 'SELECT', 'INSERT', 'UPDATE');
            is_due := cache._is_due_early(coalesce(e.fresh_until, e.expires_at), e.fill_micros);
        END IF;
        state := CASE WHEN e.is_live IS NOT TRUE THEN 'miss' WHEN e.fresh_until <= clock_timestamp() THEN 'stale' ELSE 'hit' END;
        IF state <> 'miss' THEN
            IF NOT (CASE $5 WHEN 'text' THEN e.value_bytes IS NULL WHEN 'json' THEN e.value_json IS NOT NULL
                WHEN 'bytes' THEN e.value_bytes IS NOT NULL ELSE true END)
            THEN
                PERFORM cache._wrong_form($1, $4, $5);
            END IF;
            value_text := e.value_text;
            value_json := e.value_json;
            value_bytes := e.value_bytes;
            value_int := e.value_int;
            tags := e.tags;
        END IF;
        IF nonce IS NOT NULL THEN
            -- Nobody else has had the lease since. If it is a hit now, the one before has filled the entry meanwhile.
            IF state = 'hit' AND NOT is_due THEN
                PERFORM cache._end_lease(nonce);
            ELSE
                token := cache._token(nonce);
            END IF;
            RETURN;
        ELSIF state = 'hit' AND NOT is_due OR NOT cache._is_enabled() OR NOT cache._may_note() THEN
            -- Who cannot take a lease does not wait for one.
            RETURN;
        END IF;
        nonce := cache._take_lease($4, $1, $2, CASE WHEN e.is_live THEN e.version END);
        IF nonce IS NULL THEN
            IF state <> 'miss' OR clock_timestamp() >= waits_until THEN
                RETURN;
            END IF;
            PERFORM pg_sleep(least(pause, extract(epoch FROM waits_until - clock_timestamp())::double precision));
            pause := least(pause * 1.5, 0.05);
        END IF;
    END LOOP;
END $body$;
COMMENT ON FUNCTION cache._claim(text, interval, interval, text, text) IS 'reads an entry and takes a lease where that is needed, for all forms of claim';

CREATE OR REPLACE FUNCTION cache._fill(
    token bytea, value_text text, value_json jsonb, value_bytes bytea, value_int bigint, ttl interval, fresh interval,
    tags text[])
RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    lease record;
    filled_at timestamptz := clock_timestamp();
    is_stored boolean;
BEGIN
    IF num_nulls($2, $3, $4, $5) = 4 THEN
        PERFORM cache._nonce($1), cache._error('null value');
    END IF;
    SELECT * INTO lease FROM cache._held_lease(cache._nonce($1));
    IF NOT FOUND OR NOT cache._exists(lease.cache) THEN
        RETURN false;
    END IF;
    is_stored := cache._put(lease.key, $2, $3, $4, $5, $6, $7, $8, lease.as_of, lease.cache, 'same', lease.version,
        (extract(epoch FROM filled_at - lease.as_of) * 1000000)::bigint);
    IF NOT is_stored THEN
        PERFORM cache._end_lease(lease.nonce);
        RETURN false;
    END IF;
    -- Asked once the entry is there: a delete from now on waits for it, and one before has ended the lease.
    PERFORM FROM cache._use_lease(lease.nonce);
    IF NOT FOUND THEN
        -- To delete it takes a privilege that a fill does not need.
        EXECUTE format($$UPDATE cache.%I SET expires_at = '-infinity' WHERE key = $1$$, cache._table(lease.cache)) USING lease.key;
        RETURN false;
    END IF;
    RETURN true;
END $body$;
COMMENT ON FUNCTION cache._fill(bytea, text, jsonb, bytea, bigint, interval, interval, text[]) IS 'stores what was computed, for all forms of fill';

CREATE OR REPLACE FUNCTION cache.release(lease bytea) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    PERFORM cache._end_lease(cache._nonce($1));
END $body$;
