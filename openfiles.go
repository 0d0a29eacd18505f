package main

import "fmt"

// spareFiles is how many files and connections a server has open besides those that
// settings count: the database's files or the probes of replicas, the listeners, the
// connection to the host of the keys.
const spareFiles = 64

// checkOpenFiles refuses a limit of connections that the system would not let the server
// have: it would meet callers, and statements, with errors long before its own limit.
func (c *serveCommand) checkOpenFiles(allowed uint64) error {
	needed := uint64(c.MaxConnections) + uint64(c.DatabaseConnections)*uint64(1+len(c.URLs)) + spareFiles //nolint:gosec // neither is negative
	if needed <= allowed {
		return nil
	}
	return fmt.Errorf("--max-connections is %d and --database-connections %d, with which up to %d files and connections are open, but this process may have only %d: raise LimitNOFILE (ulimit -n) or lower them",
		c.MaxConnections, c.DatabaseConnections, needed, allowed)
}
