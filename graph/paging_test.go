package graph_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"roster/db"
	"roster/db/dbtest"
	"roster/graph"
	"roster/models"
)

// pageInfo is what a page says of its place, and the numbers of its users.
type pageInfo struct {
	Users    []int64
	Previous bool
	Next     bool
}

// A page says rightly whether the list goes on, on both sides, for every way to
// ask for a part of it.
func TestPageInfo(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, database *db.DB) {
		data := fixture()
		data.Granted, data.Users = nil, data.Users[:1]
		for n := int64(2); n <= 7; n++ {
			user := *data.Users[0]
			user.ID, user.Number = models.ID(fmt.Sprintf("00000000-0000-4000-8000-%012d", n)), n
			data.Users = append(data.Users, &user)
		}
		dbtest.Fill(t, database, data)
		executor := newExecutor(database)
		cursors := map[int64]string{}
		page := func(arguments string) pageInfo {
			t.Helper()
			response := executor.Execute(as(t, "member"), graph.Request{Query: `{ customerByNumber(number: 1) { users(orderBy: {field: NUMBER, direction: ASC} ` + arguments + `) {
				edges { cursor node { number } } pageInfo { hasPreviousPage hasNextPage startCursor endCursor } } } }`})
			if len(response.Errors) > 0 {
				t.Fatalf("%s: %v", arguments, response.Errors)
			}
			var answer struct {
				CustomerByNumber struct {
					Users struct {
						Edges []struct {
							Cursor string
							Node   struct{ Number int64 }
						}
						PageInfo struct {
							HasPreviousPage, HasNextPage bool
							StartCursor, EndCursor       *string
						}
					}
				}
			}
			if err := json.Unmarshal(response.Data, &answer); err != nil {
				t.Fatal(err)
			}
			users := answer.CustomerByNumber.Users
			info := pageInfo{Previous: users.PageInfo.HasPreviousPage, Next: users.PageInfo.HasNextPage}
			for _, edge := range users.Edges {
				info.Users = append(info.Users, edge.Node.Number)
				cursors[edge.Node.Number] = edge.Cursor
			}
			if n := len(users.Edges); n == 0 {
				if users.PageInfo.StartCursor != nil || users.PageInfo.EndCursor != nil {
					t.Errorf("%s: an empty page has cursors", arguments)
				}
			} else if *users.PageInfo.StartCursor != users.Edges[0].Cursor || *users.PageInfo.EndCursor != users.Edges[n-1].Cursor {
				t.Errorf("%s: the cursors are not those of the first and last user", arguments)
			}
			return info
		}
		page("first: 100")
		after := func(n int64) string { return fmt.Sprintf("after: %q ", cursors[n]) }
		before := func(n int64) string { return fmt.Sprintf("before: %q ", cursors[n]) }
		for arguments, want := range map[string]pageInfo{
			"":                                 {[]int64{1, 2, 3, 4, 5, 6, 7}, false, false},
			"page: {number: 1, size: 3}":       {[]int64{1, 2, 3}, false, true},
			"page: {number: 2, size: 3}":       {[]int64{4, 5, 6}, true, true},
			"page: {number: 3, size: 3}":       {[]int64{7}, true, false},
			"page: {number: 4, size: 3}":       {nil, true, false},
			"first: 7":                         {[]int64{1, 2, 3, 4, 5, 6, 7}, false, false},
			"first: 2":                         {[]int64{1, 2}, false, true},
			"first: 2 " + after(2):             {[]int64{3, 4}, true, true},
			"first: 2 " + after(5):             {[]int64{6, 7}, true, false},
			"first: 2 " + after(7):             {nil, true, false},
			"first: 2 " + before(5):            {[]int64{1, 2}, false, true},
			"first: 5 " + before(3):            {[]int64{1, 2}, false, true},
			"last: 2":                          {[]int64{6, 7}, true, false},
			"last: 2 " + before(6):             {[]int64{4, 5}, true, true},
			"last: 2 " + before(3):             {[]int64{1, 2}, false, true},
			"last: 2 " + before(1):             {nil, false, true},
			"last: 5 " + after(3) + before(6):  {[]int64{4, 5}, true, true},
			"first: 1 " + after(3) + before(6): {[]int64{4}, true, true},
			before(3):                          {[]int64{1, 2}, false, true},
			after(5):                           {[]int64{6, 7}, true, false},
		} {
			if diff := cmp.Diff(want, page(arguments)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", arguments, diff)
			}
		}
	})
}
