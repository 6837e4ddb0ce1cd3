INSERT INTO products (id, name, store, description) VALUES
    (1, 'Auto',       20, 'Ganz schnell'),
    (2, 'Computer',   42, 'Ganz schnell'),
    (3, 'KVM Switch', 52, 'Ganz teuer');
