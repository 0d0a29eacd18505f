package models_test

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"roster/models"
)

func TestPageArgsWindow(t *testing.T) {
	page := func(number, size int) models.PageArgs {
		return models.PageArgs{Page: &models.PageInput{Number: number, Size: size}}
	}
	const (
		both  = " cannot be combined: give a numbered page or a place in the list"
		older = "older"
		newer = "newer"
	)
	for _, test := range []struct {
		name    string
		args    models.PageArgs
		want    models.Window
		refusal string
	}{
		{"Nothing", models.PageArgs{}, models.Window{Size: 20}, ""},
		{"FirstPage", page(1, 20), models.Window{Size: 20}, ""},
		{"ThirdPage", page(3, 7), models.Window{Size: 7, Offset: 14}, ""},
		{"LargestPage", page(2, 100), models.Window{Size: 100, Offset: 100}, ""},
		{"LastPageNumberOfGraphQL", page(math.MaxInt32, 100), models.Window{Size: 100, Offset: 214748364600}, ""},
		{"PageZero", page(0, 20), models.Window{}, "page.number is 0; pages are numbered from 1"},
		{"PageBelowZero", page(-3, 20), models.Window{}, "page.number is -3; pages are numbered from 1"},
		{"SizeZero", page(1, 0), models.Window{}, "page.size is 0; it must be between 1 and 100"},
		{"SizeBelowZero", page(1, -1), models.Window{}, "page.size is -1; it must be between 1 and 100"},
		{"SizeTooLarge", page(1, 101), models.Window{}, "page.size is 101; it must be between 1 and 100"},
		{"SizeFarTooLarge", page(1, math.MaxInt), models.Window{}, "page.size is 9223372036854775807; it must be between 1 and 100"},
		{"NumberTooLarge", page(math.MaxInt32+1, 20), models.Window{}, "page.number is 2147483648; it must be at most 2147483647"},
		{"NumberOverflows", page(math.MaxInt, 100), models.Window{}, "page.number is 9223372036854775807; it must be at most 2147483647"},
		{"PageAndFirst", models.PageArgs{Page: &models.PageInput{Number: 1, Size: 1}, First: new(1)}, models.Window{}, "page and first" + both},
		{"PageAndAfter", models.PageArgs{Page: &models.PageInput{Number: 1, Size: 1}, After: new("")}, models.Window{}, "page and after" + both},
		{"PageAndLast", models.PageArgs{Page: &models.PageInput{Number: 1, Size: 1}, Last: new(1)}, models.Window{}, "page and last" + both},
		{"PageAndBefore", models.PageArgs{Page: &models.PageInput{Number: 1, Size: 1}, Before: new("")}, models.Window{}, "page and before" + both},

		{"EmptyAfter", models.PageArgs{After: new("")}, models.Window{}, "after is empty; a cursor of this list is expected, or nothing"},
		{"EmptyBefore", models.PageArgs{Last: new(1), Before: new("")}, models.Window{}, "before is empty; a cursor of this list is expected, or nothing"},

		{"First", models.PageArgs{First: new(5)}, models.Window{Size: 5}, ""},
		{"After", models.PageArgs{After: new(older)}, models.Window{Size: 20, After: older}, ""},
		{"FirstAfter", models.PageArgs{First: new(5), After: new(older)}, models.Window{Size: 5, After: older}, ""},
		{"Last", models.PageArgs{Last: new(5)}, models.Window{Size: 5, Backward: true}, ""},
		{"Before", models.PageArgs{Before: new(newer)}, models.Window{Size: 20, Before: newer, Backward: true}, ""},
		{"LastBefore", models.PageArgs{Last: new(5), Before: new(newer)}, models.Window{Size: 5, Before: newer, Backward: true}, ""},
		{"Between", models.PageArgs{After: new(older), Before: new(newer)}, models.Window{Size: 20, After: older, Before: newer}, ""},
		{"FirstBetween", models.PageArgs{First: new(5), After: new(older), Before: new(newer)}, models.Window{Size: 5, After: older, Before: newer}, ""},
		{"LastBetween", models.PageArgs{Last: new(5), After: new(older), Before: new(newer)}, models.Window{Size: 5, After: older, Before: newer, Backward: true}, ""},
		{"FirstBefore", models.PageArgs{First: new(5), Before: new(newer)}, models.Window{Size: 5, Before: newer}, ""},
		{"FirstAndLast", models.PageArgs{First: new(1), Last: new(1)}, models.Window{}, "first and last cannot be combined: give one of them"},
		{"FirstZero", models.PageArgs{First: new(0)}, models.Window{}, "first is 0; it must be between 1 and 100"},
		{"FirstTooLarge", models.PageArgs{First: new(101)}, models.Window{}, "first is 101; it must be between 1 and 100"},
		{"LastBelowZero", models.PageArgs{Last: new(-1)}, models.Window{}, "last is -1; it must be between 1 and 100"},
		{"LastTooLarge", models.PageArgs{Last: new(101)}, models.Window{}, "last is 101; it must be between 1 and 100"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := test.args.Window(models.MaxPageSize)
			checkRefusal(t, err, test.refusal)
			if diff := cmp.Diff(test.want, got); diff != "" && test.refusal == "" {
				t.Errorf("the window (-want +got):\n%s", diff)
			}
		})
	}

	t.Run("LargerMaximum", func(t *testing.T) {
		if got, err := page(1, 1000).Window(1000); err != nil || got.Size != 1000 {
			t.Errorf("the window is %v, error %v", got, err)
		}
		_, err := page(1, 1001).Window(1000)
		checkRefusal(t, err, "page.size is 1001; it must be between 1 and 1000")
	})
}

func TestScopeEmpty(t *testing.T) {
	for _, test := range []struct {
		name  string
		scope models.Scope
		want  bool
	}{
		{"Zero", models.Scope{}, true},
		{"EmptyLists", models.Scope{CustomerIDs: []models.ID{}, CustomerNumbers: []int64{}}, true},
		{"All", models.Scope{All: true}, false},
		{"ID", models.Scope{CustomerIDs: []models.ID{""}}, false},
		{"Number", models.Scope{CustomerNumbers: []int64{0}}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := test.scope.Empty(); got != test.want {
				t.Errorf("Empty gives %v", got)
			}
		})
	}
}
