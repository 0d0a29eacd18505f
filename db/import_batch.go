package db

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/google/uuid"
	"github.com/uptrace/bun"

	"roster/models"
)

// batch is a batch of rows that is planned: what the database holds of the
// things that the rows name, and what is to be written.
type batch struct {
	// locks is true when the rows that are read must stay as they are until the batch is in.
	locks    bool
	summary  ImportSummary
	rejected []Rejection

	// What the database holds, kept up to date with what is planned.
	customers         map[models.ID]*models.Customer
	customersByNumber map[int64]*models.Customer
	subroles          map[models.ID]*models.Subrole
	subrolesByCode    map[subroleCode]*models.Subrole
	authorities       map[int64]*models.Authority
	authoritiesByName map[string]*models.Authority
	users             map[models.ID]*models.User
	usersByNumber     map[int64]*models.User
	authoritiesOfUser map[models.ID][]int64
	credentials       map[models.ID]models.LegacyCredentials
	// The next numbers that are free; below 1 when there is none.
	nextCustomer, nextUser int64

	// What is to be written, in the order in which it became known.
	writeCustomers       []*models.Customer
	writeSubroles        []*models.Subrole
	recodes              bool // whether any of them has another code than before
	writeAuthorities     []*models.Authority
	writeUsers, newUsers []*models.User
	dropAuthorities      []models.ID
	writeUserAuthorities []userAuthority
	writeCredentials     []models.LegacyCredentials
	dropCredentials      []models.ID
}

type subroleCode struct {
	customerID models.ID
	code       string
}

type userAuthority struct {
	UserID      models.ID `bun:"user_id,pk"`
	AuthorityID int64     `bun:"authority_id,pk"`
}

// plan decides row by row what is to be written. It changes nothing.
func (im *importer) plan(ctx context.Context, db bun.IDB) (*batch, error) {
	b, err := im.load(ctx, db)
	if err != nil {
		return nil, err
	}
	for i := range im.rows {
		row := &im.rows[i]
		b.summary.Rows++
		if err := im.accept(b, row); err != nil {
			b.summary.Rejected++
			b.rejected = append(b.rejected, Rejection{Line: row.line, Key: row.key, Reason: err.Error()})
		}
	}
	return b, nil
}

// accept adds a row to what is to be written, or gives the reason why not. It
// checks everything before it adds anything: half a row is never written.
func (im *importer) accept(b *batch, row *importRow) error {
	if row.refused != nil {
		return row.refused
	}
	stored, user, err := b.userOf(row)
	if err != nil {
		return err
	}
	key, err := uuid.Parse(string(user.ID))
	if err != nil {
		return errors.New("the user's id in the database is not a UUID")
	}
	if line, ok := im.seen[key]; ok {
		return fmt.Errorf("the user is on line %d already", line)
	}
	customer, err := im.customerOf(b, row)
	if err != nil {
		return err
	}
	if stored != nil && stored.CustomerID != customer.ID {
		return errors.New("the user belongs to another customer, and is never moved")
	}
	user.CustomerID = customer.ID
	subrole, err := im.subroleOf(b, row, customer.ID)
	if err != nil {
		return err
	}
	if err := im.checkAuthorities(b, row); err != nil {
		return err
	}
	row.apply(user, stored == nil)
	if row.subrole.given {
		user.SubroleID = nil
		if subrole != nil {
			user.SubroleID = &subrole.ID
		}
	}
	user.SetKeys()

	im.seen[key] = row.line
	im.putCustomer(b, row, customer)
	if subrole != nil {
		im.putSubrole(b, row, *subrole)
	}
	im.putAuthorities(b, row)
	b.putUser(row, stored, user)
	return nil
}

// userOf finds the user of a row. user is a copy to work on: of stored, or of
// nobody, with the id and number that the user is going to have.
func (b *batch) userOf(row *importRow) (stored, user *models.User, err error) {
	id := row.id
	if id != "" {
		stored = b.users[id]
	} else if stored = b.usersByNumber[row.number]; stored == nil {
		id = derivedID(userSpace, row.number)
		if b.users[id] != nil {
			return nil, nil, fmt.Errorf("the number %d gives the id %s, which a user of another number has", row.number, id)
		}
	}
	if stored == nil {
		user, err = b.newUser(id, row.number)
		return nil, user, err
	}
	changed := *stored
	return stored, &changed, nil
}

func (b *batch) newUser(id models.ID, number int64) (*models.User, error) {
	if number == 0 {
		if number = b.nextUser; number < 1 {
			return nil, errors.New("no number is free for the user")
		}
	}
	return &models.User{
		ID: id, Number: number,
		AccountNonExpired: true, AccountNonLocked: true, CredentialsNonExpired: true,
	}, nil
}

// customerOf gives the customer of a row as it is going to be.
func (im *importer) customerOf(b *batch, row *importRow) (models.Customer, error) {
	stored, err := im.findCustomer(b, row)
	if err != nil {
		return models.Customer{}, err
	}
	var customer models.Customer
	if stored != nil {
		customer = *stored
	} else if customer, err = im.newCustomer(b, row); err != nil {
		return customer, err
	}
	if row.customerName != nil {
		if first := im.customers[customer.ID]; first.named && first.value.Name != *row.customerName {
			return customer, fmt.Errorf("the customer has another name on line %d", first.line)
		}
		customer.Name = *row.customerName
	}
	if stored != nil && customer.Name != stored.Name {
		customer.UpdatedAt = im.now
	}
	customer.SetKeys()
	return customer, nil
}

// findCustomer gives the customer of a row, nil when it has to be created. What
// the row says must agree with the options.
func (im *importer) findCustomer(b *batch, row *importRow) (*models.Customer, error) {
	number := row.customerNumber
	if number == 0 {
		number = im.customer.number
	}
	stored := b.customersByNumber[number]
	if im.customer.id != "" && number == 0 {
		return b.customers[im.customer.id], nil
	}
	disagrees := im.customer.number != 0 && im.customer.number != number
	if im.customer.id != "" {
		named := b.customers[im.customer.id]
		disagrees = named != stored
	}
	if disagrees {
		return nil, fmt.Errorf("the customer is %d, and not the one whose users are imported", number)
	}
	return stored, nil
}

func (im *importer) newCustomer(b *batch, row *importRow) (models.Customer, error) {
	customer := models.Customer{ID: im.customer.id, CreatedAt: im.now, UpdatedAt: im.now, Name: im.options.CustomerName}
	switch {
	case row.customerNumber != 0:
		customer.Number = row.customerNumber
	case im.customer.number != 0:
		customer.Number = im.customer.number
	default:
		customer.Number = b.nextCustomer
	}
	if customer.Number < 1 {
		return customer, errors.New("no number is free for the customer")
	}
	if customer.ID == "" {
		customer.ID = derivedID(customerSpace, customer.Number)
		if b.customers[customer.ID] != nil {
			return customer, fmt.Errorf("the number %d gives the id %s, which a customer of another number has", customer.Number, customer.ID)
		}
	}
	if customer.Name == "" {
		customer.Name = fmt.Sprintf("Customer %d", customer.Number)
	}
	return customer, nil
}

// subroleOf gives the subrole of a row as it is going to be, nil for none.
func (im *importer) subroleOf(b *batch, row *importRow, customerID models.ID) (*models.Subrole, error) {
	if row.subrole.value == nil {
		return nil, nil
	}
	subrole := *row.subrole.value
	subrole.CustomerID = customerID
	subrole.SetKeys()
	if stored := b.subroles[subrole.ID]; stored != nil && stored.CustomerID != customerID {
		return nil, fmt.Errorf("the subrole %s belongs to another customer", subrole.ID)
	}
	if first, ok := im.subroles[subrole.ID]; ok && first.value != subrole {
		return nil, fmt.Errorf("the subrole %s is not the same as on line %d", subrole.ID, first.line)
	}
	if other := b.subrolesByCode[subroleCode{customerID, subrole.Code}]; other != nil && other.ID != subrole.ID {
		return nil, fmt.Errorf("the code of the subrole %s is that of the subrole %s", subrole.ID, other.ID)
	}
	return &subrole, nil
}

// checkAuthorities makes sure that the authorities of a row are those that
// everybody has: a customer must not give another meaning to a number or name.
func (im *importer) checkAuthorities(b *batch, row *importRow) error {
	for _, authority := range row.authorities {
		first, ok := im.authorities[authority.id]
		otherCleanName := first.named && authority.cleanName.given && !reflect.DeepEqual(first.value.CleanName, authority.cleanName.value)
		if ok && (first.value.Name != authority.name || otherCleanName) {
			return fmt.Errorf("the authority %d is not the same as on line %d", authority.id, first.line)
		}
		if stored := b.authorities[authority.id]; stored != nil && stored.Name != authority.name {
			return fmt.Errorf("the authority %d has another name here", authority.id)
		}
		if stored := b.authoritiesByName[authority.name]; stored != nil && stored.ID != authority.id {
			return fmt.Errorf("the name of the authority %d is that of the authority %d", authority.id, stored.ID)
		}
	}
	return nil
}

func (im *importer) putCustomer(b *batch, row *importRow, customer models.Customer) {
	if !im.customers[customer.ID].named {
		im.customers[customer.ID] = mention[models.Customer]{row.line, customer, row.customerName != nil}
	}
	stored := b.customers[customer.ID]
	if stored == nil {
		b.keepCustomer(&customer)
		b.writeCustomers = append(b.writeCustomers, &customer)
		b.summary.CustomersCreated++
		return
	}
	if *stored != customer {
		if !slices.Contains(b.writeCustomers, stored) {
			b.writeCustomers = append(b.writeCustomers, stored)
			b.summary.CustomersUpdated++
		}
		*stored = customer
	}
}

func (im *importer) putSubrole(b *batch, row *importRow, subrole models.Subrole) {
	if _, ok := im.subroles[subrole.ID]; !ok {
		im.subroles[subrole.ID] = mention[models.Subrole]{line: row.line, value: subrole}
	}
	stored := b.subroles[subrole.ID]
	if stored == nil {
		b.keepSubrole(&subrole)
		b.writeSubroles = append(b.writeSubroles, &subrole)
		b.summary.SubrolesCreated++
		return
	}
	if *stored != subrole {
		// It is the first time in this file: later rows must say the same.
		delete(b.subrolesByCode, subroleCode{stored.CustomerID, stored.Code})
		b.recodes = b.recodes || stored.Code != subrole.Code
		*stored = subrole
		b.keepSubrole(stored)
		b.writeSubroles = append(b.writeSubroles, stored)
		b.summary.SubrolesUpdated++
	}
}

func (im *importer) putAuthorities(b *batch, row *importRow) {
	for _, given := range row.authorities {
		authority := models.Authority{ID: given.id, Name: given.name}
		stored := b.authorities[given.id]
		if stored != nil {
			authority.CleanName = stored.CleanName // which an earlier row may have given
		}
		given.cleanName.set(&authority.CleanName)
		if first, ok := im.authorities[given.id]; !ok || given.cleanName.given && !first.named {
			im.authorities[given.id] = mention[models.Authority]{row.line, authority, given.cleanName.given}
		}
		if stored == nil {
			b.keepAuthority(&authority)
			b.writeAuthorities = append(b.writeAuthorities, &authority)
			b.summary.AuthoritiesCreated++
		} else if !reflect.DeepEqual(*stored, authority) {
			// An earlier row may have made it, without a clean name.
			if !slices.Contains(b.writeAuthorities, stored) {
				b.writeAuthorities = append(b.writeAuthorities, stored)
				b.summary.AuthoritiesUpdated++
			}
			*stored = authority
		}
	}
}

func (b *batch) putUser(row *importRow, stored, user *models.User) {
	changed := false
	if stored == nil {
		b.keepUser(user)
		if b.nextUser > 0 && user.Number >= b.nextUser {
			b.nextUser = user.Number + 1 // below 1 after the highest of all, which means none
		}
		b.newUsers = append(b.newUsers, user)
	} else if !reflect.DeepEqual(stored, user) {
		b.writeUsers = append(b.writeUsers, user)
		changed = true
	}
	// No shortcut: both have to be written.
	changed = b.putUserAuthorities(row, user.ID) || changed
	changed = b.putCredentials(row, user.ID) || changed
	switch {
	case stored == nil:
		b.summary.UsersCreated++
	case changed:
		b.summary.UsersUpdated++
	default:
		b.summary.UsersUnchanged++
	}
}

func (b *batch) putUserAuthorities(row *importRow, userID models.ID) (changed bool) {
	if row.authorities == nil {
		return false
	}
	wanted := make([]int64, len(row.authorities))
	for i, authority := range row.authorities {
		wanted[i] = authority.id
	}
	slices.Sort(wanted)
	had := b.authoritiesOfUser[userID]
	if slices.Equal(had, wanted) {
		return false
	}
	if len(had) > 0 {
		b.dropAuthorities = append(b.dropAuthorities, userID)
	}
	for _, id := range wanted {
		b.writeUserAuthorities = append(b.writeUserAuthorities, userAuthority{userID, id})
	}
	return true
}

func (b *batch) putCredentials(row *importRow, userID models.ID) (changed bool) {
	had, stored := b.credentials[userID]
	wanted := had
	wanted.UserID = userID
	row.accessToken.set(&wanted.AccessToken)
	row.vcsPassword.set(&wanted.VCSPassword)
	switch {
	case wanted.AccessToken == nil && wanted.VCSPassword == nil:
		if stored {
			b.dropCredentials = append(b.dropCredentials, userID)
		}
		return stored
	case stored && reflect.DeepEqual(had, wanted):
		return false
	}
	b.writeCredentials = append(b.writeCredentials, wanted)
	return true
}

func (b *batch) keepCustomer(c *models.Customer) {
	c.CreatedAt, c.UpdatedAt = c.CreatedAt.UTC(), c.UpdatedAt.UTC()
	b.customers[c.ID], b.customersByNumber[c.Number] = c, c
}

func (b *batch) keepSubrole(s *models.Subrole) {
	b.subroles[s.ID], b.subrolesByCode[subroleCode{s.CustomerID, s.Code}] = s, s
}

func (b *batch) keepAuthority(a *models.Authority) {
	b.authorities[a.ID], b.authoritiesByName[a.Name] = a, a
}

func (b *batch) keepUser(u *models.User) {
	u.CreatedAt, u.UpdatedAt = u.CreatedAt.UTC(), u.UpdatedAt.UTC()
	if u.LastPasswordResetAt != nil {
		at := u.LastPasswordResetAt.UTC()
		u.LastPasswordResetAt = &at
	}
	b.users[u.ID], b.usersByNumber[u.Number] = u, u
}

// load reads what the database holds of the things that the rows name, in a
// fixed number of statements.
//
// PostgreSQL lets others write between two statements of a transaction, and the
// batch would undo that. So it locks what it reads, where SQLite keeps out all other
// writers anyway. Locks are taken in the order in which a batch is written, as any
// writer should: customers, then what they have, then users; and by id in a table.
// Whoever has changed a user of the file and then changes the customer or a subrole
// may still deadlock with an import. PostgreSQL ends one of the two, and what an
// import loses by that is a batch.
func (im *importer) load(ctx context.Context, db bun.IDB) (*batch, error) {
	b := &batch{
		locks:     im.db.engine == Postgres && !im.options.DryRun,
		customers: map[models.ID]*models.Customer{}, customersByNumber: map[int64]*models.Customer{},
		subroles: map[models.ID]*models.Subrole{}, subrolesByCode: map[subroleCode]*models.Subrole{},
		authorities: map[int64]*models.Authority{}, authoritiesByName: map[string]*models.Authority{},
		users: map[models.ID]*models.User{}, usersByNumber: map[int64]*models.User{},
		authoritiesOfUser: map[models.ID][]int64{}, credentials: map[models.ID]models.LegacyCredentials{},
	}
	keys := im.keys()
	for _, load := range []func(context.Context, bun.IDB, rowKeys) error{
		b.loadCustomers, b.loadSubroles, b.loadAuthorities, b.loadUsers, b.loadUserAuthorities, b.loadCredentials,
	} {
		if err := load(ctx, db, keys); err != nil {
			return nil, err
		}
	}
	var err error
	if b.nextCustomer, err = nextNumber(ctx, db, "customers"); err != nil {
		return nil, err
	}
	if b.nextUser, err = nextNumber(ctx, db, "users"); err != nil {
		return nil, err
	}
	if im.options.DryRun {
		im.recall(b)
	}
	return b, nil
}

// recall adds to what the database holds what a dry run did not write.
func (im *importer) recall(b *batch) {
	for _, c := range im.customers {
		b.keepCustomer(&c.value)
	}
	// A code may have gone from one subrole to another, so all old ones go first.
	for id := range im.subroles {
		if old := b.subroles[id]; old != nil {
			delete(b.subrolesByCode, subroleCode{old.CustomerID, old.Code})
		}
	}
	for _, s := range im.subroles {
		b.keepSubrole(&s.value)
	}
	for _, a := range im.authorities {
		b.keepAuthority(&a.value)
	}
}

// rowKeys are the keys of the things that the rows of a batch name.
type rowKeys struct {
	customerIDs, userIDs, subroleIDs           []models.ID
	customerNumbers, userNumbers, authorityIDs []int64
	subroleCodes, authorityNames               []string
}

func (im *importer) keys() rowKeys {
	var keys rowKeys
	// By name as well as by id: the row that names something first may be refused.
	customers, subroles, authorities := map[int64]bool{}, map[models.Subrole]bool{}, map[models.Authority]bool{}
	if im.customer.id != "" {
		keys.customerIDs = append(keys.customerIDs, im.customer.id)
	}
	addCustomer := func(number int64) {
		if number != 0 && !customers[number] {
			customers[number] = true
			keys.customerNumbers = append(keys.customerNumbers, number)
			keys.customerIDs = append(keys.customerIDs, derivedID(customerSpace, number))
		}
	}
	addCustomer(im.customer.number)
	for _, row := range im.rows {
		if row.refused != nil {
			continue
		}
		addCustomer(row.customerNumber)
		if row.number != 0 {
			keys.userNumbers = append(keys.userNumbers, row.number)
		}
		if row.id != "" {
			keys.userIDs = append(keys.userIDs, row.id)
		} else {
			keys.userIDs = append(keys.userIDs, derivedID(userSpace, row.number))
		}
		if s := row.subrole.value; s != nil && !subroles[*s] {
			subroles[*s] = true
			keys.subroleIDs, keys.subroleCodes = append(keys.subroleIDs, s.ID), append(keys.subroleCodes, s.Code)
		}
		for _, a := range row.authorities {
			if named := (models.Authority{ID: a.id, Name: a.name}); !authorities[named] {
				authorities[named] = true
				keys.authorityIDs, keys.authorityNames = append(keys.authorityIDs, a.id), append(keys.authorityNames, a.name)
			}
		}
	}
	return keys
}

// lockReferenced locks rows that users refer to, and lets others refer to them: those who
// add or change users hold a user first and then refer to the customer, the subrole and
// the authorities, and would deadlock if they had to wait.
func (b *batch) lockReferenced(query *bun.SelectQuery, id string) *bun.SelectQuery {
	return b.lock(query, id, "NO KEY UPDATE")
}

// lockOwned locks users and what is theirs. Nobody gives a user authorities or
// credentials meanwhile.
func (b *batch) lockOwned(query *bun.SelectQuery, id string) *bun.SelectQuery {
	return b.lock(query, id, "UPDATE")
}

func (b *batch) lock(query *bun.SelectQuery, id, strength string) *bun.SelectQuery {
	if !b.locks {
		return query
	}
	return query.OrderExpr(id).For(strength)
}

func (b *batch) loadCustomers(ctx context.Context, db bun.IDB, keys rowKeys) error {
	query := db.NewSelect().ColumnExpr(customerColumns).ModelTableExpr("customers AS c")
	return each(ctx, b.lockReferenced(query, "c.id"), some(oneOf("c.id", keys.customerIDs), oneOf("c.number", keys.customerNumbers)), b.keepCustomer)
}

func (b *batch) loadUsers(ctx context.Context, db bun.IDB, keys rowKeys) error {
	if len(keys.userIDs) == 0 {
		return nil
	}
	query := db.NewSelect().ModelTableExpr("users AS u").ColumnExpr(allUserColumns.names() +
		", u.username_key, u.first_name_key, u.last_name_key, u.email_key, u.mobile_key, u.search_key")
	return each(ctx, b.lockOwned(query, "u.id"), some(oneOf("u.id", keys.userIDs), oneOf("u.number", keys.userNumbers)), b.keepUser)
}

func (b *batch) loadSubroles(ctx context.Context, db bun.IDB, keys rowKeys) error {
	if len(keys.subroleIDs) == 0 {
		return nil
	}
	customerIDs := make([]models.ID, 0, len(b.customers))
	for id := range b.customers {
		customerIDs = append(customerIDs, id)
	}
	query := db.NewSelect().ColumnExpr(subroleColumns + ", s.code_key").ModelTableExpr("subroles AS s")
	byCode := all(oneOf("s.customer_id", customerIDs), oneOf("s.code", keys.subroleCodes))
	return each(ctx, b.lockReferenced(query, "s.id"), some(oneOf("s.id", keys.subroleIDs), byCode), b.keepSubrole)
}

func (b *batch) loadAuthorities(ctx context.Context, db bun.IDB, keys rowKeys) error {
	if len(keys.authorityIDs) == 0 {
		return nil
	}
	query := db.NewSelect().ColumnExpr("a.id, a.name, a.clean_name").ModelTableExpr("authorities AS a")
	return each(ctx, b.lockReferenced(query, "a.id"), some(oneOf("a.id", keys.authorityIDs), oneOf("a.name", keys.authorityNames)), b.keepAuthority)
}

func (b *batch) loadUserAuthorities(ctx context.Context, db bun.IDB, _ rowKeys) error {
	if len(b.users) == 0 {
		return nil
	}
	query := db.NewSelect().ColumnExpr("ua.user_id, ua.authority_id").ModelTableExpr("user_authorities AS ua").
		OrderExpr("ua.user_id, ua.authority_id")
	return each(ctx, query, oneOf("ua.user_id", b.storedUsers()), func(ua *userAuthority) {
		b.authoritiesOfUser[ua.UserID] = append(b.authoritiesOfUser[ua.UserID], ua.AuthorityID)
	})
}

func (b *batch) loadCredentials(ctx context.Context, db bun.IDB, _ rowKeys) error {
	if len(b.users) == 0 {
		return nil
	}
	query := db.NewSelect().ColumnExpr("lc.user_id, lc.access_token, lc.vcs_password").ModelTableExpr("legacy_credentials AS lc")
	return each(ctx, b.lockOwned(query, "lc.user_id"), oneOf("lc.user_id", b.storedUsers()), func(c *models.LegacyCredentials) {
		b.credentials[c.UserID] = *c
	})
}

func (b *batch) storedUsers() []models.ID {
	ids := make([]models.ID, 0, len(b.users))
	for id := range b.users {
		ids = append(ids, id)
	}
	return ids
}

// each runs query for the rows that match and hands them to keep.
func each[T any](ctx context.Context, query *bun.SelectQuery, matching predicate, keep func(*T)) error {
	var rows []*T
	if err := query.Model(&rows).Where(matching.sql, matching.args...).Scan(ctx); err != nil {
		return err
	}
	for _, row := range rows {
		keep(row)
	}
	return nil
}

// nextNumber gives the next free number of a table; below 1 when there is none.
func nextNumber(ctx context.Context, db bun.IDB, table string) (int64, error) {
	var highest int64
	err := db.NewSelect().ColumnExpr("COALESCE(max(number), 0)").TableExpr(table).Scan(ctx, &highest)
	next := highest + 1 // below 1 after the highest of all numbers
	if next > 0 {
		next = max(next, FirstOwnNumber)
	}
	return next, err
}

// write writes what is planned, in a fixed number of statements. What refers to
// something comes after it. Of what users refer to, only the columns are named that an
// import changes: with a column that may be referred to among them, PostgreSQL would
// wait for everybody who does.
func (b *batch) write(ctx context.Context, tx bun.Tx) error {
	ofSubrole := []string{"display_name", "label", "description"}
	if b.recodes {
		ofSubrole = append(ofSubrole, "code", "code_key")
	}
	for _, write := range []func() error{
		func() error {
			return upsert(ctx, tx, "customers", "id", b.writeCustomers, "name", "name_key", "updated_at")
		},
		func() error { return upsert(ctx, tx, "subroles", "id", b.writeSubroles, ofSubrole...) },
		func() error { return upsert(ctx, tx, "authorities", "id", b.writeAuthorities, "clean_name") },
		func() error { return upsert(ctx, tx, "users", "id", b.writeUsers) },
		// A user that somebody else makes meanwhile stays theirs: the import fails, and finds it the next time.
		func() error { return upsert(ctx, tx, "users", "", b.newUsers) },
		func() error { return deleteOfUsers(ctx, tx, "user_authorities", b.dropAuthorities) },
		func() error { return upsert(ctx, tx, "user_authorities", "", b.writeUserAuthorities) },
		func() error { return deleteOfUsers(ctx, tx, "legacy_credentials", b.dropCredentials) },
		func() error { return upsert(ctx, tx, "legacy_credentials", "user_id", b.writeCredentials) },
	} {
		if err := write(); err != nil {
			return err
		}
	}
	return nil
}

// upsert writes rows in one statement. In a row whose key is there the named columns
// are replaced, or all when none are named; without a key, none may be there.
func upsert[T any](ctx context.Context, tx bun.Tx, table, key string, rows []T, columns ...string) error {
	if len(rows) == 0 {
		return nil
	}
	query := tx.NewInsert().Model(&rows).ModelTableExpr(table).Returning("NULL")
	if key != "" {
		query = query.On("CONFLICT (" + key + ") DO UPDATE")
	}
	for _, column := range columns {
		query = query.Set(column + " = EXCLUDED." + column)
	}
	_, err := query.Exec(ctx)
	return err
}

// deleteOfUsers deletes the rows of a table that belong to users.
func deleteOfUsers(ctx context.Context, tx bun.Tx, table string, userIDs []models.ID) error {
	if len(userIDs) == 0 {
		return nil
	}
	_, err := tx.NewDelete().TableExpr(table).Where("user_id IN (?)", bun.List(userIDs)).Exec(ctx)
	return err
}
