package db

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/brianvoe/gofakeit/v7"
	"github.com/google/uuid"
	"github.com/uptrace/bun"

	"roster/models"
)

// The example answers of the two documents of the legacy systems.
var (
	//go:embed demo/worth.json
	worthExample []byte
	//go:embed demo/testinium.json
	testiniumExample []byte
)

// demoToday is the day of the demonstration. It is fixed, as everything in the
// data is, so that the same queries always have the same answers.
var demoToday = time.Date(2026, time.October, 1, 0, 0, 0, 0, time.UTC)

const (
	demoYears      = 3
	demoSmallUsers = 250
	// The numbers of the generated users. Nothing comes after those of the
	// larger customer, who has as many as are wanted.
	demoSmallNumbers = 10_001
	demoLargeNumbers = 20_001
)

func demoCustomers() []models.Customer {
	customer := func(id models.ID, number, companyID int64, name string) models.Customer {
		c := models.Customer{ID: id, Number: number, Name: name, CreatedAt: demoToday.AddDate(-demoYears, 0, -int(number%100))}
		if id == "" {
			c.ID = derivedID(customerSpace, number)
		}
		if companyID != 0 {
			c.CompanyID = &companyID
		}
		c.UpdatedAt = c.CreatedAt
		c.SetKeys()
		return c
	}
	return []models.Customer{
		customer("3f6c1d52-8f0a-4b7e-9a41-6d2c5e8b7f10", 1001, 501, "Sandbox"),
		customer("", 3393, 0, "Mestiniumm"),
		customer("", 5001, 601, "Çınar Perakende"),
		customer("", 5002, 602, "Café Lumière"),
	}
}

// FillDemo fills an empty, migrated database with the data of a demonstration
// and returns the customers: Sandbox and Mestiniumm have the users of the two
// documented examples; then come two generated customers, of which the first has
// as many users as are asked for and the second has 250. It is the same data
// every time.
func (db *DB) FillDemo(ctx context.Context, users int) ([]models.Customer, error) {
	if users < 0 {
		return nil, fmt.Errorf("%d users are asked for: a number from 0 on is expected", users)
	}
	if db.write == nil {
		return nil, errReadOnly
	}
	customers := demoCustomers()
	if err := db.insertDemoCustomers(ctx, customers); err != nil {
		return nil, err
	}
	sandbox, mestiniumm, large, small := customers[0], customers[1], customers[2], customers[3]
	err := errors.Join(
		db.importExample(ctx, SourceWorth, sandbox, worthExample),
		db.importExample(ctx, SourceTestinium, mestiniumm, testiniumExample),
		db.importGenerated(ctx, small, demoSmallNumbers, demoSmallUsers),
		db.importGenerated(ctx, large, demoLargeNumbers, users),
	)
	db.analyze(ctx)
	return customers, err
}

func (db *DB) insertDemoCustomers(ctx context.Context, customers []models.Customer) error {
	return db.write.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		n, err := tx.NewSelect().TableExpr("customers").Count(ctx)
		if err != nil {
			return fmt.Errorf("the database failed: %w", err)
		}
		if n > 0 {
			return errors.New("the database is not empty: the data of the demonstration goes into a new one")
		}
		return upsert(ctx, tx, "customers", "", customers)
	})
}

func (db *DB) importExample(ctx context.Context, source Source, customer models.Customer, document []byte) error {
	var rejected error
	_, err := db.Import(ctx, source, bytes.NewReader(document), ImportOptions{
		Customer: string(customer.ID),
		Reject:   func(r Rejection) { rejected = errors.Join(rejected, errors.New(r.String())) },
	})
	return errors.Join(err, rejected)
}

// importGenerated writes generated users as an import writes those of a document.
func (db *DB) importGenerated(ctx context.Context, customer models.Customer, firstNumber int64, users int) error {
	var rejected error
	im, err := db.importer(SourceTestinium, ImportOptions{
		Customer: string(customer.ID),
		Reject:   func(r Rejection) { rejected = errors.Join(rejected, errors.New(r.String())) },
	})
	if err != nil {
		return err
	}
	people := newDemoPeople(customer, firstNumber)
	for i := range users {
		im.rows = append(im.rows, people.row(int64(i)))
		if len(im.rows) == batchRows || i == users-1 {
			if err := im.flush(ctx, 0); err != nil {
				return err
			}
		}
	}
	return rejected
}

// demoPeople makes up the users of a customer.
type demoPeople struct {
	customer    models.Customer
	firstNumber int64
	domain      string
	fake        *gofakeit.Faker
	subroles    []models.Subrole
}

func newDemoPeople(customer models.Customer, firstNumber int64) *demoPeople {
	p := &demoPeople{
		customer: customer, firstNumber: firstNumber,
		domain: asciiWord(strings.Fields(customer.Name)[0]) + ".example",
		fake:   gofakeit.New(uint64(customer.Number)), //nolint:gosec // a positive constant
	}
	for _, s := range [][2]string{
		{"owner", "Owner"}, {"cro", "Chief Risk Officer"}, {"analyst", "Analyst"}, {"support", "Müşteri Desteği"}, {"viewer", "Viewer"},
	} {
		p.subroles = append(p.subroles, models.Subrole{
			ID:   models.ID(uuid.NewSHA1(uuid.MustParse(string(customer.ID)), []byte(s[0])).String()),
			Code: s[0], DisplayName: s[1], Label: s[1],
			Description: fmt.Sprintf("%s of %s", s[1], customer.Name),
		})
	}
	return p
}

// demoAuthorities are those of the documented example and two more.
func demoAuthorities() []importAuthority {
	auditor, developer := "Auditor", "Developer"
	return []importAuthority{
		{id: 1, name: "ROLE_ADMIN"}, {id: 2, name: "ROLE_COMPANY_ADMIN"}, {id: 3, name: "ROLE_USER"},
		{4, "ROLE_AUDITOR", optional[string]{true, &auditor}}, {5, "ROLE_DEVELOPER", optional[string]{true, &developer}},
	}
}

func (p *demoPeople) row(i int64) importRow {
	number := p.firstNumber + i
	user := p.user(number)
	if i > 0 {
		p.withChance(80, func() {
			// The first user made the others.
			first := derivedID(userSpace, p.firstNumber)
			user.CreatedBy = &first
			user.UpdatedBy = &first
		})
	}
	row := importRow{
		key: strconv.FormatInt(number, 10), number: number, customerNumber: p.customer.Number,
		subrole:     optional[models.Subrole]{given: true},
		authorities: p.authorities(),
		apply: func(u *models.User, _ bool) {
			user.ID, user.Number, user.CustomerID = u.ID, u.Number, u.CustomerID
			*u = user
		},
	}
	p.withChance(95, func() { row.subrole.value = &p.subroles[p.fake.IntN(len(p.subroles))] })
	return row
}

func (p *demoPeople) user(number int64) models.User {
	first, last := p.name()
	login := strings.Trim(asciiWord(first)+"."+asciiWord(last), ".")
	if login == "" {
		login = "user"
	}
	login = fmt.Sprintf("%s.%d", login, number)
	const active, invited = 80, 92
	user := models.User{
		FirstName: first, LastName: last, Email: login + "@" + p.domain, Status: models.StatusActive,
		AccountNonExpired: true, AccountNonLocked: true, CredentialsNonExpired: true,
		CreatedAt: p.between(demoToday.AddDate(-demoYears, 0, 0), demoToday),
	}
	user.UpdatedAt = user.CreatedAt
	p.withChance(70, func() { user.Mobile = new(p.fake.Numerify("+90555#######")) })
	p.withChance(10, func() { user.UserType = new(p.fake.RandomString([]string{"INTERNAL", "PARTNER"})) })
	p.withChance(50, func() { user.ExtAuthRefID = new(models.ID(p.fake.UUID())) })
	switch n := p.fake.IntN(100); {
	case n >= active && n < invited:
		// Has not been here yet.
		user.Status, user.IsFirstLogin = models.StatusInvited, true
		return user
	case n >= invited:
		user.Status = models.StatusInactive
		p.withChance(50, func() { user.AccountNonLocked = false })
		p.withChance(20, func() { user.AccountNonExpired = false })
	}
	p.withChance(90, func() { user.Username = &login })
	p.withChance(90, func() { user.IsEmailVerified = true })
	p.withChance(5, func() { user.CredentialsNonExpired = false })
	p.withChance(60, func() { user.UpdatedAt = p.between(user.CreatedAt, demoToday) })
	p.withChance(30, func() { user.LastPasswordResetAt = new(p.between(user.CreatedAt, demoToday)) })
	return user
}

// authorities gives one to three: everybody is a user.
func (p *demoPeople) authorities() []importAuthority {
	all := demoAuthorities()
	given := []importAuthority{all[2]}
	p.withChance(5, func() { given = append(given, all[1]) })
	p.withChance(25, func() { given = append(given, all[3+p.fake.IntN(2)]) })
	return given
}

// demoNames are names by which one sees whether searching and sorting do what
// they should.
var demoNames = [][2][]string{
	{{"Ayşe", "Çağrı", "Işıl", "İbrahim", "Gülşen", "Öykü", "Şükrü", "Umut"}, {"Yazıcıoğlu", "Şahin", "Çelik", "Öztürk", "Aydın", "Kılıç", "Güneş", "İnanç"}},
	{{"Zoë", "François", "Jürgen", "Søren", "Lucía", "Łukasz", "Renée", "Ólafur"}, {"Müller", "Nuñez", "Lefèvre", "Ångström", "Dvořák", "Jørgensen", "Grønbæk", "Weiß"}},
	{{"伟", "美咲", "민준", "小明"}, {"王", "佐藤", "김", "李"}},
	{{"محمد", "فاطمة", "يوسف", "ليلى"}, {"الهاشمي", "المصري", "حداد", "النجار"}},
	{{"Robin 🦊", "Kim 🚀", "Sam 👩‍💻"}, {"O'Neill", "van der Berg", "Smith-Jones"}},
}

func (p *demoPeople) name() (first, last string) {
	n := p.fake.IntN(100)
	for i, below := range []int{30, 45, 50, 55, 58} {
		if n < below {
			return p.fake.RandomString(demoNames[i][0]), p.fake.RandomString(demoNames[i][1])
		}
	}
	return p.fake.FirstName(), p.fake.LastName()
}

func (p *demoPeople) between(from, to time.Time) time.Time {
	return from.Add(time.Duration(p.fake.Float64() * float64(to.Sub(from)))).Truncate(time.Millisecond)
}

// withChance does something with a chance of so many in a hundred.
func (p *demoPeople) withChance(percent int, do func()) {
	if p.fake.IntN(100) < percent {
		do()
	}
}

// asciiWord gives the letters a to z of a word, without accents.
func asciiWord(s string) string {
	return strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' {
			return r
		}
		return -1
	}, models.Fold(s))
}
