CREATE TABLE products (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    name        TEXT    NOT NULL,
    store       INTEGER NOT NULL CHECK (store >= 0),
    description TEXT    NOT NULL
) STRICT;
