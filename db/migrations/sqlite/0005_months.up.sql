-- How many users of a customer were created in each month. A page deep in the list
-- by time of creation is found by adding up months, and passes over the users of one
-- month and not of all. Kept by triggers, as user_counts is. A month is written as
-- the times are that begin with it, so it comes before all of them.
CREATE TABLE user_months (
    customer_id  text NOT NULL REFERENCES customers (id) ON DELETE CASCADE,
    month        text NOT NULL,
    part         integer NOT NULL DEFAULT 1,
    users        integer NOT NULL,
    PRIMARY KEY (customer_id, month, part)
) WITHOUT ROWID;

CREATE TRIGGER users_inserted_in_months AFTER INSERT ON users BEGIN
    INSERT INTO user_months (customer_id, month, users) VALUES (new.customer_id, substr(new.created_at, 1, 7), 1)
        ON CONFLICT (customer_id, month, part) DO UPDATE SET users = users + 1;
END;
CREATE TRIGGER users_deleted_in_months AFTER DELETE ON users BEGIN
    UPDATE user_months SET users = users - 1 WHERE customer_id = old.customer_id AND month = substr(old.created_at, 1, 7);
END;
CREATE TRIGGER users_updated_in_months AFTER UPDATE OF customer_id, created_at ON users
    WHEN old.customer_id <> new.customer_id OR old.created_at <> new.created_at BEGIN
    UPDATE user_months SET users = users - 1 WHERE customer_id = old.customer_id AND month = substr(old.created_at, 1, 7);
    INSERT INTO user_months (customer_id, month, users) VALUES (new.customer_id, substr(new.created_at, 1, 7), 1)
        ON CONFLICT (customer_id, month, part) DO UPDATE SET users = users + 1;
END;

INSERT INTO user_months (customer_id, month, users)
    SELECT customer_id, substr(created_at, 1, 7), count(*) FROM users GROUP BY 1, 2;
