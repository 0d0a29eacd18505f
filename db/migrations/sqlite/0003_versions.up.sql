-- Subroles and authorities change rarely and are read with every page, so a server
-- keeps them in memory. Each customer's row says which version of its subroles
-- there is, and authorities_version which one of the authorities, in the same
-- transaction as the change, so whoever reads the version knows whether what is
-- kept is current. Triggers count, so that it is right whoever writes.

ALTER TABLE customers ADD COLUMN subroles_version integer NOT NULL DEFAULT 0;

CREATE TRIGGER subroles_inserted AFTER INSERT ON subroles BEGIN
    UPDATE customers SET subroles_version = subroles_version + 1 WHERE id = NEW.customer_id;
END;
CREATE TRIGGER subroles_updated AFTER UPDATE ON subroles BEGIN
    UPDATE customers SET subroles_version = subroles_version + 1 WHERE id IN (NEW.customer_id, OLD.customer_id);
END;
CREATE TRIGGER subroles_deleted AFTER DELETE ON subroles BEGIN
    UPDATE customers SET subroles_version = subroles_version + 1 WHERE id = OLD.customer_id;
END;

CREATE TABLE authorities_version (
    version  integer NOT NULL
);
INSERT INTO authorities_version VALUES (0);

CREATE TRIGGER authorities_inserted AFTER INSERT ON authorities BEGIN
    UPDATE authorities_version SET version = version + 1;
END;
CREATE TRIGGER authorities_updated AFTER UPDATE ON authorities BEGIN
    UPDATE authorities_version SET version = version + 1;
END;
CREATE TRIGGER authorities_deleted AFTER DELETE ON authorities BEGIN
    UPDATE authorities_version SET version = version + 1;
END;
