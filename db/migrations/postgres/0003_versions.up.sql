-- Subroles and authorities change rarely and are read with every page, so a server
-- keeps them in memory. Each customer's row says which version of its subroles
-- there is, and authorities_version which one of the authorities, in the same
-- transaction as the change, so whoever reads the version knows whether what is
-- kept is current. Triggers count, so that it is right whoever writes.

ALTER TABLE customers ADD COLUMN subroles_version bigint NOT NULL DEFAULT 0;

CREATE FUNCTION roster_subroles_changed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    -- The rows are locked in one order, so that two writers cannot wait for each other.
    PERFORM 1 FROM customers WHERE id IN (SELECT customer_id FROM changed) ORDER BY id FOR UPDATE;
    UPDATE customers SET subroles_version = subroles_version + 1 WHERE id IN (SELECT customer_id FROM changed);
    RETURN NULL;
END $$;

CREATE TRIGGER subroles_inserted AFTER INSERT ON subroles REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION roster_subroles_changed();
CREATE TRIGGER subroles_updated AFTER UPDATE ON subroles REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION roster_subroles_changed();
CREATE TRIGGER subroles_moved AFTER UPDATE ON subroles REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION roster_subroles_changed();
CREATE TRIGGER subroles_deleted AFTER DELETE ON subroles REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION roster_subroles_changed();

CREATE TABLE authorities_version (
    version  bigint NOT NULL
);
INSERT INTO authorities_version VALUES (0);

CREATE FUNCTION roster_authorities_changed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    -- An import that finds all authorities in place changes none, and must not wait
    -- for another one to end.
    IF EXISTS (SELECT FROM changed) THEN
        UPDATE authorities_version SET version = version + 1;
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER authorities_inserted AFTER INSERT ON authorities REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION roster_authorities_changed();
CREATE TRIGGER authorities_updated AFTER UPDATE ON authorities REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION roster_authorities_changed();
CREATE TRIGGER authorities_deleted AFTER DELETE ON authorities REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION roster_authorities_changed();

-- A writer need not have rights on what the triggers write, so they run as their
-- owner, and find tables where this migration makes them and nowhere else.
DO $$
DECLARE
    function text;
BEGIN
    FOREACH function IN ARRAY ARRAY['roster_subroles_changed', 'roster_authorities_changed'] LOOP
        EXECUTE format('ALTER FUNCTION %I() SET search_path = %I, pg_temp', function, current_schema());
    END LOOP;
END
$$;
