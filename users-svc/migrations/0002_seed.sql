INSERT INTO users (id, name, age) VALUES
    (1, 'Tom',  32),
    (2, 'Jim',  55),
    (3, 'Luna', 19);
