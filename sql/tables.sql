CREATE TABLE cache.caches (
    name        text COLLATE "C" PRIMARY KEY,
    default_ttl interval,
    max_size    bigint CHECK (max_size > 0),
    max_entries bigint CHECK (max_entries > 0),
    durable     boolean NOT NULL DEFAULT false
);

-- Commands that it runs mean PostgreSQL's own functions and operators, whoever changes a policy.
ALTER FUNCTION apply_policy() SET search_path = pg_catalog, pg_temp;

CREATE TRIGGER apply_policy
    BEFORE INSERT OR UPDATE OR DELETE ON cache.caches
    FOR EACH ROW EXECUTE FUNCTION apply_policy();
ALTER TABLE cache.caches ENABLE ALWAYS TRIGGER apply_policy;

SELECT pg_catalog.pg_extension_config_dump('cache.caches', '');

INSERT INTO cache.caches (name, max_size) VALUES ('default', 256 * 1024 * 1024);
