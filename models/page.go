package models

import "math"

// The size of a page: the default, and the most that may be asked for.
const (
	DefaultPageSize = 20
	MaxPageSize     = 100
)

// PageInput asks for a numbered page. Number counts from 1.
type PageInput struct {
	Number int
	Size   int
}

// PageArgs are the paging arguments of a list as a caller gave them: either a
// numbered page, or a place in the list after or before a cursor.
type PageArgs struct {
	Page   *PageInput
	First  *int
	After  *string
	Last   *int
	Before *string
}

// Window is a checked PageArgs: which records of an ordered list are wanted.
type Window struct {
	// Size is the number of records wanted, at least 1.
	Size int
	// Offset is the number of records to pass over. Only numbered pages have one.
	Offset int64
	// After and Before are the cursors between which the records lie; empty means no bound.
	After, Before string
	// Backward is true when the last records between the cursors are wanted, not the first.
	Backward bool
}

// Window checks the arguments and settles the defaults: the first page, 20
// records. Pages of more than maxSize are refused. Errors are CodeBadUserInput
// and name the argument, its value and what is allowed.
func (a PageArgs) Window(maxSize int) (Window, error) {
	if a.Page != nil {
		// Only what was given is named: with introspection off, a message tells nothing more.
		for _, argument := range []struct {
			name  string
			given bool
		}{{"first", a.First != nil}, {"after", a.After != nil}, {"last", a.Last != nil}, {"before", a.Before != nil}} {
			if argument.given {
				return Window{}, Errorf(CodeBadUserInput, "page and %s cannot be combined: give a numbered page or a place in the list", argument.name)
			}
		}
		if a.Page.Number < 1 {
			return Window{}, Errorf(CodeBadUserInput, "page.number is %d; pages are numbered from 1", a.Page.Number)
		}
		// The largest Int of GraphQL; far beyond it the offset would overflow.
		if a.Page.Number > math.MaxInt32 {
			return Window{}, Errorf(CodeBadUserInput, "page.number is %d; it must be at most %d", a.Page.Number, math.MaxInt32)
		}
		if err := checkSize("page.size", a.Page.Size, maxSize); err != nil {
			return Window{}, err
		}
		return Window{Size: a.Page.Size, Offset: int64(a.Page.Number-1) * int64(a.Page.Size)}, nil
	}
	if a.First != nil && a.Last != nil {
		return Window{}, Errorf(CodeBadUserInput, "first and last cannot be combined: give one of them")
	}

	w := Window{Size: DefaultPageSize}
	for _, cursor := range []struct {
		name  string
		given *string
		place *string
	}{{"after", a.After, &w.After}, {"before", a.Before, &w.Before}} {
		if cursor.given == nil {
			continue
		}
		if *cursor.given == "" {
			return Window{}, Errorf(CodeBadUserInput, "%s is empty; a cursor of this list is expected, or nothing", cursor.name)
		}
		*cursor.place = *cursor.given
	}
	switch {
	case a.First != nil:
		w.Size = *a.First
		return w, checkSize("first", w.Size, maxSize)
	case a.Last != nil:
		w.Size, w.Backward = *a.Last, true
		return w, checkSize("last", w.Size, maxSize)
	}
	// Who names only "before" walks towards the start of the list.
	w.Backward = a.Before != nil && a.After == nil
	return w, nil
}

func checkSize(name string, size, maxSize int) error {
	if size < 1 || size > maxSize {
		return Errorf(CodeBadUserInput, "%s is %d; it must be between 1 and %d", name, size, maxSize)
	}
	return nil
}
