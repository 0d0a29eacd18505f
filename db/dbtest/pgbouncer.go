package dbtest

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// throughPgBouncer has the tests of a process reach their databases through
// PgBouncer in transaction mode. A test sets it in the environment of a process
// that it starts, to have the tests of another kind run once more that way.
const throughPgBouncer = "DBTEST_PGBOUNCER"

// bouncerConfig is what docs/scaling.md tells the operator to write, for a private
// server: few connections, and each transaction of a client on the next of them.
const bouncerConfig = `[databases]
* = host=%[1]s port=5432 user=postgres

[pgbouncer]
listen_addr =
listen_port = 6432
unix_socket_dir = %[1]s
pidfile = %[1]s/pgbouncer.pid
logfile = %[1]s/pgbouncer.log
auth_type = any
pool_mode = transaction
default_pool_size = 3
min_pool_size = 3
server_round_robin = 1
max_client_conn = 500
ignore_startup_parameters = statement_timeout, jit, row_security, default_transaction_isolation
`

// PgBouncer starts PgBouncer in transaction mode before the cluster, and gives
// the URL by which it leads to the database that databaseURL names. It ends with
// the cluster. The test is skipped where PgBouncer is not installed.
func (c *Cluster) PgBouncer(databaseURL string) string {
	c.t.Helper()
	parsed, err := url.Parse(databaseURL)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := c.startBouncer(); err != nil {
		withoutPostgres(c.t, err)
	}
	return c.bouncerDSN(parsed.Path[1:])
}

// bouncerDSN is [Cluster.DSN] through PgBouncer. Version 1.18 keeps no prepared
// statements for a client, so there must be none.
func (c *Cluster) bouncerDSN(database string) string {
	return "postgres://postgres@/" + database + "?host=" + url.QueryEscape(c.dir) + "&port=6432&default_query_exec_mode=exec"
}

func (c *Cluster) startBouncer() error {
	// Distributions put it where only root looks.
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		program, err = exec.LookPath("/usr/sbin/pgbouncer")
	}
	if err != nil {
		return errors.New("the program pgbouncer was not found")
	}
	config := filepath.Join(c.dir, "pgbouncer.ini")
	if err := os.WriteFile(config, fmt.Appendf(nil, bouncerConfig, c.dir), 0o644); err != nil {
		return err
	}
	if c.bouncer, err = c.command(program, "--quiet", config); err != nil {
		return err
	}
	if err := c.bouncer.Start(); err != nil {
		return err
	}
	for deadline := time.Now().Add(startTimeout); ; {
		conn, err := net.Dial("unix", filepath.Join(c.dir, ".s.PGSQL.6432"))
		if err == nil {
			return conn.Close()
		}
		if time.Now().After(deadline) {
			log, _ := os.ReadFile(filepath.Join(c.dir, "pgbouncer.log"))
			return fmt.Errorf("pgbouncer does not start: %w: %s", err, cmp.Or(string(log), "its log is empty"))
		}
		<-time.After(pollInterval) // nothing tells when it listens, so it is asked again
	}
}
