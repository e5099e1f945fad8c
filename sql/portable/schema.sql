-- Everything lives in the schema cache, and belongs to the role that runs this. Names that begin with an underscore are
-- internal: they may change with any version.
DO $$
BEGIN
    IF EXISTS (
        SELECT FROM pg_catalog.pg_extension AS e JOIN pg_catalog.pg_depend AS d ON d.refobjid = e.oid
        JOIN pg_catalog.pg_proc AS p ON p.oid = d.objid JOIN pg_catalog.pg_language AS l ON l.oid = p.prolang
        WHERE e.extname = 'pg_stash' AND d.refclassid = 'pg_catalog.pg_extension'::regclass AND l.lanname = 'c'
    ) THEN
        RAISE EXCEPTION USING ERRCODE = 'duplicate_schema',
            MESSAGE = 'the native edition of pg_stash is installed in this database',
            HINT = 'It does all that the portable edition does. To go back to that one, run sql/portable/to_portable.sql.';
    END IF;
    IF pg_catalog.to_regnamespace('cache') IS NULL THEN
        CREATE SCHEMA cache;
    END IF;
    PERFORM pg_catalog.set_config('search_path', 'cache, pg_catalog, pg_temp', true);
    PERFORM pg_catalog.set_config('client_min_messages', 'warning', true);
END $$;

COMMENT ON SCHEMA cache IS 'pg_stash, portable edition: a cache in this database';
