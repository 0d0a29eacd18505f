-- SQLite replicates no rows. The migration is here so that both engines count alike.
SELECT 1;
