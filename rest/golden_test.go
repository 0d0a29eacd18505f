package rest_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"roster/db"
	"roster/db/dbtest"
	"roster/models"
	"roster/rest"
)

// sandbox is the customer that the tests give to the user of Worth's document,
// which does not name one.
const sandbox models.ID = "0c5d5c1e-6a0e-4f0b-8f0e-1b1f0f0a0001"

// The answers are the documents' own examples: the same keys in the same order
// with the same values, imported and read back over HTTP.
func TestExamples(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, database *db.DB) {
		importExample(t, database, db.SourceWorth, "worth_example.json", db.ImportOptions{Customer: string(sandbox), CustomerName: "Sandbox"})
		importExample(t, database, db.SourceTestinium, "testinium_example.json", db.ImportOptions{})

		config := configFor(database)
		shown := serve(t, config)
		config.Credentials = nil
		hidden := serve(t, config)
		for _, test := range []struct {
			name   string
			server *server
			path   string
			golden string
		}{
			{"Worth", shown, worthUsers(sandbox, ""), "worth_users.golden.json"},
			{"Testinium", shown, testiniumUsers(3393), "testinium_users.golden.json"},
			{"TestiniumWithoutLastSlash", shown, rest.TestiniumPrefix + "customers/3393/users", "testinium_users.golden.json"},
			{"TestiniumWithoutCredentials", hidden, testiniumUsers(3393), "testinium_users_no_credentials.golden.json"},
		} {
			t.Run(test.name, func(t *testing.T) {
				got := test.server.get(t, test.path)
				if got.status != http.StatusOK || got.header.Get("Content-Type") != "application/json" {
					t.Fatalf("got %s, type %s", got, got.header.Get("Content-Type"))
				}
				golden(t, test.golden, got.body)
			})
		}
	})
}

// The golden files are the examples of the documents and nothing else.
func TestGoldensAreTheExamples(t *testing.T) {
	for _, name := range []string{"worth", "testinium"} {
		var compact bytes.Buffer
		if err := json.Compact(&compact, read(t, "testdata/"+name+"_example.json")); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(compact.String(), string(read(t, "testdata/"+name+"_users.golden.json"))); diff != "" {
			t.Errorf("%s (-document +golden):\n%s", name, diff)
		}
	}
}

func importExample(t *testing.T, database *db.DB, source db.Source, file string, options db.ImportOptions) {
	t.Helper()
	options.Reject = func(rejection db.Rejection) { t.Errorf("%s: %s", file, rejection) }
	if _, err := database.Import(t.Context(), source, open(t, file), options); err != nil {
		t.Fatal(err)
	}
}
