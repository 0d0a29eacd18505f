package main

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

func init() {
	// The limit that the system has for the process, and not only the soft one, which Go raises.
	programs["few files"] = func() {
		few := &syscall.Rlimit{Cur: 256, Max: 256}
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, few); err != nil {
			panic(err)
		}
		main()
	}
}

// A server that could never have the connections that it is to allow does not start.
func TestOpenFilesMustSuffice(t *testing.T) {
	serve := func(connections int) string {
		program := exec.CommandContext(t.Context(), os.Args[0], "serve", "--max-connections", strconv.Itoa(connections))
		program.Env = append(os.Environ(), "ROSTER_TEST_PROGRAM=few files", "DATABASE_URL=sqlite:"+t.TempDir()+"/none.db",
			"ROSTER_JWT_SECRET="+strings.Repeat("k", 32), "ROSTER_JWT_ISSUER=i", "ROSTER_JWT_AUDIENCE=a")
		said, err := program.CombinedOutput()
		if err == nil {
			t.Error("it ended without an error")
		}
		return string(said)
	}
	const want = "roster: --max-connections is 177 and --database-connections 16, with which up to 257 files and connections are open, but this process may have only 256: raise LimitNOFILE (ulimit -n) or lower them\n"
	if got := serve(177); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := serve(176); !strings.Contains(got, "there is no database") {
		t.Errorf("with as many as there may be: %q", got)
	}
}

func TestOpenFilesOfReplicas(t *testing.T) {
	command := &serveCommand{serverSettings: serverSettings{MaxConnections: 500, DatabaseConnections: 16}, replicaSettings: replicaSettings{URLs: []string{"a", "b"}}}
	if command.checkOpenFiles(611) == nil || command.checkOpenFiles(612) != nil {
		t.Error("two replicas and a database need 48 connections")
	}
}
