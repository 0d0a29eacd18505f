package db

import (
	"encoding/json"

	"roster/models"
)

// worthFormat is the answer of "Get Customer Users". Everything in its records
// is required, except what may be null: mobile, created_by, updated_by,
// ext_auth_ref_id and subrole.
var worthFormat = format{
	envelope: true,
	expected: `{"status": "success", "message": ..., "data": {"records": [...], "total_pages": ..., "total_items": ...}} or a list of records`,
	row:      worthRow,
}

func worthRow(r *record) importRow {
	id := must(r, "id", r.asID)
	firstName, lastName := must(r, "first_name", r.asShort), must(r, "last_name", r.asShort)
	email := must(r, "email", r.asName)
	mobile := maybe(r, "mobile", r.asShort)
	verified, firstLogin := must(r, "is_email_verified", r.asBool), must(r, "is_first_login", r.asBool)
	createdAt, createdBy := must(r, "created_at", r.asTime), maybe(r, "created_by", r.asID)
	updatedAt, updatedBy := must(r, "updated_at", r.asTime), maybe(r, "updated_by", r.asID)
	extAuthRefID := maybe(r, "ext_auth_ref_id", r.asID)
	status := must(r, "status", r.asStatus)

	return importRow{
		key: string(id),
		id:  id,
		apply: func(u *models.User, _ bool) {
			u.FirstName, u.LastName, u.Email = firstName, lastName, email
			u.IsEmailVerified, u.IsFirstLogin, u.Status = verified, firstLogin, status
			u.CreatedAt, u.UpdatedAt = createdAt, updatedAt
			mobile.set(&u.Mobile)
			createdBy.set(&u.CreatedBy)
			updatedBy.set(&u.UpdatedBy)
			extAuthRefID.set(&u.ExtAuthRefID)
		},
		subrole: maybe(r, "subrole", func(_ string, raw json.RawMessage) models.Subrole {
			return object(r, "subrole.", raw, worthSubrole)
		}),
	}
}

func worthSubrole(r *record) models.Subrole {
	return models.Subrole{
		ID:          must(r, "id", r.asID),
		Code:        must(r, "code", r.asName),
		DisplayName: must(r, "display_name", r.asText),
		Label:       must(r, "label", r.asText),
		Description: must(r, "description", r.asText),
	}
}
