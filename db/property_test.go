package db_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/uptrace/bun"
	"pgregory.net/rapid"

	"roster/db"
	"roster/db/dbtest"
	"roster/models"
)

// dataset is a filled database. The properties look at its first customer.
type dataset struct {
	*dbtest.Data
	store *db.DB
	conn  *bun.DB
}

func (d *dataset) customer() models.ID { return d.Customers[0].ID }

// datasets fills a few databases, one of them with users that no run before has
// had. What rapid draws to repeat a failure does not hold the seed; the log does.
func datasets(t *testing.T, engine db.Engine) []*dataset {
	t.Helper()
	var sets []*dataset
	for _, seed := range []uint64{11, 12, rand.Uint64()} {
		t.Logf("a dataset of the seed %d", seed)
		set := &dataset{Data: dbtest.Users(45, seed), store: dbtest.Open(t, engine)}
		set.conn = dbtest.Connect(t, set.store)
		dbtest.Write(t, set.conn, set.Data)
		sets = append(sets, set)
	}
	return sets
}

func TestWalks(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine db.Engine) {
		sets := datasets(t, engine)
		t.Run("WhileNothingChanges", func(t *testing.T) { checkWalks(t, sets) })
		t.Run("WithDeepPages", func(t *testing.T) {
			defer db.SetDeepFrom(1)()
			checkWalks(t, sets)
		})
		t.Run("WithProbesThatFindMany", func(t *testing.T) {
			defer db.SetRareUsers(3)()
			checkWalks(t, sets)
		})
		t.Run("WhileUsersComeAndGo", func(t *testing.T) { checkRestlessWalks(t, sets) })
	})
}

// checkWalks holds that walking a list page by page, by number or along the
// cursors in either direction, gives the users that the filter lets through, in
// order, each once, and as many as are counted.
func checkWalks(t *testing.T, sets []*dataset) {
	rapid.Check(t, func(rt *rapid.T) {
		set := sets[rapid.IntRange(0, len(sets)-1).Draw(rt, "dataset")]
		query := models.UserQuery{
			CustomerID: set.customer(),
			Filter:     drawFilter(rt, set.Data, 4),
			Order:      rapid.SampledFrom(orders()).Draw(rt, "order"),
		}
		size := rapid.IntRange(1, 12).Draw(rt, "size")
		want := selected(set.Data, query.CustomerID, query.Filter, query.Order)

		n, err := set.store.CountUsers(t.Context(), everything, query.CustomerID, query.Filter)
		if err != nil {
			rt.Fatal(err)
		}
		if n != len(want) {
			rt.Errorf("%d users are counted, want %d", n, len(want))
		}
		var seen int64
		walk(t.Context(), rt, set, query, want, "by number", func([]*models.User) models.Window {
			w := models.Window{Size: size, Offset: seen}
			seen += int64(size)
			return w
		})
		walk(t.Context(), rt, set, query, want, "forwards", func(last []*models.User) models.Window {
			w := models.Window{Size: size}
			if last != nil {
				w.After = query.Cursor(last[len(last)-1])
			}
			return w
		})
		walk(t.Context(), rt, set, query, want, "backwards", func(last []*models.User) models.Window {
			w := models.Window{Size: size, Backward: true}
			if last != nil {
				w.Before = query.Cursor(last[0])
			}
			return w
		})
	})
}

// walk reads windows until there are no more and compares what they held. next
// gives the window that follows the one that held last, nil at first.
func walk(ctx context.Context, t *rapid.T, set *dataset, query models.UserQuery, want []*models.User, way string, next func(last []*models.User) models.Window) {
	t.Helper()
	var walked, last []*models.User
	for more := true; more; {
		query.Window = next(last)
		var err error
		if last, more, err = set.store.Users(ctx, everything, query); err != nil {
			t.Fatalf("%s: %v", way, err)
		}
		if more && len(last) != query.Window.Size {
			t.Fatalf("%s: %d users and more to come, want %d", way, len(last), query.Window.Size)
		}
		if query.Window.Backward {
			walked = append(slices.Clone(last), walked...)
		} else {
			walked = append(walked, last...)
		}
		if wantMore := len(walked) < len(want); more != wantMore {
			t.Fatalf("%s: after %d of %d users more is %v", way, len(walked), len(want), more)
		}
	}
	if diff := cmp.Diff(readAll(want, query.Order.Field), walked, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", way, diff)
	}
}

// checkRestlessWalks holds that a walk along the cursors passes every user that
// is there all the time, once and in order, whatever is added and removed
// between the pages, the user at the cursor included.
func checkRestlessWalks(t *testing.T, sets []*dataset) {
	rapid.Check(t, func(rt *rapid.T) {
		set := sets[rapid.IntRange(0, len(sets)-1).Draw(rt, "dataset")]
		query := models.UserQuery{
			CustomerID: set.customer(),
			Filter:     drawFilter(rt, set.Data, 2),
			Order:      rapid.SampledFrom(orders()).Draw(rt, "order"),
			Window:     models.Window{Size: rapid.IntRange(1, 5).Draw(rt, "size"), Backward: rapid.Bool().Draw(rt, "backward")},
		}
		restless := &restless{t: rt, ctx: t.Context(), set: set, users: dbtest.Users(8, rapid.Uint64Range(1000, 1100).Draw(rt, "others")).Users}
		restless.prepare()
		defer restless.clear()
		restless.stir("before the walk")

		var walked []*models.User
		for more := true; more; {
			rows, hasMore, err := set.store.Users(t.Context(), everything, query)
			if err != nil {
				rt.Fatal(err)
			}
			if more = hasMore; more && query.Window.Backward {
				query.Window.Before = query.Cursor(rows[0])
			} else if more {
				query.Window.After = query.Cursor(rows[len(rows)-1])
			}
			if query.Window.Backward {
				walked = append(slices.Clone(rows), walked...)
			} else {
				walked = append(walked, rows...)
			}
			restless.stir("between pages")
		}

		order := func(a, b *models.User) int { return compare(a, b, query.Order) }
		for i := range walked {
			walked[i].SetKeys()
			if i > 0 && order(walked[i-1], walked[i]) >= 0 {
				rt.Errorf("%s comes before %s", walked[i-1].ID, walked[i].ID)
			}
		}
		stayed := slices.DeleteFunc(walked, func(u *models.User) bool { return u.Number >= restlessNumbers })
		want := selected(set.Data, query.CustomerID, query.Filter, query.Order)
		if diff := cmp.Diff(numbers(want), numbers(stayed), cmpopts.EquateEmpty()); diff != "" {
			rt.Errorf("the users that stayed (-want +got):\n%s", diff)
		}
	})
}

// restless are users of a dataset's customer who come and go.
type restless struct {
	t     *rapid.T
	ctx   context.Context
	set   *dataset
	users []*models.User
	there map[models.ID]bool
}

// restlessNumbers is where the numbers of restless users begin.
const restlessNumbers = 1_000_000

func (r *restless) prepare() {
	r.there = map[models.ID]bool{}
	for _, user := range r.users {
		user.Number += restlessNumbers
		user.CustomerID, user.SubroleID = r.set.customer(), nil
	}
}

// stir lets some of them come and some of them go.
func (r *restless) stir(when string) {
	var come []*models.User
	var gone []models.ID
	for _, user := range r.users {
		if !rapid.Bool().Draw(r.t, when) {
			continue
		}
		if r.there[user.ID] {
			gone = append(gone, user.ID)
		} else {
			come = append(come, user)
		}
		r.there[user.ID] = !r.there[user.ID]
	}
	if len(come) > 0 {
		if _, err := r.set.conn.NewInsert().Model(&come).ModelTableExpr("users").Exec(r.ctx); err != nil {
			r.t.Fatal(err)
		}
	}
	if len(gone) > 0 {
		if _, err := r.set.conn.NewDelete().ModelTableExpr("users").Where("id IN (?)", bun.List(gone)).Exec(r.ctx); err != nil {
			r.t.Fatal(err)
		}
	}
}

func (r *restless) clear() {
	if _, err := r.set.conn.NewDelete().ModelTableExpr("users").Where("number >= ?", restlessNumbers).Exec(r.ctx); err != nil {
		r.t.Error(err)
	}
}

// drawFilter draws a filter of at most depth levels whose values are those of
// the data or near them, so that it lets some users through and others not.
func drawFilter(t *rapid.T, data *dbtest.Data, depth int) *models.UserFilter {
	f := &models.UserFilter{}
	if rapid.IntRange(0, 9).Draw(t, "no filter") == 0 {
		return nil
	}
	for range rapid.IntRange(0, 2).Draw(t, "conditions") {
		drawCondition(t, data, f)
	}
	if depth == 1 {
		return f
	}
	members := func(what string) []*models.UserFilter {
		list := []*models.UserFilter{}
		for range rapid.IntRange(0, 2).Draw(t, what) {
			list = append(list, drawFilter(t, data, depth-1))
		}
		return list
	}
	switch rapid.IntRange(0, 5).Draw(t, "combination") {
	case 0:
		f.And = members("and")
	case 1, 2:
		f.Or = members("or")
	case 3:
		f.Not = drawFilter(t, data, depth-1)
	}
	return f
}

func drawCondition(t *rapid.T, data *dbtest.Data, f *models.UserFilter) {
	user := rapid.SampledFrom(data.Users).Draw(t, "like")
	flag := func() *bool { return new(rapid.Bool().Draw(t, "flag")) }
	text := func(of func(u *models.User) *string) *models.StringFilter { return drawText(t, data.Users, of) }
	id := func(of func(u *models.User) *models.ID) *models.IDFilter {
		c := &models.IDFilter{}
		value := func() models.ID {
			if v := of(rapid.SampledFrom(data.Users).Draw(t, "id")); v != nil {
				return *v
			}
			return unknownID
		}
		switch rapid.IntRange(0, 2).Draw(t, "operator") {
		case 0:
			c.Eq = new(value())
		case 1:
			c.In = []models.ID{}
			for range rapid.IntRange(0, 4).Draw(t, "values") {
				c.In = append(c.In, value())
			}
		default:
			c.IsNull = flag()
		}
		return c
	}
	times := func(of func(u *models.User) time.Time) *models.DateTimeFilter {
		c := &models.DateTimeFilter{}
		for range rapid.IntRange(1, 2).Draw(t, "bounds") {
			bound := of(rapid.SampledFrom(data.Users).Draw(t, "time")).Add(time.Duration(rapid.IntRange(-1, 1).Draw(t, "microseconds")) * time.Microsecond)
			switch rapid.IntRange(0, 3).Draw(t, "operator") {
			case 0:
				c.Gt = &bound
			case 1:
				c.Gte = &bound
			case 2:
				c.Lt = &bound
			default:
				c.Lte = &bound
			}
		}
		return c
	}
	names := func() []string {
		list := []string{}
		for range rapid.IntRange(0, 2).Draw(t, "names") {
			list = append(list, rapid.SampledFrom(data.Authorities).Draw(t, "authority").Name)
		}
		return list
	}
	statuses := func() []models.UserStatus {
		return rapid.SliceOfN(rapid.SampledFrom(models.UserStatuses()), 0, 2).Draw(t, "statuses")
	}

	switch rapid.IntRange(0, 20).Draw(t, "condition") {
	case 0:
		words := []string{drawPart(t, user.SearchKey), drawPart(t, user.SearchKey)}
		f.Search = new(strings.Join(words[:rapid.IntRange(1, 2).Draw(t, "words")], " "))
	case 1:
		f.ID = id(func(u *models.User) *models.ID { return &u.ID })
	case 2:
		c := &models.UserStatusFilter{}
		switch rapid.IntRange(0, 2).Draw(t, "operator") {
		case 0:
			c.Eq = new(rapid.SampledFrom(models.UserStatuses()).Draw(t, "status"))
		case 1:
			c.In = statuses()
		default:
			c.NotIn = statuses()
		}
		f.Status = c
	case 3:
		f.Subrole = text(func(u *models.User) *string {
			if subrole := data.Subrole(u.SubroleID); subrole != nil {
				return &subrole.Code
			}
			return nil
		})
	case 4:
		c := &models.AuthorityFilter{}
		switch rapid.IntRange(0, 2).Draw(t, "operator") {
		case 0:
			c.AnyOf = names()
		case 1:
			c.AllOf = names()
		default:
			c.NoneOf = names()
		}
		f.Authority = c
	case 5:
		f.Username = text(func(u *models.User) *string { return u.Username })
	case 6:
		f.FirstName = text(func(u *models.User) *string { return &u.FirstName })
	case 7:
		f.LastName = text(func(u *models.User) *string { return &u.LastName })
	case 8:
		f.Email = text(func(u *models.User) *string { return &u.Email })
	case 9:
		f.Mobile = text(func(u *models.User) *string { return u.Mobile })
	case 10:
		f.IsEmailVerified = flag()
	case 11:
		f.IsFirstLogin = flag()
	case 12:
		f.Enabled = flag()
	case 13:
		f.AccountNonExpired = flag()
	case 14:
		f.AccountNonLocked = flag()
	case 15:
		f.CredentialsNonExpired = flag()
	case 16:
		f.CreatedAt = times(func(u *models.User) time.Time { return u.CreatedAt })
	case 17:
		f.UpdatedAt = times(func(u *models.User) time.Time { return u.UpdatedAt })
	case 18:
		f.CreatedBy = id(func(u *models.User) *models.ID { return u.CreatedBy })
	case 19:
		f.UpdatedBy = id(func(u *models.User) *models.ID { return u.UpdatedBy })
	default:
		f.ExtAuthRefID = id(func(u *models.User) *models.ID { return u.ExtAuthRefID })
	}
}

// drawText draws conditions on a text that of gives for a user.
func drawText(t *rapid.T, users []*models.User, of func(u *models.User) *string) *models.StringFilter {
	value := func() string {
		if s := of(rapid.SampledFrom(users).Draw(t, "text of")); s != nil {
			return *s
		}
		return rapid.SampledFrom([]string{"", "%", "_", "!", `\`, "'", "?", "İ", "null"}).Draw(t, "text")
	}
	c := &models.StringFilter{}
	switch rapid.IntRange(0, 4).Draw(t, "operator") {
	case 0:
		c.Eq = new(drawCase(t, value()))
	case 1:
		c.In = []string{}
		for range rapid.IntRange(0, 3).Draw(t, "values") {
			c.In = append(c.In, value())
		}
	case 2:
		runes := []rune(value())
		c.StartsWith = new(drawCase(t, string(runes[:rapid.IntRange(0, len(runes)).Draw(t, "length")])))
	case 3:
		c.Contains = new(drawPart(t, value()))
	default:
		c.IsNull = new(rapid.Bool().Draw(t, "is null"))
	}
	return c
}

// drawPart draws a few characters of a text that follow each other.
func drawPart(t *rapid.T, s string) string {
	runes := []rune(s)
	from := rapid.IntRange(0, len(runes)).Draw(t, "from")
	to := rapid.IntRange(from, min(from+4, len(runes))).Draw(t, "to")
	return drawCase(t, string(runes[from:to]))
}

func drawCase(t *rapid.T, s string) string {
	switch rapid.IntRange(0, 2).Draw(t, "case") {
	case 0:
		return strings.ToUpper(s)
	case 1:
		return models.Fold(s)
	}
	return s
}
