-- Stores each value under the key in the same place, in the order of the keys; of a repeated key the last. Returns the number
-- of entries written. Of the three arrays of values one is given.
CREATE OR REPLACE FUNCTION cache._put_many(
    keys text[], texts text[], jsons jsonb[], bytes bytea[], ttl interval, fresh interval, tags text[], as_of timestamptz,
    cache text)
RETURNS bigint LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
#variable_conflict use_column
DECLARE
    chance double precision;
    policy_ttl interval;
    policy_size bigint;
    new_expires_at timestamptz := 'infinity';
    new_fresh_until timestamptz;
    new_basis pg_snapshot;
    based_at timestamptz;
    own_tags text[];
    large_keys text[];
    large_sizes bigint[];
    size bigint;
    distinct_keys bigint := (SELECT count(DISTINCT k) FROM unnest($1) AS k);
BEGIN
    PERFORM cache._check_keys($1);
    IF num_nulls($2, $3, $4) = 3 THEN
        PERFORM cache._error('null argument', 'vals');
    ELSIF coalesce(array_ndims($2), array_ndims($3), array_ndims($4)) > 1 THEN
        PERFORM cache._error('array dimensions', 'vals');
    ELSIF cardinality($1) <> coalesce(cardinality($2), cardinality($3), cardinality($4)) THEN
        PERFORM cache._error('array lengths', cardinality($1)::text,
            coalesce(cardinality($2), cardinality($3), cardinality($4))::text);
    ELSIF array_position($2, NULL) IS NOT NULL OR array_position($4, NULL) IS NOT NULL
        OR EXISTS (SELECT FROM unnest($3) AS v WHERE v IS NULL)
    THEN
        PERFORM cache._error('null value');
    END IF;
    -- each cache
    IF $9 = {name} THEN
        IF NOT cache._may_write($9, 'SELECT', 'INSERT', 'UPDATE') THEN
            RETURN distinct_keys;
        END IF;
        chance := {chance};
        policy_ttl := {default_ttl};
        policy_size := {max_size};
    END IF;
    -- end
    IF chance IS NULL THEN
        PERFORM cache._no_such_cache($9);
    END IF;

    IF $5 IS NOT NULL OR policy_ttl IS NOT NULL THEN
        new_expires_at := cache._expiry(coalesce($5, policy_ttl));
    END IF;
    IF $6 IS NOT NULL THEN
        new_fresh_until := cache._fresh_until($6, new_expires_at);
    END IF;
    IF $8 > clock_timestamp() THEN
        PERFORM cache._error('as_of in future');
    END IF;
    IF cardinality($7) > 0 THEN
        PERFORM cache._check_tags($7, k) FROM unnest($1) AS k;
        own_tags := $7;
        SELECT b.basis, b.at INTO new_basis, based_at FROM cache._basis(coalesce($8, transaction_timestamp())) AS b;
        IF NOT cache._is_current(own_tags, new_basis, based_at) THEN
            PERFORM cache._note_moment();
        END IF;
    END IF;
    IF policy_size IS NOT NULL THEN
        SELECT array_agg(s.k) FILTER (WHERE s.size + 3000 > policy_size), array_agg(s.size) FILTER (WHERE s.size + 3000 > policy_size), sum(s.size)
        INTO large_keys, large_sizes, size
        FROM (
            SELECT v.k, coalesce(octet_length(v.t), pg_column_size(v.j) - 4, octet_length(v.b))::bigint AS size
            FROM ROWS FROM (unnest($1), unnest($2), unnest($3), unnest($4)) AS v (k, t, j, b)
        ) AS s;
        PERFORM cache._check_size(l.k, own_tags, l.size, policy_size, $9) FROM unnest(large_keys, large_sizes) AS l (k, size);
    END IF;

    -- each cache
    IF $9 = {name} THEN
        INSERT INTO cache.{table} AS e (expires_at, key, value_text, value_json, value_bytes, fresh_until, as_of, tags, basis)
        SELECT new_expires_at, v.k, v.t, v.j, v.b, new_fresh_until, based_at, own_tags, new_basis
        FROM (
            SELECT DISTINCT ON (u.k COLLATE "C") u.* FROM ROWS FROM (unnest($1), unnest($2), unnest($3), unnest($4))
                WITH ORDINALITY AS u (k, t, j, b, place)
            ORDER BY u.k COLLATE "C", u.place DESC
        ) AS v
        ORDER BY v.k COLLATE "C"
        ON CONFLICT (key) DO UPDATE SET expires_at = excluded.expires_at, value_text = excluded.value_text,
            value_json = excluded.value_json, value_bytes = excluded.value_bytes, value_int = NULL,
            fresh_until = excluded.fresh_until, as_of = excluded.as_of, tags = excluded.tags, fill_micros = NULL,
            basis = excluded.basis;
    END IF;
    -- end
    -- The size of the table is looked at once for each hundredth of the budget that comes.
    IF random() < greatest(chance * distinct_keys, 100.0 * size / policy_size) THEN
        PERFORM cache._upkeep($9, distinct_keys);
    END IF;
    RETURN distinct_keys;
END $body$;
COMMENT ON FUNCTION cache._put_many(text[], text[], jsonb[], bytea[], interval, interval, text[], timestamptz, text)
    IS 'stores many values, for all forms of set_many';
