package dbtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Cluster is a PostgreSQL server of its own on a unix socket, with its files in a
// temporary directory. Tests that break a database take one, so that they can
// stop it, kill it and have it hang without disturbing others. Its methods fail
// the test when they cannot do their work, and must be called one at a time.
type Cluster struct {
	t testing.TB
	// dir holds the data, the socket, the log and the lock by which others see
	// that the directory is in use. bin is where the programs are.
	dir, bin string
	lock     *os.File
	// watchdog is told by the end of its input that the cluster is to go.
	watchdog *exec.Cmd
	leash    io.Closer

	// settings are those beyond what every cluster has.
	settings []string

	// bouncer is the PgBouncer before the cluster, if there is one.
	bouncer *exec.Cmd
	process *os.Process
	// exited is closed when the process has ended.
	exited chan struct{}
}

const (
	startTimeout = time.Minute
	// pollInterval is how often a starting server is looked at.
	pollInterval = 5 * time.Millisecond
	// maxSocketDir keeps the path of the socket below what the kernels allow.
	maxSocketDir = 80
	// leftoverAge is how old the directory of a dead run must be to be removed.
	// A younger one may be about to be used.
	leftoverAge = time.Hour
	dirPrefix   = "roster-pg-"
)

// alone are the settings of a cluster that has no replicas.
var alone = []string{"wal_level=minimal", "max_wal_senders=0"}

// Postgres starts a cluster that nobody else uses. It is stopped, and its files
// are removed, when the test ends. The test is skipped where the programs of
// PostgreSQL are not installed, even if TEST_DATABASE_URL names a server: that
// one is not there to be killed.
func Postgres(t testing.TB) *Cluster {
	t.Helper()
	return startCluster(t, alone)
}

func startCluster(t testing.TB, settings []string) *Cluster {
	t.Helper()
	c, err := newCluster(settings)
	if err != nil {
		withoutPostgres(t, err)
	}
	c.t = t
	t.Cleanup(c.remove)
	c.Start()
	return c
}

// DSN gives the URL of the database of this name.
func (c *Cluster) DSN(database string) string {
	return "postgres://postgres@/" + database + "?host=" + url.QueryEscape(c.dir) + "&port=5432"
}

// URL gives the URL of a fresh, migrated and empty database. The cluster must be
// running. The database is not dropped before the cluster goes.
func (c *Cluster) URL() string {
	c.t.Helper()
	ctx := c.t.Context()
	server, err := newServer(ctx, c.DSN("postgres"), c.DSN)
	if err != nil {
		c.t.Fatalf("cannot create a database: %v", err)
	}
	name, err := server.createMigrated(ctx)
	if err := errors.Join(err, server.admin.Close()); err != nil {
		c.t.Fatalf("cannot create a database: %v", err)
	}
	return c.DSN(name)
}

// Start starts the server and returns when it answers. After [Cluster.Kill] the
// server first recovers what had been committed.
func (c *Cluster) Start() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), startTimeout)
	defer cancel()
	if err := c.start(ctx); err != nil {
		c.t.Fatalf("cannot start PostgreSQL: %v", err)
	}
}

// Stop has the server break off all connections and end, without tidying up. It
// returns when the server has ended.
func (c *Cluster) Stop() {
	c.t.Helper()
	c.signal(syscall.SIGQUIT)
	<-c.exited
}

// Kill ends the server and all of its connections as a loss of power would. It
// returns when the server has ended.
func (c *Cluster) Kill() {
	c.t.Helper()
	// A stopped server can start no process that would be missed here.
	c.signal(syscall.SIGSTOP)
	for _, pid := range children(c.process.Pid) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	c.signal(syscall.SIGKILL)
	<-c.exited
}

// Pause has the server hang: connections stay open, new ones are not refused,
// and nothing answers.
func (c *Cluster) Pause() {
	c.t.Helper()
	c.signal(syscall.SIGSTOP)
	for _, pid := range children(c.process.Pid) {
		_ = syscall.Kill(pid, syscall.SIGSTOP)
	}
}

// Resume ends what [Cluster.Pause] began.
func (c *Cluster) Resume() {
	c.t.Helper()
	for _, pid := range children(c.process.Pid) {
		_ = syscall.Kill(pid, syscall.SIGCONT)
	}
	c.signal(syscall.SIGCONT)
}

func (c *Cluster) signal(signal os.Signal) {
	c.t.Helper()
	if err := c.process.Signal(signal); err != nil {
		c.t.Fatalf("cannot send PostgreSQL the signal %v: %v", signal, err)
	}
}

// children gives the processes of a parent. A process may have ended since.
func children(parent int) []int {
	var pids []int
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, stat := range stats {
		line, _ := os.ReadFile(stat)
		// The name, which may hold anything, stands in brackets; the state and
		// the parent follow it.
		fields := strings.Fields(string(line[strings.LastIndexByte(string(line), ')')+1:]))
		if len(fields) > 1 && fields[1] == strconv.Itoa(parent) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(stat)))
			pids = append(pids, pid)
		}
	}
	return pids
}

// newCluster makes the files of a new cluster that is not started.
func newCluster(settings []string) (*Cluster, error) {
	return makeCluster(settings, "initdb", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions")
}

// makeCluster has a program of PostgreSQL make the files of a cluster.
func makeCluster(settings []string, program string, args ...string) (*Cluster, error) {
	bin, err := findBinaries()
	if err != nil {
		return nil, err
	}
	base := os.TempDir()
	if os.Getuid() == 0 || len(base)+len(dirPrefix)+10 > maxSocketDir {
		// The server runs as another user then, who may not enter every directory.
		base = "/tmp"
	}
	removeLeftovers(base)
	dir, err := os.MkdirTemp(base, dirPrefix)
	if err != nil {
		return nil, err
	}
	c := &Cluster{dir: dir, bin: bin, settings: settings}
	if err := c.init(program, args...); err != nil {
		c.remove()
		return nil, err
	}
	return c, nil
}

// init has a program make the data directory.
func (c *Cluster) init(program string, args ...string) error {
	var err error
	if c.lock, err = os.Create(filepath.Join(c.dir, "lock")); err != nil {
		return err
	}
	if err := syscall.Flock(int(c.lock.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	maker, err := c.command(filepath.Join(c.bin, program), append(args, "--pgdata="+c.data())...)
	if err != nil {
		return err
	}
	if credential := maker.SysProcAttr.Credential; credential != nil {
		if err := os.Chown(c.dir, int(credential.Uid), int(credential.Gid)); err != nil {
			return err
		}
	}
	// The watchdog is there before anything that it may have to end.
	if err := c.startWatchdog(); err != nil {
		return err
	}
	if output, err := maker.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, output)
	}
	return nil
}

func (c *Cluster) data() string { return filepath.Join(c.dir, "data") }

// watchdogScript waits for the end of its input, which comes when the test lets
// go of the cluster or when the test process ends in any way at all, be it
// killed: the kernel closes the pipe. It needs nothing of the test process then.
// The server is told to end at once, and its processes to wake up for it if they
// were paused; those that cannot be found here it kills itself after 5 seconds.
const watchdogScript = `
read -r _
pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null)
if [ -n "$pid" ] && kill -QUIT "$pid" 2>/dev/null; then
	kill -CONT "$pid" $(cat "/proc/$pid/task/$pid/children" 2>/dev/null) 2>/dev/null
	tries=0
	while [ -e "$1/data/postmaster.pid" ] && kill -0 "$pid" 2>/dev/null && [ $tries -lt 200 ]; do
		tries=$((tries + 1))
		sleep 0.05
	done
fi
pid=$(cat "$1/pgbouncer.pid" 2>/dev/null) && kill -KILL "$pid" 2>/dev/null
rm -rf "$1"
`

func (c *Cluster) startWatchdog() (err error) {
	if c.watchdog, err = c.command("/bin/sh", "-c", watchdogScript, "sh", c.dir); err != nil {
		return err
	}
	c.watchdog.Dir = "/"
	if c.leash, err = c.watchdog.StdinPipe(); err != nil {
		return err
	}
	return c.watchdog.Start()
}

// remove ends the server and removes the files.
func (c *Cluster) remove() {
	if c.leash != nil {
		_ = c.leash.Close()
		_ = c.watchdog.Wait()
	}
	if c.process != nil {
		<-c.exited
	}
	if c.bouncer != nil {
		_ = c.bouncer.Wait()
	}
	_ = os.RemoveAll(c.dir)
	if c.lock != nil {
		_ = c.lock.Close()
	}
}

// start starts the server and waits until it answers.
func (c *Cluster) start(ctx context.Context) error {
	for {
		err := c.startOnce(ctx)
		if !errors.Is(err, errSharedMemory) {
			return err
		}
		// A killed server's last processes are still ending.
		if err := wait(ctx, nil); err != nil {
			return err
		}
	}
}

var errSharedMemory = errors.New("the shared memory is still in use")

func (c *Cluster) startOnce(ctx context.Context) error {
	args := []string{
		"-D", c.data(), "-k", c.dir,
		"-c", "listen_addresses=", "-c", "port=5432", "-c", "max_connections=60", "-c", "shared_buffers=16MB",
		// The data must outlive the server, which some tests kill, and not the machine.
		"-c", "fsync=off", "-c", "full_page_writes=off",
		"-c", "autovacuum=off", "-c", "max_parallel_workers_per_gather=0",
	}
	for _, setting := range c.settings {
		args = append(args, "-c", setting)
	}
	postgres, err := c.command(filepath.Join(c.bin, "postgres"), args...)
	if err != nil {
		return err
	}
	logPath := filepath.Join(c.dir, "log")
	log, err := os.Create(logPath)
	if err != nil {
		return err
	}
	defer log.Close()
	postgres.Stdout, postgres.Stderr = log, log
	if err := postgres.Start(); err != nil {
		return err
	}
	c.process, c.exited = postgres.Process, make(chan struct{})
	go func(exited chan struct{}) {
		_ = postgres.Wait()
		close(exited)
	}(c.exited)

	pid := strconv.Itoa(c.process.Pid)
	for {
		// The last line of this file is the state of the server.
		status, _ := os.ReadFile(filepath.Join(c.data(), "postmaster.pid"))
		lines := strings.Fields(string(status))
		if len(lines) > 0 && lines[0] == pid && lines[len(lines)-1] == "ready" {
			return nil
		}
		if err := wait(ctx, c.exited); err != nil {
			text, _ := os.ReadFile(logPath)
			if strings.Contains(string(text), "shared memory block") {
				return errSharedMemory
			}
			return fmt.Errorf("%w: %s", err, text)
		}
	}
}

// wait waits for a moment, and gives an error when there is nothing to wait for.
func wait(ctx context.Context, exited <-chan struct{}) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-exited:
		return errors.New("the server has ended")
	case <-time.After(pollInterval):
		return nil
	}
}

// command runs a program in a session of its own, so that a Ctrl-C meant for the
// tests does not reach it, and as another user if this one is root, whom
// PostgreSQL refuses to serve.
func (c *Cluster) command(program string, args ...string) (*exec.Cmd, error) {
	cmd := exec.Command(program, args...)
	cmd.Dir = c.dir
	// The settings of a client, such as PGDATA and PGPORT, mean something to the server too.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if os.Getuid() != 0 {
		return cmd, nil
	}
	account, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("PostgreSQL does not run as root: %w", err)
	}
	uid, _ := strconv.ParseUint(account.Uid, 10, 32)
	gid, _ := strconv.ParseUint(account.Gid, 10, 32)
	cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return cmd, nil
}

// findBinaries gives the directory of the programs of PostgreSQL. Distributions
// do not put the server's programs into the PATH.
func findBinaries() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			return filepath.Dir(path), nil
		}
	}
	var found []string
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin/initdb", "/usr/pgsql-*/bin/initdb", "/opt/homebrew/opt/postgresql*/bin/initdb"} {
		paths, _ := filepath.Glob(pattern)
		found = append(found, paths...)
	}
	if len(found) == 0 {
		return "", errors.New("the program initdb was not found; tests that do not stop the server can use TEST_DATABASE_URL instead")
	}
	// The newest one: 15 comes after 9.6.
	slices.SortFunc(found, func(a, b string) int {
		if len(a) != len(b) {
			return len(a) - len(b)
		}
		return strings.Compare(a, b)
	})
	return filepath.Dir(found[len(found)-1]), nil
}

// removeLeftovers removes the directories of runs whose watchdog was killed too.
// A server that still runs in one ends by itself when its files are gone.
func removeLeftovers(base string) {
	dirs, _ := filepath.Glob(filepath.Join(base, dirPrefix+"*"))
	for _, dir := range dirs {
		info, err := os.Lstat(dir)
		if err != nil || !info.IsDir() || time.Since(info.ModTime()) < leftoverAge {
			continue
		}
		lock, err := os.Open(filepath.Join(dir, "lock"))
		if err != nil {
			continue
		}
		// The lock of a process that has ended can be had.
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			_ = os.RemoveAll(dir)
		}
		_ = lock.Close()
	}
}
