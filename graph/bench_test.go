package graph_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"roster/graph"
	"roster/models"
)

// memoryStore answers with one page of users that it holds, so that what is
// measured is everything but the database.
type memoryStore struct {
	graph.Store
	customer *models.Customer
	rows     []*models.User
	subroles []*models.Subrole
}

func (s memoryStore) CustomerAndUsers(_ context.Context, _ models.Scope, query models.UserQuery) (*models.Customer, *models.UserPage, error) {
	customer := *s.customer
	return &customer, &models.UserPage{Query: query, Rows: s.rows}, nil
}

func (s memoryStore) Subroles(context.Context, models.Scope, models.ID) ([]*models.Subrole, error) {
	return s.subroles, nil
}

func (s memoryStore) Authorities(context.Context) ([]*models.Authority, error) {
	return []*models.Authority{{ID: 1, Name: "ROLE_ADMIN"}, {ID: 3, Name: "ROLE_USER", CleanName: new("User")}}, nil
}

// BenchmarkPage answers a page of 20 users with subrole and authorities, with
// everything but the database and the network.
func BenchmarkPage(b *testing.B) {
	data := fixture()
	store := memoryStore{customer: data.Customers[0], subroles: data.Subroles}
	for n := range 20 {
		user := *data.Users[0]
		user.Number, user.AuthorityIDs = int64(n), []int64{1, 3}
		store.rows = append(store.rows, &user)
	}
	handler := graph.NewHandler(newExecutor(store), maxBody)
	body := fmt.Sprintf(`{"query":%q,"variables":{"id":%q}}`, `query Page($id: ID!) { customer(id: $id) { name users(page: {number: 1, size: 20}) { nodes {
		id number username firstName lastName email mobile status isEmailVerified isFirstLogin createdAt updatedAt
		subrole { id code displayName label description } authorities { id name cleanName } } } } }`, acme)
	body = strings.ReplaceAll(body, `\t`, " ")
	ctx := as(b, "member")
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/graphql", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code != http.StatusOK || w.Body.Len() < 5_000 {
			b.Fatal(w.Code, w.Body)
		}
	}
}
