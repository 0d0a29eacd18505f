//go:build linux

package main

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/brianvoe/gofakeit/v7"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"roster/models"
)

// dataSet is made-up data, always the same for the same sizes. Customer 0 has
// large users and the others small each.
type dataSet struct {
	large, customers, small int

	firstNames, lastNames []string
}

const (
	seed = 20_261_001
	// The legacy numbers of customers and their companies begin here.
	customerNumbers, companyNumbers = 1_000, 500_000
	// rareName is the last name that the search looks for: one user in 1,000 has it.
	rareName, rareSearch = "Yazıcıoğlu", "yazicioglu"
	rareShare            = 1_000
)

var today = time.Date(2026, time.October, 1, 0, 0, 0, 0, time.UTC)

func newDataSet(large, customers, small int) *dataSet {
	d := &dataSet{large: large, customers: customers, small: small}
	fake := gofakeit.New(seed)
	d.firstNames = []string{"Ayşe", "Çağrı", "Işıl", "İbrahim", "Gülşen", "Öykü", "Şükrü", "Zoë", "Søren", "Łukasz"}
	d.lastNames = []string{"Şahin", "Çelik", "Öztürk", "Aydın", "Kılıç", "Güneş", "İnanç", "Müller", "Nuñez", "Ångström"}
	for range 2_000 {
		d.firstNames = append(d.firstNames, fake.FirstName())
		d.lastNames = append(d.lastNames, fake.LastName())
	}
	return d
}

func (d *dataSet) users() int { return d.large + d.customers*d.small }

// customer gives customer n of 0 to d.customers.
func (d *dataSet) customer(n int) models.Customer {
	company := int64(companyNumbers + n)
	c := models.Customer{
		ID: newID("customer", n), Number: int64(customerNumbers + n), CompanyID: &company,
		Name: fmt.Sprintf("Çınar Perakende %d", n), CreatedAt: today.AddDate(-4, 0, 0), UpdatedAt: today.AddDate(-1, 0, 0),
	}
	c.SetKeys()
	return c
}

var subroleNames = [...][2]string{
	{"owner", "Owner"}, {"cro", "Chief Risk Officer"}, {"analyst", "Analyst"}, {"support", "Müşteri Desteği"}, {"viewer", "Viewer"},
}

// subrole gives subrole i of customer n.
func (d *dataSet) subrole(n, i int) models.Subrole {
	s := models.Subrole{
		ID: newID("subrole", n*len(subroleNames)+i), CustomerID: newID("customer", n),
		Code: subroleNames[i][0], DisplayName: subroleNames[i][1], Label: subroleNames[i][1],
		Description: subroleNames[i][1] + " of a shop",
	}
	s.SetKeys()
	return s
}

func (d *dataSet) authorities() []models.Authority {
	auditor, developer := "Auditor", "Developer"
	return []models.Authority{
		{ID: 1, Name: "ROLE_ADMIN"}, {ID: 2, Name: "ROLE_COMPANY_ADMIN"}, {ID: 3, Name: "ROLE_USER"},
		{ID: 4, Name: "ROLE_AUDITOR", CleanName: &auditor}, {ID: 5, Name: "ROLE_DEVELOPER", CleanName: &developer},
	}
}

// owner gives the number of the customer whom a user belongs to.
func (d *dataSet) owner(user int) int {
	if user < d.large {
		return 0
	}
	return 1 + (user-d.large)/d.small
}

// user gives user i of all users, without the folded keys.
func (d *dataSet) user(i int) models.User {
	r := random("user", i)
	owner := d.owner(i)
	first, last := d.firstNames[r.IntN(len(d.firstNames))], d.lastNames[r.IntN(len(d.lastNames))]
	if r.IntN(rareShare) == 0 {
		last = rareName
	}
	login := fmt.Sprintf("%s.%s.%d", ascii(first), ascii(last), i+1)
	created := today.Add(-time.Duration(r.Int64N(int64(3 * 365 * 24 * time.Hour)))).Truncate(time.Millisecond)
	u := models.User{
		ID: newID("user", i), Number: int64(i + 1), CustomerID: newID("customer", owner),
		FirstName: first, LastName: last, Email: login + "@cinar.example", Status: models.StatusActive,
		IsEmailVerified: true, AccountNonExpired: true, AccountNonLocked: true, CredentialsNonExpired: true,
		CreatedAt: created, UpdatedAt: created.Add(time.Duration(r.Int64N(int64(today.Sub(created))) / 2)).Truncate(time.Millisecond),
	}
	if chance(r, 90) {
		u.Username = &login
	}
	if chance(r, 70) {
		u.Mobile = new(fmt.Sprintf("+90555%07d", r.IntN(10_000_000)))
	}
	if chance(r, 10) {
		u.UserType = new("PARTNER")
	}
	if chance(r, 30) {
		u.LastPasswordResetAt = &u.UpdatedAt
	}
	if chance(r, 50) {
		u.ExtAuthRefID = new(newID("external", i))
	}
	if chance(r, 80) {
		u.CreatedBy, u.UpdatedBy = new(newID("user", 0)), new(newID("user", 0))
	}
	if chance(r, 95) {
		u.SubroleID = new(newID("subrole", owner*len(subroleNames)+r.IntN(len(subroleNames))))
	}
	if chance(r, 12) {
		u.Status, u.IsFirstLogin, u.IsEmailVerified = models.StatusInvited, true, false
	} else if chance(r, 9) {
		u.Status, u.AccountNonLocked = models.StatusInactive, false
	}
	return u
}

// userAuthorities gives the one to three authorities of user i: everybody is a user.
func (d *dataSet) userAuthorities(i int) []int64 {
	r := random("authorities", i)
	var ids []int64
	if chance(r, 10) {
		ids = append(ids, 2)
	}
	ids = append(ids, 3)
	if chance(r, 40) {
		ids = append(ids, 4+r.Int64N(2))
	}
	return ids
}

// table is what goes into one table.
type table struct {
	name    string
	columns []string
	rows    iter.Seq[[]any]
}

// tables gives all of the data, in an order in which nothing refers to what
// comes later. Ids are given as models.ID and times as time.Time; the databases
// have forms of their own.
func (d *dataSet) tables() []table {
	customers := func(yield func([]any) bool) {
		for n := range d.customers + 1 {
			c := d.customer(n)
			if !yield([]any{c.ID, c.Number, *c.CompanyID, c.Name, c.CreatedAt, c.UpdatedAt, c.NameKey}) {
				return
			}
		}
	}
	subroles := func(yield func([]any) bool) {
		for n := range (d.customers + 1) * len(subroleNames) {
			s := d.subrole(n/len(subroleNames), n%len(subroleNames))
			if !yield([]any{s.ID, s.CustomerID, s.Code, s.DisplayName, s.Label, s.Description, s.CodeKey}) {
				return
			}
		}
	}
	authorities := func(yield func([]any) bool) {
		for _, a := range d.authorities() {
			if !yield([]any{a.ID, a.Name, a.CleanName}) {
				return
			}
		}
	}
	users := func(yield func([]any) bool) {
		for i := range d.users() {
			u := d.user(i)
			u.SetKeys()
			if !yield([]any{
				u.ID, u.Number, u.CustomerID, u.Username, u.FirstName, u.LastName, u.Email, u.Mobile, u.UserType, string(u.Status),
				u.IsEmailVerified, u.IsFirstLogin, u.AccountNonExpired, u.AccountNonLocked, u.CredentialsNonExpired,
				u.CreatedAt, u.CreatedBy, u.UpdatedAt, u.UpdatedBy, u.LastPasswordResetAt, u.ExtAuthRefID, u.SubroleID,
				u.UsernameKey, u.FirstNameKey, u.LastNameKey, u.EmailKey, u.MobileKey, u.SearchKey,
			}) {
				return
			}
		}
	}
	userAuthorities := func(yield func([]any) bool) {
		for i := range d.users() {
			for _, authority := range d.userAuthorities(i) {
				if !yield([]any{newID("user", i), authority}) {
					return
				}
			}
		}
	}
	return []table{
		{"customers", []string{"id", "number", "company_id", "name", "created_at", "updated_at", "name_key"}, customers},
		{"subroles", []string{"id", "customer_id", "code", "display_name", "label", "description", "code_key"}, subroles},
		{"authorities", []string{"id", "name", "clean_name"}, authorities},
		{"users", []string{
			"id", "number", "customer_id", "username", "first_name", "last_name", "email", "mobile", "user_type", "status",
			"is_email_verified", "is_first_login", "account_non_expired", "account_non_locked", "credentials_non_expired",
			"created_at", "created_by", "updated_at", "updated_by", "last_password_reset_at", "ext_auth_ref_id", "subrole_id",
			"username_key", "first_name_key", "last_name_key", "email_key", "mobile_key", "search_key",
		}, users},
		{"user_authorities", []string{"user_id", "authority_id"}, userAuthorities},
	}
}

// loadPostgres migrates and fills an empty database. Indexes and foreign keys are put on
// again afterwards, which takes a fraction of the time; triggers stay on.
func (d *dataSet) loadPostgres(ctx context.Context, databaseURL string) error {
	if err := migrate(ctx, databaseURL); err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	restore, err := dropIndexes(ctx, conn)
	if err != nil {
		return err
	}
	for _, t := range d.tables() {
		next, stop := iter.Pull(t.rows)
		_, err := conn.CopyFrom(ctx, pgx.Identifier{t.name}, t.columns, pgx.CopyFromFunc(func() ([]any, error) {
			row, _ := next()
			for i, value := range row {
				row[i] = binaryID(value)
			}
			return row, nil
		}))
		stop()
		if err != nil {
			return fmt.Errorf("load %s: %w", t.name, err)
		}
	}
	for _, statement := range append(restore, "VACUUM (ANALYZE)", "CHECKPOINT") {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}

// dropIndexes drops foreign keys and plain indexes, and gives the statements that
// make them again.
func dropIndexes(ctx context.Context, conn *pgx.Conn) (restore []string, err error) {
	rows, err := conn.Query(ctx, `
		SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname),
			format('ALTER TABLE %s ADD CONSTRAINT %I %s', conrelid::regclass, conname, pg_get_constraintdef(oid)), 2 AS step
		FROM pg_constraint WHERE contype = 'f' AND connamespace = 'public'::regnamespace
		UNION ALL
		SELECT format('DROP INDEX %s', indexrelid::regclass), pg_get_indexdef(indexrelid), 1
		FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
		WHERE relnamespace = 'public'::regnamespace AND NOT indisunique
		ORDER BY step`)
	if err != nil {
		return nil, err
	}
	var drop []string
	var off, on string
	var step int
	if _, err := pgx.ForEachRow(rows, []any{&off, &on, &step}, func() error {
		drop, restore = append(drop, off), append(restore, on)
		return nil
	}); err != nil {
		return nil, err
	}
	for _, statement := range drop {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return nil, fmt.Errorf("%s: %w", statement, err)
		}
	}
	return restore, nil
}

// binaryID gives an id in PostgreSQL's own form, and any other value as it is.
func binaryID(value any) any {
	switch id := value.(type) {
	case models.ID:
		return [16]byte(uuid.MustParse(string(id)))
	case *models.ID:
		if id == nil {
			return nil
		}
		return [16]byte(uuid.MustParse(string(*id)))
	}
	return value
}

// random gives the source of everything about one thing of a kind.
func random(kind string, n int) *rand.Rand {
	var place uint64
	for _, c := range []byte(kind) {
		place = place*31 + uint64(c)
	}
	return rand.New(rand.NewPCG(seed+place, uint64(n))) //nolint:gosec // made-up data that must be the same every time
}

func newID(kind string, n int) models.ID {
	r := random(kind+" id", n)
	var id uuid.UUID
	binary.BigEndian.PutUint64(id[:8], r.Uint64())
	binary.BigEndian.PutUint64(id[8:], r.Uint64())
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return models.ID(id.String())
}

func chance(r *rand.Rand, percent int) bool { return r.IntN(100) < percent }

// ascii gives the letters of a name that can stand in an address.
func ascii(name string) string {
	return cmp.Or(strings.Map(func(c rune) rune {
		if 'a' <= c && c <= 'z' {
			return c
		}
		return -1
	}, models.Fold(name)), "user")
}
