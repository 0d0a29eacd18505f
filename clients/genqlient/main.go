// Command genqlient reads a customer's users through code that genqlient generates.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/Khan/genqlient/graphql"
	"github.com/vektah/gqlparser/v2/gqlerror"
)

//go:generate go tool genqlient

// withToken adds the bearer token to every request.
type withToken string

func (t withToken) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+string(t))
	return http.DefaultTransport.RoundTrip(r)
}

// errorCode gives the code of an answer's first error, "" when there is none.
func errorCode(err error) string {
	var list gqlerror.List
	var refused *graphql.HTTPError
	if errors.As(err, &refused) { // any status but 200, such as 401
		list = refused.Response.Errors
	} else {
		errors.As(err, &list)
	}
	if len(list) == 0 {
		return ""
	}
	code, _ := list[0].Extensions["code"].(string)
	return code
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx, os.Getenv("ROSTER_GRAPHQL"), os.Getenv("ROSTER_TOKEN"), os.Getenv("ROSTER_CUSTOMER")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, url, token, customer string) error {
	client := graphql.NewClient(url, &http.Client{Transport: withToken(token)})

	// A numbered page. The page's size is not set: the schema's 20 holds.
	page, err := NumberedPage(ctx, client, customer, &PageInput{Number: 2}, nil,
		&UserOrder{Field: UserOrderFieldName, Direction: OrderDirectionAsc})
	if err != nil {
		return err
	}
	users := page.Customer.Users
	if len(users.Nodes) != 20 || users.Nodes[0].CreatedAt.IsZero() || users.Nodes[0].Number == 0 {
		return fmt.Errorf("page 2 has %d users: %+v", len(users.Nodes), users.Nodes)
	}

	// A filter. What is nil is not sent.
	active := UserStatusActive
	filtered, err := NumberedPage(ctx, client, customer, nil, &UserFilter{Status: &UserStatusFilter{Eq: &active}}, nil)
	if err != nil {
		return err
	}
	if n := filtered.Customer.Users.TotalCount; n == 0 || n >= users.TotalCount {
		return fmt.Errorf("%d of %d users are active", n, users.TotalCount)
	}

	// All users, by cursor.
	seen := map[string]bool{}
	for after := (*string)(nil); ; {
		part, err := CursorPage(ctx, client, customer, 100, after)
		if err != nil {
			return err
		}
		for _, user := range part.Customer.Users.Nodes {
			seen[user.Id] = true
		}
		if !part.Customer.Users.PageInfo.HasNextPage {
			break
		}
		after = part.Customer.Users.PageInfo.EndCursor
	}
	if len(seen) != users.TotalCount {
		return fmt.Errorf("the cursors led to %d of %d users", len(seen), users.TotalCount)
	}

	// Errors carry a code.
	if _, err := CursorPage(ctx, client, customer, 101, nil); errorCode(err) != "BAD_USER_INPUT" {
		return fmt.Errorf("first: 101 gave %q (%w)", errorCode(err), err)
	}
	stranger := graphql.NewClient(url, http.DefaultClient)
	if _, err := CursorPage(ctx, stranger, customer, 1, nil); errorCode(err) != "UNAUTHENTICATED" {
		return fmt.Errorf("no token gave %q (%w)", errorCode(err), err)
	}

	fmt.Printf("page 2 of %d, %d active users, all %d users by cursor\n", users.TotalPages, filtered.Customer.Users.TotalCount, len(seen))
	return nil
}
