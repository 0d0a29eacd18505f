package db_test

import (
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"roster/db"
)

// A file that may not be read is refused. Root may read every file, so the test
// opens it as nobody: Linux has a user for the file system alone, of one thread.
func TestOpenRefusesUnreadableFile(t *testing.T) {
	const nobody = 65534
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil { // else only its owner may enter
		t.Fatal(err)
	}
	path := filepath.Join(dir, "unreadable.db")
	if err := os.WriteFile(path, nil, 0); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 {
		runtime.LockOSThread() // and never unlocked: the thread ends with the test, and nobody with it
		if err := syscall.Setfsuid(nobody); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = syscall.Setfsuid(0) }()
	}
	store, err := db.Open(t.Context(), "sqlite:"+path, db.Options{})
	if err == nil {
		_ = store.Close()
	}
	checkMessage(t, err, "cannot open the database")
}
