package rest

import (
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"roster/models"
)

// parameter reads the values of one of Worth's parameters.
type parameter func(q *worthQuery, values []string) error

// worthParameters is every parameter of Worth's list, by its plain name. The
// document allows "any query parameters as needed to filter"; these are the
// fields of its record, each under its own name.
var worthParameters = map[string]parameter{
	"page":           pageNumber,
	"items_per_page": pageSize,
	"sort":           sortOrder,
	"search":         search,

	"id":                   inFilter("id", parseID),
	"first_name":           inFilter("firstName", parseText),
	"last_name":            inFilter("lastName", parseText),
	"email":                inFilter("email", parseText),
	"mobile":               inFilter("mobile", parseText),
	"is_email_verified":    orFilter("isEmailVerified", parseBoolean),
	"is_first_login":       orFilter("isFirstLogin", parseBoolean),
	"created_at":           orFilter("createdAt", parseInstant),
	"created_at[gt]":       timeBound("createdAt", "gt"),
	"created_at[gte]":      timeBound("createdAt", "gte"),
	"created_at[lt]":       timeBound("createdAt", "lt"),
	"created_at[lte]":      timeBound("createdAt", "lte"),
	"created_by":           inFilter("createdBy", parseID),
	"updated_at":           orFilter("updatedAt", parseInstant),
	"updated_at[gt]":       timeBound("updatedAt", "gt"),
	"updated_at[gte]":      timeBound("updatedAt", "gte"),
	"updated_at[lt]":       timeBound("updatedAt", "lt"),
	"updated_at[lte]":      timeBound("updatedAt", "lte"),
	"updated_by":           inFilter("updatedBy", parseID),
	"ext_auth_ref_id":      inFilter("extAuthRefId", parseID),
	"status":               inFilter("status", parseStatus),
	"subrole.id":           inFilter("subroleId", parseID),
	"subrole.code":         inFilter("subrole", parseText),
	"subrole.display_name": subroleText(func(s subroleRecord) string { return s.DisplayName }),
	"subrole.label":        subroleText(func(s subroleRecord) string { return s.Label }),
	"subrole.description":  subroleText(func(s subroleRecord) string { return s.Description }),
}

// worthOrders is what the list can be sorted by.
var worthOrders = map[string]models.UserOrderField{
	"created_at": models.OrderCreatedAt,
	"updated_at": models.OrderUpdatedAt,
	"email":      models.OrderEmail,
	"last_name":  models.OrderName, // and by the first name where the last is the same
	"status":     models.OrderStatus,
}

// worthParameterNames lists the parameters in the order in which they are read.
func worthParameterNames() []string { return slices.Sorted(maps.Keys(worthParameters)) }

func pageNumber(q *worthQuery, values []string) (err error) {
	q.page["number"], err = number(values, 1, math.MaxInt32)
	return err
}

func pageSize(q *worthQuery, values []string) (err error) {
	q.page["size"], err = number(values, 1, models.MaxPageSize)
	return err
}

// sortOrder reads created_at for the oldest first and -created_at for the newest.
func sortOrder(q *worthQuery, values []string) error {
	value, err := once(values)
	if err != nil {
		return err
	}
	name, descending := strings.CutPrefix(value, "-")
	field, ok := worthOrders[name]
	if !ok {
		return models.Errorf(models.CodeBadUserInput, "%s is not a field to sort by: %s are, with - in front for descending",
			models.Quote(value), strings.Join(slices.Sorted(maps.Keys(worthOrders)), ", "))
	}
	direction := models.Ascending
	if descending {
		direction = models.Descending
	}
	q.variables["order"] = map[string]any{"field": string(field), "direction": string(direction)}
	return nil
}

// search takes its text as it is: a comma does not part it. One without a word
// would let everybody through, which nobody who sends it can want.
func search(q *worthQuery, values []string) error {
	value, err := once(values)
	if err != nil {
		return err
	}
	switch words := len(models.SearchWords(value)); {
	case words == 0:
		return models.Errorf(models.CodeBadUserInput, "there is no word in it")
	case words > models.MaxFilterConditions:
		return models.Errorf(models.CodeBadUserInput, "%d words are given; at most %d are allowed", words, models.MaxFilterConditions)
	default:
		q.conditionCount += words - 1
	}
	q.add("search", value)
	return nil
}

// add narrows the list by one field of the GraphQL filter.
func (q *worthQuery) add(field string, condition any) {
	q.conditions = append(q.conditions, map[string]any{field: condition})
	q.conditionCount++
}

// inFilter is a parameter whose GraphQL filter takes a list of values.
func inFilter(field string, read func(string) (any, error)) parameter {
	return func(q *worthQuery, values []string) error {
		wanted, err := readAll(values, read)
		if err != nil {
			return err
		}
		q.add(field, map[string]any{"in": wanted})
		return nil
	}
}

// maxEach is how many values a parameter can have whose GraphQL filter takes one
// value only: each makes up to two conditions.
const maxEach = models.MaxFilterConditions / 2

// orFilter is a parameter whose GraphQL filter takes one value only: several become an or.
func orFilter(field string, read func(string) (any, error)) parameter {
	return func(q *worthQuery, values []string) error {
		wanted, err := readAll(values, read)
		if err != nil {
			return err
		}
		if len(wanted) > maxEach {
			return models.Errorf(models.CodeBadUserInput, "%d values are given; at most %d are allowed", len(wanted), maxEach)
		}
		for i, value := range wanted {
			wanted[i] = map[string]any{field: value}
			if _, ok := value.(map[string]any); ok {
				q.conditionCount++ // both ends of a range
			}
		}
		q.conditionCount += len(wanted) - 1
		q.add("or", wanted)
		return nil
	}
}

// subroleRecord is a subrole of the customer, as worth_subroles.graphql asks for it.
type subroleRecord struct {
	ID          models.ID
	DisplayName string
	Label       string
	Description string
}

// subroleText is a parameter for a text of the subrole that the GraphQL filter
// does not compare. A customer has few subroles, a dozen as a rule, so those with the
// text are looked up first and the list is filtered by their ids.
func subroleText(field func(subroleRecord) string) parameter {
	return func(q *worthQuery, values []string) error {
		wanted, err := split(values)
		if err != nil {
			return err
		}
		for i := range wanted {
			wanted[i] = models.Fold(wanted[i])
		}
		q.subroles = append(q.subroles, func(s subroleRecord) bool {
			return slices.Contains(wanted, models.Fold(field(s)))
		})
		if len(q.subroles) == 1 {
			q.conditionCount++ // all of them become one condition
		}
		return nil
	}
}

// bySubroles narrows the list to users with a subrole that has all the texts.
func (q *worthQuery) bySubroles(subroles []subroleRecord) {
	fitting := []any{}
	for _, subrole := range subroles {
		if !slices.ContainsFunc(q.subroles, func(fits func(subroleRecord) bool) bool { return !fits(subrole) }) {
			fitting = append(fitting, string(subrole.ID))
		}
	}
	// One list of the GraphQL filter holds only so many.
	lists := []any{}
	for list := range slices.Chunk(fitting, models.MaxFilterValues) {
		lists = append(lists, map[string]any{"subroleId": map[string]any{"in": list}})
	}
	q.add("or", lists)
}

func readAll(values []string, read func(string) (any, error)) ([]any, error) {
	parts, err := split(values)
	if err != nil {
		return nil, err
	}
	wanted := make([]any, len(parts))
	for i, part := range parts {
		if wanted[i], err = read(part); err != nil {
			return nil, err
		}
	}
	return wanted, nil
}

// timeBound is one end of a range of times.
func timeBound(field, operator string) parameter {
	return func(q *worthQuery, values []string) error {
		value, err := once(values)
		if err != nil {
			return err
		}
		if _, err := models.ParseTime(value); err != nil {
			return err
		}
		q.add(field, map[string]any{operator: value})
		return nil
	}
}

func parseText(value string) (any, error) { return value, nil }

func parseID(value string) (any, error) {
	id, err := models.ParseID(value)
	return string(id), err
}

func parseBoolean(value string) (any, error) {
	if value != "true" && value != "false" {
		return nil, models.Errorf(models.CodeBadUserInput, "%s is neither true nor false", models.Quote(value))
	}
	return value == "true", nil
}

func parseStatus(value string) (any, error) {
	var status models.UserStatus
	err := status.UnmarshalGQL(value)
	return value, err
}

// parseInstant is a time as a record shows it, which is the whole millisecond.
func parseInstant(value string) (any, error) {
	t, err := models.ParseTime(value)
	if err != nil {
		return nil, err
	}
	first := t.Truncate(time.Millisecond)
	last := first.Add(time.Millisecond - time.Microsecond)
	return map[string]any{"gte": first.Format(time.RFC3339Nano), "lte": last.Format(time.RFC3339Nano)}, nil
}
