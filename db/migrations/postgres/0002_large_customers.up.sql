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

-- A writer need not have rights on the counts, so the functions run as their
-- owner, and find tables where this migration makes them and nowhere else.
DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION count_users() SET search_path = %I, pg_temp', current_schema());
END
$$;
REVOKE EXECUTE ON FUNCTION change_user_count(uuid, text, bigint) FROM PUBLIC;

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
