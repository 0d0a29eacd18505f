package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"text/template"
	"time"

	"roster/auth"
	"roster/db"
	"roster/graphiql"
	"roster/models"
)

// demoCommand is "roster demo".
type demoCommand struct {
	serverSettings `embed:""`
	DatabaseURL    string `name:"database-url" placeholder:"URL" help:"An empty database to fill, in place of a file that is deleted at the end."`
	Users          int    `default:"5000" placeholder:"N" help:"How many users the larger generated customer has."`
	JSON           bool   `name:"json" help:"Print the addresses and tokens as one line of JSON."`
}

// demoIssuer and demoAudience stand in the demo's tokens; demoTTL outlasts any demo.
const (
	demoIssuer   = "roster-demo"
	demoAudience = "roster"
	demoTTL      = 7 * 24 * time.Hour
)

// The places of the customers that db.FillDemo makes.
const (
	sandbox    = iota // has the user of the Worth document
	mestiniumm        // has the users of the Testinium document
	generated         // has as many users as are wanted
)

// demoQuery is what GraphiQL opens with, and the curl line sends.
const demoQuery = `query Users {
  customerByNumber(number: %d) {
    name
    users(
      page: {number: 1, size: 5}
      orderBy: {field: NAME, direction: ASC}
    ) {
      totalCount
      nodes {
        firstName
        lastName
        email
        status
        subrole { displayName }
        authorities { name }
      }
    }
  }
}
`

// demoFacts is what a visitor of the demo needs to know.
type demoFacts struct {
	URL       string         `json:"url"`
	GraphQL   string         `json:"graphql"`
	GraphiQL  string         `json:"graphiql"`
	Worth     string         `json:"worth"`
	Testinium string         `json:"testinium"`
	Tokens    demoTokens     `json:"tokens"`
	Customers []demoCustomer `json:"customers"`
}

type demoTokens struct {
	Admin        string `json:"admin"`
	CompanyAdmin string `json:"companyAdmin"`
	Member       string `json:"member"`
}

type demoCustomer struct {
	ID        models.ID `json:"id"`
	Number    int64     `json:"number"`
	CompanyID *int64    `json:"companyId"`
	Name      string    `json:"name"`
}

// Run fills a database, serves it and prints how to try it, until ctx is done.
func (c *demoCommand) Run(ctx context.Context, p *stdio) (err error) {
	if err := c.validate(); err != nil {
		return err
	}
	if c.Users < 0 || c.Users > maxDemoUsers {
		return fmt.Errorf("--users is %d; it must be between 0 and %d", c.Users, maxDemoUsers)
	}
	// Background work of the server must have ended when Run returns.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	if c.DatabaseURL == "" {
		folder, failure := os.MkdirTemp("", "roster-demo-")
		if failure != nil {
			return fmt.Errorf("cannot make a folder for the database: %w", failure)
		}
		defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
		c.DatabaseURL = "sqlite:" + filepath.Join(folder, "roster.db")
	}
	customers, err := c.fill(ctx)
	if err != nil {
		return err
	}
	database, err := db.Open(ctx, c.DatabaseURL, c.database())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, database.Close()) }()

	secret := []byte(rand.Text() + rand.Text())
	// A line for every request would push what is to be pasted off the screen.
	log := slog.New(slog.NewTextHandler(p.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	verifier, err := auth.NewVerifier(ctx, log, auth.Issuer{Name: demoIssuer, Audience: demoAudience, Secret: secret})
	if err != nil {
		return err
	}
	facts, err := newDemoFacts(secret, customers)
	if err != nil {
		return err
	}
	page := graphiql.Page{
		Endpoint: "/graphql",
		Query:    fmt.Sprintf(demoQuery, customers[generated].Number),
		Headers:  fmt.Sprintf("{\n  \"Authorization\": \"Bearer %s\"\n}", facts.Tokens.Admin),
	}
	server, err := newServer(&c.serverSettings, verifier, database, page, log)
	if err != nil {
		return err
	}
	listener, err := server.listen(ctx)
	if err != nil {
		return err
	}
	facts.locate("http://" + listener.Addr().String())
	if err := c.print(p.stdout, facts); err != nil {
		if server.admin != nil {
			err = errors.Join(err, server.admin.Close())
		}
		return errors.Join(err, listener.Close())
	}
	return server.serve(ctx, listener)
}

// fill makes the tables and fills them, which may take longer than a request.
func (c *demoCommand) fill(ctx context.Context) (customers []models.Customer, err error) {
	database, err := db.Open(ctx, c.DatabaseURL, db.Options{Create: true})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, database.Close()) }()
	if _, err := database.Migrate(ctx); err != nil {
		return nil, err
	}
	return database.FillDemo(ctx, c.Users)
}

// maxDemoUsers keeps the demo a demo.
const maxDemoUsers = 1_000_000

// newDemoFacts signs the tokens: the platform's admin, the admin of the company
// of the Testinium document, and a member of the customer of the Worth document.
func newDemoFacts(secret []byte, customers []models.Customer) (demoFacts, error) {
	var (
		facts demoFacts
		errs  [3]error
	)
	expires := time.Now().Add(demoTTL)
	sign := func(caller auth.Principal) (string, error) {
		caller.ExpiresAt = expires
		return auth.Sign(secret, demoIssuer, demoAudience, caller)
	}
	facts.Tokens.Admin, errs[0] = sign(auth.Principal{Subject: "admin", Authorities: []string{auth.RoleAdmin}})
	facts.Tokens.CompanyAdmin, errs[1] = sign(auth.Principal{Subject: "company-admin", Authorities: []string{auth.RoleCompanyAdmin},
		CustomerIDs: []models.ID{customers[mestiniumm].ID}})
	facts.Tokens.Member, errs[2] = sign(auth.Principal{Subject: "member", Authorities: []string{"ROLE_USER"},
		CustomerIDs: []models.ID{customers[sandbox].ID}})
	for _, customer := range customers {
		facts.Customers = append(facts.Customers, demoCustomer{customer.ID, customer.Number, customer.CompanyID, customer.Name})
	}
	return facts, errors.Join(errs[:]...)
}

// locate fills in the addresses once the server's own is known.
func (f *demoFacts) locate(url string) {
	f.URL = url
	f.GraphQL = url + "/graphql"
	f.GraphiQL = url + "/graphiql/"
	f.Worth = fmt.Sprintf("%s/auth/api/v1/customers/%s/users", url, f.Customers[sandbox].ID)
	f.Testinium = fmt.Sprintf("%s/account/api/v1/customers/%d/users/", url, f.Customers[mestiniumm].Number)
}

func (c *demoCommand) print(w io.Writer, facts demoFacts) error {
	if c.JSON {
		_, err := fmt.Fprintf(w, "%s\n", mustJSON(facts))
		return err
	}
	return demoText.Execute(w, map[string]any{
		"Facts": facts,
		// Mestiniumm has no company id, so its number stands for it.
		"Company": facts.Customers[mestiniumm].Number,
		"Body":    string(mustJSON(map[string]any{"query": strings.Join(strings.Fields(fmt.Sprintf(demoQuery, facts.Customers[generated].Number)), " ")})),
	})
}

var demoText = template.Must(template.New("demo").Parse(`Roster is serving. Ctrl-C stops it{{"\n"}}
  GraphiQL   {{.Facts.GraphiQL}}   (press Play)
  GraphQL    {{.Facts.GraphQL}}
  Worth      {{.Facts.Worth}}
  Testinium  {{.Facts.Testinium}}

Customers:
{{- range .Facts.Customers}}
  {{.ID}}  number {{printf "%-6d" .Number}} {{.Name}}
{{- end}}

Tokens, good for a week:
  admin of the platform, reads every customer
    {{.Facts.Tokens.Admin}}
  admin of the company Mestiniumm
    {{.Facts.Tokens.CompanyAdmin}}
  member of Sandbox
    {{.Facts.Tokens.Member}}

Lines to paste:

curl -s {{.Facts.GraphQL}} -H 'Content-Type: application/json' -H 'Authorization: Bearer {{.Facts.Tokens.Admin}}' -d '{{.Body}}'

curl -s {{.Facts.Worth}} -H 'Authorization: Bearer {{.Facts.Tokens.Member}}'

curl -s {{.Facts.Testinium}} -H 'Authorization: Bearer {{.Facts.Tokens.CompanyAdmin}}' -H 'current-company-id: {{.Company}}'

`))

// mustJSON encodes values that are made of text and numbers only, which cannot fail.
func mustJSON(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}
