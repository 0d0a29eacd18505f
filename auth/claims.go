package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"

	"roster/models"
)

// The size of what a token may hold.
const (
	maxListed     = 1000
	maxJSONLevels = 32
)

// maxNumericDate is the end of the year 9999. Later times do not fit the types
// that they are put into, and no token means them.
const maxNumericDate = 253402300799

// object is a JSON object. Names are compared exactly, and none comes twice (RFC 7519,
// section 4).
type object map[string]any

func decodeObject(data []byte) (object, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("not valid UTF-8")
	}
	decoded, err := models.DecodeObject(data, maxJSONLevels)
	if err == nil && decoded == nil {
		err = errors.New("not a JSON object")
	}
	return decoded, err
}

// text gives a member that must be there and be a string with something in it.
func (o object) text(name string) (string, error) {
	value, has := o[name]
	if !has {
		return "", fmt.Errorf("%s is missing", name)
	}
	text, err := textOf(value)
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return text, nil
}

func textOf(value any) (string, error) {
	text, ok := value.(string)
	if !ok {
		return "", errors.New("not a string")
	}
	if text == "" {
		return "", errors.New("an empty string")
	}
	// Half a surrogate pair, which only an escape can write, decodes as U+FFFD:
	// two different names would become the same one.
	if strings.ContainsRune(text, utf8.RuneError) {
		return "", errors.New("not valid Unicode")
	}
	return text, models.CheckText(text)
}

// date gives a NumericDate (RFC 7519, section 2), nil when it is not there.
func (o object) date(name string) (*jwt.NumericDate, error) {
	value, has := o[name]
	if !has {
		return nil, nil
	}
	number, ok := value.(json.Number)
	if !ok {
		return nil, fmt.Errorf("%s: not a number", name)
	}
	seconds, err := number.Float64()
	if err != nil || !(seconds >= 0 && seconds <= maxNumericDate) {
		return nil, fmt.Errorf("%s: out of range", name)
	}
	return jwt.NewNumericDate(time.Unix(int64(seconds), 0)), nil
}

// audience gives the aud claim, which is one string or a list of them.
func (o object) audience() ([]string, error) {
	if _, isList := o["aud"].([]any); isList {
		return textList("aud", o["aud"])
	}
	one, err := o.text("aud")
	return []string{one}, err
}

func textList(name string, value any) ([]string, error) {
	elements, ok := value.([]any)
	if !ok {
		return nil, fmt.Errorf("%s: not a list", name)
	}
	if len(elements) > maxListed {
		return nil, fmt.Errorf("%s: a list of %d; at most %d are allowed", name, len(elements), maxListed)
	}
	texts := make([]string, 0, len(elements))
	for _, element := range elements {
		text, err := textOf(element)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		texts = append(texts, text)
	}
	return texts, nil
}

// principal reads the claims of a token whose signature was verified. It also gives the
// registered claims, as those about time must be checked again later.
func (t *trustedIssuer) principal(claims object) (registered jwt.RegisteredClaims, p *Principal, err error) {
	if registered, err = registeredClaims(claims); err != nil {
		return registered, nil, err
	}
	if err := t.validator.Validate(registered); err != nil {
		return registered, nil, err
	}
	p = &Principal{Issuer: registered.Issuer, Subject: registered.Subject, ExpiresAt: registered.ExpiresAt.UTC()}
	if err := p.readCustomers(t.customers, claims); err != nil {
		return registered, nil, err
	}
	return registered, p, p.readAuthorities(t.authorities, claims)
}

// registeredClaims reads the claims of RFC 7519, section 4.1. The library's own
// reading passes over an aud that is neither a string nor a list.
func registeredClaims(claims object) (registered jwt.RegisteredClaims, err error) {
	if registered.Issuer, err = claims.text("iss"); err != nil {
		return registered, err
	}
	if registered.Subject, err = claims.text("sub"); err != nil {
		return registered, err
	}
	if registered.Audience, err = claims.audience(); err != nil {
		return registered, err
	}
	if registered.ExpiresAt, err = claims.date("exp"); err != nil {
		return registered, err
	}
	if registered.NotBefore, err = claims.date("nbf"); err != nil {
		return registered, err
	}
	registered.IssuedAt, err = claims.date("iat")
	return registered, err
}

// readCustomers takes a customer, or a list of customers, each a UUID or a
// number. A token that names none is good and reads nothing.
func (p *Principal) readCustomers(path claimPath, claims object) error {
	value, has, err := path.find(claims)
	if err != nil || !has {
		return err
	}
	customers, isList := value.([]any)
	if !isList {
		customers = []any{value}
	}
	if len(customers) > maxListed {
		return fmt.Errorf("%s: a list of %d; at most %d are allowed", path, len(customers), maxListed)
	}
	for _, customer := range customers {
		if err := p.addCustomer(customer); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

func (p *Principal) addCustomer(value any) error {
	var digits string
	switch value := value.(type) {
	case json.Number:
		digits = value.String()
	case string:
		if id, err := models.ParseID(value); err == nil {
			p.CustomerIDs = appendNew(p.CustomerIDs, id)
			return nil
		}
		digits = value
	default:
		return errors.New("neither a UUID nor a number")
	}
	number, err := strconv.ParseInt(digits, 10, 64)
	// Only the plain form: 1e3, 1.0, +1 and 01 would be second names of a customer.
	if err != nil || number < 1 || strconv.FormatInt(number, 10) != digits {
		return errors.New("neither a UUID nor a positive whole number") // what it is may be personal
	}
	p.CustomerNumbers = appendNew(p.CustomerNumbers, number)
	return nil
}

func appendNew[T comparable](list []T, value T) []T {
	if slices.Contains(list, value) {
		return list
	}
	return append(list, value)
}

func (p *Principal) readAuthorities(path claimPath, claims object) error {
	value, has, err := path.find(claims)
	if err != nil || !has {
		return err
	}
	p.Authorities, err = textList(path.String(), value)
	return err
}

// claimPath is the place of a claim: the names on the way to it.
type claimPath []string

// newClaimPath reads a path. A name with a colon is a URI, taken as it stands:
// the dots of "https://example.com/customers" nest nothing.
func newClaimPath(text, otherwise string) (claimPath, error) {
	if text == "" {
		text = otherwise
	}
	if err := models.CheckText(text); err != nil {
		return nil, err
	}
	if strings.Contains(text, ":") {
		return claimPath{text}, nil
	}
	path := claimPath(strings.Split(text, "."))
	if slices.Contains(path, "") {
		return nil, fmt.Errorf("%q is not names joined by dots", text)
	}
	return path, nil
}

// String gives the path as it is written in the settings.
func (p claimPath) String() string { return strings.Join(p, ".") }

// find gives the claim and whether it is there. Something else than an object
// on the way is an error.
func (p claimPath) find(claims object) (any, bool, error) {
	last := len(p) - 1
	for i, name := range p[:last] {
		value, has := claims[name]
		if !has {
			return nil, false, nil
		}
		nested, ok := value.(map[string]any)
		if !ok {
			return nil, false, fmt.Errorf("%s: not an object", p[:i+1])
		}
		claims = nested
	}
	value, has := claims[p[last]]
	return value, has, nil
}

// put stores a claim at the path, making the objects on the way. It fails where
// another claim is in the way.
func (p claimPath) put(claims map[string]any, value any) error {
	last := len(p) - 1
	for _, name := range p[:last] {
		if claims[name] == nil {
			claims[name] = map[string]any{}
		}
		nested, ok := claims[name].(map[string]any)
		if !ok {
			return fmt.Errorf("the claim %s is not an object, as %s needs it", name, p)
		}
		claims = nested
	}
	if claims[p[last]] != nil {
		return fmt.Errorf("the claim %s is there twice", p)
	}
	claims[p[last]] = value
	return nil
}
