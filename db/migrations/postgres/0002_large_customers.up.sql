-- What keeps lists and totals quick for a customer with many users.

-- pg_trgm finds text inside text, btree_gin lets its index hold the customer too.
-- Both may be created by whoever may create objects in the database, unless the
-- server lacks them.
DO $$
BEGIN
    CREATE EXTENSION IF NOT EXISTS pg_trgm;
    CREATE EXTENSION IF NOT EXISTS btree_gin;
EXCEPTION WHEN insufficient_privilege OR feature_not_supported OR undefined_file THEN
    RAISE EXCEPTION 'Roster needs the extensions pg_trgm and btree_gin, and cannot create them: %. %', SQLERRM,
        'Install the contrib modules of PostgreSQL (the package postgresql-contrib) if they are missing, have an administrator run '
        '"CREATE EXTENSION pg_trgm; CREATE EXTENSION btree_gin;" in this database, and migrate again'
        USING ERRCODE = SQLSTATE;
END
$$;

-- How many users a customer has in each status, kept by the triggers below
-- whoever writes. The number is the sum of its parts: a writer takes a part that
-- nobody else is writing, or adds one, so that writers neither wait for each
-- other nor deadlock. There are as many parts as there ever were writers at once.
CREATE TABLE user_counts (
    customer_id  uuid NOT NULL REFERENCES customers (id) ON DELETE CASCADE,
    status       text COLLATE "C" NOT NULL,
    part         bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    users        bigint NOT NULL,
    PRIMARY KEY (customer_id, status, part)
) WITH (fillfactor = 50); -- room to change a row without touching the index

CREATE FUNCTION change_user_count(of_customer uuid, of_status text, difference bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    free bigint;
BEGIN
    SELECT part INTO free FROM user_counts WHERE customer_id = of_customer AND status = of_status
        LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED;
    IF FOUND THEN
        UPDATE user_counts SET users = users + difference
            WHERE customer_id = of_customer AND status = of_status AND part = free;
    ELSE
        INSERT INTO user_counts (customer_id, status, users) VALUES (of_customer, of_status, difference);
    END IF;
END
$$;

CREATE FUNCTION count_users() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM change_user_count(customer_id, status, n)
            FROM (SELECT customer_id, status, count(*) AS n FROM added GROUP BY customer_id, status) AS changes;
    ELSIF TG_OP = 'DELETE' THEN
        PERFORM change_user_count(customer_id, status, -n)
            FROM (SELECT customer_id, status, count(*) AS n FROM gone GROUP BY customer_id, status) AS changes;
    ELSIF TG_OP = 'UPDATE' THEN
        PERFORM change_user_count(customer_id, status, n)
            FROM (SELECT customer_id, status, sum(difference)::bigint AS n
                FROM (SELECT customer_id, status, 1 AS difference FROM added
                    UNION ALL SELECT customer_id, status, -1 FROM gone) AS both_sides
                GROUP BY customer_id, status HAVING sum(difference) <> 0) AS changes;
    ELSE
        DELETE FROM user_counts;
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER users_inserted AFTER INSERT ON users
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION count_users();
CREATE TRIGGER users_updated AFTER UPDATE ON users
    REFERENCING NEW TABLE AS added OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION count_users();
CREATE TRIGGER users_deleted AFTER DELETE ON users
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION count_users();
CREATE TRIGGER users_truncated AFTER TRUNCATE ON users
    FOR EACH STATEMENT EXECUTE FUNCTION count_users();

-- The triggers have locked the table, so nobody writes between this and them.
INSERT INTO user_counts (customer_id, status, users)
    SELECT customer_id, status, count(*) FROM users GROUP BY customer_id, status;

-- One index for each field that a filter may name, so that a value that few
-- users have is found at once. The order's own index is walked for a value that
-- many have. Equal entries share their space, so these are small; those of the
-- orders end in the id and are not.
CREATE INDEX users_status_created_at ON users (customer_id, status, created_at, id);
CREATE INDEX users_first_name ON users (customer_id, first_name_key);
CREATE INDEX users_mobile ON users (customer_id, mobile_key) WHERE mobile IS NOT NULL;
CREATE INDEX users_no_mobile ON users (customer_id) WHERE mobile IS NULL;
CREATE INDEX users_has_username ON users (customer_id) WHERE username IS NOT NULL;
CREATE INDEX users_no_username ON users (customer_id) WHERE username IS NULL;
CREATE INDEX users_created_by ON users (customer_id, created_by);
CREATE INDEX users_updated_by ON users (customer_id, updated_by);
CREATE INDEX users_ext_auth_ref_id ON users (customer_id, ext_auth_ref_id);
CREATE INDEX users_is_email_verified ON users (customer_id, is_email_verified);
CREATE INDEX users_is_first_login ON users (customer_id, is_first_login);
CREATE INDEX users_account_non_expired ON users (customer_id, account_non_expired);
CREATE INDEX users_account_non_locked ON users (customer_id, account_non_locked);
CREATE INDEX users_credentials_non_expired ON users (customer_id, credentials_non_expired);

-- A list by number could be read along the index of all numbers, which passes the
-- users of all other customers before it comes to its own. In this form the index
-- keeps numbers apart all the same, and no list asks for its order.
ALTER TABLE users DROP CONSTRAINT users_number_key;
CREATE UNIQUE INDEX users_number_key ON users (number NULLS FIRST);

-- All five texts that can be searched are part of the search key. The customer
-- comes second, as it is looked at for what the text leaves only: the other way
-- round a large customer's list is read through for every word.
CREATE INDEX users_search ON users USING gin (search_key gin_trgm_ops, customer_id);

-- Whether a value is rare can be different for each customer, and a text needs a
-- larger sample to tell: with the usual 100 rows, one in it already counts as
-- one user in a hundred.
ALTER TABLE users ALTER COLUMN search_key SET STATISTICS 500;
CREATE STATISTICS users_created_by_of_customers (mcv) ON customer_id, created_by FROM users;
CREATE STATISTICS users_updated_by_of_customers (mcv) ON customer_id, updated_by FROM users;
CREATE STATISTICS users_ext_auth_ref_id_of_customers (mcv) ON customer_id, ext_auth_ref_id FROM users;
CREATE STATISTICS users_subrole_of_customers (mcv) ON customer_id, subrole_id FROM users;
CREATE STATISTICS users_flags_of_customers (mcv) ON customer_id, status, is_email_verified, is_first_login,
    account_non_expired, account_non_locked, credentials_non_expired FROM users;

-- An authority can be rare with one customer and usual with all others, so its
-- users are found by the customer too. The column is kept by the triggers, for
-- whoever writes: what is given for it does not matter.
ALTER TABLE user_authorities ADD COLUMN customer_id uuid;
UPDATE user_authorities SET customer_id = users.customer_id FROM users WHERE users.id = user_id;
ALTER TABLE user_authorities ALTER COLUMN customer_id SET NOT NULL;
CREATE INDEX user_authorities_customer ON user_authorities (customer_id, authority_id, user_id);

CREATE FUNCTION set_customer_of_authority() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    -- The lock has the user stay with the customer until the row is there.
    SELECT customer_id INTO NEW.customer_id FROM users WHERE id = NEW.user_id FOR SHARE;
    IF NOT FOUND THEN
        NEW.customer_id := '00000000-0000-0000-0000-000000000000'; -- the foreign key refuses it
    END IF;
    RETURN NEW;
END
$$;
CREATE FUNCTION move_authorities_of_user() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    UPDATE user_authorities SET customer_id = NEW.customer_id WHERE user_id = NEW.id;
    RETURN NULL;
END
$$;
CREATE TRIGGER user_authorities_written BEFORE INSERT OR UPDATE ON user_authorities
    FOR EACH ROW EXECUTE FUNCTION set_customer_of_authority();
CREATE TRIGGER users_moved AFTER UPDATE OF customer_id ON users
    FOR EACH ROW WHEN (OLD.customer_id <> NEW.customer_id) EXECUTE FUNCTION move_authorities_of_user();

-- A writer need not have rights on what the triggers write, so they run as their
-- owner, and find tables where this migration makes them and nowhere else.
DO $$
DECLARE
    function text;
BEGIN
    FOREACH function IN ARRAY ARRAY['count_users', 'set_customer_of_authority', 'move_authorities_of_user'] LOOP
        EXECUTE format('ALTER FUNCTION %I() SET search_path = %I, pg_temp', function, current_schema());
    END LOOP;
END
$$;
REVOKE EXECUTE ON FUNCTION change_user_count(uuid, text, bigint) FROM PUBLIC;
