package dbtest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"roster/db"
	"roster/models"
)

// Data is what a test puts into a database.
type Data struct {
	Customers   []*models.Customer
	Subroles    []*models.Subrole
	Authorities []*models.Authority
	Users       []*models.User
	// Granted holds the ids of each user's authorities.
	Granted     map[models.ID][]int64
	Credentials []*models.LegacyCredentials
}

// UsersOf gives the users of a customer, in no special order.
func (d *Data) UsersOf(customerID models.ID) []*models.User {
	var users []*models.User
	for _, user := range d.Users {
		if user.CustomerID == customerID {
			users = append(users, user)
		}
	}
	return users
}

// Subrole gives the subrole with this id, or nil.
func (d *Data) Subrole(id *models.ID) *models.Subrole {
	for _, subrole := range d.Subroles {
		if id != nil && subrole.ID == *id {
			return subrole
		}
	}
	return nil
}

// AuthoritiesOf gives the authorities of a user, sorted by their id.
func (d *Data) AuthoritiesOf(userID models.ID) []*models.Authority {
	var granted []*models.Authority
	for _, authority := range d.Authorities {
		if slices.Contains(d.Granted[userID], authority.ID) {
			granted = append(granted, authority)
		}
	}
	return granted
}

// Fill writes the data into a database that came from [Open] or [OpenURL], with
// the folded keys filled.
func Fill(t testing.TB, into *db.DB, data *Data) {
	t.Helper()
	Write(t, Connect(t, into), data)
}

// Write is [Fill] through a connection that came from [Connect], for a test that
// writes more than once.
func Write(t testing.TB, conn *bun.DB, data *Data) {
	t.Helper()
	err := conn.RunInTx(t.Context(), nil, func(ctx context.Context, tx bun.Tx) error {
		for _, customer := range data.Customers {
			customer.SetKeys()
		}
		for _, subrole := range data.Subroles {
			subrole.SetKeys()
		}
		for _, user := range data.Users {
			user.SetKeys()
		}
		type grant struct {
			UserID      models.ID `bun:"user_id"`
			AuthorityID int64     `bun:"authority_id"`
		}
		var grants []*grant
		for userID, authorityIDs := range data.Granted {
			for _, authorityID := range authorityIDs {
				grants = append(grants, &grant{userID, authorityID})
			}
		}
		// What others refer to comes first.
		for _, err := range []error{
			insert(ctx, tx, "customers", data.Customers),
			insert(ctx, tx, "subroles", data.Subroles),
			insert(ctx, tx, "authorities", data.Authorities),
			insert(ctx, tx, "users", data.Users),
			insert(ctx, tx, "user_authorities", grants),
			insert(ctx, tx, "legacy_credentials", data.Credentials),
		} {
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatalf("cannot write the test's data: %v", err)
	}
}

func insert[T any](ctx context.Context, tx bun.Tx, table string, rows []*T) error {
	for chunk := range slices.Chunk(rows, 500) {
		if _, err := tx.NewInsert().Model(&chunk).ModelTableExpr(table).Exec(ctx); err != nil {
			return fmt.Errorf("%s: %w", table, err)
		}
	}
	return nil
}

// The pools that [Users] draws from. Text holds what databases disagree about:
// letters that change case in a way of their own, marks that are composed or
// not, scripts without case, signs that LIKE and SQL give a meaning to.
var (
	firstNames = []string{
		"Ali", "ali", "ALİ", "Ayşe", "Işıl", "ışıl", "IŞIL", "İbrahim", "ibrahim", "Çağla", "Özgür", "José", "Jose\u0301", "Zoë",
		"Σίσυφος", "ΣΊΣΥΦΟΣ", "大文", "さくら", "مريم", "נועה", "😀", "👩🏽‍💻 Ada", "O'Brien", "ﬁona", "Ａｋｉ", "", "a", "Anne Marie", " Bo", "Ab", "aB",
	}
	lastNames = []string{
		"Yazıcıoğlu", "YAZICIOĞLU", "yazicioglu", "Straße", "STRASSE", "Strasse", "Łukasz", "Núñez", "陳", "田中", "حسن", "כהן", "🚀", "100%", "100", "a_b", "acb",
		"wow!", `back\slash`, `back\\slash`, "D'Arcy", "semi;colon", "--", "?", "??", "$1", "{x}", "\"quoted\"", "", "Zz", "zz", "Ångström", "e\u0301\u0327", "tab\tbed",
	}
	usernames = []string{"", "admin", "Admin", "ADMİN", "user_1", "user%1", "user1", `user\1`, "ünal", "u!", "名前"}
	emails    = []string{"a@example.com", "A@EXAMPLE.COM", "a-b@example.com", "a_b@example.com", "a.b@example.com", "b.c@example.com", "d_e@example.com", "f%g@example.org", "ığdır@örnek.com.tr", "x'y@example.net", "z@例え.jp"}
	mobiles   = []string{"", "+90 555 000 00 00", "+905550000000", "١٢٣", "0"}
	codes     = []string{"cro", "Admin", "straße", "50%_off", "Zoo"}
	// A second in which the fraction has no, three and six digits: as text they
	// must sort as they do as times. The last one is of before 1970.
	baseTime = time.Date(2024, 2, 12, 14, 16, 49, 0, time.UTC)
	times    = []time.Time{
		baseTime, baseTime.Add(time.Microsecond), baseTime.Add(time.Millisecond), baseTime.Add(50 * time.Millisecond), baseTime.Add(53 * time.Millisecond),
		baseTime.Add(53*time.Millisecond + 7*time.Microsecond), baseTime.Add(500 * time.Millisecond), baseTime.Add(time.Second - time.Microsecond),
		baseTime.Add(time.Second), baseTime.AddDate(0, 0, 1), time.Date(1969, 12, 31, 23, 59, 59, 999_000_000, time.UTC),
		// The ends of months.
		time.Date(2024, 1, 31, 23, 59, 59, 999_000_000, time.UTC), time.Date(2024, 2, 1, 0, 0, 0, 0, time.UTC), baseTime.AddDate(1, 0, 0),
	}
)

// Users makes up n users of three customers, the same ones for the same seed.
// The first customer has about two thirds of them, the second the others and
// the third none. The two have subroles of the same codes. Every value that
// users are sorted or filtered by comes from a small pool, so that there are
// ties in every order, and what may be null often is.
func Users(n int, seed uint64) *Data {
	g := generator{rand.New(rand.NewPCG(seed, 0))}
	data := &Data{Granted: map[models.ID][]int64{}}
	for i, name := range []string{"Yazıcıoğlu A.Ş.", "Straße & Söhne 100%", "Nobody's"} {
		customer := &models.Customer{
			ID: g.id(), Number: int64(i + 1), Name: name,
			CreatedAt: g.time(), UpdatedAt: g.time(),
		}
		if i > 0 {
			customer.CompanyID = new(int64(1000 + i))
		}
		data.Customers = append(data.Customers, customer)
		if i == 2 {
			break
		}
		for _, code := range codes {
			data.Subroles = append(data.Subroles, &models.Subrole{
				ID: g.id(), CustomerID: customer.ID, Code: code, DisplayName: code + " of " + name, Label: "label", Description: "",
			})
		}
	}
	for i, name := range []string{"ROLE_ADMIN", "ROLE_USER", "role_user", "ROLE%USER", "RÔLE", "It's"} {
		authority := &models.Authority{ID: int64(i + 1), Name: name}
		if i%2 == 0 {
			authority.CleanName = new(name[1:])
		}
		data.Authorities = append(data.Authorities, authority)
	}

	people := []models.ID{g.id(), g.id(), g.id()}
	numbers := g.Perm(n)
	for i := range n {
		of := 0
		if g.IntN(3) == 0 {
			of = 1
		}
		user := &models.User{
			ID: g.id(), Number: int64(numbers[i] + 1), CustomerID: data.Customers[of].ID,
			Username: optional(g, usernames), FirstName: pick(g, firstNames), LastName: pick(g, lastNames),
			Email: pick(g, emails), Mobile: optional(g, mobiles), UserType: optional(g, []string{"", "STANDARD", "EXTERNAL"}),
			Status:          pick(g, models.UserStatuses()),
			IsEmailVerified: g.bool(), IsFirstLogin: g.bool(),
			AccountNonExpired: g.bool(), AccountNonLocked: g.bool(), CredentialsNonExpired: g.bool(),
			CreatedAt: g.time(), CreatedBy: optional(g, people), UpdatedAt: g.time(), UpdatedBy: optional(g, people),
			LastPasswordResetAt: optional(g, times), ExtAuthRefID: optional(g, people),
		}
		if g.IntN(3) > 0 {
			user.SubroleID = &data.Subroles[of*len(codes)+g.IntN(len(codes))].ID
		}
		user.SetKeys()
		data.Users = append(data.Users, user)
		for _, authority := range data.Authorities {
			if g.IntN(3) == 0 {
				data.Granted[user.ID] = append(data.Granted[user.ID], authority.ID)
			}
		}
		if g.IntN(4) == 0 {
			data.Credentials = append(data.Credentials, &models.LegacyCredentials{
				UserID: user.ID, AccessToken: optional(g, []string{"token", ""}), VCSPassword: optional(g, []string{"password"}),
			})
		}
	}
	return data
}

type generator struct{ *rand.Rand }

// id gives a random UUID of version 4.
func (g generator) id() models.ID {
	hi, lo := g.Uint64(), g.Uint64()
	return models.ID(fmt.Sprintf("%08x-%04x-4%03x-%x%03x-%012x",
		hi>>32, hi>>16&0xffff, hi&0xfff, 8+lo>>62, lo>>48&0xfff, lo&0xffff_ffff_ffff))
}

func (g generator) bool() bool { return g.IntN(2) == 0 }

func (g generator) time() time.Time { return pick(g, times) }

func pick[T any](g generator, from []T) T { return from[g.IntN(len(from))] }

func optional[T any](g generator, from []T) *T {
	if g.IntN(3) == 0 {
		return nil
	}
	return new(pick(g, from))
}
