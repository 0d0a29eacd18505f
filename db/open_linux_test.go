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

// A new file, and the log and the index beside it, are for their owner only; the mode of
// one that is there is the operator's.
func TestNewFilesArePrivate(t *testing.T) {
	before := syscall.Umask(0o022)
	defer syscall.Umask(before)
	path := filepath.Join(t.TempDir(), "roster.db")
	check := func(want os.FileMode) {
		t.Helper()
		store, err := db.Open(t.Context(), "sqlite:"+path, db.Options{Create: true})
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		if _, err := store.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{path, path + "-wal", path + "-shm"} {
			if info, err := os.Stat(name); err != nil || info.Mode() != want {
				t.Errorf("%s: %v, error %v", name, info, err)
			}
		}
	}
	check(0o600)
	dangling, target := filepath.Join(t.TempDir(), "link.db"), filepath.Join(t.TempDir(), "target.db")
	if err := os.Symlink(target, dangling); err != nil {
		t.Fatal(err)
	}
	store, err := db.Open(t.Context(), "sqlite:"+dangling, db.Options{Create: true})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if info, err := os.Stat(target); err != nil || info.Mode() != 0o600 {
		t.Errorf("behind a link: %v, error %v", info, err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	check(0o640)
}
