package db

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/uptrace/bun"

	"roster/models"
)

// A list is read along the index of its order when many users match, and by
// sorting those who match when few do: the other way round, either takes seconds
// with a large customer. A database chooses by what it knows of the values, and
// there are conditions of which it knows nothing: how many users of this customer
// have the authority of this name, a subrole of this code, a date in this range,
// or anything at all in a column that most leave empty. So for these the statement itself finds out, by looking for up to
// rareUsers matches with an index made for it, and then reads in one way or in
// the other.

// rareUsers is how many users are sorted rather than looked for along the order.
const rareUsers = 1_000

// probes give the conditions of a filter whose matches have to be looked for, as
// SELECTs of the ids of the customer's users that hold all of them and come from
// an index. All conditions of the filter are looked at that every user of the
// list must hold.
func probes(query models.UserQuery, f *models.UserFilter) (list []predicate) {
	if f == nil {
		return nil
	}
	if s := f.Subrole; s != nil && (s.Eq != nil || s.In != nil || s.StartsWith != nil || s.Contains != nil) {
		code := all(append(texts("s.code_key", "", s), where("s.customer_id = ?", query.CustomerID))...)
		list = append(list, where("SELECT x.id FROM subroles AS s JOIN users AS x ON x.customer_id = s.customer_id AND x.subrole_id = s.id WHERE "+code.sql, code.args...))
	}
	if a := f.Authority; a != nil {
		sets := [][]string{}
		if len(a.AnyOf) > 0 {
			sets = append(sets, a.AnyOf)
		}
		for _, name := range a.AllOf {
			sets = append(sets, []string{name})
		}
		for _, names := range sets {
			list = append(list, where("SELECT ua.user_id FROM authorities AS a JOIN user_authorities AS ua ON ua.authority_id = a.id"+
				" WHERE a.name IN (?) AND ua.customer_id = ?", bun.List(names), query.CustomerID))
		}
	}
	for _, c := range []struct {
		column string
		id     *models.IDFilter
	}{{"x.created_by", f.CreatedBy}, {"x.updated_by", f.UpdatedBy}, {"x.ext_auth_ref_id", f.ExtAuthRefID}} {
		if c.id != nil && c.id.IsNull != nil && !*c.id.IsNull {
			list = append(list, where("SELECT x.id FROM users AS x WHERE x.customer_id = ? AND "+c.column+" IS NOT NULL ORDER BY "+c.column, query.CustomerID))
		}
	}
	if f.CreatedAt != nil && query.Order.Field != models.OrderCreatedAt {
		list = append(list, during("x.created_at", query.CustomerID, f.CreatedAt))
	}
	if f.UpdatedAt != nil && query.Order.Field != models.OrderUpdatedAt {
		list = append(list, during("x.updated_at", query.CustomerID, f.UpdatedAt))
	}
	for _, member := range f.And {
		list = append(list, probes(query, member)...)
	}
	return list
}

// during looks for users in a range of times. The order has the index used.
func during(column string, customerID models.ID, f *models.DateTimeFilter) predicate {
	within := all(append(times(column, f), where("x.customer_id = ?", customerID))...)
	return where("SELECT x.id FROM users AS x WHERE "+within.sql+" ORDER BY "+column, within.args...)
}

// probedUsers gives a window of a list of users whose filter has probes: the
// users of the first one that finds few, or those along the order if all find many.
func (db *DB) probedUsers(ctx context.Context, probes []predicate, matching predicate, w models.Window, columns string, keys []string, descending bool, after, before []any) (rows []*models.User, more bool, err error) {
	parts := []predicate{matching}
	place, beyond, short := "("+strings.Join(keys, ", ")+")", " > ", " < "
	if descending {
		beyond, short = short, beyond
	}
	if after != nil {
		parts = append(parts, where(place+beyond+"(?)", bun.List(after)))
	}
	if before != nil {
		parts = append(parts, where(place+short+"(?)", bun.List(before)))
	}
	direction := " ASC"
	if descending != w.Backward {
		direction = " DESC"
	}
	ordered := strings.Join(keys, direction+", ") + direction
	limit := strconv.Itoa(w.Size+1) + " OFFSET " + strconv.FormatInt(w.Offset, 10)

	var (
		found, branches []string
		args            []any
		of              []any
	)
	// A way that is not taken has the limit 0, with which it is not begun.
	branch := func(condition predicate, taken string) {
		branches = append(branches, "SELECT * FROM (SELECT * FROM (SELECT "+columns+" FROM users AS u WHERE "+condition.sql+" ORDER BY "+ordered+" LIMIT "+limit+") AS u"+
			" LIMIT (SELECT CASE WHEN "+taken+" THEN "+strconv.Itoa(w.Size+1)+" ELSE 0 END)) AS u")
		of = append(of, condition.args...)
	}
	many := "TRUE"
	for i, probe := range probes {
		name := "found" + strconv.Itoa(i)
		found = append(found, name+" (id) AS MATERIALIZED (SELECT * FROM ("+probe.sql+") AS x LIMIT "+strconv.Itoa(rareUsers+1)+")")
		args = append(args, probe.args...)
		n := "(SELECT count(*) FROM " + name + ")"
		branch(all(append(slices.Clone(parts), where("u.id IN (SELECT id FROM "+name+" LIMIT "+strconv.Itoa(rareUsers)+")"))...),
			many+" AND "+n+" <= "+strconv.Itoa(rareUsers))
		many += " AND " + n + " > " + strconv.Itoa(rareUsers)
	}
	branch(all(parts...), many)
	statement := "WITH " + strings.Join(found, ", ") + " SELECT * FROM (" + strings.Join(branches, " UNION ALL ") + ") AS u ORDER BY " + ordered
	if err := db.read.NewRaw(statement, append(args, of...)...).Scan(ctx, &rows); err != nil {
		return nil, false, translate(err)
	}
	if more = len(rows) > w.Size; more {
		rows = rows[:w.Size]
	}
	if w.Backward {
		slices.Reverse(rows)
	}
	return rows, more, nil
}
