-- A small shop. Both caches are ordinary ones; what the dashboard shows depends on two tables, which are watched.
\set ON_ERROR_STOP on
SET client_min_messages = warning;
-- Unless it is there, or the portable edition is.
SELECT to_regnamespace('cache') IS NULL AS is_missing \gset
\if :is_missing
CREATE EXTENSION pg_stash;
\endif

CREATE TABLE products (id int PRIMARY KEY, name text NOT NULL, category text NOT NULL, price numeric(8, 2) NOT NULL);
CREATE TABLE orders (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    product_id int NOT NULL REFERENCES products,
    quantity   int NOT NULL,
    ordered_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON orders (product_id);

SELECT setseed(0.42) \g /dev/null
INSERT INTO products
SELECT id, adjective || ' ' || noun, category, round((4 + 90 * random())::numeric, 2)
FROM (
    SELECT row_number() OVER () AS id, adjective, noun, category
    FROM unnest(ARRAY['Blue', 'Tiny', 'Round', 'Quiet', 'Heavy', 'Folding', 'Paper', 'Copper', 'Wild', 'Plain']) AS adjective,
        (VALUES ('teapot', 'kitchen'), ('kettle', 'kitchen'), ('whistle', 'kitchen'), ('novel', 'books'), ('atlas', 'books'),
            ('diary', 'books'), ('rake', 'garden'), ('lantern', 'garden'), ('watering can', 'garden'), ('banjo', 'music'),
            ('drum', 'music'), ('hammer', 'tools'), ('spanner', 'tools'), ('chess set', 'games'), ('puzzle', 'games'))
            AS nouns (noun, category)
) AS p;
INSERT INTO orders (product_id, quantity, ordered_at)
SELECT 1 + floor(150 * random() ^ 2)::int, 1 + floor(3 * random())::int, now() - random() ^ 0.7 * interval '30 days'
FROM generate_series(1, 200000);
ANALYZE;

SELECT cache.create_cache('pages', default_ttl => '1 minute', max_size => '4 MB');
SELECT cache.watch('products'), cache.watch('orders') \g /dev/null
