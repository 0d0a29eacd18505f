//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// errNoPostgres means that PostgreSQL cannot be started here.
var errNoPostgres = errors.New("PostgreSQL cannot be started")

// postgres is a PostgreSQL server of our own, on a unix socket in dir.
type postgres struct {
	*process
	dir, bin string
}

// startPostgres makes a new cluster in a folder of dir and starts it. The same
// plain settings serve every target: caches for a machine of this size, and
// nothing in the background that would disturb a round.
func startPostgres(ctx context.Context, dir string) (*postgres, error) {
	bin, err := findPostgres()
	if err != nil {
		return nil, err
	}
	credential, err := postgresUser()
	if err != nil {
		return nil, err
	}
	pg := &postgres{dir: filepath.Join(dir, "postgres"), bin: bin}
	if err := os.Mkdir(pg.dir, 0o700); err != nil {
		return nil, err
	}
	if credential != nil {
		if err := os.Chown(pg.dir, int(credential.Uid), int(credential.Gid)); err != nil {
			return nil, err
		}
	}
	data := filepath.Join(pg.dir, "data")
	initdb := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "--pgdata="+data, "--username=postgres",
		"--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions")
	initdb.Dir, initdb.Env = pg.dir, []string{"PATH=" + os.Getenv("PATH")}
	initdb.SysProcAttr = &syscall.SysProcAttr{Credential: credential}
	if output, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, output)
	}
	args := []string{"-D", data, "-k", pg.dir}
	for _, setting := range []string{
		"listen_addresses=", "port=5432", "max_connections=100",
		"shared_buffers=" + megabytes(totalMemory()/8), "effective_cache_size=" + megabytes(totalMemory()/2),
		"work_mem=16MB", "maintenance_work_mem=512MB", "random_page_cost=1.1", "jit=off",
		"max_wal_size=8GB", "fsync=off", "synchronous_commit=off", "wal_level=minimal", "max_wal_senders=0",
		// What it would do is done once, after the data was loaded.
		"autovacuum=off",
	} {
		args = append(args, "-c", setting)
	}
	pg.process, err = start(command{name: "postgres", dir: dir, program: filepath.Join(bin, "postgres"), args: args, credential: credential})
	if err != nil {
		return nil, err
	}
	return pg, pg.wait(ctx, 5*time.Millisecond, time.Minute, func(context.Context) bool {
		// The last line of this file is the state of the server.
		status, _ := os.ReadFile(filepath.Join(data, "postmaster.pid"))
		lines := strings.Fields(string(status))
		return len(lines) > 0 && lines[len(lines)-1] == "ready"
	})
}

func (pg *postgres) stop() {
	if pg != nil {
		pg.process.stop(syscall.SIGINT)
	}
}

// url names the database that everything is in.
func (pg *postgres) url() string {
	return "postgres://postgres@/postgres?host=" + url.QueryEscape(pg.dir) + "&port=5432"
}

// psql gives a command that runs a statement.
func (pg *postgres) psql(ctx context.Context, statement string) *exec.Cmd {
	return exec.CommandContext(ctx, filepath.Join(pg.bin, "psql"), "-X", "-q", "-h", pg.dir, "-U", "postgres", "-c", statement)
}

// postgresUser gives the user that the server runs as, or nil for our own:
// PostgreSQL refuses to serve root.
func postgresUser() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	account, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("%w as root: %w", errNoPostgres, err)
	}
	uid, _ := strconv.ParseUint(account.Uid, 10, 32)
	gid, _ := strconv.ParseUint(account.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

// findPostgres gives the directory of the programs of the newest PostgreSQL.
// Distributions do not put the server's programs into the PATH.
func findPostgres() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			return filepath.Dir(path), nil
		}
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	more, _ := filepath.Glob("/usr/pgsql-*/bin/initdb")
	if found = append(found, more...); len(found) == 0 {
		return "", fmt.Errorf("%w: the program initdb was not found", errNoPostgres)
	}
	// 15 comes after 9.6.
	slices.SortFunc(found, func(a, b string) int {
		if len(a) != len(b) {
			return len(a) - len(b)
		}
		return strings.Compare(a, b)
	})
	return filepath.Dir(found[len(found)-1]), nil
}

// totalMemory gives the machine's memory in bytes.
func totalMemory() int64 {
	info, _ := os.ReadFile("/proc/meminfo")
	fields := strings.Fields(string(info))
	if len(fields) < 2 {
		return 4 << 30
	}
	n, _ := strconv.ParseInt(fields[1], 10, 64)
	return n << 10
}

func megabytes(n int64) string { return strconv.FormatInt(n>>20, 10) + "MB" }
