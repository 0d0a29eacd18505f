package rest

import (
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"roster/models"
)

// maxQuery is the longest query string that is read. The longest sensible one, a
// hundred UUIDs, has less than half of it.
const maxQuery = 8 << 10

// parseQuery reads a query string strictly. net/http's own reading drops what it
// does not understand, and a dropped filter would hand out users that were not
// asked for.
func parseQuery(raw string) (url.Values, error) {
	if len(raw) > maxQuery {
		return nil, models.Errorf(models.CodeBadRequest, "The query string has %d bytes; at most %d are allowed.", len(raw), maxQuery)
	}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return nil, models.Errorf(models.CodeBadRequest, `The query string is not well formed: parameters are separated by "&", and "%%" stands before two hexadecimal digits.`)
	}
	return values, nil
}

// noParameters refuses every query parameter, for the endpoints that have none.
func noParameters(raw string) error {
	values, err := parseQuery(raw)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		return models.Errorf(models.CodeBadUserInput, "%s is not a parameter: this endpoint has none.", models.Quote(name))
	}
	return nil
}

// bracketed is a parameter in one of the bracket forms: query[status] and
// filter[created_at][gte] mean the same as status and created_at[gte].
var bracketed = regexp.MustCompile(`^(?:query|filter|search_filter)\[([^\[\]]+)\]((?:\[[^\[\]]*\])*)$`)

// nested is a field of the subrole in brackets.
var nested = regexp.MustCompile(`^(subrole)\[([^\[\]]+)\]$`)

// canonical gives the plain name of a parameter. Clients that write nested
// objects and lists in brackets, subrole[code] and status[], mean subrole.code
// and status.
func canonical(name string) string {
	if m := bracketed.FindStringSubmatch(name); m != nil {
		name = m[1] + m[2]
	}
	name = strings.TrimSuffix(name, "[]")
	if m := nested.FindStringSubmatch(name); m != nil {
		name = m[1] + "." + m[2]
	}
	return name
}

// readWorthQuery reads the parameters of Worth's list. Every parameter is used or
// refused.
func readWorthQuery(raw string) (*worthQuery, error) {
	given, err := parseQuery(raw)
	if err != nil {
		return nil, err
	}
	values := map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		known := canonical(name)
		if _, ok := worthParameters[known]; !ok {
			return nil, models.Errorf(models.CodeBadUserInput, "%s is not a parameter. Known are %s.", models.Quote(name), strings.Join(worthParameterNames(), ", "))
		}
		values[known] = append(values[known], given[name]...)
	}
	query := &worthQuery{variables: map[string]any{}, page: map[string]any{"number": 1, "size": models.DefaultPageSize}}
	for _, name := range worthParameterNames() {
		if values[name] == nil {
			continue
		}
		if err := worthParameters[name](query, values[name]); err != nil {
			return nil, models.Errorf(models.CodeBadUserInput, "%s: %s", name, err)
		}
	}
	if query.conditionCount > models.MaxFilterConditions {
		return nil, models.Errorf(models.CodeBadUserInput, "%s together make %d conditions; at most %d are allowed. A word of search is one, and a time two.",
			strings.Join(slices.Sorted(maps.Keys(values)), ", "), query.conditionCount, models.MaxFilterConditions)
	}
	return query, nil
}

// worthQuery gathers the variables.
type worthQuery struct {
	variables  map[string]any
	page       map[string]any
	conditions []any
	// conditionCount is how many conditions these are to GraphQL, which counts each word of
	// a search and both ends of a range.
	conditionCount int
	// subroles are what the user's subrole has to be, for what GraphQL cannot filter by.
	subroles []func(subroleRecord) bool
}

// finish puts the conditions together into the variables of the document. Each parameter
// stays a filter of its own, so that no two can overwrite each other.
func (q *worthQuery) finish() map[string]any {
	q.variables["page"] = q.page
	if len(q.conditions) > 0 {
		q.variables["filter"] = map[string]any{"and": q.conditions}
	}
	return q.variables
}

// once gives the value of a parameter that may be given only once.
func once(values []string) (string, error) {
	if len(values) != 1 {
		return "", models.Errorf(models.CodeBadUserInput, "given %d times; once is allowed", len(values))
	}
	return values[0], models.CheckText(values[0])
}

// split gives all values of a parameter: each time it is given, and each part
// between commas. A value that has a comma itself stands between double quotes,
// where a double quote is written twice, as in a CSV file.
func split(values []string) ([]string, error) {
	var parts []string
	for _, value := range values {
		if err := models.CheckText(value); err != nil {
			return nil, err
		}
		for more := true; more; {
			var part string
			var err error
			if part, value, more, err = nextPart(value); err != nil {
				return nil, err
			}
			parts = append(parts, part)
		}
	}
	if len(parts) > models.MaxFilterValues {
		return nil, models.Errorf(models.CodeBadUserInput, "%d values are given; at most %d are allowed", len(parts), models.MaxFilterValues)
	}
	slices.Sort(parts)
	return slices.Compact(parts), nil
}

// nextPart takes the first part off a list of values.
func nextPart(value string) (part, rest string, more bool, err error) {
	quoted, ok := strings.CutPrefix(value, `"`)
	if !ok {
		part, rest, more = strings.Cut(value, ",")
		return part, rest, more, nil
	}
	var b strings.Builder
	for {
		text, after, closed := strings.Cut(quoted, `"`)
		b.WriteString(text)
		switch {
		case !closed:
			return "", "", false, models.Errorf(models.CodeBadUserInput, "a double quote is not closed")
		case strings.HasPrefix(after, `"`):
			b.WriteByte('"')
			quoted = after[1:]
		case after == "":
			return b.String(), "", false, nil
		case strings.HasPrefix(after, ","):
			return b.String(), after[1:], true, nil
		default:
			return "", "", false, models.Errorf(models.CodeBadUserInput, "a comma or the end is expected after the closing double quote")
		}
	}
}

// number reads a whole number from least to most, written in digits only.
func number(values []string, least, most int) (int, error) {
	value, err := once(values)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(value, 10, 31)
	if err != nil || int(n) < least || int(n) > most {
		return 0, models.Errorf(models.CodeBadUserInput, "%s is not a whole number from %d to %d", models.Quote(value), least, most)
	}
	return int(n), nil
}
