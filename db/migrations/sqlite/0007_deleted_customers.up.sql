-- SQLite deletes from one table in a statement. The migration is here so that both
-- engines count alike.
SELECT 1;
