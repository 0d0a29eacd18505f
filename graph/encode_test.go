package graph_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vektah/gqlparser/v2/ast"

	"roster/db"
	"roster/db/dbtest"
	"roster/graph"
	"roster/models"
)

// wholeStore reads every column of users, whatever is asked for.
type wholeStore struct{ graph.Store }

func (s wholeStore) CustomerAndUsers(ctx context.Context, scope models.Scope, query models.UserQuery) (*models.Customer, *models.UserPage, error) {
	asked := query
	query.Fields = 0
	customer, page, err := s.Store.CustomerAndUsers(ctx, scope, query)
	if page != nil {
		page.Query = asked
	}
	return customer, page, err
}

func (s wholeStore) Users(ctx context.Context, scope models.Scope, query models.UserQuery) ([]*models.User, bool, error) {
	query.Fields = 0
	return s.Store.Users(ctx, scope, query)
}

// selections makes random selections of the schema: fields, aliases, fragments,
// directives and the same field more than once.
type selections struct {
	*rand.Rand
	schema    *ast.Schema
	fragments []string
}

func (s *selections) set(typeName string, depth int) string {
	definition := s.schema.Types[typeName]
	var fields ast.FieldList
	for _, field := range definition.Fields {
		leaf := s.schema.Types[field.Type.Name()].IsLeafType()
		if !strings.HasPrefix(field.Name, "__") && (leaf || depth > 0) {
			fields = append(fields, field)
		}
	}
	var text strings.Builder
	for range 1 + s.IntN(8) {
		directive := []string{"", "", "", "", " @include(if: $yes)", " @skip(if: $no)", " @include(if: $no)", " @skip(if: $yes)"}[s.IntN(8)]
		switch s.IntN(12) {
		case 0:
			fmt.Fprintf(&text, "__typename%s ", directive)
		case 1:
			fmt.Fprintf(&text, "... on %s%s { %s } ", typeName, directive, s.set(typeName, depth-1))
		case 2:
			name := fmt.Sprintf("F%d", len(s.fragments))
			s.fragments = append(s.fragments, "")
			s.fragments[len(s.fragments)-1] = fmt.Sprintf("fragment %s on %s { %s }", name, typeName, s.set(typeName, depth-1))
			fmt.Fprintf(&text, "...%s%s ", name, directive)
		case 3:
			if typeName == "User" {
				fmt.Fprintf(&text, "... on Node%s { id } ", directive)
			} else {
				text.WriteString("__typename ")
			}
		default:
			field := fields[s.IntN(len(fields))]
			name := field.Type.Name()
			// Aliases are the field's own, as two fields with one alias must be alike.
			if s.IntN(4) == 0 {
				fmt.Fprintf(&text, "%s%d: ", field.Name, s.IntN(2))
			}
			text.WriteString(field.Name)
			if field.Arguments.ForName("id") != nil {
				fmt.Fprintf(&text, "(id: %q)", "00000000-0000-4000-8000-000000000001")
			}
			text.WriteString(directive)
			if !s.schema.Types[name].IsLeafType() {
				fmt.Fprintf(&text, " { %s }", s.set(name, depth-1))
			}
			text.WriteByte(' ')
		}
	}
	return text.String()
}

// FuzzEncoding holds that answers are written exactly as gqlgen would, and that
// reading only some columns leaves nothing out.
func FuzzEncoding(f *testing.F) {
	database := dbtest.Open(f, db.SQLite)
	data := fixture()
	data.Users[1].FirstName, data.Users[1].LastName = "\x01\t\r\n\"\\<&>\u2028\x7f", "İ🙂ı"
	data.Subroles[0].Description = "quotes \" and \\ and \x1f"
	dbtest.Fill(f, database, data)
	limits := settings()
	limits.Limits = graph.Limits{Tokens: 100_000, Depth: 100, Selections: 100_000, Cost: 1_000_000_000}
	limits.CacheBytes = 64 << 20
	log := slog.New(slog.DiscardHandler)
	fast, plain := graph.NewExecutor(database, log, limits), graph.NewPlainExecutor(wholeStore{database}, log, limits)
	schema := graph.NewExecutableSchema(graph.Config{}).Schema()
	for seed := range uint64(300) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		s := &selections{rand.New(rand.NewPCG(seed, 1)), schema, nil}
		var customer string
		if s.IntN(2) == 0 {
			customer = s.set("Customer", 5)
		} else {
			customer = fmt.Sprintf("name users(first: %d, orderBy: {field: %s, direction: ASC}) { pageInfo { endCursor } %s }",
				1+s.IntN(3), models.UserOrderFields()[s.IntN(7)], s.set("UserConnection", 4))
		}
		query := fmt.Sprintf(`query ($yes: Boolean!, $no: Boolean!) { __typename @include(if: $yes) @skip(if: $no) customer(id: %q) { %s } } %s`,
			acme, customer, strings.Join(s.fragments, " "))
		if s.IntN(2) == 0 {
			_, rest, _ := strings.Cut(query, ")")
			query = "query " + strings.NewReplacer("$yes", "true", "$no", "false").Replace(rest)
		}
		// What a document selects is kept for its next request, unless variables decide it.
		for _, yes := range []bool{true, false, true} {
			request := graph.Request{Query: query, Variables: map[string]any{"yes": yes, "no": !yes}}
			got, want := fast.Execute(as(t, "member"), request), plain.Execute(as(t, "member"), request)
			if diff := cmp.Diff(string(want.Data), string(got.Data)); diff != "" || len(want.Errors)+len(got.Errors) > 0 {
				t.Errorf("%s\n(-gqlgen +fast):\n%s\n%v\n%v", query, diff, want.Errors, got.Errors)
			}
		}
	})
}

// What another writer changes shows in the next answer, although it is kept in memory.
func TestChangesOfWhatIsKeptShowAtOnce(t *testing.T) {
	const query = `{ customerByNumber(number: 1) { users(filter: {email: {eq: "ayse@example.com"}}) { nodes { subrole { code } authorities { name cleanName } } } } }`
	dbtest.Each(t, func(t *testing.T, database *db.DB) {
		dbtest.Fill(t, database, fixture())
		executor, writer := newExecutor(database), dbtest.Connect(t, database)
		for _, step := range []struct{ statement, want string }{
			{"SELECT 1", `{"subrole":{"code":"cro"},"authorities":[{"name":"ROLE_ADMIN","cleanName":null},{"name":"ROLE_USER","cleanName":"User"}]}`},
			{"UPDATE subroles SET code = 'ceo' WHERE code = 'cro'", `{"subrole":{"code":"ceo"},"authorities":[{"name":"ROLE_ADMIN","cleanName":null},{"name":"ROLE_USER","cleanName":"User"}]}`},
			{"UPDATE authorities SET clean_name = 'All' WHERE id = 1", `{"subrole":{"code":"ceo"},"authorities":[{"name":"ROLE_ADMIN","cleanName":"All"},{"name":"ROLE_USER","cleanName":"User"}]}`},
			{"INSERT INTO authorities (id, name) VALUES (2, 'ROLE_NEW')", `{"subrole":{"code":"ceo"},"authorities":[{"name":"ROLE_ADMIN","cleanName":"All"},{"name":"ROLE_USER","cleanName":"User"}]}`},
			{"UPDATE user_authorities SET authority_id = 2 WHERE authority_id = 3", `{"subrole":{"code":"ceo"},"authorities":[{"name":"ROLE_ADMIN","cleanName":"All"},{"name":"ROLE_NEW","cleanName":null}]}`},
			{"DELETE FROM user_authorities", `{"subrole":{"code":"ceo"},"authorities":[]}`},
			{"UPDATE users SET subrole_id = NULL", `{"subrole":null,"authorities":[]}`},
			{"DELETE FROM subroles", `{"subrole":null,"authorities":[]}`},
		} {
			if _, err := writer.ExecContext(t.Context(), step.statement); err != nil {
				t.Fatal(err)
			}
			response := executor.Execute(as(t, "member"), graph.Request{Query: query})
			want := `{"customerByNumber":{"users":{"nodes":[` + step.want + `]}}}`
			if diff := cmp.Diff(want, string(response.Data)); diff != "" {
				t.Errorf("after %s (-want +got):\n%s", step.statement, diff)
			}
		}
	})
}

// A customer that was deleted and made again is not shown with what was kept of the first.
func TestACustomerMadeAgainIsShownAnew(t *testing.T) {
	const query = `{ customerByNumber(number: 1) { users(filter: {email: {eq: "ayse@example.com"}}) { nodes { subrole { code } authorities { name } } } } }`
	dbtest.Each(t, func(t *testing.T, database *db.DB) {
		executor, writer := newExecutor(database), dbtest.Connect(t, database)
		for _, code := range []string{"cro", "ceo"} {
			for _, table := range []string{"user_authorities", "legacy_credentials", "users", "authorities", "subroles", "customers"} {
				if _, err := writer.ExecContext(t.Context(), "DELETE FROM "+table); err != nil {
					t.Fatal(err)
				}
			}
			data := fixture()
			data.Subroles[0].Code = code
			dbtest.Write(t, writer, data)
			response := executor.Execute(as(t, "member"), graph.Request{Query: query})
			if want := `"subrole":{"code":"` + code + `"}`; !strings.Contains(string(response.Data), want) {
				t.Errorf("%s is not in %s", want, response.Data)
			}
		}
	})
}

// Every field of a user is known to the code that decides what to read.
func TestEveryFieldOfAUserIsRead(t *testing.T) {
	for _, field := range graph.NewExecutableSchema(graph.Config{}).Schema().Types["User"].Fields {
		switch field.Name {
		case "id", "customer": // are read in any case
		default:
			if !strings.HasPrefix(field.Name, "__") && !graph.ReadsFor(field.Name) {
				t.Errorf("nothing is read for the field %s of a user", field.Name)
			}
		}
	}
}
