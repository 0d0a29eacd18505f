package db_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestThroughPgBouncer runs what the resolvers rely on once more, in a process
// that reaches PostgreSQL through PgBouncer in transaction mode.
func TestThroughPgBouncer(t *testing.T) {
	tests := []string{
		"TestScopes", "TestStatements", "TestFilters", "TestOrders", "TestWindows", "TestCursorsRefused",
		"TestCustomers", "TestContextEnds", "TestExtremes", "TestWalks",
	}
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.v", "-rapid.checks=30", "-test.run=^("+strings.Join(tests, "|")+")$/^postgres$")
	child.Env = append(os.Environ(), "DBTEST_PGBOUNCER=1", "TEST_DATABASE_URL=")
	output, err := child.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	for _, test := range tests {
		switch result := string(output); {
		case strings.Contains(result, "--- SKIP: "+test+"/postgres"):
			t.Skipf("%s", output)
		case !strings.Contains(result, "--- PASS: "+test+"/postgres"):
			t.Errorf("%s did not run", test)
		}
	}
}
