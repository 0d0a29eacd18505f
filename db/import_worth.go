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
	id := required(r, "id", r.asID)
	firstName, lastName := required(r, "first_name", r.asShort), required(r, "last_name", r.asShort)
	email := required(r, "email", r.asName)
	mobile := nullable(r, "mobile", r.asShort)
	verified, firstLogin := required(r, "is_email_verified", r.asBool), required(r, "is_first_login", r.asBool)
	createdAt, createdBy := required(r, "created_at", r.asTime), nullable(r, "created_by", r.asID)
	updatedAt, updatedBy := required(r, "updated_at", r.asTime), nullable(r, "updated_by", r.asID)
	extAuthRefID := nullable(r, "ext_auth_ref_id", r.asID)
	status := required(r, "status", r.asStatus)

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
		subrole: nullable(r, "subrole", func(_ string, raw json.RawMessage) models.Subrole {
			return object(r, "subrole.", raw, worthSubrole)
		}),
	}
}

func worthSubrole(r *record) models.Subrole {
	return models.Subrole{
		ID:          required(r, "id", r.asID),
		Code:        required(r, "code", r.asName),
		DisplayName: required(r, "display_name", r.asText),
		Label:       required(r, "label", r.asText),
		Description: required(r, "description", r.asText),
	}
}
