package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/tidwall/gjson"

	"roster/models"
)

// worth answers as the document "Get Customer Users" of Worth's Auth Service says.
type worth struct {
	runner runner
}

// NewWorth makes Worth's API, which belongs at [WorthPrefix].
func NewWorth(config Config) *API {
	endpoints := &worth{runner{config.Executor, config.Timeout}}
	api := &API{
		prefix: WorthPrefix,
		routes: []route{
			{pattern: "customers/{customerID}/users", serve: endpoints.users},
			{pattern: "customers/{customerID}/users/{userID}", serve: endpoints.user},
		},
		status:               worthStatus,
		notFoundName:         "ERR_NOT_FOUND",
		methodNotAllowedName: "ERR_METHOD_NOT_ALLOWED",
		envelope:             worthEnvelope,
	}
	return api.start(config)
}

// worthAnswer is the body of every answer that is not an error.
type worthAnswer struct {
	Status  string `json:"status"`
	Message string `json:"message"`
	Data    any    `json:"data"`
}

// users is GET customers/{customerID}/users.
func (a *worth) users(w http.ResponseWriter, r *http.Request, path []string) error {
	customer, err := pathID("customerID", path[0])
	if err != nil {
		return err
	}
	query, err := readWorthQuery(r.URL.RawQuery)
	if err != nil {
		return err
	}
	if len(query.subroles) > 0 {
		if err := a.findSubroles(r.Context(), customer, query); err != nil {
			return err
		}
	}
	variables := query.finish()
	variables["customer"] = string(customer)
	response, err := a.runner.data(r.Context(), worthUsersDocument, variables)
	if err != nil {
		return err
	}
	defer response.Release()
	// Decoding the answer and encoding it again would take as long as making it.
	found := gjson.GetManyBytes(response.Data, "customer.users.records", "customer.users.total_pages", "customer.users.total_items")
	if !found[0].IsArray() || !found[1].Exists() || !found[2].Exists() {
		if gjson.GetBytes(response.Data, "customer").Type == gjson.Null {
			return noCustomer(string(customer))
		}
		return internalError(errors.New("the answer has no list"))
	}
	// total_items is a string, as in the document.
	body := make([]byte, 0, len(response.Data)+128)
	writeTagged(w, jsonType, fmt.Appendf(body, `{"status":"success","message":"Success","data":{"records":%s,"total_pages":%s,"total_items":"%s"}}`,
		found[0].Raw, found[1].Raw, found[2].Raw))
	return nil
}

// findSubroles narrows a query by texts of the customer's subroles.
func (a *worth) findSubroles(ctx context.Context, customer models.ID, query *worthQuery) error {
	var answer struct {
		Customer *struct{ Subroles []subroleRecord }
	}
	if err := a.runner.run(ctx, worthSubrolesDocument, map[string]any{"customer": string(customer)}, &answer); err != nil {
		return err
	}
	if answer.Customer == nil {
		return noCustomer(string(customer))
	}
	query.bySubroles(answer.Customer.Subroles)
	return nil
}

// user is GET customers/{customerID}/users/{userID}.
func (a *worth) user(w http.ResponseWriter, r *http.Request, path []string) error {
	customer, err := pathID("customerID", path[0])
	if err != nil {
		return err
	}
	user, err := pathID("userID", path[1])
	if err != nil {
		return err
	}
	if err := noParameters(r.URL.RawQuery); err != nil {
		return err
	}
	var answer struct {
		Customer *struct{ User json.RawMessage }
	}
	variables := map[string]any{"customer": string(customer), "user": string(user)}
	if err := a.runner.run(r.Context(), worthUserDocument, variables, &answer); err != nil {
		return err
	}
	switch {
	case answer.Customer == nil:
		return noCustomer(string(customer))
	case string(answer.Customer.User) == "null":
		return models.Errorf(models.CodeNotFound, "This customer has no user %s.", user)
	}
	writeWorth(w, answer.Customer.User)
	return nil
}

// writeWorth sends an answer with its ETag.
func writeWorth(w http.ResponseWriter, data any) {
	writeTagged(w, jsonType, encode(worthAnswer{Status: "success", Message: "Success", Data: data}))
}

// pathID reads a UUID of the path.
func pathID(name, value string) (models.ID, error) {
	id, err := models.ParseID(value)
	if err != nil {
		return "", models.Errorf(models.CodeBadUserInput, "%s: %s", name, err)
	}
	return id, nil
}
