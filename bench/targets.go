//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"roster/auth"
)

// The tokens that all targets verify.
const (
	jwtIssuer, jwtAudience = "bench", "roster"
	jwtSecret              = "a secret of the benchmark, long enough"
)

// poolSize is how many connections to the database each target may have, which is
// what Roster takes by default.
const poolSize = 16

// builder makes the programs that are measured.
type builder struct {
	// root is the repository, and dir the place for everything temporary.
	root, dir string
	stderr    io.Writer
}

func newBuilder(ctx context.Context, dir string, stderr io.Writer) (*builder, error) {
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "roster").Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	return &builder{strings.TrimSpace(string(root)), dir, stderr}, nil
}

// run runs a program of the build in a folder of the repository.
func (b *builder) run(ctx context.Context, folder, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = filepath.Join(b.root, folder)
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, output)
	}
	return nil
}

// build builds the program in a folder of the repository as the Makefile does.
func (b *builder) build(ctx context.Context, folder, name string) (path string, err error) {
	path = filepath.Join(b.dir, name)
	return path, b.run(ctx, folder, "go", "build", "-trimpath", "-o", path, ".")
}

// target is a running server that is measured.
type target struct {
	*process
	name, url string
}

func (t *target) stop() {
	if t != nil {
		t.process.stop(syscall.SIGTERM)
	}
}

// pid gives the process to look at.
func (t *target) pid() int { return t.cmd.Process.Pid }

// startRoster starts Roster on a database, as an operator would.
func startRoster(ctx context.Context, dir, program, name, databaseURL string) (*target, error) {
	address, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	return startTarget(ctx, address, "/readyz", time.Millisecond, command{
		name: name, dir: dir, program: program,
		args: []string{"serve", "--listen", address, "--database-url", databaseURL},
		env:  []string{"ROSTER_JWT_SECRET=" + jwtSecret, "ROSTER_JWT_ISSUER=" + jwtIssuer, "ROSTER_JWT_AUDIENCE=" + jwtAudience},
	})
}

// startFloor starts the hand-written server.
func startFloor(ctx context.Context, dir, program, databaseURL string) (*target, error) {
	address, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	return startTarget(ctx, address, "/healthz", 5*time.Millisecond, command{
		name: floorName, dir: dir, program: program, args: []string{"-listen", address, "-connections", strconv.Itoa(poolSize)}, env: jwtEnv(databaseURL),
	})
}

// startPostGraphile installs PostGraphile with its own Node and starts it with a
// process for each core.
func startPostGraphile(ctx context.Context, b *builder, databaseURL string) (*target, error) {
	folder := filepath.Join("bench", "postgraphile")
	if _, err := exec.LookPath("npm"); err != nil {
		return nil, errors.New("npm is not installed; -postgraphile=false leaves PostGraphile out")
	}
	if err := b.run(ctx, folder, "npm", "ci"); err != nil {
		return nil, err
	}
	address, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	_, port, _ := strings.Cut(address, ":")
	workers := runtime.NumCPU()
	env := append(jwtEnv(databaseURL), "NODE_ENV=production", "GRAPHILE_ENV=production", "BENCH_PORT="+port,
		"BENCH_WORKERS="+strconv.Itoa(workers), "BENCH_POOL="+strconv.Itoa(max(1, poolSize/workers)))
	return startTarget(ctx, address, "/graphql?query=%7B__typename%7D", 50*time.Millisecond, command{
		name: postgraphileName, dir: b.dir, env: env, program: b.node(), args: []string{filepath.Join(b.root, folder, "server.mjs")},
	})
}

func (b *builder) node() string {
	return filepath.Join(b.root, "bench", "postgraphile", "node_modules", "node", "bin", "node")
}

func jwtEnv(databaseURL string) []string {
	return []string{"BENCH_DATABASE_URL=" + databaseURL, "BENCH_JWT_SECRET=" + jwtSecret, "BENCH_JWT_ISSUER=" + jwtIssuer, "BENCH_JWT_AUDIENCE=" + jwtAudience}
}

// startTarget starts a server and returns as soon as it answers at path. Only
// Roster has a path for that; of the others any answer will do.
func startTarget(ctx context.Context, address, path string, interval time.Duration, c command) (*target, error) {
	p, err := start(c)
	if err != nil {
		return nil, err
	}
	t := &target{process: p, name: c.name, url: "http://" + address}
	err = t.wait(ctx, interval, time.Minute, func(ctx context.Context) bool {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, t.url+path, nil)
		if err != nil {
			return false
		}
		response, err := client.Do(request)
		if err != nil {
			return false
		}
		response.Body.Close()
		return path != "/readyz" || response.StatusCode == http.StatusOK
	})
	if err != nil {
		t.stop()
		return nil, err
	}
	return t, nil
}

// client is for the requests that are not measured.
var client = &http.Client{Timeout: 5 * time.Minute, Transport: &http.Transport{DisableCompression: true}}

// freeAddress gives an address that nobody listens on.
func freeAddress(ctx context.Context) (string, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

// newToken signs the token of a caller who may read every customer.
func newToken() (string, error) {
	return auth.Sign([]byte(jwtSecret), jwtIssuer, jwtAudience, auth.Principal{
		Subject: "bench", Authorities: []string{auth.RoleAdmin}, ExpiresAt: time.Now().Add(24 * time.Hour),
	})
}

// coldStart is the median time from the start of Roster to its first answer, and
// the memory that it then takes without any work.
func coldStart(ctx context.Context, dir, program, databaseURL string) (took time.Duration, idle int64, err error) {
	const times = 5
	var all []float64
	for i := range times {
		began := time.Now()
		t, err := startRoster(ctx, dir, program, "cold", databaseURL)
		if err != nil {
			return 0, 0, err
		}
		all = append(all, float64(time.Since(began)))
		if i == times-1 {
			// What "idle" means: the runtime has had the time to give back what the start took.
			time.Sleep(2 * time.Second)
			idle = memory(t.pid(), "VmRSS")
		}
		t.stop()
	}
	return time.Duration(median(all)), idle, nil
}

// size gives the size of a file in bytes.
func size(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}
