package db

import (
	"strconv"
	"strings"

	"roster/models"
)

// A numbered page has to pass over all users before it. Reading them for that
// took 420 ms for page 20,000 of 25,000, so a deep page is read in another way:
// only ids are passed over, which stand in the index of the order (50 ms), and
// from the end of the list that is nearer, as the counters tell how long the
// list is (10 ms). It is one statement still, so the counters and the users are
// those of one moment.

// deepFrom is the offset from which a page counts as deep: before it, the plain
// statement is the quicker one.
var deepFrom int64 = 1_000

// deepUsers makes the statement for a window with an offset of a customer's users
// in these statuses.
func deepUsers(l listing, scope models.Scope, query models.UserQuery, statuses []models.UserStatus) *windowStatement[models.User] {
	counts := countsOf(query.CustomerID, statuses, scope)
	// One row more than asked for tells whether there are more.
	size := strconv.Itoa(query.Window.Size + 1)
	text := strings.NewReplacer(
		"{counted}", countedUsers, "{counts}", counts.sql, "{users}", l.matching.sql, "{columns}", l.columns.names(),
		"{ordered}", ordered(l.keys, l.descending), "{reversed}", ordered(l.keys, !l.descending), "{size}", size,
	).Replace(deepStatement)
	args := append([]any{query.Window.Offset, query.Window.Offset}, counts.args...)
	args = append(append(append(args, l.matching.args...), query.Window.Offset), l.matching.args...)
	read, found := collect(l.columns.fields)
	return &windowStatement[models.User]{&statement{text: text, args: args, read: read}, query.Window, found}
}

// deepStatement reads the page from one end or the other: the list that is not
// wanted has the limit 0 and is not begun. The last limit is a number, so that
// PostgreSQL knows how few the ids are.
const deepStatement = `
WITH list (before, rest) AS (SELECT CAST(? AS bigint), {counted} - CAST(? AS bigint) FROM user_counts AS uc WHERE {counts}),
near (id) AS (
	SELECT u.id FROM users AS u WHERE {users} ORDER BY {ordered}
	LIMIT (SELECT CASE WHEN before <= rest THEN {size} ELSE 0 END FROM list) OFFSET ?
),
far (id) AS (
	SELECT u.id FROM users AS u WHERE {users} ORDER BY {reversed}
	LIMIT (SELECT CASE WHEN before <= rest OR rest <= 0 THEN 0 WHEN rest < {size} THEN rest ELSE {size} END FROM list)
	OFFSET (SELECT CASE WHEN rest > {size} THEN rest - {size} ELSE 0 END FROM list)
)
SELECT {columns} FROM users AS u
WHERE u.id IN (SELECT id FROM (SELECT id FROM near UNION ALL SELECT id FROM far) AS page LIMIT {size})
ORDER BY {ordered}`
