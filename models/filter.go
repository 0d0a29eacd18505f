package models

import (
	"fmt"
	"strings"
	"time"
)

// The size of a filter: enough for a person's search form, too little to keep
// the database busy with one request.
const (
	MaxFilterDepth      = 4
	MaxFilterConditions = 50
	MaxFilterValues     = 100
)

// UserFilter says which users are wanted. Every condition that is given must hold; nil
// means not given. A condition is true or false and never unknown: a user without a
// mobile number does not match mobile "1", and so matches its negation.
type UserFilter struct {
	// Search holds words. Each must occur in the first name, last name, e-mail,
	// username or mobile number, in folded form.
	Search *string

	ID        *IDFilter
	Status    *UserStatusFilter
	Subrole   *StringFilter
	SubroleID *IDFilter
	Authority *AuthorityFilter

	Username  *StringFilter
	FirstName *StringFilter
	LastName  *StringFilter
	Email     *StringFilter
	Mobile    *StringFilter

	IsEmailVerified       *bool
	IsFirstLogin          *bool
	Enabled               *bool
	AccountNonExpired     *bool
	AccountNonLocked      *bool
	CredentialsNonExpired *bool

	CreatedAt    *DateTimeFilter
	UpdatedAt    *DateTimeFilter
	CreatedBy    *IDFilter
	UpdatedBy    *IDFilter
	ExtAuthRefID *IDFilter

	// And holds when all of its filters hold, so an empty list always does; Or
	// when at least one does, so an empty list never does.
	And []*UserFilter
	Or  []*UserFilter
	Not *UserFilter
}

// StringFilter compares text in folded form. A list that is given and empty
// matches nothing; nil means not given.
type StringFilter struct {
	Eq         *string
	In         []string
	StartsWith *string
	Contains   *string
	IsNull     *bool
}

// IDFilter compares ids.
type IDFilter struct {
	Eq     *ID
	In     []ID
	IsNull *bool
}

// UserStatusFilter compares the status.
type UserStatusFilter struct {
	Eq    *UserStatus
	In    []UserStatus
	NotIn []UserStatus
}

// AuthorityFilter compares the names of a user's authorities, exactly.
type AuthorityFilter struct {
	AnyOf  []string
	AllOf  []string
	NoneOf []string
}

// DateTimeFilter compares times, in UTC.
type DateTimeFilter struct {
	Gt  *time.Time
	Gte *time.Time
	Lt  *time.Time
	Lte *time.Time
}

// SearchWords splits a search text into its distinct folded words.
func SearchWords(search string) []string {
	seen := map[string]bool{}
	var words []string
	for word := range strings.FieldsSeq(Fold(search)) {
		if !seen[word] {
			seen[word] = true
			words = append(words, word)
		}
	}
	return words
}

// Validate checks the size of the filter: how deep it nests, how many
// conditions it holds (each word of a search counts as one) and how long its
// lists are. The error is CodeBadUserInput and names the place. A nil filter is
// valid.
func (f *UserFilter) Validate() error {
	size := filterSize{}
	size.filter("filter", f, 1)
	if size.err == nil && size.conditions > MaxFilterConditions {
		size.refuse("filter holds %d conditions; at most %d are allowed", size.conditions, MaxFilterConditions)
	}
	return size.err
}

// filterSize adds up what a filter holds and keeps the first thing that is too large.
type filterSize struct {
	conditions int
	err        error
}

func (s *filterSize) refuse(format string, args ...any) {
	if s.err == nil {
		s.err = Errorf(CodeBadUserInput, format, args...)
	}
}

func (s *filterSize) filter(path string, f *UserFilter, depth int) {
	if f == nil || s.err != nil {
		return
	}
	if depth > MaxFilterDepth {
		s.refuse("%s is %d filters deep; at most %d levels are allowed", path, depth, MaxFilterDepth)
		return
	}
	before := s.conditions
	if f.Search != nil {
		s.conditions += len(SearchWords(*f.Search))
	}
	s.id(path+".id", f.ID)
	if f.Status != nil {
		addGiven(s, f.Status.Eq)
		addList(s, path+".status.in", f.Status.In)
		addList(s, path+".status.notIn", f.Status.NotIn)
	}
	s.text(path+".subrole", f.Subrole)
	s.id(path+".subroleId", f.SubroleID)
	if f.Authority != nil {
		addList(s, path+".authority.anyOf", f.Authority.AnyOf)
		addList(s, path+".authority.allOf", f.Authority.AllOf)
		addList(s, path+".authority.noneOf", f.Authority.NoneOf)
		// Every authority of allOf is looked up on its own.
		s.conditions += max(0, len(f.Authority.AllOf)-1)
	}
	s.text(path+".username", f.Username)
	s.text(path+".firstName", f.FirstName)
	s.text(path+".lastName", f.LastName)
	s.text(path+".email", f.Email)
	s.text(path+".mobile", f.Mobile)
	addGiven(s, f.IsEmailVerified, f.IsFirstLogin, f.Enabled, f.AccountNonExpired, f.AccountNonLocked, f.CredentialsNonExpired)
	s.times(f.CreatedAt)
	s.times(f.UpdatedAt)
	s.id(path+".createdBy", f.CreatedBy)
	s.id(path+".updatedBy", f.UpdatedBy)
	s.id(path+".extAuthRefId", f.ExtAuthRefID)
	s.filters(path+".and", f.And, depth)
	s.filters(path+".or", f.Or, depth)
	s.filter(path+".not", f.Not, depth+1)
	if s.conditions == before {
		// An empty filter is a condition too, or thousands of them could be nested.
		s.conditions++
	}
}

func (s *filterSize) filters(path string, list []*UserFilter, depth int) {
	if len(list) > MaxFilterConditions {
		s.refuse("%s holds %d filters; at most %d are allowed", path, len(list), MaxFilterConditions)
		return
	}
	for i, f := range list {
		s.filter(fmt.Sprintf("%s[%d]", path, i), f, depth+1)
	}
}

func (s *filterSize) text(path string, f *StringFilter) {
	if f != nil {
		addGiven(s, f.Eq, f.StartsWith, f.Contains)
		addGiven(s, f.IsNull)
		addList(s, path+".in", f.In)
	}
}

func (s *filterSize) id(path string, f *IDFilter) {
	if f != nil {
		addGiven(s, f.Eq)
		addGiven(s, f.IsNull)
		addList(s, path+".in", f.In)
	}
}

func (s *filterSize) times(f *DateTimeFilter) {
	if f != nil {
		addGiven(s, f.Gt, f.Gte, f.Lt, f.Lte)
	}
}

func addGiven[T any](s *filterSize, conditions ...*T) {
	for _, condition := range conditions {
		if condition != nil {
			s.conditions++
		}
	}
}

func addList[T any](s *filterSize, path string, list []T) {
	if list == nil {
		return
	}
	s.conditions++
	if len(list) > MaxFilterValues {
		s.refuse("%s holds %d values; at most %d are allowed", path, len(list), MaxFilterValues)
	}
}
