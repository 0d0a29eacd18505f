//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The names of the targets.
const (
	rosterName       = "roster"
	sqliteName       = "roster-sqlite"
	floorName        = "floor"
	postgraphileName = "postgraphile"
)

// The names of the scenarios. The sizes are those of a full run.
const (
	page20Small   = "page20, 500 users"
	page20Large   = "page20, 500,000 users"
	totalSmall    = "page20 + totalCount, 500 users"
	totalLarge    = "page20 + totalCount, 500,000 users"
	cursorLarge   = "cursor page at row 400,000"
	numberedLarge = "numbered page 20,000 of 25,000"
	searchLast    = "search: a rare last name"
	searchFull    = "search: first and last name"
	searchNobody  = "search: nobody"
	worthPage     = "Worth page"
	worthGraphQL  = "the Worth page's fields by GraphQL"
)

const (
	pageSize    = 20
	connections = 16
	// sampleEvery is how many answers there are for each whose body is looked at.
	sampleEvery = 50
)

// lane is one target that answers one scenario's requests.
type lane struct {
	scenario string
	target   *target
	order    order
	rounds   []round
}

// What page20 asks of Roster: 12 scalar fields of 20 users, and what they are allowed.
const rosterUser = `{ id number username firstName lastName email mobile status isEmailVerified isFirstLogin createdAt updatedAt
	subrole { id code displayName label description } authorities { id name cleanName } }`

// rosterPage is the question for a part of the users of a customer.
func rosterPage(arguments, beside string) string {
	return `query Page($id: ID!) { customer(id: $id) { name users` + arguments + ` { nodes ` + rosterUser + beside + ` } } }`
}

// postgraphilePage is the same question in the schema that PostGraphile makes of
// the tables. The aliases give the fields Roster's names.
func postgraphilePage(arguments, beside string) string {
	return `query Page($id: UUID!) { customer: customerByRowId(rowId: $id) { name users: usersByCustomerId(` + arguments + `orderBy: [CREATED_AT_DESC, ROW_ID_DESC]) {
	nodes { id: rowId number username firstName lastName email mobile status isEmailVerified isFirstLogin createdAt updatedAt
	subrole: subroleByCustomerIdAndSubroleId { id: rowId code displayName label description }
	authorities: userAuthoritiesByUserId { nodes { authority: authorityByAuthorityId { id: rowId name cleanName } } } } ` + beside + ` } } }`
}

// suite knows the data and the targets and makes the lanes.
type suite struct {
	data                                *dataSet
	token                               string
	roster, sqlite, floor, postgraphile *target
	// worthDocument is the file of the document that answers Worth's list.
	worthDocument string
}

// graphQL makes the request for a document and a customer.
func (s *suite) graphQL(t *target, document string, customer int) request {
	return s.graphQLWith(t, document, map[string]any{"id": s.data.customer(customer).ID})
}

func (s *suite) graphQLWith(t *target, document string, variables map[string]any) request {
	body, err := json.Marshal(map[string]any{"query": document, "variables": variables})
	if err != nil {
		panic(err) // texts can always be encoded
	}
	return request{http.MethodPost, t.url + "/graphql", string(body), s.header()}
}

func (s *suite) get(t *target, path string) request {
	return request{http.MethodGet, t.url + path, "", s.header()}
}

func (s *suite) header() map[string]string {
	return map[string]string{"Authorization": "Bearer " + s.token, "Content-Type": "application/json", "Accept": "application/json"}
}

// small gives a request for each of the small customers, so that no target can
// live on a single answer.
func (s *suite) small(ask func(customer int) request) []request {
	var requests []request
	for n := range s.data.customers {
		requests = append(requests, ask(1+n))
	}
	return requests
}

// lanes gives everything that is measured in rounds. It asks Roster for the
// cursor that one of them begins at.
func (s *suite) lanes(ctx context.Context) ([]*lane, error) {
	var lanes []*lane
	add := func(scenario string, t *target, requests []request, users int, beside ...string) {
		want := map[string]int{`"email":`: users, `"errors":`: 0}
		for _, text := range beside {
			want[text] = 1
		}
		lanes = append(lanes, &lane{scenario: scenario, target: t, order: order{
			Targets: requests, Connections: connections, Want: want, SampleEvery: sampleEvery,
		}})
	}
	users := min(pageSize, s.data.small)
	deep := max(1, s.data.large*4/5/pageSize)

	page := rosterPage("(page: {number: 1, size: 20})", "")
	total := rosterPage("(page: {number: 1, size: 20})", " totalCount")
	numbered := rosterPage(fmt.Sprintf("(page: {number: %d, size: 20})", deep), "")
	cursor, err := s.cursor(ctx, deep)
	if err != nil {
		return nil, err
	}
	after := rosterPage(fmt.Sprintf("(first: 20, after: %q)", cursor), "")

	for _, t := range []*target{s.roster, s.sqlite} {
		if t == nil {
			continue
		}
		add(page20Small, t, s.small(func(n int) request { return s.graphQL(t, page, n) }), users)
		add(page20Large, t, []request{s.graphQL(t, page, 0)}, pageSize)
		add(totalSmall, t, s.small(func(n int) request { return s.graphQL(t, total, n) }), users, `"totalCount":`+strconv.Itoa(s.data.small))
		add(totalLarge, t, []request{s.graphQL(t, total, 0)}, pageSize, `"totalCount":`+strconv.Itoa(s.data.large))
		add(cursorLarge, t, []request{s.graphQL(t, after, 0)}, pageSize)
		add(numberedLarge, t, []request{s.graphQL(t, numbered, 0)}, pageSize)
	}
	floorPage := func(n int) request { return s.get(s.floor, "/customers/"+string(s.data.customer(n).ID)+"/users") }
	add(page20Small, s.floor, s.small(floorPage), users)
	add(page20Large, s.floor, []request{floorPage(0)}, pageSize)
	if t := s.postgraphile; t != nil {
		page, total := postgraphilePage("first: 20, ", ""), postgraphilePage("first: 20, ", "totalCount")
		add(page20Small, t, s.small(func(n int) request { return s.graphQL(t, page, n) }), users)
		add(page20Large, t, []request{s.graphQL(t, page, 0)}, pageSize)
		add(totalLarge, t, []request{s.graphQL(t, total, 0)}, pageSize, `"totalCount":`+strconv.Itoa(s.data.large))
	}
	searches, err := s.searches(ctx)
	if err != nil {
		return nil, err
	}
	for _, search := range searches {
		document := rosterPage(fmt.Sprintf("(filter: {search: %q})", search.words), "")
		add(search.scenario, s.roster, []request{s.graphQL(s.roster, document, 0)}, search.found)
	}
	document, err := os.ReadFile(s.worthDocument)
	if err != nil {
		return nil, err
	}
	totals := `"total_items":`
	add(worthPage, s.roster, s.small(func(n int) request {
		return s.get(s.roster, "/auth/api/v1/customers/"+string(s.data.customer(n).ID)+"/users?page=1&items_per_page=20")
	}), users, totals)
	add(worthGraphQL, s.roster, s.small(func(n int) request {
		return s.graphQLWith(s.roster, string(document), map[string]any{
			"customer": s.data.customer(n).ID, "page": map[string]any{"number": 1, "size": pageSize},
		})
	}), users, totals)
	return lanes, nil
}

// search is what the large customer is searched for, and how many users of one
// page it finds.
type search struct {
	scenario, words string
	found           int
}

func (s *suite) searches(ctx context.Context) ([]search, error) {
	someone := s.data.user(s.data.large / 3)
	searches := []search{
		{scenario: searchLast, words: rareSearch},
		{scenario: searchFull, words: someone.FirstName + " " + someone.LastName},
		{scenario: searchNobody, words: "nobody.is.called.this"},
	}
	for i := range searches {
		document := rosterPage(fmt.Sprintf("(filter: {search: %q})", searches[i].words), "")
		body, err := ask(ctx, s.graphQL(s.roster, document, 0))
		if err != nil {
			return nil, err
		}
		searches[i].found = bytes.Count(body, []byte(`"email":`))
	}
	return searches, nil
}

// cursor gives the place after this many pages of the large customer.
func (s *suite) cursor(ctx context.Context, pages int) (string, error) {
	document := fmt.Sprintf(`query Page($id: ID!) { customer(id: $id) { users(page: {number: %d, size: 20}) { pageInfo { endCursor } } } }`, pages)
	body, err := ask(ctx, s.graphQL(s.roster, document, 0))
	if err != nil {
		return "", err
	}
	var answer struct {
		Data struct {
			Customer struct {
				Users struct{ PageInfo struct{ EndCursor string } }
			}
		}
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return "", err
	}
	return answer.Data.Customer.Users.PageInfo.EndCursor, nil
}

// ask sends one request and gives the body of the answer, whose status must be 200.
func ask(ctx context.Context, q request) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, q.Method, q.URL, strings.NewReader(q.Body))
	if err != nil {
		return nil, err
	}
	for name, value := range q.Header {
		r.Header.Set(name, value)
	}
	response, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s: %.500s", q.Method, q.URL, response.Status, body)
	}
	return body, err
}

// checkLanes asks some of every lane's questions before anything is measured. The
// answers must have the wanted shape, and all targets of a scenario must give
// the same values, whatever they call them and however they write them. A token
// that is not signed with the secret must be refused.
func checkLanes(ctx context.Context, lanes []*lane) error {
	const questions = 5
	values := map[string][]string{}
	for _, l := range lanes {
		for i, q := range l.order.Targets[:min(questions, len(l.order.Targets))] {
			body, err := ask(ctx, q)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", l.scenario, l.target.name, err)
			}
			for text, n := range l.order.Want {
				if found := bytes.Count(body, []byte(text)); found != n {
					return fmt.Errorf("%s, %s: %s occurs %d times, not %d: %.1000s", l.scenario, l.target.name, text, found, n, body)
				}
			}
			found, err := leaves(body)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", l.scenario, l.target.name, err)
			}
			key := fmt.Sprintf("%s, question %d", l.scenario, i)
			if before := values[key]; before != nil && !slices.Equal(before, found) {
				return fmt.Errorf("%s: %s does not answer as the others do: %.2000q, not %.2000q", key, l.target.name, found, before)
			}
			values[key] = found
		}
		if err := checkRefusal(ctx, l.order.Targets[0]); err != nil {
			return fmt.Errorf("%s, %s: %w", l.scenario, l.target.name, err)
		}
	}
	return nil
}

func checkRefusal(ctx context.Context, q request) error {
	token := q.Header["Authorization"]
	q.Header = map[string]string{"Authorization": token[:len(token)-10] + "0123456789", "Content-Type": "application/json", "Accept": "application/json"}
	body, err := ask(ctx, q)
	if err == nil && !bytes.Contains(body, []byte(`"errors":`)) {
		return errors.New("a forged token is accepted")
	}
	return nil
}

// leaves gives all values of a JSON document, sorted: numbers as text, as which
// some servers send them, and times in one form.
func leaves(body []byte) ([]string, error) {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	var document any
	if err := decoder.Decode(&document); err != nil {
		return nil, err
	}
	var found []string
	var walk func(any)
	walk = func(value any) {
		switch value := value.(type) {
		case map[string]any:
			for _, inner := range value {
				walk(inner)
			}
		case []any:
			for _, inner := range value {
				walk(inner)
			}
		default:
			text := fmt.Sprint(value)
			if t, err := time.Parse(time.RFC3339, text); err == nil {
				text = t.UTC().String()
			}
			found = append(found, text)
		}
	}
	walk(document)
	slices.Sort(found)
	return found, nil
}
