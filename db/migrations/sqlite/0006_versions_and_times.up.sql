-- A version that counts comes again with other content when a customer is deleted
-- and made again with the same id, or a backup is restored, and a server would take
-- what it keeps in memory for current. Versions are only ever compared for equality,
-- so from now on they are random. Those that are there stay, as they were given to
-- what they now stand for; whatever is made or changed gets a number that nothing had.

DROP TRIGGER subroles_inserted;
DROP TRIGGER subroles_updated;
DROP TRIGGER subroles_deleted;
DROP TRIGGER authorities_inserted;
DROP TRIGGER authorities_updated;
DROP TRIGGER authorities_deleted;

-- SQLite cannot change the default of a column.
CREATE TRIGGER customers_inserted AFTER INSERT ON customers BEGIN
    UPDATE customers SET subroles_version = random() WHERE id = NEW.id;
END;

CREATE TRIGGER subroles_inserted AFTER INSERT ON subroles BEGIN
    UPDATE customers SET subroles_version = random() WHERE id = NEW.customer_id;
END;
CREATE TRIGGER subroles_updated AFTER UPDATE ON subroles BEGIN
    UPDATE customers SET subroles_version = random() WHERE id IN (NEW.customer_id, OLD.customer_id);
END;
CREATE TRIGGER subroles_deleted AFTER DELETE ON subroles BEGIN
    UPDATE customers SET subroles_version = random() WHERE id = OLD.customer_id;
END;

CREATE TRIGGER authorities_inserted AFTER INSERT ON authorities BEGIN
    UPDATE authorities_version SET version = random();
END;
CREATE TRIGGER authorities_updated AFTER UPDATE ON authorities BEGIN
    UPDATE authorities_version SET version = random();
END;
CREATE TRIGGER authorities_deleted AFTER DELETE ON authorities BEGIN
    UPDATE authorities_version SET version = random();
END;
