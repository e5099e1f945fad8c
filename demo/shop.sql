-- A shop: customers, products, and 600,000 orders over a year.
\set ON_ERROR_STOP on
\set QUIET on
SET client_min_messages = warning;

DROP EXTENSION IF EXISTS pg_stash CASCADE;
DROP TABLE IF EXISTS orders, products, customers CASCADE;

CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL, country text NOT NULL);
CREATE TABLE products (id int PRIMARY KEY, name text NOT NULL, category text NOT NULL, price numeric(8, 2) NOT NULL);
CREATE TABLE orders (
    id          bigint PRIMARY KEY,
    customer_id int NOT NULL REFERENCES customers,
    product_id  int NOT NULL REFERENCES products,
    quantity    int NOT NULL,
    ordered_at  timestamptz NOT NULL
);

SELECT setseed(0.42) \g /dev/null
\echo '    customers …'
INSERT INTO customers
SELECT id, 'Customer ' || id, (ARRAY['DE', 'FR', 'IT', 'ES', 'PL', 'NL', 'SE', 'AT'])[1 + floor(8 * random() ^ 2)::int]
FROM generate_series(1, 20000) AS id;
\echo '    products …'
INSERT INTO products
SELECT id, 'Product ' || id, (ARRAY['books', 'games', 'garden', 'kitchen', 'music', 'tools'])[1 + id % 6],
    round((5 + 195 * random())::numeric, 2)
FROM generate_series(1, 1000) AS id;
\echo '    orders …'
INSERT INTO orders
SELECT id, 1 + floor(20000 * random() ^ 2)::int, 1 + floor(1000 * random() ^ 3)::int, 1 + floor(4 * random())::int,
    date_trunc('second', now()) - random() * interval '365 days'
FROM generate_series(1, 600000) AS id;
ANALYZE;
\echo '    ready:'
SELECT (SELECT count(*) FROM orders) AS orders, (SELECT count(*) FROM customers) AS customers,
    (SELECT count(*) FROM products) AS products, pg_size_pretty(pg_database_size(current_database())) AS database_size;
