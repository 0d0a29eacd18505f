package db

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/uptrace/bun"

	"roster/models"
)

// Row level security of PostgreSQL is a second wall: should a statement ever lack
// the condition for the caller's scope, the database lets it read nothing beyond
// the scope all the same. The policies are in the migrations 0004 and 0005.

// guardedTables are the tables that have a policy.
var guardedTables = []string{"customers", "users", "subroles", "user_counts", "user_months", "user_authorities", "legacy_credentials"}

// commonTables are the tables whose rows are everybody's, so they need no policy.
var commonTables = []string{"authorities", "authorities_version"}

// scopeSetting gives a scope in the form that the policies read.
func scopeSetting(scope models.Scope) string {
	if scope.All {
		return "*"
	}
	ids := make([]string, len(scope.CustomerIDs))
	for i, id := range scope.CustomerIDs {
		ids[i] = string(id)
	}
	numbers := make([]string, len(scope.CustomerNumbers))
	for i, number := range scope.CustomerNumbers {
		numbers[i] = strconv.FormatInt(number, 10)
	}
	return "{" + strings.Join(ids, ",") + "}|{" + strings.Join(numbers, ",") + "}"
}

// EnableRowLevelSecurity turns the policies on for every role that neither owns
// the tables nor may bypass them. Only PostgreSQL has them. Tables that have them on
// are not locked for it again.
func (db *DB) EnableRowLevelSecurity(ctx context.Context) error {
	if db.engine != Postgres {
		return errors.New("only PostgreSQL has row level security")
	}
	if db.write == nil {
		return errReadOnly
	}
	err := db.write.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		for _, statement := range lockMigration() {
			if _, err := tx.ExecContext(ctx, statement); err != nil {
				return err
			}
		}
		for _, table := range guardedTables {
			var on bool
			if err := tx.QueryRowContext(ctx, "SELECT relrowsecurity FROM pg_class WHERE oid = '"+table+"'::regclass").Scan(&on); err != nil {
				return err
			}
			if on {
				continue
			}
			if _, err := tx.ExecContext(ctx, "ALTER TABLE "+table+" ENABLE ROW LEVEL SECURITY"); err != nil {
				return err
			}
		}
		return nil
	})
	return cmp.Or(explainLockTimeout(err, "row level security was not turned on"), translate(err))
}

// ErrRowsHidden means that row level security applies to a role that is to read all rows.
var ErrRowsHidden = errors.New("row level security applies")

// CheckRole checks what the role of this connection may read: every table, but
// legacy_credentials only if credentials are shown. Where row level security is wanted, it
// must apply to the role. Where it applies unwanted, every list would be empty: that is
// ErrRowsHidden, without advice, which depends on the caller.
func (db *DB) CheckRole(ctx context.Context, wanted, credentials bool) error {
	if db.engine != Postgres {
		if wanted {
			return errors.New("--row-level-security needs PostgreSQL")
		}
		return nil
	}
	for _, table := range slices.Concat(guardedTables, commonTables) {
		guarded := slices.Contains(guardedTables, table)
		var (
			role             string
			active, readable bool
		)
		err := db.read.QueryRowContext(ctx, "SELECT current_user, row_security_active('"+table+"'), has_table_privilege('"+table+"', 'SELECT')").Scan(&role, &active, &readable)
		switch {
		case err != nil:
			return translate(err)
		case !readable && (credentials || table != "legacy_credentials"):
			return fmt.Errorf("the role %s may not read the table %s: GRANT SELECT ON %s TO %s", role, table, table, role)
		case !guarded:
		case active && !wanted:
			return fmt.Errorf("%w to the role %s on the table %s", ErrRowsHidden, role, table)
		case !active && wanted:
			return fmt.Errorf("row level security does not apply to the role %s on the table %s: turn it on with roster migrate --row-level-security, "+
				"and serve with a role that neither owns the tables, nor is a superuser, nor has BYPASSRLS", role, table)
		}
	}
	return nil
}
