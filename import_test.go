package main

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// Who asks for a file of the rejected rows hears that it could not be written. The
// import is finished nevertheless.
func TestImportTellsOfLostRejects(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has /dev/full, a file to which nothing can be written")
	}
	folder := t.TempDir()
	env := map[string]string{"DATABASE_URL": "sqlite:" + filepath.Join(folder, "r.db")}
	if _, _, err := command(t, env, "migrate"); err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile("db/demo/testinium.json")
	if err != nil {
		t.Fatal(err)
	}
	document := filepath.Join(folder, "document.json")
	if err := os.WriteFile(document, []byte(strings.Replace(string(example), `"entityId": 6850`, `"entityId": "x"`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	out, _, err := command(t, env, "import", "--from", "testinium", "--rejects", "/dev/full", document)
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "--rejects: ") || !strings.Contains(err.Error(), "1 of 5 rows were rejected") {
		t.Errorf("got %v", err)
	}
	if !strings.Contains(out, "4 users created") {
		t.Errorf("stdout %q", out)
	}
}
