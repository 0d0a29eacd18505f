package auth_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"roster/auth"
	"roster/models"
)

func TestPrincipalScope(t *testing.T) {
	ids, numbers := []models.ID{customerID}, []int64{7}
	tests := []struct {
		name      string
		principal *auth.Principal
		want      models.Scope
	}{
		{"Nobody", nil, models.Scope{}},
		{"NoCustomer", &auth.Principal{Subject: "a"}, models.Scope{}},
		{"Named", &auth.Principal{CustomerIDs: ids, CustomerNumbers: numbers}, models.Scope{CustomerIDs: ids, CustomerNumbers: numbers}},
		{"CompanyAdmin", &auth.Principal{Authorities: []string{auth.RoleCompanyAdmin}, CustomerIDs: ids}, models.Scope{CustomerIDs: ids}},
		{"CompanyAdminOfNothing", &auth.Principal{Authorities: []string{auth.RoleCompanyAdmin}}, models.Scope{}},
		{"Admin", &auth.Principal{Authorities: []string{"ROLE_USER", auth.RoleAdmin}, CustomerIDs: ids}, models.Scope{All: true, CustomerIDs: ids}},
		{"AdminInOtherCase", &auth.Principal{Authorities: []string{"role_admin", "ROLE_ADMIN "}}, models.Scope{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, tt.principal.Scope()); diff != "" {
				t.Errorf("Scope (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPrincipalScopeIsACopy(t *testing.T) {
	p := &auth.Principal{CustomerNumbers: []int64{7}}
	p.Scope().CustomerNumbers[0] = 8
	if p.CustomerNumbers[0] != 7 {
		t.Error("whoever has a scope can alter the principal")
	}
}

func TestAllowLegacyList(t *testing.T) {
	tests := []struct {
		name      string
		principal *auth.Principal
		want      models.Code
	}{
		{"Nobody", nil, models.CodeForbidden},
		{"Member", &auth.Principal{Authorities: []string{"ROLE_USER"}, CustomerIDs: []models.ID{customerID}}, models.CodeForbidden},
		{"CompanyAdmin", &auth.Principal{Authorities: []string{auth.RoleCompanyAdmin}}, ""},
		{"Admin", &auth.Principal{Authorities: []string{auth.RoleAdmin}}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := codeOf(tt.principal.AllowLegacyList()); got != tt.want {
				t.Errorf("code %q, want %q", got, tt.want)
			}
		})
	}
}

func TestAllowCompany(t *testing.T) {
	company := int64(500)
	with := &models.Customer{Number: 7, CompanyID: &company}
	without := &models.Customer{Number: 7}
	member := &auth.Principal{CustomerNumbers: []int64{7}}
	admin := &auth.Principal{Authorities: []string{auth.RoleAdmin}}
	tests := []struct {
		name      string
		principal *auth.Principal
		company   int64
		customer  *models.Customer
		want      models.Code
	}{
		{"OwnCompany", member, 500, with, ""},
		{"NumberOfOneWithCompany", member, 7, with, models.CodeForbidden},
		{"ForeignCompany", member, 501, with, models.CodeForbidden},
		{"OwnNumber", member, 7, without, ""},
		{"ForeignNumber", member, 8, without, models.CodeForbidden},
		{"NoCustomer", member, 7, nil, models.CodeForbidden},
		{"Nobody", nil, 7, without, models.CodeForbidden},
		{"Admin", admin, 12345, with, ""},
		{"AdminNoCustomer", admin, 12345, nil, ""},
	}
	var message string
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.principal.AllowCompany(tt.company, tt.customer)
			if got := codeOf(err); got != tt.want {
				t.Fatalf("code %q, want %q", got, tt.want)
			}
			if err == nil {
				return
			}
			if message == "" {
				message = err.Error()
			}
			if err.Error() != message {
				t.Errorf("the refusals differ: %q and %q", err.Error(), message)
			}
		})
	}
}

func TestPrincipalContext(t *testing.T) {
	if p := auth.PrincipalFrom(context.Background()); p != nil {
		t.Errorf("a principal out of nothing: %v", p)
	}
	p := &auth.Principal{Subject: "a"}
	if got := auth.PrincipalFrom(auth.WithPrincipal(t.Context(), p)); got != p {
		t.Errorf("got %v, want %v", got, p)
	}
}
