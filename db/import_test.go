package db_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/uptrace/bun"

	"roster/db"
	"roster/db/dbtest"
	"roster/models"
)

const importSandboxID = "3f6c1d52-8f0a-4b7e-9a41-6d2c5e8b7f10"

var importScope = models.Scope{All: true}

func TestImportOfTheDocumentedExamples(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		worthExample, testiniumExample := readDocument(t, "demo/worth.json"), readDocument(t, "demo/testinium.json")
		conn := dbtest.Connect(t, d)

		got := mustImport(t, d, db.SourceTestinium, testiniumExample, db.ImportOptions{})
		want := db.ImportSummary{Rows: 5, UsersCreated: 5, CustomersCreated: 1, AuthoritiesCreated: 3}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		options := db.ImportOptions{Customer: importSandboxID, CustomerName: "Sandbox"}
		got = mustImport(t, d, db.SourceWorth, worthExample, options)
		want = db.ImportSummary{Rows: 1, UsersCreated: 1, CustomersCreated: 1, SubrolesCreated: 1}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		before := dumpImport(t, conn)

		got = mustImport(t, d, db.SourceTestinium, testiniumExample, db.ImportOptions{Customer: "3393"})
		if diff := cmp.Diff(db.ImportSummary{Rows: 5, UsersUnchanged: 5}, got); diff != "" {
			t.Error(diff)
		}
		got = mustImport(t, d, db.SourceWorth, worthExample, options)
		if diff := cmp.Diff(db.ImportSummary{Rows: 1, UsersUnchanged: 1}, got); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(before, dumpImport(t, conn)); diff != "" {
			t.Errorf("importing again changed something: %s", diff)
		}

		t.Run("Worth", func(t *testing.T) { checkWorthExample(t, d) })
		t.Run("Testinium", func(t *testing.T) { checkTestiniumExample(t, d) })
	})
}

func checkWorthExample(t *testing.T, d *db.DB) {
	users := importedUsers(t, d, importSandboxID)
	mother, at := models.ID("b03d6f6a-063b-4e71-8195-9f6f590a6257"), time.Date(2024, 2, 12, 14, 16, 49, 53_000_000, time.UTC)
	external, subrole := models.ID("ec46bd5b-0fae-47e1-8e4e-d37a5ac87e7e"), models.ID("f1fa445c-743b-4a0e-ad54-bb9294c41005")
	want := []*models.User{{
		ID: "94520740-d63c-4e02-85ca-c4e138801e73", Number: db.FirstOwnNumber, CustomerID: importSandboxID,
		FirstName: "Sandbox", LastName: "CRO", Email: "dummy.customer.user@email.com", Status: models.StatusActive,
		IsFirstLogin: true, AccountNonExpired: true, AccountNonLocked: true, CredentialsNonExpired: true,
		CreatedAt: at, CreatedBy: &mother, UpdatedAt: at, UpdatedBy: &mother, ExtAuthRefID: &external, SubroleID: &subrole,
	}}
	if diff := cmp.Diff(want, users); diff != "" {
		t.Error(diff)
	}
	subroles, err := d.Subroles(t.Context(), importScope, importSandboxID)
	if err != nil {
		t.Fatal(err)
	}
	wantSubroles := []*models.Subrole{{
		ID: subrole, CustomerID: importSandboxID, Code: "cro", DisplayName: "CRO", Label: "CRO", Description: "This is Sandbox's CRO",
	}}
	if diff := cmp.Diff(wantSubroles, subroles); diff != "" {
		t.Error(diff)
	}
}

func checkTestiniumExample(t *testing.T, d *db.DB) {
	customer, err := d.CustomerByNumber(t.Context(), importScope, 3393)
	if err != nil || customer == nil {
		t.Fatalf("no customer: %v", err)
	}
	if customer.Name != "Mestiniumm" || customer.CompanyID != nil {
		t.Errorf("the customer is %+v", customer)
	}
	users := importedUsers(t, d, customer.ID)
	if len(users) != 5 {
		t.Fatalf("there are %d users", len(users))
	}
	username, at := "dscan", time.UnixMilli(1638348417000).UTC()
	want := &models.User{
		ID: users[1].ID, Number: 6850, CustomerID: customer.ID, Username: &username,
		FirstName: "Sander Yazıcıoğluu", LastName: "SY", Email: "dscan@gmail.com", Status: models.StatusInactive,
		AccountNonExpired: true, AccountNonLocked: true, CredentialsNonExpired: true, CreatedAt: at, UpdatedAt: at,
	}
	if diff := cmp.Diff(want, users[1]); diff != "" {
		t.Error(diff)
	}
	// The ids are part of what is promised: they are the same in every database.
	if users[1].ID != "bf2acb73-17e8-5de9-a88f-b3a6a9fa53df" || customer.ID != "395e6aac-7490-5b29-8365-5f105a78cf14" {
		t.Errorf("the ids are %s and %s", users[1].ID, customer.ID)
	}
	credentials, err := d.LegacyCredentialsByUser(t.Context(), importScope, []models.ID{users[0].ID, users[1].ID})
	if err != nil {
		t.Fatal(err)
	}
	if c := credentials[users[0].ID]; c == nil || *c.AccessToken != "afbe7d859ad86b5149f75077c52035e3" || *c.VCSPassword != "EBgdEMJkfw0dTqmVeCm7hQ==" {
		t.Error("the first user has other credentials")
	}
	if c := credentials[users[1].ID]; c == nil || c.VCSPassword != nil {
		t.Error("the second user has other credentials")
	}
	authorities, err := d.AuthoritiesByUser(t.Context(), importScope, []models.ID{users[2].ID})
	if err != nil {
		t.Fatal(err)
	}
	wantAuthorities := []*models.Authority{{ID: 1, Name: "ROLE_ADMIN"}, {ID: 2, Name: "ROLE_COMPANY_ADMIN"}, {ID: 3, Name: "ROLE_USER"}}
	if diff := cmp.Diff(wantAuthorities, authorities[users[2].ID]); diff != "" {
		t.Error(diff)
	}
}

func TestImportUpdates(t *testing.T) {
	t.Run("Worth", func(t *testing.T) {
		dbtest.Each(t, func(t *testing.T, d *db.DB) {
			options := db.ImportOptions{Customer: "77"}
			subrole := map[string]any{"id": importUUID(500), "code": "cro", "display_name": "CRO", "label": "CRO", "description": ""}
			mustImport(t, d, db.SourceWorth, documentOf(
				worthRecord(1, recordFields{"subrole": subrole, "mobile": "+90 555", "updated_by": importUUID(9)}), worthRecord(2, recordFields{"subrole": subrole})), options)
			before := importedUsers(t, d, importedCustomer(t, d, 77).ID)

			renamed := maps.Clone(subrole)
			renamed["label"] = "Chief"
			changed := worthRecord(1, recordFields{"subrole": renamed, "first_name": "Çağrı", "status": "INVITED", "updated_at": "2025-01-02T03:04:05.678901Z"})
			delete(changed, "mobile") // absent: stays
			got := mustImport(t, d, db.SourceWorth, documentOf(changed, worthRecord(3, nil)), options)
			want := db.ImportSummary{Rows: 2, UsersCreated: 1, UsersUpdated: 1, SubrolesUpdated: 1}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			users := importedUsers(t, d, importedCustomer(t, d, 77).ID)
			before[0].FirstName, before[0].Status, before[0].UpdatedBy = "Çağrı", models.StatusInvited, nil
			before[0].UpdatedAt = time.Date(2025, 1, 2, 3, 4, 5, 678_000_000, time.UTC)
			if diff := cmp.Diff(before, users[:2]); diff != "" {
				t.Error(diff)
			}
			if users[2].Number != db.FirstOwnNumber+2 {
				t.Errorf("the new user's number is %d", users[2].Number)
			}
			if n := countImported(t, d, importedCustomer(t, d, 77).ID, &models.UserFilter{Search: new("cagri")}); n != 1 {
				t.Errorf("the new name finds %d users", n)
			}
			subroles, err := d.SubrolesByID(t.Context(), importScope, []models.ID{models.ID(importUUID(500))})
			if err != nil || subroles[models.ID(importUUID(500))].Label != "Chief" {
				t.Errorf("the subrole is %v, %v", subroles, err)
			}
		})
	})
	t.Run("Testinium", func(t *testing.T) {
		dbtest.Each(t, func(t *testing.T, d *db.DB) {
			mustImport(t, d, db.SourceTestinium, documentOf(testiniumRecord(1, nil), testiniumRecord(2, nil)), db.ImportOptions{})
			customer := importedCustomer(t, d, 3393)
			before := importedUsers(t, d, customer.ID)

			role := []any{map[string]any{"entityId": 7, "name": "ROLE_NEW", "cleanName": "New"}}
			got := mustImport(t, d, db.SourceTestinium, documentOf(
				testiniumRecord(1, recordFields{"enabled": false, "authorities": role, "accessToken": nil, "vcsPassword": nil, "companyName": "New name"}),
				testiniumRecord(2, recordFields{"vcsPassword": "other", "companyName": "New name"})), db.ImportOptions{})
			want := db.ImportSummary{Rows: 2, UsersUpdated: 2, CustomersUpdated: 1, AuthoritiesCreated: 1}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			users := importedUsers(t, d, customer.ID)
			before[0].Status = models.StatusInactive
			if diff := cmp.Diff(before, users); diff != "" {
				t.Error(diff)
			}
			credentials, err := d.LegacyCredentialsByUser(t.Context(), importScope, []models.ID{users[0].ID, users[1].ID})
			if err != nil || len(credentials) != 1 || *credentials[users[1].ID].VCSPassword != "other" {
				t.Errorf("the credentials are %v, %v", credentials, err)
			}
			authorities, err := d.AuthoritiesByUser(t.Context(), importScope, []models.ID{users[0].ID})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]*models.Authority{{ID: 7, Name: "ROLE_NEW", CleanName: new("New")}}, authorities[users[0].ID]); diff != "" {
				t.Error(diff)
			}
			renamed := importedCustomer(t, d, 3393)
			if renamed.Name != "New name" || !renamed.CreatedAt.Equal(customer.CreatedAt) {
				t.Errorf("the customer is %+v", renamed)
			}
		})
	})
}

// A date that systems write for none at all is a date of creation as any other: it does
// not make a user a new one.
func TestImportOfTheEarliestDateTwice(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		earliest := documentOf(testiniumRecord(1, recordFields{"createdDate": time.Time{}.UnixMilli()}))
		mustImport(t, d, db.SourceTestinium, earliest, db.ImportOptions{})
		user := importedUsers(t, d, importedCustomer(t, d, 3393).ID)[0]
		mustImport(t, d, db.SourceWorth, documentOf(worthRecord(1, recordFields{
			"id": string(user.ID), "created_at": "0001-01-01T00:00:00Z", "updated_at": "2024-05-05T00:00:00Z",
		})), db.ImportOptions{Customer: "3393"})
		got := mustImport(t, d, db.SourceTestinium, earliest, db.ImportOptions{})
		if user = importedUsers(t, d, user.CustomerID)[0]; !user.UpdatedAt.Equal(time.Date(2024, 5, 5, 0, 0, 0, 0, time.UTC)) {
			t.Errorf("the user was updated at %s, says %+v", user.UpdatedAt, got)
		}
	})
}

// The clean name of an authority may be null or absent, and everybody has the same
// authorities: a row without it must not take it from other customers.
func TestImportOfCleanNames(t *testing.T) {
	role := func(changes recordFields) recordFields {
		authority := recordFields{"entityId": 7, "name": "ROLE_NEW"}
		maps.Copy(authority, changes)
		return recordFields{"authorities": []any{authority}}
	}
	absent, null, given := role(nil), role(recordFields{"cleanName": nil}), role(recordFields{"cleanName": "New"})
	updated, created := db.ImportSummary{AuthoritiesUpdated: 1}, db.ImportSummary{AuthoritiesCreated: 1}
	tests := []struct {
		name   string
		stored recordFields // what an earlier file said, if anything
		rows   []recordFields
		want   *string
		did    db.ImportSummary // what the last file did to authorities
	}{
		{"AbsentKeeps", given, []recordFields{absent}, new("New"), db.ImportSummary{}},
		{"NullClears", given, []recordFields{null}, nil, updated},
		{"GivenChanges", null, []recordFields{given}, new("New"), updated},
		{"NewAndAbsent", nil, []recordFields{absent}, nil, created},
		{"AbsentFirst", nil, []recordFields{absent, given}, new("New"), created},
		{"AbsentAfter", nil, []recordFields{given, absent}, new("New"), created},
		{"AbsentAround", null, []recordFields{absent, given, absent, given}, new("New"), updated},
		{"AbsentBesideNull", given, []recordFields{null, absent}, nil, updated},
	}
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		conn := dbtest.Connect(t, d)
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				deleteImport(t, conn)
				if test.stored != nil {
					mustImport(t, d, db.SourceTestinium, documentOf(testiniumRecord(1, test.stored)), db.ImportOptions{})
				}
				var records []recordFields
				for i, row := range test.rows {
					records = append(records, testiniumRecord(2+i, row))
				}
				dry := mustImport(t, d, db.SourceTestinium, documentOf(records...), db.ImportOptions{DryRun: true})
				wet := mustImport(t, d, db.SourceTestinium, documentOf(records...), db.ImportOptions{})
				checkDiff(t, "the dry run", wet, dry)
				checkDiff(t, "the authorities", test.did, db.ImportSummary{AuthoritiesCreated: wet.AuthoritiesCreated, AuthoritiesUpdated: wet.AuthoritiesUpdated})
				users := importedUsers(t, d, importedCustomer(t, d, 3393).ID)
				last := users[len(users)-1].ID
				authorities, err := d.AuthoritiesByUser(t.Context(), importScope, []models.ID{last})
				if err != nil {
					t.Fatal(err)
				}
				checkDiff(t, "the authority", []*models.Authority{{ID: 7, Name: "ROLE_NEW", CleanName: test.want}}, authorities[last])
			})
		}
	})
}

// An invited user is not enabled; Testinium cannot tell the two apart.
func TestImportLeavesInvitedUsersInvited(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		conn := dbtest.Connect(t, d)
		mustImport(t, d, db.SourceTestinium, documentOf(testiniumRecord(1, nil), testiniumRecord(2, nil)), db.ImportOptions{})
		if _, err := conn.ExecContext(t.Context(), "UPDATE users SET status = 'INVITED', mobile = '1', is_email_verified = TRUE"); err != nil {
			t.Fatal(err)
		}
		mustImport(t, d, db.SourceTestinium, documentOf(testiniumRecord(1, recordFields{"enabled": false}), testiniumRecord(2, nil)), db.ImportOptions{})
		users := importedUsers(t, d, importedCustomer(t, d, 3393).ID)
		if users[0].Status != models.StatusInvited || users[1].Status != models.StatusActive {
			t.Errorf("the statuses are %s, %s", users[0].Status, users[1].Status)
		}
		if users[0].Mobile == nil || !users[0].IsEmailVerified {
			t.Error("what Testinium does not know did not keep its value")
		}
	})
}

func TestImportDryRun(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		conn := dbtest.Connect(t, d)
		subrole := map[string]any{"id": importUUID(500), "code": "cro", "display_name": "", "label": "", "description": ""}
		stolen := maps.Clone(subrole)
		stolen["id"] = importUUID(501)
		records := manyRecords(1_300, func(i int) recordFields { return worthRecord(i, recordFields{"subrole": subrole}) })
		records[1_200]["subrole"] = stolen
		document := documentOf(records...)

		before := dumpImport(t, conn)
		dry, rejected, err := importAll(t, d, db.SourceWorth, document, db.ImportOptions{Customer: "5", DryRun: true})
		if err != nil || len(rejected) != 1 {
			t.Fatalf("%v, %v", rejected, err)
		}
		if diff := cmp.Diff(before, dumpImport(t, conn)); diff != "" {
			t.Fatalf("the dry run wrote something: %s", diff)
		}
		wet, rejectedAgain, err := importAll(t, d, db.SourceWorth, document, db.ImportOptions{Customer: "5"})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(dry, wet); diff != "" {
			t.Errorf("the dry run told something else: %s", diff)
		}
		if diff := cmp.Diff(rejected, rejectedAgain); diff != "" {
			t.Errorf("the dry run rejected something else: %s", diff)
		}
		want := db.ImportSummary{Rows: 1_300, Rejected: 1, UsersCreated: 1_299, CustomersCreated: 1, SubrolesCreated: 1}
		if diff := cmp.Diff(want, wet); diff != "" {
			t.Error(diff)
		}
	})
}

func TestImportDryRunOfAReadOnlyDatabase(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine db.Engine) {
		d, err := db.Open(t.Context(), dbtest.URL(t, engine), db.Options{ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = d.Close() })
		mustImport(t, d, db.SourceTestinium, documentOf(testiniumRecord(1, nil)), db.ImportOptions{DryRun: true})
		if _, _, err := importAll(t, d, db.SourceTestinium, documentOf(testiniumRecord(1, nil)), db.ImportOptions{}); err == nil {
			t.Error("an import into a read-only database succeeded")
		}
		if _, err := d.Migrate(t.Context()); err == nil {
			t.Error("a read-only database was migrated")
		}
	})
}

// personalData stands wherever a row may not be quoted.
const personalData = "hunter2@example.com"

func TestImportRejects(t *testing.T) {
	subrole := func(id int, changes recordFields) map[string]any {
		s := map[string]any{"id": importUUID(id), "code": "cro", "display_name": "CRO", "label": "CRO", "description": "text"}
		maps.Copy(s, changes)
		return s
	}
	long := strings.Repeat("x", 1_001)
	role := func(id int, name string) map[string]any {
		return map[string]any{"entityId": id, "name": name, "cleanName": nil}
	}
	tests := []struct {
		name   string
		source db.Source
		row    any // recordFields, or the text of the row
		reason string
	}{
		{"NoObject", db.SourceWorth, `"` + personalData + `"`, "it is not an object"},
		{"Null", db.SourceTestinium, `null`, "it is not an object"},
		{"UnknownKey", db.SourceWorth, worthRecord(2, recordFields{"Email": personalData}), `the key "Email" is not known`},
		{"UnknownKeyInSubrole", db.SourceWorth, worthRecord(2, recordFields{"subrole": subrole(500, recordFields{"x": personalData})}), `the key subrole."x" is not known`},
		{"KeyTwice", db.SourceWorth, `{"id": "` + importUUID(2) + `", "id": "` + importUUID(2) + `"}`, `the key "id" is there twice`},
		{"NotUTF8", db.SourceWorth, "{\"id\": \"\xff\"}", "the record is not valid UTF-8"},
		{"HalfACharacter", db.SourceWorth, strings.Replace(encodeRecord(worthRecord(2, recordFields{"first_name": "QQ"})), "QQ", `\ud800`, 1), "first_name holds an escape that is half of a surrogate pair"},
		{"HalfACharacterBesideABackslash", db.SourceWorth, strings.Replace(encodeRecord(worthRecord(2, recordFields{"first_name": "QQ"})), "QQ", `\ud800 \\ufffd`, 1), "first_name holds an escape that is half of a surrogate pair"},
		{"NUL", db.SourceWorth, worthRecord(2, recordFields{"last_name": personalData + "\x00"}), "last_name cannot be kept: the text holds the character U+0000 at byte 19, which is not allowed"},
		{"Missing", db.SourceWorth, withoutKey(worthRecord(2, nil), "email"), "email is missing"},
		{"EmailNull", db.SourceWorth, worthRecord(2, recordFields{"email": nil}), "email is null"},
		{"EmailEmpty", db.SourceWorth, worthRecord(2, recordFields{"email": " "}), "email is empty"},
		{"EmailTooLong", db.SourceWorth, worthRecord(2, recordFields{"email": long}), "email is longer than 1000 bytes, or its form without accents is"},
		{"FoldedTooLong", db.SourceWorth, worthRecord(2, recordFields{"mobile": strings.Repeat("\uFDFA", 300)}), "mobile is longer than 1000 bytes, or its form without accents is"},
		{"BadID", db.SourceWorth, worthRecord(2, recordFields{"id": personalData}), "id is not a UUID in the form 94520740-d63c-4e02-85ca-c4e138801e73"},
		{"NumberForText", db.SourceWorth, worthRecord(2, recordFields{"first_name": 5}), "first_name is not a text"},
		{"TextForBool", db.SourceWorth, worthRecord(2, recordFields{"is_first_login": "true"}), "is_first_login is neither true nor false"},
		{"BadTime", db.SourceWorth, worthRecord(2, recordFields{"created_at": personalData}), "created_at is not a time in the form 2024-02-12T14:16:49.053Z, with a zone, at most six fractional digits and a year of 1 to 9999"},
		{"BadStatus", db.SourceWorth, worthRecord(2, recordFields{"status": "active"}), `status is "active": ACTIVE, INVITED or INACTIVE is expected`},
		{"SubroleIsText", db.SourceWorth, worthRecord(2, recordFields{"subrole": "cro"}), "subrole: it is not an object"},
		{"SubroleWithoutCode", db.SourceWorth, worthRecord(2, recordFields{"subrole": subrole(500, recordFields{"code": ""})}), "subrole.code is empty"},
		{"SubroleOfAnother", db.SourceWorth, worthRecord(2, recordFields{"subrole": subrole(900, nil)}), "the subrole " + importUUID(900) + " belongs to another customer"},
		{"SubroleDiffers", db.SourceWorth, worthRecord(2, recordFields{"subrole": subrole(500, recordFields{"label": "x"})}), "the subrole " + importUUID(500) + " is not the same as on line 2"},
		{"SubroleCodeTaken", db.SourceWorth, worthRecord(2, recordFields{"subrole": subrole(501, nil)}), "the code of the subrole " + importUUID(501) + " is that of the subrole " + importUUID(500)},
		{"TwiceInTheFile", db.SourceWorth, worthRecord(1, nil), "the user is on line 2 already"},
		{"UserOfAnother", db.SourceWorth, worthRecord(901, nil), "the user belongs to another customer, and is never moved"},

		{"Password", db.SourceTestinium, testiniumRecord(2, recordFields{"password": personalData}), "password is not null: Roster does not keep this secret, so it must be taken out of the document"},
		{"NewPassword", db.SourceTestinium, testiniumRecord(2, recordFields{"newPassword": ""}), "newPassword is not null: Roster does not keep this secret, so it must be taken out of the document"},
		{"VerificationToken", db.SourceTestinium, testiniumRecord(2, recordFields{"verificationToken": 1}), "verificationToken is not null: Roster does not keep this secret, so it must be taken out of the document"},
		{"ResetPasswordToken", db.SourceTestinium, testiniumRecord(2, recordFields{"resetPasswordToken": personalData}), "resetPasswordToken is not null: Roster does not keep this secret, so it must be taken out of the document"},
		{"NumberIsText", db.SourceTestinium, testiniumRecord(2, recordFields{"entityId": "2"}), "entityId is not a whole number of at most 64 bits"},
		{"NumberIsNegative", db.SourceTestinium, testiniumRecord(-2, nil), "entityId is not a positive number"},
		{"NumberTooLarge", db.SourceTestinium, testiniumRecord(2, recordFields{"entityId": json.Number("9223372036854775808")}), "entityId is not a whole number of at most 64 bits"},
		{"NumberIsFraction", db.SourceTestinium, testiniumRecord(2, recordFields{"createdDate": json.Number("1.0")}), "createdDate is not a whole number of at most 64 bits"},
		{"TimeOutOfRange", db.SourceTestinium, testiniumRecord(2, recordFields{"lastPasswordResetDate": json.Number("9223372036854775807")}), "lastPasswordResetDate is out of range: the years 1 to 9999 are allowed"},
		{"CustomerDisagrees", db.SourceTestinium, testiniumRecord(2, recordFields{"customer": 901}), "the customer is 901, and not the one whose users are imported"},
		{"CustomerNameDisagrees", db.SourceTestinium, testiniumRecord(2, recordFields{"companyName": "x"}), "the customer has another name on line 2"},
		{"UserOfAnotherByNumber", db.SourceTestinium, testiniumRecord(901, nil), "the user belongs to another customer, and is never moved"},
		{"AuthoritiesNull", db.SourceTestinium, testiniumRecord(2, recordFields{"authorities": nil}), "authorities is not a list"},
		{"AuthorityTwice", db.SourceTestinium, testiniumRecord(2, recordFields{"authorities": []any{role(8, "X"), role(9, "X")}}), "authorities has the same entityId or name twice"},
		{"AuthorityIsText", db.SourceTestinium, testiniumRecord(2, recordFields{"authorities": []any{personalData}}), "authorities[0]: it is not an object"},
		{"AuthorityUnknownKey", db.SourceTestinium, testiniumRecord(2, recordFields{"authorities": []any{map[string]any{"entityId": 1, "name": "ROLE_USER", "x": 1}}}), `the key authorities[0]."x" is not known`},
		{"AuthorityRenamed", db.SourceTestinium, testiniumRecord(2, recordFields{"authorities": []any{role(901, "ROLE_ADMIN")}}), "the authority 901 has another name here"},
		{"AuthorityNameTaken", db.SourceTestinium, testiniumRecord(2, recordFields{"authorities": []any{role(902, "ROLE_OTHER")}}), "the name of the authority 902 is that of the authority 901"},
		{"AuthorityDiffers", db.SourceTestinium, testiniumRecord(2, recordFields{"authorities": []any{map[string]any{"entityId": 3, "name": "ROLE_USER", "cleanName": "x"}}}), "the authority 3 is not the same as on line 2"},
	}
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		conn := dbtest.Connect(t, d)
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				deleteImport(t, conn)
				// Somebody else's: customer 900 of Worth and customer 901 of Testinium.
				mustImport(t, d, db.SourceWorth, documentOf(worthRecord(901, recordFields{"subrole": subrole(900, nil)})), db.ImportOptions{Customer: "900"})
				mustImport(t, d, db.SourceTestinium, documentOf(testiniumRecord(901, recordFields{
					"customer": 901, "companyName": "Other", "authorities": []any{role(901, "ROLE_OTHER")},
				})), db.ImportOptions{})

				row, isText := test.row.(string)
				if !isText {
					row = encodeRecord(test.row.(recordFields))
				}
				var document string
				options := db.ImportOptions{Customer: "3393"}
				if test.source == db.SourceWorth {
					document = "[\n" + encodeRecord(worthRecord(1, recordFields{"subrole": subrole(500, nil)})) + ",\n" + row + ",\n" + encodeRecord(worthRecord(3, nil)) + "\n]\n"
				} else {
					document = "[\n" + encodeRecord(testiniumRecord(1, nil)) + ",\n" + row + ",\n" + encodeRecord(testiniumRecord(3, nil)) + "\n]\n"
				}
				summary, rejected, err := importAll(t, d, test.source, document, options)
				if err != nil {
					t.Fatal(err)
				}
				if len(rejected) != 1 || rejected[0].Line != 3 || rejected[0].Reason != test.reason {
					t.Fatalf("rejected: %v", rejected)
				}
				if text := rejected[0].String(); strings.Contains(text, "hunter2") || strings.Contains(text, "\n") {
					t.Errorf("the reason tells too much: %s", text)
				}
				if summary.Rows != 3 || summary.Rejected != 1 || summary.UsersCreated != 2 {
					t.Errorf("%+v", summary)
				}
				if n := len(importedUsers(t, d, importedCustomer(t, d, 3393).ID)); n != 2 {
					t.Errorf("%d users are in", n)
				}
			})
		}
	})
}

// A row may give another name to what a refused row named before it. When that name is
// taken in the database, the row is rejected and the import does not fail.
func TestImportOfANameAfterARefusedOne(t *testing.T) {
	authority := func(n, id int, name string) recordFields {
		return testiniumRecord(n, recordFields{"authorities": []any{map[string]any{"entityId": id, "name": name}}})
	}
	subrole := func(n, id int, code string) recordFields {
		return worthRecord(n, recordFields{"subrole": map[string]any{"id": importUUID(id), "code": code, "display_name": "", "label": "", "description": ""}})
	}
	for name, test := range map[string]struct {
		source db.Source
		record func(n, id int, name string) recordFields
		reason string
	}{
		"Authority": {db.SourceTestinium, authority, "the name of the authority 2 is that of the authority 1"},
		"Subrole":   {db.SourceWorth, subrole, "the code of the subrole " + importUUID(2) + " is that of the subrole " + importUUID(1)},
	} {
		t.Run(name, func(t *testing.T) {
			dbtest.Each(t, func(t *testing.T, d *db.DB) {
				options := db.ImportOptions{Customer: "3393"}
				mustImport(t, d, test.source, documentOf(test.record(1, 1, "taken")), options)
				document := documentOf(test.record(2, 3, "other"), test.record(2, 2, "free"), test.record(3, 2, "taken"))
				_, rejected, err := importAll(t, d, test.source, document, options)
				if err != nil || len(rejected) != 2 || rejected[0].Reason != "the user is on line 2 already" || rejected[1].Reason != test.reason {
					t.Errorf("rejected %v, error %v", rejected, err)
				}
			})
		})
	}
}

// A customer that is given by its UUID and found by a number must be one and the same.
func TestImportTestiniumOfACustomerByUUID(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		document := documentOf(testiniumRecord(1, nil), testiniumRecord(2, recordFields{"customer": 4}))
		summary, rejected, err := importAll(t, d, db.SourceTestinium, document, db.ImportOptions{Customer: importSandboxID})
		if err != nil || summary.UsersCreated != 1 || len(rejected) != 1 {
			t.Fatalf("%+v, %v, %v", summary, rejected, err)
		}
		if customer := importedCustomer(t, d, 3393); customer.ID != importSandboxID {
			t.Errorf("the customer is %+v", customer)
		}
		summary, rejected, err = importAll(t, d, db.SourceTestinium, document, db.ImportOptions{Customer: importUUID(1)})
		if err != nil || summary.Rejected != 1 || summary.UsersCreated != 1 || rejected[0].Line != 2 {
			t.Errorf("%+v, %v, %v", summary, rejected, err)
		}
	})
}

func TestImportRefusesOptions(t *testing.T) {
	d := dbtest.Open(t, db.SQLite)
	tests := []struct {
		name    string
		source  db.Source
		options db.ImportOptions
		want    string
	}{
		{"Source", "x", db.ImportOptions{}, `"x" is not a source that can be imported from: worth and testinium are`},
		{"NoCustomer", db.SourceWorth, db.ImportOptions{}, "--customer is needed: a document of worth does not say whose users it holds"},
		{"BadCustomer", db.SourceWorth, db.ImportOptions{Customer: "0"}, `the customer is "0": a UUID or a positive number is expected`},
		{"BlankName", db.SourceWorth, db.ImportOptions{Customer: "1", CustomerName: " "}, "the customer's name is empty"},
		{"BadName", db.SourceWorth, db.ImportOptions{Customer: "1", CustomerName: "\x00"}, "the customer's name cannot be kept: the text holds the character U+0000 at byte 0, which is not allowed"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, _, err := importAll(t, d, test.source, "[]", test.options)
			if err == nil || err.Error() != test.want {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestImportOfAnotherShape(t *testing.T) {
	const expected = `; expected {"status": "success", "message": ..., "data": {"records": [...], "total_pages": ..., "total_items": ...}} or a list of records; nothing was imported`
	w := encodeRecord(worthRecord(1, nil))
	tests := []struct{ name, document, want string }{
		{"Empty", "", "line 1: the document ends too early" + expected},
		{"OnlySpace", "\n\n", "line 3: the document ends too early" + expected},
		{"Text", "\nhello", "line 2: this is not JSON: invalid character 'h' looking for beginning of value; nothing was imported"},
		{"Gzip", "\x1f\x8b\x08\x00", "the document is compressed with gzip; expected JSON in UTF-8, not compressed; nothing was imported"},
		{"UTF16", "\xff\xfe[\x00]\x00", "the document is in UTF-16; expected JSON in UTF-8, not compressed; nothing was imported"},
		{"UTF16BigEndian", "\xfe\xff\x00[\x00]", "the document is in UTF-16; expected JSON in UTF-8, not compressed; nothing was imported"},
		{"UTF16WithoutMark", "[\x00]\x00", "the document is in UTF-16; expected JSON in UTF-8, not compressed; nothing was imported"},
		{"Number", "5", "line 1: the document starts with something else" + expected},
		{"AnErrorAnswer", `{"message": "x", "errorCode": "y"}`, "line 1: the document has a key that does not belong there, or has it twice" + expected},
		{"NoSuccess", `{"status": "error", "data": {"records": []}}`, `line 1: status is not "success"` + expected},
		{"NoRecords", `{"status": "success", "data": {}}`, "line 1: there is no data.records" + expected},
		{"DataIsAList", `{"data": []}`, "line 1: data is not an object" + expected},
		{"RecordsIsAnObject", "{\"data\":\n{\"records\": {}}}", "line 2: data.records is not a list" + expected},
		{"RecordsTwice", "{\"data\":\n{\"records\": [],\n\"records\": []}}", "line 3: data has a key that does not belong there, or has it twice" + expected},
		{"TotalIsAList", `{"data": {"total_items": []}}`, "line 1: an object or a list stands where a text or a number should" + expected},
		{"More", "[\n" + w + "\n]\n[]", "line 4: more follows after the end of the document" + expected},
		{"MoreRubbish", "[\n" + w + "\n]\n\n x", "line 5: more follows after the end of the document" + expected},
		{"CutBetween", "[\n" + w, "line 2: the document ends too early" + expected},
		{"CutWithin", "[\n" + w + ",\n" + w[:30], "line 3: the document ends in the middle of what starts here" + expected},
		{"CommaAtTheEnd", "[\n" + w + ",\n]", "line 3: this is not JSON: invalid character ']' looking for beginning of value; nothing was imported"},
		{"NoComma", "[\n" + w + "\n" + w + "]", "line 3: this is not JSON: expected comma after array element; nothing was imported"},
		{"Broken", "[\n" + w + ",\n{\"id\":\n\n!}]", "line 5, in the record that starts on line 3: this is not JSON: invalid character '!' looking for beginning of value; nothing was imported"},
		{"TooLong", "[\n" + w + ",\n\"" + strings.Repeat("x", 2<<20) + "\"]", "line 3: what starts here is longer than 1048576 bytes, which is not allowed; nothing was imported"},
		{"TooMuchSpace", "[" + strings.Repeat(" ", 2<<20) + "]", "line 1: what starts here is longer than 1048576 bytes, which is not allowed; nothing was imported"},
	}
	d := dbtest.Open(t, db.SQLite)
	conn := dbtest.Connect(t, d)
	before := dumpImport(t, conn)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			summary, rejected, err := importAll(t, d, db.SourceWorth, test.document, db.ImportOptions{Customer: "1"})
			if err == nil {
				t.Fatal("it was imported")
			}
			if diff := cmp.Diff(test.want, err.Error()); diff != "" {
				t.Error(diff)
			}
			if summary != (db.ImportSummary{}) || len(rejected) > 0 {
				t.Errorf("%+v, %v", summary, rejected)
			}
			if diff := cmp.Diff(before, dumpImport(t, conn)); diff != "" {
				t.Errorf("something was written: %s", diff)
			}
		})
	}
	t.Run("TestiniumTakesNoObject", func(t *testing.T) {
		_, _, err := importAll(t, d, db.SourceTestinium, `{"data": {"records": []}}`, db.ImportOptions{})
		want := `line 1: the document starts with something else; expected a list of users: [{"entityId": ..., "customer": ..., ...}, ...]; nothing was imported`
		if err == nil || err.Error() != want {
			t.Error(err)
		}
	})
}

func TestImportOfAGoodShape(t *testing.T) {
	w := encodeRecord(worthRecord(1, nil))
	for name, document := range map[string]string{
		"List":           "[" + w + "]",
		"EmptyList":      "[]",
		"OnePageOfMany":  `{"data": {"total_items": "300", "total_pages": 300, "records": [` + w + `]}, "message": null, "status": "success"}`,
		"ByteOrderMark":  "\uFEFF[" + w + "]",
		"SmallReads":     "[" + w + "]",
		"CarriageReturn": "[\r\n" + w + "\r\n]\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			d := dbtest.Open(t, db.SQLite)
			summary, err := d.Import(t.Context(), db.SourceWorth, oneByteReader{strings.NewReader(document)}, db.ImportOptions{Customer: "1"})
			want := int64(strings.Count(document, importUUID(1)))
			if err != nil || summary.UsersCreated != want || summary.Rejected != 0 {
				t.Errorf("%+v, %v", summary, err)
			}
		})
	}
}

type oneByteReader struct{ r io.Reader }

func (o oneByteReader) Read(p []byte) (int, error) { return o.r.Read(p[:min(len(p), 1)]) }

func TestImportThatBreaksOff(t *testing.T) {
	const total = 1_400
	records := manyRecords(total, func(i int) recordFields { return worthRecord(i, nil) })
	document := documentOf(records...)
	options := db.ImportOptions{Customer: "5"}

	t.Run("Malformed", func(t *testing.T) {
		dbtest.Each(t, func(t *testing.T, d *db.DB) {
			lines := strings.Split(document, "\n")
			lines[1_200] = `{"id": oops},`
			summary, _, err := importAll(t, d, db.SourceWorth, strings.Join(lines, "\n"), options)
			want := "line 1201: this is not JSON: invalid character 'o' looking for beginning of value; nothing from line 1002 on was imported"
			if err == nil || err.Error() != want {
				t.Errorf("%v", err)
			}
			checkBrokenOff(t, d, summary, document, options, total)
		})
	})
	t.Run("Cancelled", func(t *testing.T) {
		dbtest.Each(t, func(t *testing.T, d *db.DB) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			breaking := options
			breaking.Progress = func(int64, int64) { cancel() }
			summary, err := d.Import(ctx, db.SourceWorth, strings.NewReader(document), breaking)
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%v", err)
			}
			checkBrokenOff(t, d, summary, document, options, total)
		})
	})
	t.Run("ReadError", func(t *testing.T) {
		dbtest.Each(t, func(t *testing.T, d *db.DB) {
			broken := io.MultiReader(strings.NewReader(document[:len(document)*4/5]), failingReader{})
			summary, err := d.Import(t.Context(), db.SourceWorth, broken, options)
			if !errors.Is(err, errDisk) {
				t.Errorf("%v", err)
			}
			checkBrokenOff(t, d, summary, document, options, total)
		})
	})
}

var errDisk = errors.New("the disk is gone")

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, errDisk }

// checkBrokenOff checks that exactly the first batch is in, and that a second
// try brings in the rest.
func checkBrokenOff(t *testing.T, d *db.DB, summary db.ImportSummary, document string, options db.ImportOptions, total int64) {
	t.Helper()
	want := db.ImportSummary{Rows: 1_000, UsersCreated: 1_000, CustomersCreated: 1}
	if diff := cmp.Diff(want, summary); diff != "" {
		t.Error(diff)
	}
	if n := countImported(t, d, importedCustomer(t, d, 5).ID, nil); n != 1_000 {
		t.Errorf("%d users are in", n)
	}
	want = db.ImportSummary{Rows: total, UsersCreated: total - 1_000, UsersUnchanged: 1_000}
	if diff := cmp.Diff(want, mustImport(t, d, db.SourceWorth, document, options)); diff != "" {
		t.Error(diff)
	}
}

// A plan that is made while a table has no statistics reads all of it.
func TestImportGathersStatistics(t *testing.T) {
	document := documentOf(manyRecords(1_200, func(i int) recordFields { return testiniumRecord(i, nil) })...)
	check := func(t *testing.T, d *db.DB, want ...string) {
		t.Helper()
		const query = `SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
			AND relname NOT LIKE 'bun_%' AND reltuples < 0 ORDER BY relname`
		var without []string
		if err := dbtest.Connect(t, d).NewRaw(query).Scan(t.Context(), &without); err != nil {
			t.Fatal(err)
		}
		checkDiff(t, "the tables without statistics", want, without)
	}
	t.Run("Written", func(t *testing.T) {
		d := dbtest.Open(t, db.Postgres)
		counter := dbtest.Count(d)
		for i, run := range []struct {
			options db.ImportOptions
			want    int
		}{{db.ImportOptions{DryRun: true}, 0}, {db.ImportOptions{}, 1}, {db.ImportOptions{}, 0}} {
			counter.Reset()
			mustImport(t, d, db.SourceTestinium, document, run.options)
			n := 0
			for _, statement := range counter.Statements() {
				if strings.HasPrefix(statement, "ANALYZE ") {
					n++
				}
			}
			if n != run.want {
				t.Errorf("import %d gathers them %d times, want %d", i+1, n, run.want)
			}
		}
		check(t, d)
	})
	t.Run("BrokenOff", func(t *testing.T) {
		d := dbtest.Open(t, db.Postgres)
		if _, _, err := importAll(t, d, db.SourceTestinium, document[:len(document)-10], db.ImportOptions{}); err == nil {
			t.Error("a document without an end was imported")
		}
		check(t, d)
	})
	t.Run("Demo", func(t *testing.T) {
		d := dbtest.Open(t, db.Postgres)
		if _, err := d.FillDemo(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		check(t, d)
		var known, users int
		const query = "SELECT reltuples::bigint, (SELECT count(*) FROM users) FROM pg_class WHERE oid = 'users'::regclass"
		if err := dbtest.Connect(t, d).NewRaw(query).Scan(t.Context(), &known, &users); err != nil || known != users {
			t.Errorf("the statistics tell of %d users, there are %d, error %v", known, users, err)
		}
	})
	t.Run("Held", func(t *testing.T) {
		d := dbtest.Open(t, db.Postgres)
		tx, err := dbtest.Connect(t, d).BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = tx.Rollback() }()
		// A VACUUM holds it like this.
		if _, err := tx.ExecContext(t.Context(), "LOCK TABLE users IN SHARE UPDATE EXCLUSIVE MODE"); err != nil {
			t.Fatal(err)
		}
		mustImport(t, d, db.SourceTestinium, document, db.ImportOptions{})
		check(t, d, "users")
	})
}

func TestImportReportsProgress(t *testing.T) {
	d := dbtest.Open(t, db.SQLite)
	document := documentOf(manyRecords(2_500, func(i int) recordFields { return worthRecord(i, nil) })...)
	var rows, read []int64
	mustImport(t, d, db.SourceWorth, document, db.ImportOptions{Customer: "5", Progress: func(r, b int64) {
		rows, read = append(rows, r), append(read, b)
	}})
	if !slices.Equal(rows, []int64{1_000, 2_000, 2_500}) || !slices.IsSorted(read) || read[2] != int64(len(document)) {
		t.Errorf("%v, %v of %d", rows, read, len(document))
	}
}

// Two imports at once must not give the same number twice, and must not wait for
// each other for ever.
func TestImportsAtOnce(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		const imports, users = 3, 1_100
		errs := make([]error, imports)
		var running sync.WaitGroup
		for i := range imports {
			running.Go(func() {
				document := documentOf(manyRecords(users, func(n int) recordFields { return worthRecord(i*users+n, nil) })...)
				_, errs[i] = d.Import(t.Context(), db.SourceWorth, strings.NewReader(document), db.ImportOptions{Customer: importUUID(9_000 + i)})
			})
		}
		running.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		var numbers []int64
		for i := range imports {
			got := importedUsers(t, d, models.ID(importUUID(9_000+i)))
			for _, user := range got {
				numbers = append(numbers, user.Number)
			}
		}
		slices.Sort(numbers)
		if len(numbers) != imports*users || numbers[0] != db.FirstOwnNumber || numbers[len(numbers)-1] != db.FirstOwnNumber+imports*users-1 {
			t.Errorf("%d numbers from %d to %d", len(numbers), numbers[0], numbers[len(numbers)-1])
		}
		if n, err := d.CountCustomers(t.Context(), importScope, ""); err != nil || n != imports {
			t.Errorf("%d customers, %v", n, err)
		}
	})
}

// The same document twice at once: one of the two creates, the other finds.
func TestImportOfTheSameAtOnce(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		document := documentOf(manyRecords(1_500, func(i int) recordFields { return testiniumRecord(i, nil) })...)
		summaries, errs := make([]db.ImportSummary, 2), make([]error, 2)
		var running sync.WaitGroup
		for i := range 2 {
			running.Go(func() {
				summaries[i], errs[i] = d.Import(t.Context(), db.SourceTestinium, strings.NewReader(document), db.ImportOptions{})
			})
		}
		running.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		created := summaries[0].UsersCreated + summaries[1].UsersCreated
		unchanged := summaries[0].UsersUnchanged + summaries[1].UsersUnchanged
		if created != 1_500 || unchanged != 1_500 {
			t.Errorf("%d created and %d unchanged", created, unchanged)
		}
	})
}

// TestImportUndoesNobodysChange has another writer change what an import is about to
// write, so that the import waits for it, and commit then. SQLite has one writer anyway.
func TestImportUndoesNobodysChange(t *testing.T) {
	role := func(cleanName any) []any {
		return []any{recordFields{"entityId": 7, "name": "ROLE_NEW", "cleanName": cleanName}}
	}
	changed := documentOf(withoutKey(testiniumRecord(1, recordFields{
		"name": "Changed", "companyName": "Changed", "accessToken": "changed", "authorities": role("Changed"),
	}), "vcsPassword"))
	for name, test := range map[string]struct {
		change, query, want string
		source              db.Source
		document            string
		fails               string
	}{
		"User":        {"UPDATE users SET mobile = 'theirs', mobile_key = 'theirs'", "SELECT mobile FROM users", "theirs", db.SourceTestinium, changed, ""},
		"Customer":    {"UPDATE customers SET company_id = 12", "SELECT CAST(company_id AS text) FROM customers", "12", db.SourceTestinium, changed, ""},
		"Authority":   {"UPDATE authorities SET name = 'ROLE_THEIRS'", "SELECT name FROM authorities", "ROLE_THEIRS", db.SourceTestinium, changed, ""},
		"Credentials": {"UPDATE legacy_credentials SET vcs_password = 'theirs'", "SELECT vcs_password FROM legacy_credentials", "theirs", db.SourceTestinium, changed, ""},
		"NewUser": {
			fmt.Sprintf(`INSERT INTO users SELECT (jsonb_populate_record(u, '{"id": "%s", "number": 2, "mobile": "theirs"}')).* FROM users AS u`, importUUID(2)),
			"SELECT mobile FROM users WHERE number = 2", "theirs", db.SourceWorth, documentOf(worthRecord(2, nil)), "duplicate key",
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := dbtest.Open(t, db.Postgres)
			conn := dbtest.Connect(t, d)
			mustImport(t, d, db.SourceTestinium, documentOf(testiniumRecord(1, recordFields{"authorities": role(nil)})), db.ImportOptions{})
			other, err := conn.BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = other.Rollback() }()
			if _, err := other.ExecContext(t.Context(), test.change); err != nil {
				t.Fatal(err)
			}
			done := importInBackground(t, d, test.source, test.document)
			waitForLock(t, conn)
			if err := other.Commit(); err != nil {
				t.Fatal(err)
			}
			if err := <-done; test.fails == "" && err != nil || test.fails != "" && (err == nil || !strings.Contains(err.Error(), test.fails)) {
				t.Errorf("the import's error is %v, want %q", err, test.fails)
			}
			var got string
			if err := conn.NewRaw(test.query).Scan(t.Context(), &got); err != nil || got != test.want {
				t.Errorf("after the import it is %q, want %q, error %v", got, test.want, err)
			}
		})
	}
}

// TestImportDoesNotDeadlock has another writer add and change users of the customer,
// with the subrole and the authority that an import changes.
func TestImportDoesNotDeadlock(t *testing.T) {
	role := recordFields{"entityId": 7, "name": "ROLE_NEW", "cleanName": nil}
	subrole := recordFields{"id": importUUID(500), "code": "cro", "display_name": "", "label": "", "description": ""}
	newRole, newSubrole := maps.Clone(role), maps.Clone(subrole)
	newRole["cleanName"], newSubrole["label"] = "Changed", "Changed"
	const newUser = `INSERT INTO users SELECT (jsonb_populate_record(u, '{"id": "%s", "number": %d}')).* FROM users AS u WHERE subrole_id IS NOT NULL ORDER BY number LIMIT 1`
	const newAuthority = "INSERT INTO user_authorities (user_id, authority_id) VALUES ('%s', 7)"
	for name, test := range map[string]struct {
		source   db.Source
		document string
	}{
		"Testinium": {db.SourceTestinium, documentOf(testiniumRecord(1, recordFields{"companyName": "Changed", "authorities": []any{newRole}}))},
		"Worth":     {db.SourceWorth, documentOf(worthRecord(2, recordFields{"first_name": "Changed", "subrole": newSubrole}))},
	} {
		t.Run(name, func(t *testing.T) {
			d := dbtest.Open(t, db.Postgres)
			conn := dbtest.Connect(t, d)
			mustImport(t, d, db.SourceTestinium, documentOf(testiniumRecord(1, recordFields{"authorities": []any{role}})), db.ImportOptions{})
			mustImport(t, d, db.SourceWorth, documentOf(worthRecord(2, recordFields{"subrole": subrole})), db.ImportOptions{Customer: "3393"})
			other, err := conn.BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = other.Rollback() }()
			run := func(statement string) {
				t.Helper()
				if _, err := other.ExecContext(t.Context(), statement); err != nil {
					t.Fatalf("%s: %v", statement, err)
				}
			}
			// It has a user of its own, so an import waits for nothing.
			run("SET LOCAL lock_timeout = '5s'")
			run(fmt.Sprintf(newUser, importUUID(11), 11))
			run(fmt.Sprintf(newAuthority, importUUID(11)))
			select {
			case err := <-importInBackground(t, d, test.source, test.document):
				if err != nil {
					t.Fatal(err)
				}
			case <-time.After(30 * time.Second):
				t.Fatal("the import waits for who adds a user")
			}
			// It changes users of the file, so an import waits; and it need not wait for the import.
			run("UPDATE users SET user_type = 'theirs'")
			done := importInBackground(t, d, test.source, test.document)
			waitForLock(t, conn)
			run("UPDATE users SET subrole_id = '" + importUUID(500) + "'")
			run(fmt.Sprintf(newUser, importUUID(12), 12))
			run(fmt.Sprintf(newAuthority, importUUID(12)))
			if err := other.Commit(); err != nil {
				t.Fatal(err)
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

// importInBackground gives the error of an import once it has ended.
func importInBackground(t *testing.T, d *db.DB, source db.Source, document string) <-chan error {
	done := make(chan error, 1)
	go func() {
		_, _, err := importAll(t, d, source, document, db.ImportOptions{Customer: "3393"})
		done <- err
	}()
	return done
}

// waitForLock waits until somebody waits for a lock in the database of conn.
func waitForLock(t *testing.T, conn *bun.DB) {
	t.Helper()
	until(t, "the import waits for a lock", func() bool {
		var waiting int
		if err := conn.NewRaw("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'").Scan(t.Context(), &waiting); err != nil {
			t.Fatal(err)
		}
		return waiting > 0
	})
}

func TestImportWithNoNumberLeft(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		mustImport(t, d, db.SourceTestinium, documentOf(testiniumRecord(1, recordFields{"entityId": json.Number("9223372036854775806")})), db.ImportOptions{})
		summary, rejected, err := importAll(t, d, db.SourceWorth, documentOf(worthRecord(1, nil), worthRecord(2, nil)), db.ImportOptions{Customer: "5"})
		if err != nil || summary.UsersCreated != 1 || len(rejected) != 1 || rejected[0].Reason != "no number is free for the user" {
			t.Errorf("%+v, %v, %v", summary, rejected, err)
		}
	})
}

func TestImportOfUnicode(t *testing.T) {
	names := []string{"Yazıcıoğlu İğne", "Ångström", "e\u0301", "佐藤 美咲", "محمد", "👩‍💻", "\u202eright to left", `a'b"c\d%_!?`, "line\nbreak\ttab", "\U0001F9B8\u200d♀️", "\uFFFD"}
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		var records []recordFields
		for i, name := range names {
			records = append(records, worthRecord(i+1, recordFields{"first_name": name, "last_name": name, "mobile": name, "email": name + "@x.example"}))
		}
		mustImport(t, d, db.SourceWorth, documentOf(records...), db.ImportOptions{Customer: "5", CustomerName: names[0]})
		customer := importedCustomer(t, d, 5)
		if customer.Name != names[0] {
			t.Errorf("the customer is %q", customer.Name)
		}
		for i, user := range importedUsers(t, d, customer.ID) {
			if user.FirstName != names[i] || user.LastName != names[i] || *user.Mobile != names[i] || user.Email != names[i]+"@x.example" {
				t.Errorf("%q came back as %+v", names[i], user)
			}
		}
		if n := countImported(t, d, customer.ID, &models.UserFilter{Search: new("YAZICIOGLU igne")}); n != 1 {
			t.Errorf("%d users are found", n)
		}
	})
}

// The largest texts that are taken fit into every index.
func TestImportOfLongTexts(t *testing.T) {
	random := func(seed int) string { // a text that cannot be compressed much
		var text strings.Builder
		for i := 0; text.Len() < 990; i++ {
			fmt.Fprintf(&text, "%08x", uint32(seed+i)*2654435761)
		}
		return text.String()[:990]
	}
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		subrole := map[string]any{"id": importUUID(500), "code": random(1), "display_name": random(2), "label": random(3), "description": strings.Repeat(random(4), 100)}
		mustImport(t, d, db.SourceWorth, documentOf(worthRecord(1, recordFields{
			"first_name": random(5), "last_name": random(6), "email": random(7), "mobile": random(8), "subrole": subrole,
		})), db.ImportOptions{Customer: "5", CustomerName: random(9)})
		mustImport(t, d, db.SourceTestinium, documentOf(testiniumRecord(1, recordFields{
			"username": random(5), "userType": random(6), "companyName": random(7), "accessToken": strings.Repeat(random(8), 10),
			"authorities": []any{map[string]any{"entityId": 1, "name": random(9), "cleanName": random(10)}},
		})), db.ImportOptions{})
	})
}

// The statements of a batch are a fixed number, whatever its size.
func TestImportRunsFewStatements(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		counter := dbtest.Count(d)
		var countImport []int
		for _, size := range []int{10, 900} {
			counter.Reset()
			mustImport(t, d, db.SourceTestinium, documentOf(manyRecords(size, func(i int) recordFields { return testiniumRecord(1_000*size+i, nil) })...), db.ImportOptions{})
			countImport = append(countImport, counter.N())
		}
		if countImport[1] > countImport[0] || countImport[0] > 16 {
			t.Errorf("%v statements", countImport)
		}
	})
}

func TestFillDemo(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		const users = 1_500
		conn := dbtest.Connect(t, d)
		customers, err := d.FillDemo(t.Context(), users)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for i, want := range []int{1, 5, users, 250} {
			names = append(names, customers[i].Name)
			if n := countImported(t, d, customers[i].ID, nil); n != want {
				t.Errorf("%s has %d users", customers[i].Name, n)
			}
			stored, err := d.CustomersByID(t.Context(), importScope, []models.ID{customers[i].ID})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(&customers[i], stored[customers[i].ID], cmpopts.IgnoreFields(models.Customer{}, "SubrolesVersion", "AuthoritiesVersion")); diff != "" {
				t.Error(diff)
			}
		}
		if diff := cmp.Diff([]string{"Sandbox", "Mestiniumm", "Çınar Perakende", "Café Lumière"}, names); diff != "" {
			t.Error(diff)
		}
		for _, status := range models.UserStatuses() {
			filter := &models.UserFilter{Status: &models.UserStatusFilter{Eq: &status}}
			if countImported(t, d, customers[2].ID, filter) == 0 {
				t.Errorf("nobody is %s", status)
			}
		}
		dump := func() map[string][]string {
			if _, err := conn.ExecContext(t.Context(), "UPDATE customers SET subroles_version = 0"); err != nil { // it is random
				t.Fatal(err)
			}
			return dumpImport(t, conn)
		}
		first := dump()
		if _, err := d.FillDemo(t.Context(), users); err == nil {
			t.Error("a database with data was filled")
		}
		deleteImport(t, conn)
		if _, err := d.FillDemo(t.Context(), users); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(first, dump()); diff != "" {
			t.Errorf("it is not the same data every time: %s", diff)
		}
	})
}

// FuzzImport is best run with -fuzzminimizetime=1x: the coverage of a database
// is never the same twice, so making an input smaller does not come to an end.
func FuzzImport(f *testing.F) {
	f.Add([]byte(readDocument(f, "demo/worth.json")), true)
	f.Add([]byte(readDocument(f, "demo/testinium.json")), false)
	f.Add([]byte(documentOf(worthRecord(1, nil), worthRecord(1, nil), worthRecord(2, recordFields{"status": ""}))), true)
	f.Add([]byte(documentOf(testiniumRecord(1, nil), testiniumRecord(1, nil), testiniumRecord(2, recordFields{"password": ""}))), false)
	f.Add([]byte("[{},null,[],5,{\"id\":\"\\ud800\",\"id\":1}]"), true)
	f.Add([]byte(`{"status":"success","data":{"records":[`), true)
	d := dbtest.Open(f, db.SQLite)
	conn := dbtest.Connect(f, d)
	f.Fuzz(func(t *testing.T, document []byte, isWorth bool) {
		deleteImport(t, conn)
		source, options := db.SourceTestinium, db.ImportOptions{}
		if isWorth {
			source, options.Customer = db.SourceWorth, "5"
		}
		if rejected, err := checkImport(t, d, conn, source, string(document), options); err == nil {
			checkImportAgain(t, d, conn, source, string(document), options, rejected)
		}
	})
}

// Whatever a document says, and however its rows contradict each other and what
// is there: every row is counted, nothing is half written, a dry run tells the
// same, and importing it again changes nothing.
func TestImportOfContradictions(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		conn := dbtest.Connect(t, d)
		for seed := range uint64(40) {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				random := rand.New(rand.NewPCG(seed, 1))
				deleteImport(t, conn)
				source, options, record := db.SourceTestinium, db.ImportOptions{}, contradictoryTestinium
				if seed%2 == 0 {
					source, options.Customer, record = db.SourceWorth, "5", contradictoryWorth
				}
				for range 3 {
					document := contradictoryDocument(random, record)
					rejected, err := checkImport(t, d, conn, source, document, options)
					if err != nil {
						t.Fatal(err)
					}
					// What stood in the way of a row may be gone after the import.
					if len(rejected) == 0 {
						checkImportAgain(t, d, conn, source, document, options, rejected)
					}
					if source == db.SourceWorth {
						options.Customer = fmt.Sprint(5 + random.IntN(2))
					}
				}
			})
		}
	})
}

// contradictoryDocument makes a document of a few rows, now and then in two batches.
func contradictoryDocument(random *rand.Rand, record func(*rand.Rand) recordFields) string {
	lines := make([]string, 1+random.IntN(8))
	for i := range lines {
		lines[i] = encodeRecord(record(random))
	}
	if random.IntN(3) == 0 {
		batch := slices.Repeat([]string{"0"}, 1_000)
		lines = slices.Insert(lines, random.IntN(len(lines)), batch...)
	}
	return "[\n" + strings.Join(lines, ",\n") + "\n]"
}

func contradictoryWorth(random *rand.Rand) recordFields {
	record := worthRecord(random.IntN(6), recordFields{"first_name": fmt.Sprint(random.IntN(2))})
	if random.IntN(3) > 0 {
		record["subrole"] = map[string]any{
			"id": importUUID(random.IntN(3)), "code": fmt.Sprint(random.IntN(3)), "display_name": "", "label": fmt.Sprint(random.IntN(8) / 7), "description": "",
		}
	}
	return record
}

func contradictoryTestinium(random *rand.Rand) recordFields {
	authorities := []any{}
	for range random.IntN(3) {
		id := 1 + random.IntN(12)
		authority := map[string]any{"entityId": id, "name": fmt.Sprint("ROLE_", id+random.IntN(12)/11), "cleanName": []any{nil, "x"}[random.IntN(12)/11]}
		if random.IntN(3) == 0 {
			delete(authority, "cleanName")
		}
		authorities = append(authorities, authority)
	}
	customer := 1 + random.IntN(2)
	return testiniumRecord(1+random.IntN(8), recordFields{
		"customer": customer, "companyName": []any{nil, "a", "b"}[random.IntN(3)], "authorities": authorities,
		"accessToken": []any{nil, "a"}[random.IntN(2)], "enabled": random.IntN(2) == 0,
	})
}

// checkImport imports a document, dry and wet, and checks what is true of any import.
func checkImport(t *testing.T, d *db.DB, conn *bun.DB, source db.Source, document string, options db.ImportOptions) ([]db.Rejection, error) {
	t.Helper()
	before := countImport(t, conn)
	dryOptions := options
	dryOptions.DryRun = true
	dry, dryRejected, _ := importAll(t, d, source, document, dryOptions)
	if diff := cmp.Diff(before, countImport(t, conn)); diff != "" {
		t.Fatalf("the dry run wrote something: %s", diff)
	}
	got, rejected, err := importAll(t, d, source, document, options)
	if diff := cmp.Diff(dry, got) + cmp.Diff(dryRejected, rejected); diff != "" {
		t.Fatalf("the dry run told something else: %s", diff)
	}
	if got.Rows != got.UsersCreated+got.UsersUpdated+got.UsersUnchanged+got.Rejected || got.Rejected != int64(len(rejected)) {
		t.Fatalf("rows are missing: %+v, %d rejected", got, len(rejected))
	}
	before["users"] += got.UsersCreated
	before["customers"] += got.CustomersCreated
	before["subroles"] += got.SubrolesCreated
	before["authorities"] += got.AuthoritiesCreated
	if diff := cmp.Diff(before, countImport(t, conn)); diff != "" {
		t.Fatalf("the rows are not those of %+v: %s", got, diff)
	}
	return rejected, err
}

// checkImportAgain imports a document that is in, which must change nothing.
func checkImportAgain(t *testing.T, d *db.DB, conn *bun.DB, source db.Source, document string, options db.ImportOptions, rejected []db.Rejection) {
	t.Helper()
	before := dumpImport(t, conn)
	again, rejectedAgain, err := importAll(t, d, source, document, options)
	want := db.ImportSummary{Rows: again.Rows, Rejected: again.Rejected, UsersUnchanged: again.UsersUnchanged}
	if diff := cmp.Diff(want, again) + cmp.Diff(rejected, rejectedAgain) + cmp.Diff(before, dumpImport(t, conn)); err != nil || diff != "" {
		t.Fatalf("importing again was not without effect: %v %s", err, diff)
	}
}

// countImport gives the number of rows of what a summary counts.
func countImport(t testing.TB, conn *bun.DB) map[string]int64 {
	t.Helper()
	countImport := map[string]int64{}
	for _, table := range importTables[:4] {
		n, err := conn.NewSelect().TableExpr(table).Count(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		countImport[table] = n
	}
	return countImport
}

// recordFields is a record of a document.
type recordFields = map[string]any

func worthRecord(n int, changes recordFields) recordFields {
	record := recordFields{
		"id": importUUID(n), "first_name": "Ada", "last_name": fmt.Sprintf("Number %d", n), "email": fmt.Sprintf("ada%d@x.example", n), "mobile": nil,
		"is_email_verified": true, "is_first_login": false, "created_at": "2024-02-12T14:16:49.053Z", "created_by": nil,
		"updated_at": "2024-03-12T14:16:49Z", "updated_by": nil, "ext_auth_ref_id": nil, "status": "ACTIVE", "subrole": nil,
	}
	maps.Copy(record, changes)
	return record
}

func testiniumRecord(n int, changes recordFields) recordFields {
	record := recordFields{
		"userType": nil, "verificationToken": nil, "resetPasswordToken": nil, "entityId": n, "name": "Ada", "surname": fmt.Sprintf("Number %d", n),
		"username": fmt.Sprintf("ada%d", n), "email": fmt.Sprintf("ada%d@x.example", n), "password": nil, "newPassword": nil,
		"accessToken": "token", "companyName": "Mestiniumm", "enabled": true, "accountNonExpired": true, "accountNonLocked": true,
		"credentialNonExpired": true, "createdDate": 1567664649000, "customer": 3393, "lastPasswordResetDate": nil,
		"authorities": []any{map[string]any{"entityId": 3, "name": "ROLE_USER", "cleanName": nil}}, "vcsPassword": nil,
	}
	maps.Copy(record, changes)
	return record
}

func withoutKey(record recordFields, key string) recordFields {
	delete(record, key)
	return record
}

func manyRecords(n int, record func(i int) recordFields) []recordFields {
	records := make([]recordFields, n)
	for i := range records {
		records[i] = record(i + 1)
	}
	return records
}

// documentOf writes records as a list, one a line from line 2 on.
func documentOf(records ...recordFields) string {
	lines := make([]string, len(records))
	for i, record := range records {
		lines[i] = encodeRecord(record)
	}
	return "[\n" + strings.Join(lines, ",\n") + "\n]\n"
}

func encodeRecord(record recordFields) string {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(record); err != nil {
		panic(err)
	}
	return strings.TrimSpace(text.String())
}

func importUUID(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", n) }

func readDocument(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func importAll(t testing.TB, d *db.DB, source db.Source, document string, options db.ImportOptions) (db.ImportSummary, []db.Rejection, error) {
	var rejected []db.Rejection
	options.Reject = func(r db.Rejection) { rejected = append(rejected, r) }
	summary, err := d.Import(t.Context(), source, strings.NewReader(document), options)
	return summary, rejected, err
}

// mustImport imports a document in which nothing is wrong.
func mustImport(t testing.TB, d *db.DB, source db.Source, document string, options db.ImportOptions) db.ImportSummary {
	t.Helper()
	summary, rejected, err := importAll(t, d, source, document, options)
	if err != nil || len(rejected) > 0 {
		t.Fatalf("%v, %v", rejected, err)
	}
	return summary
}

// importedUsers gives all users of a customer by number.
func importedUsers(t testing.TB, d *db.DB, customerID models.ID) []*models.User {
	t.Helper()
	users, more, err := d.Users(t.Context(), importScope, models.UserQuery{
		CustomerID: customerID,
		Order:      models.UserOrder{Field: models.OrderNumber, Direction: models.Ascending},
		Window:     models.Window{Size: 100_000},
	})
	if err != nil || more {
		t.Fatalf("more: %v, %v", more, err)
	}
	for _, u := range users {
		u.CreatedAt, u.UpdatedAt = u.CreatedAt.UTC(), u.UpdatedAt.UTC()
	}
	return users
}

func countImported(t testing.TB, d *db.DB, customerID models.ID, filter *models.UserFilter) int {
	t.Helper()
	n, err := d.CountUsers(t.Context(), importScope, customerID, filter)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func importedCustomer(t testing.TB, d *db.DB, number int64) *models.Customer {
	t.Helper()
	customer, err := d.CustomerByNumber(t.Context(), importScope, number)
	if err != nil || customer == nil {
		t.Fatalf("there is no customer %d: %v", number, err)
	}
	return customer
}

// importTables lists the tables so that none refers to a later one.
var importTables = []string{"customers", "subroles", "users", "authorities", "user_authorities", "legacy_credentials"}

func deleteImport(t testing.TB, conn *bun.DB) {
	t.Helper()
	err := conn.RunInTx(t.Context(), nil, func(ctx context.Context, tx bun.Tx) error {
		for _, table := range slices.Backward(importTables) {
			if _, err := tx.ExecContext(ctx, "DELETE FROM "+table); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// dumpImport gives everything that is in the tables, as text.
func dumpImport(t testing.TB, conn *bun.DB) map[string][]string {
	t.Helper()
	content := map[string][]string{}
	for _, table := range importTables {
		var rows []map[string]any
		if err := conn.NewSelect().TableExpr(table).OrderExpr("1, 2").Scan(t.Context(), &rows); err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			content[table] = append(content[table], fmt.Sprint(row))
		}
	}
	return content
}

// A subrole that is absent stays, and one that is null is taken away.
func TestImportOfSubrolesThatAreAbsentOrNull(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		options := db.ImportOptions{Customer: "77"}
		subrole := map[string]any{"id": importUUID(500), "code": "cro", "display_name": "", "label": "", "description": ""}
		with := recordFields{"subrole": subrole}
		mustImport(t, d, db.SourceWorth, documentOf(worthRecord(1, with), worthRecord(2, with)), options)
		got := mustImport(t, d, db.SourceWorth, documentOf(withoutKey(worthRecord(1, nil), "subrole"), worthRecord(2, nil)), options)
		checkDiff(t, "the summary", db.ImportSummary{Rows: 2, UsersUnchanged: 1, UsersUpdated: 1}, got)
		users := importedUsers(t, d, importedCustomer(t, d, 77).ID)
		if id := users[0].SubroleID; id == nil || *id != models.ID(importUUID(500)) {
			t.Errorf("a subrole that is absent did not stay: %v", id)
		}
		if id := users[1].SubroleID; id != nil {
			t.Errorf("a subrole that is null stayed: %v", *id)
		}
	})
}

// A code may go from one subrole to another in a file, whatever else changes after it.
func TestImportOfCodesThatMove(t *testing.T) {
	subrole := func(n int, code, label string) recordFields {
		return recordFields{"subrole": map[string]any{"id": importUUID(n), "code": code, "display_name": "", "label": label, "description": ""}}
	}
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		options := db.ImportOptions{Customer: "77"}
		mustImport(t, d, db.SourceWorth, documentOf(worthRecord(1, subrole(500, "cro", "")), worthRecord(2, subrole(501, "ceo", ""))), options)
		got := mustImport(t, d, db.SourceWorth, documentOf(
			worthRecord(1, subrole(500, "cfo", "")), worthRecord(2, subrole(501, "ceo", "Chief")), worthRecord(3, subrole(502, "cro", ""))), options)
		checkDiff(t, "the summary", db.ImportSummary{Rows: 3, UsersCreated: 1, UsersUnchanged: 2, SubrolesCreated: 1, SubrolesUpdated: 2}, got)
		subroles, err := d.Subroles(t.Context(), importScope, importedCustomer(t, d, 77).ID)
		if err != nil {
			t.Fatal(err)
		}
		codes := map[models.ID]string{}
		for _, s := range subroles {
			codes[s.ID] = s.Code + s.Label
		}
		checkDiff(t, "the codes", map[models.ID]string{models.ID(importUUID(500)): "cfo", models.ID(importUUID(501)): "ceoChief", models.ID(importUUID(502)): "cro"}, codes)
		users, _, err := d.Users(t.Context(), importScope, models.UserQuery{
			CustomerID: importedCustomer(t, d, 77).ID, Window: models.Window{Size: 9}, Filter: &models.UserFilter{Subrole: &models.StringFilter{Eq: new("CRO")}},
		})
		if err != nil || len(users) != 1 || users[0].ID != models.ID(importUUID(3)) {
			t.Errorf("the code finds %v, error %v", users, err)
		}
	})
}

// What a row does not say about authorities and secrets stays as it is.
func TestImportKeepsAuthoritiesAndSecrets(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		role := func(id int) any { return map[string]any{"entityId": id, "name": fmt.Sprint("ROLE_", id)} }
		stored := testiniumRecord(1, recordFields{"authorities": []any{role(7), role(8)}, "accessToken": nil, "vcsPassword": "first"})
		mustImport(t, d, db.SourceTestinium, documentOf(stored), db.ImportOptions{})
		user := importedUsers(t, d, importedCustomer(t, d, 3393).ID)[0]
		for _, step := range []struct {
			name     string
			source   db.Source
			record   recordFields
			want     db.ImportSummary
			roles    []int64
			password string
		}{
			{"Worth", db.SourceWorth, worthRecord(1, recordFields{"id": string(user.ID)}), db.ImportSummary{Rows: 1, UsersUpdated: 1}, []int64{7, 8}, "first"},
			{"Again", db.SourceTestinium, maps.Clone(stored), db.ImportSummary{Rows: 1, UsersUpdated: 1}, []int64{7, 8}, "first"},
			{"Absent", db.SourceTestinium, withoutKey(withoutKey(maps.Clone(stored), "authorities"), "vcsPassword"), db.ImportSummary{Rows: 1, UsersUnchanged: 1}, []int64{7, 8}, "first"},
			{"OtherSecret", db.SourceTestinium, mapsWith(stored, recordFields{"vcsPassword": "second"}), db.ImportSummary{Rows: 1, UsersUpdated: 1}, []int64{7, 8}, "second"},
			{"OtherAuthority", db.SourceTestinium, mapsWith(stored, recordFields{"vcsPassword": "second", "authorities": []any{role(8)}}), db.ImportSummary{Rows: 1, UsersUpdated: 1}, []int64{8}, "second"},
		} {
			checkDiff(t, step.name, step.want, mustImport(t, d, step.source, documentOf(step.record), db.ImportOptions{Customer: "3393"}))
			authorities, err := d.AuthoritiesByUser(t.Context(), importScope, []models.ID{user.ID})
			if err != nil {
				t.Fatal(err)
			}
			var roles []int64
			for _, a := range authorities[user.ID] {
				roles = append(roles, a.ID)
			}
			checkDiff(t, step.name+": the authorities", step.roles, roles)
			credentials, err := d.LegacyCredentialsByUser(t.Context(), importScope, []models.ID{user.ID})
			if c := credentials[user.ID]; err != nil || c == nil || c.AccessToken != nil || c.VCSPassword == nil || *c.VCSPassword != step.password {
				t.Errorf("%s: the secrets are %v, error %v", step.name, c, err)
			}
		}
	})
}

func mapsWith(record, changes recordFields) recordFields {
	record = maps.Clone(record)
	maps.Copy(record, changes)
	return record
}

// A customer is found by the name that an import gave it, and a new name is a change.
func TestImportNamesCustomers(t *testing.T) {
	found := func(t *testing.T, d *db.DB, search string) *models.Customer {
		t.Helper()
		customers, _, err := d.Customers(t.Context(), importScope, models.CustomerQuery{Search: search, Window: models.Window{Size: 2}})
		if err != nil || len(customers) != 1 {
			t.Fatalf("%q finds %d customers, error %v", search, len(customers), err)
		}
		return customers[0]
	}
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		conn := dbtest.Connect(t, d)
		mustImport(t, d, db.SourceWorth, documentOf(worthRecord(1, nil)), db.ImportOptions{Customer: "77"})
		if c := found(t, d, "customer 77"); c.Number != 77 || c.Name != "Customer 77" {
			t.Errorf("the customer without a name is %+v", c)
		}
		mustImport(t, d, db.SourceTestinium, documentOf(testiniumRecord(1, nil)), db.ImportOptions{})
		before := found(t, d, "mestiniumm")
		past := before.UpdatedAt.Add(-time.Hour)
		if _, err := conn.ExecContext(t.Context(), "UPDATE customers SET updated_at = ?", past); err != nil {
			t.Fatal(err)
		}
		mustImport(t, d, db.SourceTestinium, documentOf(testiniumRecord(1, nil)), db.ImportOptions{})
		if same := found(t, d, "mestiniumm"); !same.UpdatedAt.Equal(past) {
			t.Errorf("the customer who kept its name was updated at %s, want %s", same.UpdatedAt, past)
		}
		mustImport(t, d, db.SourceTestinium, documentOf(testiniumRecord(1, recordFields{"companyName": "New name"})), db.ImportOptions{})
		if renamed := found(t, d, "new name"); renamed.UpdatedAt.Before(before.UpdatedAt) {
			t.Errorf("the customer with a new name was updated at %s, want now", renamed.UpdatedAt)
		}
	})
}

// A number gives an id. When another number has that id, the row does not take over whoever it is.
func TestImportOfANumberWhoseIDIsTaken(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		conn := dbtest.Connect(t, d)
		document := documentOf(testiniumRecord(1, nil))
		mustImport(t, d, db.SourceTestinium, document, db.ImportOptions{})
		customer := importedCustomer(t, d, 3393)
		user := importedUsers(t, d, customer.ID)[0]

		deleteImport(t, conn)
		mustImport(t, d, db.SourceWorth, documentOf(worthRecord(1, recordFields{"id": string(user.ID)})), db.ImportOptions{Customer: "3393"})
		before := dumpImport(t, conn)
		_, rejected, err := importAll(t, d, db.SourceTestinium, document, db.ImportOptions{})
		want := "the number 1 gives the id " + string(user.ID) + ", which a user of another number has"
		if err != nil || len(rejected) != 1 || rejected[0].Reason != want {
			t.Errorf("rejected %v, error %v", rejected, err)
		}
		checkDiff(t, "the database", before, dumpImport(t, conn))

		deleteImport(t, conn)
		mustImport(t, d, db.SourceWorth, documentOf(worthRecord(1, nil)), db.ImportOptions{Customer: string(customer.ID)})
		before = dumpImport(t, conn)
		_, rejected, err = importAll(t, d, db.SourceTestinium, document, db.ImportOptions{})
		want = "the number 3393 gives the id " + string(customer.ID) + ", which a customer of another number has"
		if err != nil || len(rejected) != 1 || rejected[0].Reason != want {
			t.Errorf("rejected %v, error %v", rejected, err)
		}
		if diff := cmp.Diff(before, dumpImport(t, conn)); diff != "" {
			t.Errorf("the database differs: %s", diff)
		}
	})
}
