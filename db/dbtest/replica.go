package dbtest

import "testing"

// Primary is [Postgres] for a cluster that can have replicas.
func Primary(t testing.TB) *Cluster {
	t.Helper()
	return startCluster(t, []string{"wal_level=replica", "max_wal_senders=10"})
}

// Replica starts a copy of a cluster that came from [Primary] and follows it by
// streaming replication. Like any cluster it can be stopped, killed and paused.
func (c *Cluster) Replica() *Cluster {
	c.t.Helper()
	replica, err := makeCluster(c.settings, "pg_basebackup", "--host="+c.dir, "--port=5432", "--username=postgres",
		"--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync")
	if err != nil {
		c.t.Fatalf("cannot copy the primary: %v", err)
	}
	replica.t = c.t
	c.t.Cleanup(replica.remove)
	replica.Start()
	return replica
}
