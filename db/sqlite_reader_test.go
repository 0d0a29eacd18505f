package db

import (
	"database/sql/driver"
	"strconv"
	"testing"
)

// closedStatement counts those of its kind that were closed.
type closedStatement struct {
	driver.Stmt
	closed *int
}

// Close counts.
func (s closedStatement) Close() error { *s.closed++; return nil }

// What one caller asks for does not keep the statements of all others from being
// kept prepared.
func TestPreparedStatementsMakeRoom(t *testing.T) {
	reader, closed := &sqliteReader{prepared: map[string]driver.Stmt{}}, 0
	for i := range maxPrepared + 10 {
		text := strconv.Itoa(i)
		if err := reader.keep(text, closedStatement{closed: &closed}); err != nil {
			t.Fatal(err)
		}
		if reader.prepared[text] == nil {
			t.Fatalf("statement %d was not kept", i)
		}
	}
	if len(reader.prepared) != maxPrepared || closed != 10 {
		t.Errorf("%d statements are kept and %d were closed, want %d and 10", len(reader.prepared), closed, maxPrepared)
	}
}
