package rest

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"roster/models"
)

// testiniumUser is a record of the document, its fields in the document's order.
// Those without a value here are always null: the type of nothing can hold no
// secret.
type testiniumUser struct {
	UserType              *string         `json:"userType"`
	VerificationToken     *nothing        `json:"verificationToken"`
	ResetPasswordToken    *nothing        `json:"resetPasswordToken"`
	EntityID              int64           `json:"entityId"`
	Name                  string          `json:"name"`
	Surname               string          `json:"surname"`
	Username              *string         `json:"username"`
	Email                 string          `json:"email"`
	Password              *nothing        `json:"password"`
	NewPassword           *nothing        `json:"newPassword"`
	AccessToken           *string         `json:"accessToken"`
	CompanyName           string          `json:"companyName"`
	Enabled               bool            `json:"enabled"`
	AccountNonExpired     bool            `json:"accountNonExpired"`
	AccountNonLocked      bool            `json:"accountNonLocked"`
	CredentialNonExpired  bool            `json:"credentialNonExpired"`
	CreatedDate           int64           `json:"createdDate"`
	Customer              int64           `json:"customer"`
	LastPasswordResetDate *int64          `json:"lastPasswordResetDate"`
	Authorities           json.RawMessage `json:"authorities"`
	VCSPassword           *string         `json:"vcsPassword"`
}

type nothing struct{}

// testiniumNode is a user as the stored document gives it: most of the record,
// and what the rest of it is made from.
type testiniumNode struct {
	testiniumUser
	ID                  models.ID  `json:"id"`
	CreatedAt           time.Time  `json:"createdAt"`
	LastPasswordResetAt *time.Time `json:"lastPasswordResetAt"`
}

// testiniumCustomer is a customer with one page of its users.
type testiniumCustomer struct {
	ID        models.ID
	Number    int64
	CompanyID *int64
	Name      string
	Users     struct {
		Nodes    []testiniumNode
		PageInfo struct {
			HasNextPage bool
			EndCursor   string
		}
	}
}

// testiniumPageSize is how many users of the list are read at once.
const testiniumPageSize = 1_000

// page reads a page of users, whole: whoever reads slowly afterwards keeps no
// connection of the database waiting.
func (a *testinium) page(ctx context.Context, q question, first int, after string) (*testiniumCustomer, error) {
	variables := map[string]any{"customer": q.customer, "first": first}
	if after != "" {
		variables["after"] = after
	}
	customer, err := a.customer(ctx, q, testiniumUsersDocument, variables)
	if err != nil {
		return nil, err
	}
	return customer, a.complete(ctx, q, customer)
}

// customer runs a document about the customer and checks that the caller's
// company may have the answer.
func (a *testinium) customer(ctx context.Context, q question, document string, variables map[string]any) (*testiniumCustomer, error) {
	var answer struct{ Customer *testiniumCustomer }
	if err := a.runner.run(ctx, document, variables, &answer); err != nil {
		return nil, err
	}
	customer := answer.Customer
	if customer == nil {
		return nil, noCustomer(strconv.FormatInt(q.customer, 10))
	}
	named := &models.Customer{ID: customer.ID, Number: customer.Number, CompanyID: customer.CompanyID}
	return customer, q.caller.AllowCompany(q.company, named)
}

// complete fills in the fields that have another form in the record than in GraphQL.
func (a *testinium) complete(ctx context.Context, q question, customer *testiniumCustomer) error {
	users := customer.Users.Nodes
	secrets, err := a.secrets(ctx, q, users)
	if err != nil {
		return err
	}
	for i := range users {
		user := &users[i]
		user.CompanyName, user.Customer = customer.Name, customer.Number
		user.CreatedDate = user.CreatedAt.UnixMilli()
		if at := user.LastPasswordResetAt; at != nil {
			user.LastPasswordResetDate = new(at.UnixMilli())
		}
		if secret := secrets[user.ID]; secret != nil {
			user.AccessToken, user.VCSPassword = secret.AccessToken, secret.VCSPassword
		}
	}
	return nil
}

// secrets reads the two credentials of the document, if the operator wants them shown.
func (a *testinium) secrets(ctx context.Context, q question, users []testiniumNode) (map[models.ID]*models.LegacyCredentials, error) {
	if a.credentials == nil || len(users) == 0 {
		return nil, nil
	}
	ids := make([]models.ID, len(users))
	for i := range users {
		ids[i] = users[i].ID
	}
	ctx, cancel := a.runner.bounded(ctx)
	defer cancel()
	return a.credentials.LegacyCredentialsByUser(ctx, q.caller.Scope(), ids)
}

// stallTimeout is how long a reader may take for one page of the array. It is
// generous, and still ends what nobody reads any more.
const stallTimeout = 2 * time.Minute

// stream writes the array, one page at a time, and keeps no more than one page.
func (a *testinium) stream(w http.ResponseWriter, r *http.Request, q question, page *testiniumCustomer) {
	w.Header().Set("Content-Type", jsonType)
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return
	}
	array := arrayWriter{w: w}
	err := array.users(page)
	for err == nil && page.Users.PageInfo.HasNextPage {
		page, err = a.page(r.Context(), q, testiniumPageSize, page.Users.PageInfo.EndCursor)
		if err == nil {
			err = array.users(page)
		}
	}
	if err != nil {
		a.cut(r, err)
	}
}

// arrayWriter writes the array of all pages.
type arrayWriter struct {
	w     http.ResponseWriter
	chunk buffer
	begun bool // a user has been written
}

// users writes the users of one page, with the brackets before the first page
// and after the last, and sends them on their way.
func (a *arrayWriter) users(page *testiniumCustomer) error {
	for i := range page.Users.Nodes {
		a.chunk.WriteByte(separator(a.begun))
		a.begun = true
		if err := a.chunk.encode(&page.Users.Nodes[i].testiniumUser); err != nil {
			return broken(err)
		}
	}
	more := page.Users.PageInfo.HasNextPage
	if !more {
		if !a.begun {
			a.chunk.WriteByte('[')
		}
		a.chunk.WriteByte(']')
	}
	return a.send(more)
}

// separator stands before a user: the opening bracket before the first of all.
func separator(begun bool) byte {
	if begun {
		return ','
	}
	return '['
}

func (a *arrayWriter) send(more bool) error {
	connection := http.NewResponseController(a.w)
	// A server that cannot set deadlines has none to extend.
	_ = connection.SetWriteDeadline(time.Now().Add(stallTimeout))
	_, err := a.w.Write(a.chunk.Bytes())
	a.chunk.Reset()
	if err == nil && more {
		err = connection.Flush()
	}
	return err
}

// cut ends an answer that has begun and cannot be finished. A closing bracket, or
// even an orderly end of the body, would make it look complete; so the connection
// is closed in the middle of it, which every client sees as a broken body.
func (a *testinium) cut(r *http.Request, err error) {
	if r.Context().Err() == nil {
		a.api.logFailure(r, err)
	}
	panic(http.ErrAbortHandler)
}
