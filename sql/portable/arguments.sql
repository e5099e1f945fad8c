-- From arguments that may be anything to ones that can be worked with.

CREATE OR REPLACE FUNCTION cache._check_key(key text) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    IF key IS NULL THEN
        PERFORM cache._error('null key');
    ELSIF octet_length(key) = 0 THEN
        PERFORM cache._error('empty key');
    ELSIF octet_length(key) > 1024 THEN
        PERFORM cache._error('long key', octet_length(key)::text);
    END IF;
END $body$;
COMMENT ON FUNCTION cache._check_key(text) IS 'raises an error unless a key has 1 to 1024 bytes';

CREATE OR REPLACE FUNCTION cache._check_keys(keys text[]) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    key text;
BEGIN
    IF keys IS NULL THEN
        PERFORM cache._error('null argument', 'keys');
    ELSIF array_ndims(keys) > 1 THEN
        PERFORM cache._error('array dimensions', 'keys');
    END IF;
    FOREACH key IN ARRAY keys LOOP
        IF key IS NULL OR octet_length(key) NOT BETWEEN 1 AND 1024 THEN
            PERFORM cache._check_key(key);
        END IF;
    END LOOP;
END $body$;
COMMENT ON FUNCTION cache._check_keys(text[]) IS 'raises an error unless the keys of a batch can be keys';

CREATE OR REPLACE FUNCTION cache._check_tags(tags text[], key text) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    IF array_ndims(tags) > 1 THEN
        PERFORM cache._error('array dimensions', 'tags');
    ELSIF array_position(tags, NULL) IS NOT NULL THEN
        PERFORM cache._error('null tag');
    ELSIF array_position(tags, '') IS NOT NULL THEN
        PERFORM cache._error('empty tag');
    ELSIF pg_column_size(tags) - 4 > 1900 - octet_length(key) THEN
        PERFORM cache._error('long tags', (pg_column_size(tags) - 4)::text, (1900 - octet_length(key))::text);
    END IF;
END $body$;
COMMENT ON FUNCTION cache._check_tags(text[], text) IS 'raises an error unless the tags of an entry can be tags';

-- The bits of a ttl that means "never" are those of the interval 'infinity', which PostgreSQL has from version 17 on.
CREATE OR REPLACE FUNCTION cache.never() RETURNS interval
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    IF current_setting('server_version_num')::integer >= 170000 THEN
        RETURN 'infinity'::interval;
    END IF;
    RETURN '178956970 years 7 months 2147483647 days 2562047788:00:54.775807'::interval;
END $body$;

-- When an entry written now expires. Months and days are those of the calendar.
CREATE OR REPLACE FUNCTION cache._expiry(ttl interval, what text DEFAULT 'ttl') RETURNS timestamptz
LANGUAGE plpgsql AS $body$
DECLARE
    now timestamptz := pg_catalog.clock_timestamp();
    expires_at timestamptz;
BEGIN
    IF $1 OPERATOR(pg_catalog.>) '10000 days'::pg_catalog.interval THEN
        IF $1 OPERATOR(pg_catalog.=) cache.never() THEN
            RETURN 'infinity';
        END IF;
        BEGIN
            expires_at := now OPERATOR(pg_catalog.+) $1;
        EXCEPTION WHEN datetime_field_overflow THEN
            PERFORM cache._error('ttl range');
        END;
    ELSIF $1 OPERATOR(pg_catalog.>) '-10000 days'::pg_catalog.interval THEN
        expires_at := now OPERATOR(pg_catalog.+) $1;
    END IF;
    -- The calendar does not reach as far back as an interval.
    IF expires_at IS NULL OR expires_at OPERATOR(pg_catalog.<=) now THEN
        PERFORM cache._error(CASE WHEN $2 OPERATOR(pg_catalog.=) 'ttl' THEN 'ttl not positive' ELSE 'fresh not positive' END);
    END IF;
    RETURN expires_at;
END $body$;
COMMENT ON FUNCTION cache._expiry(interval, text) IS 'when an entry written now expires';

-- Until when a value needs no other; NULL: until it expires.
CREATE OR REPLACE FUNCTION cache._fresh_until(fresh interval, expires_at timestamptz) RETURNS timestamptz
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    fresh_until timestamptz := cache._expiry(fresh, 'fresh');
BEGIN
    IF fresh_until = 'infinity' THEN
        RETURN NULL;
    ELSIF fresh_until > expires_at THEN
        PERFORM cache._error('fresh beyond ttl');
    END IF;
    RETURN fresh_until;
END $body$;
COMMENT ON FUNCTION cache._fresh_until(interval, timestamptz) IS 'until when a value written now needs no other';

-- Every key that starts with a prefix is between the prefix and this.
CREATE OR REPLACE FUNCTION cache._prefix_end(prefix text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    IF getdatabaseencoding() = 'UTF8' THEN
        RETURN prefix || repeat(chr(1114111), 256);
    END IF;
    RETURN prefix || repeat(chr(255), 1024);
END $body$;
COMMENT ON FUNCTION cache._prefix_end(text) IS 'a text not before any key that starts with a prefix';
