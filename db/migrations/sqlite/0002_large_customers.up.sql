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

-- One index for each field that a filter may name. They go on in the usual order,
-- as SQLite knows little of which values are rare: a list in that order is quick
-- either way. A flag has one for the value that is unusual; for the other the
-- order's own index is walked.
CREATE INDEX users_status_created_at ON users (customer_id, status, created_at, id);
CREATE INDEX users_first_name ON users (customer_id, first_name_key, created_at, id);
CREATE INDEX users_mobile ON users (customer_id, mobile_key, created_at, id) WHERE mobile IS NOT NULL;
CREATE INDEX users_no_mobile ON users (customer_id, created_at, id) WHERE mobile IS NULL;
CREATE INDEX users_has_username ON users (customer_id, created_at, id) WHERE username IS NOT NULL;
CREATE INDEX users_no_username ON users (customer_id, created_at, id) WHERE username IS NULL;
CREATE INDEX users_created_by ON users (customer_id, created_by, created_at, id);
CREATE INDEX users_updated_by ON users (customer_id, updated_by, created_at, id);
CREATE INDEX users_ext_auth_ref_id ON users (customer_id, ext_auth_ref_id, created_at, id);
CREATE INDEX users_is_email_verified ON users (customer_id, created_at, id) WHERE is_email_verified = FALSE;
CREATE INDEX users_is_first_login ON users (customer_id, created_at, id) WHERE is_first_login = TRUE;
CREATE INDEX users_account_non_expired ON users (customer_id, created_at, id) WHERE account_non_expired = FALSE;
CREATE INDEX users_account_non_locked ON users (customer_id, created_at, id) WHERE account_non_locked = FALSE;
CREATE INDEX users_credentials_non_expired ON users (customer_id, created_at, id) WHERE credentials_non_expired = FALSE;

-- An authority can be rare with one customer and usual with all others, so its
-- users are found by the customer too. The column is kept by the triggers, for
-- whoever writes.
ALTER TABLE user_authorities ADD COLUMN customer_id text NOT NULL DEFAULT '';
UPDATE user_authorities SET customer_id = (SELECT customer_id FROM users WHERE id = user_id);
CREATE INDEX user_authorities_customer ON user_authorities (customer_id, authority_id, user_id);
CREATE TRIGGER user_authorities_inserted AFTER INSERT ON user_authorities BEGIN
    UPDATE user_authorities SET customer_id = (SELECT customer_id FROM users WHERE id = new.user_id)
        WHERE user_id = new.user_id AND authority_id = new.authority_id;
END;
CREATE TRIGGER user_authorities_updated AFTER UPDATE OF user_id, customer_id ON user_authorities
    WHEN new.customer_id <> (SELECT customer_id FROM users WHERE id = new.user_id) BEGIN
    UPDATE user_authorities SET customer_id = (SELECT customer_id FROM users WHERE id = new.user_id)
        WHERE user_id = new.user_id AND authority_id = new.authority_id;
END;
CREATE TRIGGER users_moved AFTER UPDATE OF customer_id ON users WHEN old.customer_id <> new.customer_id BEGIN
    UPDATE user_authorities SET customer_id = new.customer_id WHERE user_id = new.id;
END;

-- Where there were statistics, an index without any would look better than it is.
ANALYZE;
