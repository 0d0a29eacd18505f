package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// openTerminal gives a terminal, and what shows on it once it is closed.
func openTerminal(t *testing.T) (terminal *os.File, shown func() string) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(screen.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(screen.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	text := make(chan string)
	go func() {
		read, err := io.ReadAll(screen)
		if pathErr, ok := errors.AsType[*fs.PathError](err); !ok || pathErr.Err != syscall.EIO { //nolint:errorlint // what Linux says at the end
			t.Error(err)
		}
		text <- string(read)
	}()
	return terminal, func() string {
		_ = terminal.Close()
		defer screen.Close()
		return <-text
	}
}

// On a terminal a bar tells how far an import is, of a document of unknown length too. A
// rejected row has a line of its own, and nothing is drawn after the end.
func TestImportOnATerminal(t *testing.T) {
	databaseURL := "sqlite:" + filepath.Join(t.TempDir(), "r.db")
	if _, _, err := command(t, nil, "migrate", "--database-url", databaseURL); err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile("db/demo/testinium.json")
	if err != nil {
		t.Fatal(err)
	}
	document := strings.Replace(string(example), `"entityId": 6850`, `"entityId": "x"`, 1)
	file := filepath.Join(t.TempDir(), "document.json")
	if err := os.WriteFile(file, []byte(document), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, from := range []string{file, "-"} {
		before := runtime.NumGoroutine()
		terminal, shown := openTerminal(t)
		err := run(t.Context(), []string{"import", "--database-url", databaseURL, "--from", "testinium", from},
			func(string) string { return "" }, strings.NewReader(document), io.Discard, terminal)
		if err == nil || err.Error() != "1 of 5 rows were rejected" {
			t.Errorf("%s: %v", from, err)
		}
		text := shown()
		if !strings.Contains(text, "importing") || !regexp.MustCompile(`\r *\rline \d+: .*\r\n`).MatchString(text) || !regexp.MustCompile(`\r *\r$`).MatchString(text) {
			t.Errorf("%s: the terminal shows %q", from, text)
		}
		if !within(10*time.Second, func() bool { return runtime.NumGoroutine() <= before }) {
			t.Errorf("%s: %d goroutines more", from, runtime.NumGoroutine()-before)
		}
	}
}
