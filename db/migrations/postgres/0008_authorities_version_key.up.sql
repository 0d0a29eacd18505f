-- A publication of all tables, as for change data capture or an upgrade by logical
-- replication, has PostgreSQL refuse updates of a table without a primary key, and so
-- every change of an authority. There is one row, so its only column will do.
ALTER TABLE authorities_version ADD PRIMARY KEY (version);
