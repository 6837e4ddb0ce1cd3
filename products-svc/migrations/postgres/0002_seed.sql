INSERT INTO products (id, name, store, description) VALUES
    (1, 'Auto',       20, 'Ganz schnell'),
    (2, 'Computer',   42, 'Ganz schnell'),
    (3, 'KVM Switch', 52, 'Ganz teuer');
-- The next row without an id comes after these.
SELECT setval(pg_get_serial_sequence('products', 'id'), 3);
