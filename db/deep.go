package db

import (
	"strings"

	"roster/models"
)

// A numbered page has to pass over all users before it. Reading them for that
// took 420 ms for page 20,000 of 25,000, so a deep page is read in another way:
// only ids are passed over, which stand in the index of the order (50 ms), and
// from the end of the list that is nearer, as the counters tell how long the
// list is (10 ms). In the usual order, by time of creation, other counters tell how
// many users came in each month, and hardly more than those of one month are passed
// over (3 ms). It is one statement still, so the counters and the users are those of
// one moment.

// deepFrom is the offset from which a page counts as deep: before it, the plain
// statement is the quicker one.
var deepFrom int64 = 1_000

// deepUsers makes the statement for a window with an offset of a customer's users
// in these statuses.
func deepUsers(l listing, scope models.Scope, query models.UserQuery, statuses []models.UserStatus) *windowStatement[models.User] {
	stretch, counts := stretchOfAll, countsOf(query.CustomerID, statuses, scope)
	begin, end, fromBegin, fromEnd := "", "", "", ""
	if query.Order.Field == models.OrderCreatedAt && len(statuses) == len(models.UserStatuses()) {
		stretch, counts = stretchOfMonths, all(where("um.customer_id = ?", query.CustomerID), scoped(scope, "um.customer_id"))
		begin, fromBegin = "low", " AND u.created_at >= (SELECT low FROM stretch)"
		end, fromEnd = "high", " AND u.created_at < (SELECT high FROM stretch)"
		if l.descending {
			begin, fromBegin, end, fromEnd = end, fromEnd, begin, fromBegin
		}
	}
	text := strings.NewReplacer(
		"{begin}", begin, "{end}", end, "{from begin}", fromBegin, "{from end}", fromEnd,
		"{counted}", countedUsers, "{counts}", counts.sql, "{months}", ordered([]string{"low"}, l.descending),
		"{users}", l.matching.sql, "{columns}", l.columns.names(),
		"{ordered}", ordered(l.keys, l.descending), "{reversed}", ordered(l.keys, !l.descending),
		"{size}", limit(query.Window),
	).Replace(strings.Replace(deepStatement, "{stretch}", stretch, 1))
	args := append([]any{query.Window.Offset}, counts.args...)
	args = append(append(args, l.matching.args...), l.matching.args...)
	read, found := collect(query.Window.Size+1, l.columns.fields)
	return &windowStatement[models.User]{&statement{text: text, args: args, read: read}, query.Window, found}
}

// passed gives the listing with the columns only that tell users apart and sort them.
func (l listing) passed() listing {
	l.columns = make(userColumnSet, len(l.keys))
	for i, key := range l.keys {
		l.columns[i].name = key
	}
	return l
}

// afterwards makes the statement for a deep page of a filter for which nothing is counted,
// from the one that finds the page's ids: all users before it are passed over, but only
// its own are read.
func afterwards(l listing, w models.Window, page *windowStatement[models.User]) *windowStatement[models.User] {
	text := l.columns.selectUsers() + " WHERE u.id IN (SELECT id FROM (" + page.statement.text + ") AS page LIMIT " + limit(w) +
		") ORDER BY " + ordered(l.keys, l.descending)
	read, found := collect(w.Size+1, l.columns.fields)
	return &windowStatement[models.User]{&statement{text: text, args: page.statement.args, read: read}, w, found}
}

// deepStatement reads the page from one end or the other of the stretch of the list
// that it lies in: the end that is not wanted has the limit 0 and is not begun. The
// last limit is a number, so that PostgreSQL knows how few the ids are.
const deepStatement = `
WITH page (first) AS (SELECT CAST(? AS bigint)),
{stretch},
ends (skip, skip_back, wanted) AS (
	SELECT first - before,
		CASE WHEN until - first > {size} THEN until - first - {size} ELSE 0 END,
		CASE WHEN until - first > {size} THEN {size} ELSE until - first END
	FROM page, stretch WHERE first < until
),
near (id) AS (
	SELECT u.id FROM users AS u WHERE {users}{from begin} ORDER BY {ordered}
	LIMIT COALESCE((SELECT wanted FROM ends WHERE skip <= skip_back), 0) OFFSET COALESCE((SELECT skip FROM ends), 0)
),
far (id) AS (
	SELECT u.id FROM users AS u WHERE {users}{from end} ORDER BY {reversed}
	LIMIT COALESCE((SELECT wanted FROM ends WHERE skip > skip_back), 0) OFFSET COALESCE((SELECT skip_back FROM ends), 0)
)
SELECT {columns} FROM users AS u
WHERE u.id IN (SELECT id FROM (SELECT id FROM near UNION ALL SELECT id FROM far) AS found LIMIT {size})
ORDER BY {ordered}`

// A stretch of a list has a number of users before it, and another until its end.
const (
	// stretchOfAll is all of a list.
	stretchOfAll = `stretch (before, until) AS (SELECT CAST(0 AS bigint), {counted} FROM user_counts AS uc WHERE {counts})`

	// stretchOfMonths is from the beginning of the month in which the page begins to
	// the end of that in which it ends. Months without users do not count: a month
	// lasts until the next one that has some, and the last one until 'infinity', which
	// serves SQLite too: as text it sorts after all times.
	stretchOfMonths = `months (low, users) AS (
	SELECT um.month, CAST(sum(um.users) AS bigint) FROM user_months AS um WHERE {counts} GROUP BY um.month HAVING sum(um.users) > 0
),
parts (low, high, before, until) AS (
	SELECT low, COALESCE(lead(low) OVER (ORDER BY low), 'infinity'), CAST(sum(users) OVER (ORDER BY {months}) AS bigint) - users,
		CAST(sum(users) OVER (ORDER BY {months}) AS bigint)
	FROM months
),
stretch (before, until, {begin}, {end}) AS (
	SELECT b.before, e.until, b.{begin}, e.{end} FROM page
	JOIN parts AS b ON b.before <= page.first AND page.first < b.until
	JOIN parts AS e ON e.before < page.first + {size}
	ORDER BY e.before DESC LIMIT 1
)`
)
