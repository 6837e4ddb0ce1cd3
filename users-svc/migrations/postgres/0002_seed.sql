INSERT INTO users (id, name, age) VALUES
    (1, 'Tom',  32),
    (2, 'Jim',  55),
    (3, 'Luna', 19);
-- The next row without an id comes after these.
SELECT setval(pg_get_serial_sequence('users', 'id'), 3);
