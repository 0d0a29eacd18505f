-- How many users of a customer were created in each month of UTC. A page deep in
-- the list by time of creation is found by adding up months, and passes over the
-- users of one month and not of all. Kept by triggers and made of parts, as
-- user_counts is.
CREATE TABLE user_months (
    customer_id  uuid NOT NULL REFERENCES customers (id) ON DELETE CASCADE,
    month        timestamptz NOT NULL,
    part         bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    users        bigint NOT NULL,
    PRIMARY KEY (customer_id, month, part)
) WITH (fillfactor = 50); -- room to change a row without touching the index

CREATE FUNCTION change_user_month(of_customer uuid, of_month timestamptz, difference bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    free bigint;
BEGIN
    SELECT part INTO free FROM user_months WHERE customer_id = of_customer AND month = of_month
        LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED;
    IF FOUND THEN
        UPDATE user_months SET users = users + difference
            WHERE customer_id = of_customer AND month = of_month AND part = free;
    ELSE
        INSERT INTO user_months (customer_id, month, users) VALUES (of_customer, of_month, difference);
    END IF;
END
$$;

CREATE FUNCTION count_users_by_month() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM change_user_month(customer_id, month, n)
            FROM (SELECT customer_id, date_trunc('month', created_at, 'UTC') AS month, count(*) AS n FROM added GROUP BY 1, 2) AS changes;
    ELSIF TG_OP = 'DELETE' THEN
        PERFORM change_user_month(customer_id, month, -n)
            FROM (SELECT customer_id, date_trunc('month', created_at, 'UTC') AS month, count(*) AS n FROM gone GROUP BY 1, 2) AS changes;
    ELSIF TG_OP = 'UPDATE' THEN
        PERFORM change_user_month(customer_id, month, n)
            FROM (SELECT customer_id, date_trunc('month', created_at, 'UTC') AS month, sum(difference)::bigint AS n
                FROM (SELECT customer_id, created_at, 1 AS difference FROM added
                    UNION ALL SELECT customer_id, created_at, -1 FROM gone) AS both_sides
                GROUP BY 1, 2 HAVING sum(difference) <> 0) AS changes;
    ELSE
        DELETE FROM user_months;
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER users_inserted_in_months AFTER INSERT ON users
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION count_users_by_month();
CREATE TRIGGER users_updated_in_months AFTER UPDATE ON users
    REFERENCING NEW TABLE AS added OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION count_users_by_month();
CREATE TRIGGER users_deleted_in_months AFTER DELETE ON users
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION count_users_by_month();
CREATE TRIGGER users_truncated_in_months AFTER TRUNCATE ON users
    FOR EACH STATEMENT EXECUTE FUNCTION count_users_by_month();

-- The triggers have locked the table, so nobody writes between this and them.
INSERT INTO user_months (customer_id, month, users)
    SELECT customer_id, date_trunc('month', created_at, 'UTC'), count(*) FROM users GROUP BY 1, 2;

-- A writer need not have rights on what the triggers write, so they run as their
-- owner, and find tables where this migration makes them and nowhere else.
DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION count_users_by_month() SET search_path = %I, pg_temp', current_schema());
END
$$;
REVOKE EXECUTE ON FUNCTION change_user_month(uuid, timestamptz, bigint) FROM PUBLIC;

-- The second wall, as in 0004, and turned on where that of the others is.
CREATE POLICY roster_scope ON user_months FOR SELECT USING (
    (SELECT roster_scope_all()) OR customer_id = ANY ((SELECT roster_scope_customers())::uuid[]));
DO $$
BEGIN
    IF (SELECT relrowsecurity FROM pg_class WHERE oid = 'user_counts'::regclass) THEN
        ALTER TABLE user_months ENABLE ROW LEVEL SECURITY;
    END IF;
END
$$;
