-- What keeps lists and totals quick for a customer with many users.

-- How many users a customer has in each status, kept by the triggers below
-- whoever writes. PostgreSQL has several parts to a number, for many writers;
-- here there is one. A writer who uses REPLACE has to set PRAGMA recursive_triggers,
-- as SQLite does not tell triggers of the rows replaced otherwise.
CREATE TABLE user_counts (
    customer_id  text NOT NULL REFERENCES customers (id) ON DELETE CASCADE,
    status       text NOT NULL,
    part         integer NOT NULL DEFAULT 1,
    users        integer NOT NULL,
    PRIMARY KEY (customer_id, status, part)
) WITHOUT ROWID;

CREATE TRIGGER users_inserted AFTER INSERT ON users BEGIN
    INSERT INTO user_counts (customer_id, status, users) VALUES (new.customer_id, new.status, 1)
        ON CONFLICT (customer_id, status, part) DO UPDATE SET users = users + 1;
END;
CREATE TRIGGER users_deleted AFTER DELETE ON users BEGIN
    UPDATE user_counts SET users = users - 1 WHERE customer_id = old.customer_id AND status = old.status;
END;
CREATE TRIGGER users_updated AFTER UPDATE OF customer_id, status ON users
    WHEN old.customer_id <> new.customer_id OR old.status <> new.status BEGIN
    UPDATE user_counts SET users = users - 1 WHERE customer_id = old.customer_id AND status = old.status;
    INSERT INTO user_counts (customer_id, status, users) VALUES (new.customer_id, new.status, 1)
        ON CONFLICT (customer_id, status, part) DO UPDATE SET users = users + 1;
END;

INSERT INTO user_counts (customer_id, status, users)
    SELECT customer_id, status, count(*) FROM users GROUP BY customer_id, status;
