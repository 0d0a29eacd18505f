package main

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"roster/auth"
	"roster/db"
	"roster/db/dbtest"
	"roster/graph"
	"roster/models"
	"roster/rest"
)

// TestNobodyReadsWhatIsNotTheirs holds two things for random callers and random
// requests to every surface. No value of a customer beyond the caller's scope
// comes back. And to the caller the world is as if nothing beyond the scope
// existed: a server with all the data and one with only what the caller may read
// give the same status, headers and body, and run the same SQL statements. So
// what belongs to others cannot be told from what does not exist, neither by an
// answer nor by the work that it takes. Of all of that the log holds neither a
// value nor a token.
func TestNobodyReadsWhatIsNotTheirs(t *testing.T) {
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			data := markedData(40, 3)
			full := newWorld(t, engine, data)
			// Each set of customers that a caller may read; the third customer is in
			// nobody's scope.
			for name, readable := range map[string]string{"CallersOfNone": "", "CallersOfTheFirst": "0", "CallersOfTheSecond": "1", "CallersOfBoth": "01"} {
				t.Run(name, func(t *testing.T) {
					checkIsolation(t, full, newWorld(t, engine, onlyOf(data, readable)), data, readable)
				})
			}
			if told := marks(full.server.log.String()); len(told) > 0 {
				t.Errorf("the log tells %q", slices.Sorted(maps.Keys(told)))
			}
			if !strings.Contains(full.server.log.String(), "msg=request") || strings.Contains(full.server.log.String(), "eyJ") {
				t.Error("the log holds no requests, or it holds tokens")
			}
		})
	}
}

func checkIsolation(t *testing.T, full, own *world, data *dbtest.Data, readable string) {
	var cases, refused, fruitful, tempting int
	rapid.Check(t, func(rt *rapid.T) {
		cases++
		caller := drawCaller(rt, data, readable)
		asked := drawProbe(rt, full, data)
		got, want := full.ask(rt, caller, asked), own.ask(rt, caller, asked)
		got.statements, want.statements = full.count(rt, caller, asked), own.count(rt, caller, asked)
		if diff := gocmp.Diff(want, got, gocmp.AllowUnexported(answer{})); diff != "" {
			rt.Errorf("%s\n(-without the others' data +with it):\n%s", asked, diff)
		}
		if leaked := beyond(readable, asked, got); len(leaked) > 0 {
			rt.Errorf("%s\ngave %q in %s", asked, leaked, got.body)
		}
		if got.status >= http.StatusInternalServerError {
			rt.Errorf("%s: %d %s", asked, got.status, got.body)
		}
		// What the test is worth: how many requests had something to lose.
		if len(marks(got.body)) > 0 {
			fruitful++
		}
		if strings.Contains(got.body, "FORBIDDEN") || strings.Contains(got.body, "ACCESS_DENIED") {
			refused++
		}
		if cases%2 == 0 && len(beyond(readable, asked, full.ask(rt, full.admin(), asked))) > 0 {
			tempting++
		}
	})
	t.Logf("%d cases: %d gave data, %d were refused; an admin was asked for %d and was given by %d what the caller must not have",
		cases, fruitful, refused, cases/2, tempting)
	if testing.Short() {
		return // these are too few cases to tell
	}
	if tempting == 0 || readable != "" && fruitful < cases/50 {
		t.Error("too few requests ask for anything that could be lost")
	}
}

// world is one server and the same executor and handlers once more, where the
// statements can be counted.
type world struct {
	server  *serving
	secret  string
	counted func() http.Handler
	counter *dbtest.Counter
}

func newWorld(t *testing.T, engine db.Engine, data *dbtest.Data) *world {
	t.Helper()
	w := &world{secret: strings.Repeat("k", 32)}
	databaseURL := dbtest.URL(t, engine)
	database := dbtest.OpenURL(t, databaseURL)
	dbtest.Fill(t, database, data)
	w.server = startServing(t, map[string]string{
		"DATABASE_URL": databaseURL, "ROSTER_JWT_SECRET": w.secret, "ROSTER_JWT_ISSUER": "issuer", "ROSTER_JWT_AUDIENCE": "audience",
		"ROSTER_LEGACY_CREDENTIALS": "true",
	})

	w.counter = dbtest.Count(database)
	log := slog.New(slog.DiscardHandler)
	verifier, err := auth.NewVerifier(t.Context(), log, auth.Issuer{Name: "issuer", Audience: "audience", Secret: []byte(w.secret)})
	if err != nil {
		t.Fatal(err)
	}
	// Each time anew, for an executor keeps subroles and authorities that it has read.
	w.counted = func() http.Handler {
		executor := graph.NewExecutor(database, log, graph.Settings{Limits: graph.DefaultLimits(), Introspection: true, CacheBytes: 1 << 20})
		graphQL := graph.NewHandler(executor, 1<<16)
		legacy := rest.Config{Executor: executor, Authenticate: verifier.Middleware, Log: log, Timeout: time.Minute, Credentials: database}
		return rest.Front(verifier.Middleware(graphQL.Refuse)(graphQL), rest.NewWorth(legacy), rest.NewTestinium(legacy))
	}
	return w
}

// serving is "roster serve", running.
type serving struct {
	base string
	log  lockedBuffer
	// stop ends it and waits for that.
	stop func()
}

// startServing runs "roster serve" with these settings, until it is stopped or
// the test ends. Ending must succeed.
func startServing(t testing.TB, env map[string]string, args ...string) *serving {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s := &serving{}
	address, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		ended <- run(ctx, append([]string{"serve", "--listen", "127.0.0.1:0"}, args...), func(name string) string { return env[name] },
			strings.NewReader(""), io.Discard, writerFunc(func(line []byte) (int, error) {
				if _, rest, ok := strings.Cut(string(line), "msg=serving address="); ok {
					address <- strings.Fields(rest)[0]
				}
				return s.log.Write(line)
			}))
	}()
	s.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the server ended with %v", err)
		}
	})
	select {
	case at := <-address:
		s.base = "http://" + at
	case err := <-ended:
		cancel()
		t.Fatalf("the server did not start: %v %s", err, s.log.String())
	}
	t.Cleanup(s.stop)
	return s
}

func (w *world) admin() auth.Principal {
	return auth.Principal{Subject: "admin", Authorities: []string{auth.RoleAdmin}}
}

// answer is all that a caller can see, and what it took.
type answer struct {
	status     int
	header     http.Header
	body       string
	statements []string
}

func (w *world) request(t *rapid.T, caller auth.Principal, p probe) *http.Request {
	caller.ExpiresAt = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
	token, err := auth.Sign([]byte(w.secret), "issuer", "audience", caller)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), p.method, w.server.base+p.path, strings.NewReader(p.body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = http.Header{"Authorization": {"Bearer " + token}, "X-Request-Id": {"the-request"}}
	if p.body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if p.company != "" {
		r.Header.Set("current-company-id", p.company)
	}
	return r
}

// ask makes the request of the server.
func (w *world) ask(t *rapid.T, caller auth.Principal, p probe) answer {
	response, err := http.DefaultTransport.RoundTrip(w.request(t, caller, p))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	response.Header.Del("Date")
	return answer{status: response.StatusCode, header: response.Header, body: sortErrors(string(body))}
}

// count gives the statements that the request takes.
func (w *world) count(t *rapid.T, caller auth.Principal, p probe) []string {
	w.counter.Reset()
	w.counted().ServeHTTP(httptest.NewRecorder(), w.request(t, caller, p))
	statements := w.counter.Statements()
	slices.Sort(statements) // fields beside each other are read at the same time
	// Of two fields that need the same subroles or authorities at once, the second
	// may find that the first has read them.
	return slices.CompactFunc(statements, func(a, b string) bool {
		return a == b && (strings.Contains(a, "FROM subroles AS s") || strings.Contains(a, "FROM authorities AS a"))
	})
}

// sortErrors puts the errors of a GraphQL answer into one order: fields beside
// each other fail in any.
func sortErrors(body string) string {
	var decoded map[string]json.RawMessage
	var errs []json.RawMessage
	if json.Unmarshal([]byte(body), &decoded) != nil || json.Unmarshal(decoded["errors"], &errs) != nil || len(errs) < 2 {
		return body
	}
	slices.SortFunc(errs, func(a, b json.RawMessage) int { return cmp.Compare(string(a), string(b)) })
	return fmt.Sprintf("%s %s", errs, decoded["data"])
}

// markedData makes up users of three customers in which every value tells whose
// it is: texts by a mark at their end, UUIDs and numbers by how they begin, times
// by their year. Before the mark the texts of all customers are from the same
// pool, so that the same filters let users of each through.
func markedData(n int, seed uint64) *dbtest.Data {
	data := dbtest.Users(n, seed)
	third := data.Customers[2]
	for _, code := range []string{"cro", "zoo"} {
		id := models.ID(strings.Replace(string(third.ID), "-4", "-5", 1))
		if code == "zoo" {
			id = models.ID(strings.Replace(string(third.ID), "-4", "-6", 1))
		}
		data.Subroles = append(data.Subroles, &models.Subrole{ID: id, CustomerID: third.ID, Code: code, DisplayName: "Of nobody", Label: "label"})
	}
	for i, user := range data.Users {
		if i%4 == 0 {
			user.CustomerID, user.SubroleID = third.ID, &data.Subroles[len(data.Subroles)-1-i%8/4].ID
		}
	}

	// The ids in the data still are those from before the marking.
	of := map[models.ID]int{}
	for k, customer := range data.Customers {
		of[customer.ID] = k
	}
	marked := marker{}
	for _, subrole := range data.Subroles {
		k := of[subrole.CustomerID]
		marked.id(k, &subrole.ID)
		marked.id(k, &subrole.CustomerID)
		for _, text := range []*string{&subrole.Code, &subrole.DisplayName, &subrole.Label, &subrole.Description} {
			marked.text(k, text)
		}
	}
	granted, ids := map[models.ID][]int64{}, map[models.ID]models.ID{}
	for _, user := range data.Users {
		k, before := of[user.CustomerID], user.ID
		marked.id(k, &user.ID)
		marked.id(k, &user.CustomerID)
		granted[user.ID], ids[before] = data.Granted[before], user.ID
		user.Number += int64(7_010_000_000 + k*100_000_000)
		// The pointers of the made up data point into pools.
		for _, id := range []**models.ID{&user.CreatedBy, &user.UpdatedBy, &user.ExtAuthRefID} {
			if *id != nil {
				*id = new(**id)
				marked.id(k, *id)
			}
		}
		if user.SubroleID != nil {
			id := *user.SubroleID
			if !strings.HasPrefix(string(id), idPrefix) { // most point at the subrole itself
				marked.id(k, &id)
			}
			user.SubroleID = &id
		}
		for _, text := range []**string{&user.Username, &user.Mobile, &user.UserType} {
			if *text != nil {
				*text = new(**text)
				marked.text(k, *text)
			}
		}
		for _, text := range []*string{&user.FirstName, &user.LastName, &user.Email} {
			marked.text(k, text)
		}
		marked.time(k, &user.CreatedAt)
		marked.time(k, &user.UpdatedAt)
		if user.LastPasswordResetAt != nil {
			user.LastPasswordResetAt = new(*user.LastPasswordResetAt)
			marked.time(k, user.LastPasswordResetAt)
		}
	}
	data.Granted = granted
	for _, credentials := range data.Credentials {
		credentials.UserID = ids[credentials.UserID]
		k := int(credentials.UserID[len(idPrefix)] - '0')
		for _, text := range []**string{&credentials.AccessToken, &credentials.VCSPassword} {
			if *text != nil {
				*text = new(**text)
				marked.text(k, *text)
			}
		}
	}
	for k, customer := range data.Customers {
		marked.id(k, &customer.ID)
		marked.text(k, &customer.Name)
		marked.time(k, &customer.CreatedAt)
		marked.time(k, &customer.UpdatedAt)
		customer.Number += int64(7_000_000_000 + k*100_000_000)
		if customer.CompanyID != nil {
			*customer.CompanyID += int64(7_020_000_000 + k*100_000_000)
		}
	}
	return data
}

const (
	idPrefix  = "c0ffee0" // and then the customer
	firstYear = 2030      // the first customer's
)

// marker counts the marks, as each is there once.
type marker struct{ n int }

func (m *marker) text(k int, text *string) {
	m.n++
	*text += fmt.Sprintf("zk%dx%04dy", k, m.n)
}

func (m *marker) id(k int, id *models.ID) {
	*id = models.ID(fmt.Sprintf("%s%d%s", idPrefix, k, (*id)[8:]))
}

func (m *marker) time(k int, t *time.Time) {
	*t = time.Date(firstYear+k, t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
}

var (
	textMark   = regexp.MustCompile(`zk([0-2])x\d{4}y`)
	idMark     = regexp.MustCompile(idPrefix + `([0-2])(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}`)
	numberMark = regexp.MustCompile(`\b7([0-2])\d{8}\b`)
	timeMark   = regexp.MustCompile(`\b203([0-2])-\d\d-\d\dT[0-9:.]+Z`)
	millisMark = regexp.MustCompile(`\b(?:1[89])\d{11}\b`)
	encoded    = regexp.MustCompile(`[A-Za-z0-9_-]{20,}`)
)

// marks finds the marked values of a text, those inside of cursors too, and
// whose they are.
func marks(text string) map[string]string {
	for _, cursor := range encoded.FindAllString(text, -1) {
		if decoded, err := base64.RawURLEncoding.DecodeString(cursor); err == nil {
			text += " " + string(decoded)
		}
	}
	text = strings.ToLower(text)
	found := map[string]string{}
	for _, mark := range []*regexp.Regexp{textMark, idMark, numberMark} {
		for _, match := range mark.FindAllStringSubmatch(text, -1) {
			found[match[0]] = match[1]
		}
	}
	for _, match := range timeMark.FindAllStringSubmatch(strings.ToUpper(text), -1) {
		found[match[0]] = match[1]
	}
	for _, millis := range millisMark.FindAllString(text, -1) {
		n, _ := strconv.ParseInt(millis, 10, 64)
		found[millis] = strconv.Itoa(time.UnixMilli(n).UTC().Year() - firstYear)
	}
	return found
}

// beyond gives what an answer holds of the customers that may not be read, apart
// from what the caller said first.
func beyond(readable string, asked probe, got answer) []string {
	found := marks(got.body)
	for _, values := range got.header {
		maps.Copy(found, marks(strings.Join(values, " ")))
	}
	said := marks(asked.text())
	maps.DeleteFunc(found, func(value, customer string) bool {
		return strings.Contains(readable, customer) || said[value] != ""
	})
	return slices.Sorted(maps.Keys(found))
}

// onlyOf gives the part of the data that belongs to these customers, and the
// authorities, which are everybody's.
func onlyOf(data *dbtest.Data, readable string) *dbtest.Data {
	theirs := func(id models.ID) bool { return strings.Contains(readable, string(id[len(idPrefix)])) }
	part := &dbtest.Data{Authorities: data.Authorities, Granted: map[models.ID][]int64{}}
	for _, customer := range data.Customers {
		if theirs(customer.ID) {
			part.Customers = append(part.Customers, customer)
		}
	}
	for _, subrole := range data.Subroles {
		if theirs(subrole.CustomerID) {
			part.Subroles = append(part.Subroles, subrole)
		}
	}
	for _, user := range data.Users {
		if theirs(user.CustomerID) {
			part.Users = append(part.Users, user)
			part.Granted[user.ID] = data.Granted[user.ID]
		}
	}
	for _, credentials := range data.Credentials {
		if theirs(credentials.UserID) {
			part.Credentials = append(part.Credentials, credentials)
		}
	}
	return part
}

const (
	unknownID     = "00000000-0000-4000-8000-000000000000"
	unknownNumber = 6_999_999_999
)

// drawCaller draws who calls: a caller of these customers, each named by UUID,
// by number or by both, with any authorities but the one that opens everything.
func drawCaller(t *rapid.T, data *dbtest.Data, readable string) auth.Principal {
	caller := auth.Principal{Subject: "caller"}
	for k, customer := range data.Customers[:2] {
		named := rapid.IntRange(0, 2).Draw(t, "named by")
		if !strings.Contains(readable, strconv.Itoa(k)) {
			continue
		}
		if named != 1 {
			caller.CustomerIDs = append(caller.CustomerIDs, customer.ID)
		}
		if named != 0 {
			caller.CustomerNumbers = append(caller.CustomerNumbers, customer.Number)
		}
	}
	if rapid.IntRange(0, 3).Draw(t, "names an unknown customer") == 0 {
		caller.CustomerIDs = append(caller.CustomerIDs, unknownID)
		caller.CustomerNumbers = append(caller.CustomerNumbers, unknownNumber)
	}
	caller.Authorities = rapid.SliceOfN(rapid.SampledFrom([]string{
		auth.RoleCompanyAdmin, auth.RoleCompanyAdmin, "ROLE_USER", "role_admin", "ROLE_ADMIN ", "ADMIN", "*",
	}), 0, 3).Draw(t, "authorities")
	return caller
}

// probe is a request.
type probe struct{ method, path, body, company string }

// String is what a failed test shows.
func (p probe) String() string {
	return fmt.Sprintf("%s %s %s (company %q)", p.method, p.path, p.body, p.company)
}

// text is all that the caller says.
func (p probe) text() string {
	path, err := url.QueryUnescape(p.path)
	if err != nil {
		path = p.path
	}
	return strings.Join([]string{p.path, path, p.body, p.company}, " ")
}

// drawProbe draws a request that may be about anybody's data.
func drawProbe(t *rapid.T, full *world, data *dbtest.Data) probe {
	d := &drawer{t, full, data}
	switch rapid.IntRange(0, 9).Draw(t, "surface") {
	case 0, 1, 2:
		return d.list()
	case 3:
		return d.node()
	case 4:
		return d.customers()
	case 5:
		return d.several()
	case 6, 7:
		return d.worth()
	default:
		return d.testinium()
	}
}

// drawer draws the parts of requests.
type drawer struct {
	*rapid.T
	full *world
	data *dbtest.Data
}

func (d *drawer) n(label string, most int) int { return rapid.IntRange(0, most).Draw(d.T, label) }

func (d *drawer) customer() *models.Customer {
	return rapid.SampledFrom(d.data.Customers).Draw(d.T, "customer")
}

func (d *drawer) user() *models.User { return rapid.SampledFrom(d.data.Users).Draw(d.T, "user") }

// id draws the id of anything.
func (d *drawer) id() models.ID {
	switch user := d.user(); d.n("id of", 5) {
	case 0, 1:
		return user.ID
	case 2:
		return d.customer().ID
	case 3:
		return rapid.SampledFrom(d.data.Subroles).Draw(d.T, "subrole").ID
	case 4:
		if user.CreatedBy != nil {
			return *user.CreatedBy
		}
	}
	return unknownID
}

func (d *drawer) customerID() models.ID {
	if d.n("unknown", 5) == 0 {
		return d.id()
	}
	return d.customer().ID
}

func (d *drawer) customerNumber() int64 {
	switch d.n("unknown", 7) {
	case 0:
		return unknownNumber
	case 1:
		return d.user().Number
	}
	return d.customer().Number
}

// part draws a text that is, or is a part of, one of the user's.
func (d *drawer) part(text string) string {
	runes := []rune(text)
	switch d.n("part", 3) {
	case 0:
		return text
	case 1:
		return string(runes[:d.n("until", len(runes))])
	case 2:
		return strings.ToUpper(text)
	}
	return string(runes[d.n("from", len(runes)):])
}

func (d *drawer) userText() (field, value string) {
	user := d.user()
	or := func(text *string) string {
		if text == nil {
			return ""
		}
		return *text
	}
	switch d.n("field", 5) {
	case 0:
		return "firstName", user.FirstName
	case 1:
		return "lastName", user.LastName
	case 2:
		return "email", user.Email
	case 3:
		return "username", or(user.Username)
	case 4:
		return "mobile", or(user.Mobile)
	}
	return "subrole", rapid.SampledFrom(d.data.Subroles).Draw(d.T, "subrole").Code
}

func (d *drawer) userID() (field string, value models.ID) {
	user := d.user()
	or := func(id *models.ID) models.ID {
		if id == nil {
			return unknownID
		}
		return *id
	}
	switch d.n("field", 4) {
	case 0:
		return "createdBy", or(user.CreatedBy)
	case 1:
		return "updatedBy", or(user.UpdatedBy)
	case 2:
		return "extAuthRefId", or(user.ExtAuthRefID)
	case 3:
		return "subroleId", or(user.SubroleID)
	}
	return "id", user.ID
}

// filter draws a GraphQL filter that nests at most so deep.
func (d *drawer) filter(depth int) map[string]any {
	f := map[string]any{}
	for range d.n("conditions", 2) {
		switch d.n("condition", 6) {
		case 0, 1:
			field, value := d.userText()
			f[field] = map[string]any{rapid.SampledFrom([]string{"eq", "startsWith", "contains"}).Draw(d.T, "operator"): d.part(value)}
		case 2:
			field, value := d.userID()
			f[field] = rapid.SampledFrom([]map[string]any{{"eq": value}, {"in": []models.ID{value, d.id()}}, {"isNull": true}, {"isNull": false}}).Draw(d.T, "operator")
		case 3:
			f["status"] = map[string]any{"in": []models.UserStatus{d.user().Status, d.user().Status}}
		case 4:
			f["authority"] = map[string]any{rapid.SampledFrom([]string{"anyOf", "allOf", "noneOf"}).Draw(d.T, "operator"): []string{"ROLE_ADMIN", "ROLE_USER"}}
		case 5:
			f["createdAt"] = map[string]any{rapid.SampledFrom([]string{"gt", "gte", "lt", "lte"}).Draw(d.T, "operator"): d.user().CreatedAt.Format(time.RFC3339Nano)}
		default:
			_, value := d.userText()
			f["search"] = d.part(value)
		}
	}
	if depth > 1 {
		switch d.n("combination", 3) {
		case 0:
			f["or"] = []any{d.filter(depth - 1), d.filter(depth - 1)}
		case 1:
			f["not"] = d.filter(depth - 1)
		}
	}
	return f
}

// The fields of a user, and the answer's other parts that could tell something.
const (
	userFields = `id number customer { id number companyId name createdAt } username firstName lastName email mobile userType
		status enabled isEmailVerified isFirstLogin accountNonExpired createdAt createdBy updatedAt updatedBy lastPasswordResetAt extAuthRefId
		subrole { id code displayName label description } authorities { id name cleanName }`
	customerFields = `id number companyId name createdAt updatedAt subroles { id code displayName label description }`
)

// list asks for users of a customer, with any filter, order, page and cursor.
func (d *drawer) list() probe {
	variables := map[string]any{
		"filter": d.filter(3),
		"order": map[string]any{
			"field":     rapid.SampledFrom(models.UserOrderFields()).Draw(d.T, "order"),
			"direction": rapid.SampledFrom([]models.OrderDirection{models.Ascending, models.Descending}).Draw(d.T, "direction"),
		},
	}
	document := d.rooted(variables, `users(filter: $filter, orderBy: $order%s) { totalCount totalPages
		pageInfo { hasNextPage hasPreviousPage startCursor endCursor } edges { cursor node { id } } nodes { `+userFields+` } } user(id: $user) { `+userFields+` } `+customerFields)
	switch size := 1 + d.n("size", 12); d.n("window", 4) {
	case 0:
		document = fmt.Sprintf(document, fmt.Sprintf(", page: {number: %d, size: %d}", 1+d.n("page", 2), size))
	case 1:
		document = fmt.Sprintf(document, fmt.Sprintf(", last: %d", size))
	case 2:
		document = fmt.Sprintf(document, "")
	default:
		direction := rapid.SampledFrom([]string{"first: %d, after: %q", "last: %d, before: %q", "first: %d, before: %q"}).Draw(d.T, "direction")
		document = fmt.Sprintf(document, ", "+fmt.Sprintf(direction, size, d.cursor(variables)))
	}
	variables["user"] = d.id()
	return d.graphQL(document, variables)
}

// rooted begins a document at a customer, named in one of the two ways.
func (d *drawer) rooted(variables map[string]any, fields string) string {
	parameters := "$filter: UserFilter, $order: UserOrder, $user: ID!"
	if d.n("by number", 1) == 0 {
		variables["id"] = d.customerID()
		return "query($id: ID!, " + parameters + ") { customer(id: $id) { " + fields + " } }"
	}
	variables["number"] = d.customerNumber()
	return "query($number: Long!, " + parameters + ") { customerByNumber(number: $number) { " + fields + " } }"
}

// cursor draws a cursor that the server made for an admin who walks through the
// list of some customer with the same filter and order.
func (d *drawer) cursor(variables map[string]any) string {
	body, err := json.Marshal(map[string]any{
		"query": `query($id: ID!, $filter: UserFilter, $order: UserOrder) {
			customer(id: $id) { users(filter: $filter, orderBy: $order, first: 60) { edges { cursor } } } }`,
		"variables": map[string]any{"id": d.customer().ID, "filter": variables["filter"], "order": variables["order"]},
	})
	if err != nil {
		d.Fatal(err)
	}
	got := d.full.ask(d.T, d.full.admin(), probe{method: http.MethodPost, path: "/graphql", body: string(body)})
	var decoded struct {
		Data struct {
			Customer struct {
				Users struct{ Edges []struct{ Cursor string } }
			}
		}
	}
	if err := json.Unmarshal([]byte(got.body), &decoded); err != nil {
		d.Fatal(err)
	}
	edges := decoded.Data.Customer.Users.Edges
	if len(edges) == 0 {
		return "bm8gY3Vyc29yIGF0IGFsbA"
	}
	return edges[d.n("edge", len(edges)-1)].Cursor
}

func (d *drawer) node() probe {
	return d.graphQL(`query($id: ID!) { node(id: $id) { __typename id
		... on Customer { `+customerFields+` users(first: 5) { totalCount nodes { `+userFields+` } } }
		... on User { `+userFields+` } ... on Subrole { code displayName label description } } }`,
		map[string]any{"id": d.id()})
}

func (d *drawer) customers() probe {
	variables := map[string]any{}
	switch d.n("search", 2) {
	case 0:
		variables["search"] = d.part(d.customer().Name)
	case 1:
		variables["search"] = "a"
	}
	return d.graphQL(`query($search: String) { viewer { subject authorities customers { `+customerFields+` } }
		customers(search: $search, first: `+strconv.Itoa(1+d.n("size", 3))+`) { totalCount totalPages pageInfo { hasNextPage endCursor }
			edges { cursor } nodes { `+customerFields+` users(first: 3) { totalCount nodes { `+userFields+` } } } } }`, variables)
}

// several asks for different customers in one document, under aliases and
// through fragments.
func (d *drawer) several() probe {
	return d.graphQL(`query($a: ID!, $b: Long!, $c: ID!, $d: ID!) { a: customer(id: $a) { ...all } b: customerByNumber(number: $b) { ...all }
		c: customer(id: $c) { user(id: $d) { `+userFields+` } } d: node(id: $d) { ... on User { `+userFields+` } } }
		fragment all on Customer { `+customerFields+` user(id: $d) { `+userFields+` } users(first: 5) { totalCount nodes { `+userFields+` } } }`,
		map[string]any{"a": d.customerID(), "b": d.customerNumber(), "c": d.customerID(), "d": d.id()})
}

func (d *drawer) graphQL(document string, variables map[string]any) probe {
	encodedVariables, err := json.Marshal(variables)
	if err != nil {
		d.Fatal(err)
	}
	if d.n("by GET", 3) == 0 {
		values := url.Values{"query": {document}, "variables": {string(encodedVariables)}}
		return probe{method: http.MethodGet, path: "/graphql?" + values.Encode()}
	}
	body, err := json.Marshal(map[string]any{"query": document, "variables": variables})
	if err != nil {
		d.Fatal(err)
	}
	return probe{method: http.MethodPost, path: "/graphql", body: string(body)}
}

// worthNames are what Worth's parameters call the fields of the GraphQL filter.
var worthNames = map[string]string{
	"firstName": "first_name", "lastName": "last_name", "email": "email", "mobile": "mobile", "subrole": "subrole.code",
	"createdBy": "created_by", "updatedBy": "updated_by", "extAuthRefId": "ext_auth_ref_id", "subroleId": "subrole.id", "id": "id",
}

func (d *drawer) worth() probe {
	path := rest.WorthPrefix + "customers/" + string(d.customerID()) + "/users"
	if d.n("one user", 3) == 0 {
		return probe{method: d.reading(), path: path + "/" + string(d.id())}
	}
	values := url.Values{}
	for range d.n("parameters", 3) {
		switch d.n("parameter", 7) {
		case 0:
			if field, value := d.userText(); worthNames[field] != "" {
				values.Add(worthNames[field], `"`+strings.ReplaceAll(value, `"`, `""`)+`"`)
			}
		case 1:
			field, value := d.userID()
			values.Add("filter["+worthNames[field]+"]", string(value)+","+string(d.id()))
		case 2:
			values.Set("created_at[gte]", d.user().CreatedAt.Format(time.RFC3339Nano))
		case 3:
			values.Set("sort", rapid.SampledFrom([]string{"created_at", "-created_at", "last_name", "-email", "status"}).Draw(d.T, "sort"))
		case 4:
			values.Set("items_per_page", strconv.Itoa(1+d.n("size", 12)))
			values.Set("page", strconv.Itoa(1+d.n("page", 2)))
		case 5:
			values.Set("subrole.display_name", `"`+rapid.SampledFrom(d.data.Subroles).Draw(d.T, "subrole").DisplayName+`"`)
		case 6:
			_, value := d.userText()
			values.Set("search", d.part(value))
		default:
			// What somebody would try who hopes that a parameter is the scope.
			values.Set(rapid.SampledFrom([]string{"customer_id", "customerID", "scope", "query[customer_id]"}).Draw(d.T, "name"), string(d.customerID()))
		}
	}
	return probe{method: d.reading(), path: path + "?" + values.Encode()}
}

func (d *drawer) testinium() probe {
	p := probe{method: d.reading(), path: rest.TestiniumPrefix + "customers/" + strconv.FormatInt(d.customerNumber(), 10) + "/users/"}
	if d.n("one user", 3) == 0 {
		p.path += strconv.FormatInt(rapid.SampledFrom([]int64{d.user().Number, unknownNumber}).Draw(d.T, "number"), 10)
	}
	customer := d.customer()
	p.company = strconv.FormatInt(customer.Number, 10)
	if customer.CompanyID != nil && d.n("company's own number", 4) > 0 {
		p.company = strconv.FormatInt(*customer.CompanyID, 10)
	}
	return p
}

func (d *drawer) reading() string {
	return rapid.SampledFrom([]string{http.MethodGet, http.MethodGet, http.MethodGet, http.MethodHead}).Draw(d.T, "method")
}

// TestPromisesHaveTests holds docs/security.md to the tests that it names, so
// that none of its promises is left without one.
func TestPromisesHaveTests(t *testing.T) {
	text, err := os.ReadFile("docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`([a-z]+)\\.((?:Test|Fuzz)\\w+)`").FindAllStringSubmatch(string(text), -1)
	if len(named) < 30 {
		t.Errorf("docs/security.md names %d tests only", len(named))
	}
	sources := map[string]string{}
	for _, match := range named {
		folder, test := match[1], match[2]
		if folder == "main" {
			folder = "."
		}
		if sources[folder] == "" {
			files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
			if err != nil {
				t.Fatal(err)
			}
			for _, file := range files {
				source, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				sources[folder] += string(source)
			}
		}
		if !strings.Contains(sources[folder], "func "+test+"(") {
			t.Errorf("docs/security.md names %s, which is no test of %s", test, match[1])
		}
	}
}
