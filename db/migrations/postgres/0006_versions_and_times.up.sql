-- A version that counts comes again with other content when a customer is deleted
-- and made again with the same id, or a backup is restored, and a server would take
-- what it keeps in memory for current. Versions are only ever compared for equality,
-- so from now on they are random. Those that are there stay, as they were given to
-- what they now stand for; whatever is made or changed gets a number that nothing had.
ALTER TABLE customers ALTER COLUMN subroles_version SET DEFAULT (random() * 9e18)::bigint;

CREATE OR REPLACE FUNCTION roster_subroles_changed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    -- The rows are locked in one order, so that two writers cannot wait for each other,
    -- and no harder than the update does: the foreign key of each new user holds FOR KEY
    -- SHARE, which FOR UPDATE would wait for.
    PERFORM 1 FROM customers WHERE id IN (SELECT customer_id FROM changed) ORDER BY id FOR NO KEY UPDATE;
    UPDATE customers SET subroles_version = (random() * 9e18)::bigint WHERE id IN (SELECT customer_id FROM changed);
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION roster_authorities_changed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    -- An import that finds all authorities in place changes none, and must not wait
    -- for another one to end.
    IF EXISTS (SELECT FROM changed) THEN
        UPDATE authorities_version SET version = (random() * 9e18)::bigint;
    END IF;
    RETURN NULL;
END $$;

-- As in 0003; OR REPLACE has dropped it.
DO $$
DECLARE
    function text;
BEGIN
    FOREACH function IN ARRAY ARRAY['roster_subroles_changed', 'roster_authorities_changed'] LOOP
        EXECUTE format('ALTER FUNCTION %I() SET search_path = %I, pg_temp', function, current_schema());
    END LOOP;
END
$$;

-- No API can show a time outside the years 1 to 9999, or an infinite one. Import refuses
-- them; so does the table now, whoever writes. NOT VALID neither scans the table nor
-- fails for rows that are there: those are refused when they are written next.
ALTER TABLE customers
    ADD CONSTRAINT customers_created_at_check CHECK (created_at >= '0001-01-01 00:00:00+00' AND created_at < '10000-01-01 00:00:00+00') NOT VALID,
    ADD CONSTRAINT customers_updated_at_check CHECK (updated_at >= '0001-01-01 00:00:00+00' AND updated_at < '10000-01-01 00:00:00+00') NOT VALID;
ALTER TABLE users
    ADD CONSTRAINT users_created_at_check CHECK (created_at >= '0001-01-01 00:00:00+00' AND created_at < '10000-01-01 00:00:00+00') NOT VALID,
    ADD CONSTRAINT users_updated_at_check CHECK (updated_at >= '0001-01-01 00:00:00+00' AND updated_at < '10000-01-01 00:00:00+00') NOT VALID,
    ADD CONSTRAINT users_last_password_reset_at_check
        CHECK (last_password_reset_at >= '0001-01-01 00:00:00+00' AND last_password_reset_at < '10000-01-01 00:00:00+00') NOT VALID;
