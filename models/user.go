package models

import (
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// UserStatus says whether a user can work. The legacy flag "enabled" is the
// same as StatusActive and is not stored twice.
type UserStatus string

// The statuses.
const (
	// StatusActive is a user who can sign in.
	StatusActive UserStatus = "ACTIVE"
	// StatusInvited is a user who has been asked to join and has not yet done so.
	StatusInvited UserStatus = "INVITED"
	// StatusInactive is a user who has been deactivated and cannot sign in.
	StatusInactive UserStatus = "INACTIVE"
)

// UserStatuses lists every status.
func UserStatuses() []UserStatus {
	return []UserStatus{StatusActive, StatusInvited, StatusInactive}
}

// MarshalGQL writes the status as a GraphQL enum value.
func (s UserStatus) MarshalGQL(w io.Writer) { marshalEnum(w, s) }

// UnmarshalGQL reads a GraphQL enum value. Anything else is CodeBadUserInput.
func (s *UserStatus) UnmarshalGQL(v any) (err error) {
	*s, err = parseEnum("a status", v, UserStatuses())
	return err
}

// marshalEnum writes an enum value as JSON text. The values are plain ASCII names.
func marshalEnum[T ~string](w io.Writer, value T) {
	_, _ = io.WriteString(w, strconv.Quote(string(value)))
}

func parseEnum[T ~string](what string, v any, allowed []T) (T, error) {
	text, ok := v.(string)
	if !ok || !slices.Contains(allowed, T(text)) {
		given := "the value"
		if ok {
			given = Quote(text)
		}
		names := make([]string, len(allowed))
		for i, value := range allowed {
			names[i] = string(value)
		}
		refused := Errorf(CodeBadUserInput, "%s is not %s: %s are allowed", given, what, strings.Join(names, ", "))
		refused.NamesSchema = true
		return "", refused
	}
	return T(text), nil
}

// User is one person of a customer. It has no secret fields.
type User struct {
	ID ID `bun:"id,pk"`
	// Number is the id of the legacy systems, a positive Long.
	Number     int64 `bun:"number"`
	CustomerID ID    `bun:"customer_id"`

	Username  *string    `bun:"username"`
	FirstName string     `bun:"first_name"`
	LastName  string     `bun:"last_name"`
	Email     string     `bun:"email"`
	Mobile    *string    `bun:"mobile"`
	UserType  *string    `bun:"user_type"`
	Status    UserStatus `bun:"status"`

	IsEmailVerified       bool `bun:"is_email_verified"`
	IsFirstLogin          bool `bun:"is_first_login"`
	AccountNonExpired     bool `bun:"account_non_expired"`
	AccountNonLocked      bool `bun:"account_non_locked"`
	CredentialsNonExpired bool `bun:"credentials_non_expired"`

	CreatedAt           time.Time  `bun:"created_at"`
	CreatedBy           *ID        `bun:"created_by"`
	UpdatedAt           time.Time  `bun:"updated_at"`
	UpdatedBy           *ID        `bun:"updated_by"`
	LastPasswordResetAt *time.Time `bun:"last_password_reset_at"`
	ExtAuthRefID        *ID        `bun:"ext_auth_ref_id"`
	SubroleID           *ID        `bun:"subrole_id"`

	// The folded keys are what users are sorted, filtered and searched by. A
	// user without a username or a mobile number has the empty key. Reading
	// fills only those that the order of the list needs.
	UsernameKey  string `bun:"username_key"`
	FirstNameKey string `bun:"first_name_key"`
	LastNameKey  string `bun:"last_name_key"`
	EmailKey     string `bun:"email_key"`
	MobileKey    string `bun:"mobile_key"`
	SearchKey    string `bun:"search_key"`

	// Owner is the customer, when the user was read as one of its list; else nil.
	Owner *Customer `bun:"-"`
	// AuthorityIDs are the ids of the user's authorities, sorted; nil when they
	// were not read with the user.
	AuthorityIDs []int64 `bun:"-"`
}

// UserFields is a set of what can be read of a user beside the ids of the user
// and of the customer. The empty set stands for everything but the authorities.
type UserFields uint32

// The fields. Each has the name of the field of [User] that it fills.
const (
	FieldNumber UserFields = 1 << iota
	FieldUsername
	FieldFirstName
	FieldLastName
	FieldEmail
	FieldMobile
	FieldUserType
	FieldStatus
	FieldIsEmailVerified
	FieldIsFirstLogin
	FieldAccountNonExpired
	FieldAccountNonLocked
	FieldCredentialsNonExpired
	FieldCreatedAt
	FieldCreatedBy
	FieldUpdatedAt
	FieldUpdatedBy
	FieldLastPasswordResetAt
	FieldExtAuthRefID
	FieldSubroleID
	FieldAuthorityIDs
)

// UserPage is one window of a list of users.
type UserPage struct {
	// Query is the list and the window.
	Query UserQuery
	Rows  []*User
	// More tells whether there are users beyond the rows in the direction of reading.
	More bool
	// Err is why the rows could not be read; nil when they were.
	Err error
	// Total is the number of users on all pages, and TotalErr why they could not be
	// counted; both mean something when Counted is true.
	Total    int
	TotalErr error
	Counted  bool
}

// IsNode marks User as a Node of the GraphQL schema.
func (*User) IsNode() {}

// Enabled is the legacy flag: the user is active.
func (u *User) Enabled() bool { return u.Status == StatusActive }

// SetKeys fills the folded keys; call it before writing a user.
func (u *User) SetKeys() {
	u.UsernameKey = foldOptional(u.Username)
	u.FirstNameKey = Fold(u.FirstName)
	u.LastNameKey = Fold(u.LastName)
	u.EmailKey = Fold(u.Email)
	u.MobileKey = foldOptional(u.Mobile)
	// A search word never holds white space, so none can match across two fields.
	u.SearchKey = strings.Join([]string{u.FirstNameKey, u.LastNameKey, u.EmailKey, u.UsernameKey, u.MobileKey}, "\n")
}

func foldOptional(s *string) string {
	if s == nil {
		return ""
	}
	return Fold(*s)
}
