-- SQLite has no row level security. The migration is here so that both engines
-- count alike.
SELECT 1;
