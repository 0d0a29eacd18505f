package main

import (
	"testing"

	"roster/db/dbtest"
)

// TestPgBouncer has callers of every API served through PgBouncer in transaction
// mode, whose few connections they share.
func TestPgBouncer(t *testing.T) {
	cluster := dbtest.Postgres(t)
	databaseURL := cluster.URL()
	dbtest.Fill(t, dbtest.OpenURL(t, databaseURL), dbtest.Users(60, 1))
	direct := newTrial(t, databaseURL)
	bounced := newTrial(t, cluster.PgBouncer(databaseURL))
	for i, call := range direct.calls {
		if got := bounced.calls[i].want; got != call.want {
			t.Errorf("%s: through PgBouncer: %.600s\nwithout: %.600s", call.name, got, call.want)
		}
	}
	stop := bounced.hammer(4)
	for range 20 {
		bounced.round("")
	}
	// PgBouncer's own connections are cut.
	cutConnections(t, databaseURL, "true")
	took := bounced.recover()
	stop()
	bounced.round("")
	t.Logf("%s; back %s after the connections were cut", bounced.tally(), took)
	if n := openConnections(t, databaseURL); n > 16+3 {
		t.Errorf("there are %d connections", n)
	}
}
