package auth

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	lru "github.com/hashicorp/golang-lru/v2"

	"roster/models"
)

// MaxTokenSize is the size of the largest token that is read at all, in bytes.
// Servers in front of this one seldom take longer headers.
const MaxTokenSize = 8 << 10

// Leeway is how far the clocks of an issuer and of this host may differ.
const Leeway = 30 * time.Second

// The messages say what happened and not why: which check failed would tell
// whoever forges tokens how far he got. The reason is in the log.
const (
	invalidTokenMessage = "The bearer token is not valid."
	unavailableMessage  = "Tokens cannot be verified at the moment. Try again in a few seconds."
)

// errNoKeysYet is the one reason that is not the token's fault.
var errNoKeysYet = errors.New("no key set of the issuer could be loaded yet")

// Verifier verifies the tokens of a set of issuers. It is safe for concurrent use.
type Verifier struct {
	log     *slog.Logger
	issuers map[string]*trustedIssuer
	cache   *lru.Cache[[sha256.Size]byte, *cachedToken]
}

// trustedIssuer is an issuer whose settings were checked.
type trustedIssuer struct {
	keys        keySource
	customers   claimPath
	authorities claimPath
	validator   *jwt.Validator
}

// keySource finds the key for a token. kid is nil when the token names none.
type keySource interface {
	find(ctx context.Context, kid *string, alg string) (*key, error)
	// findAfterRefresh looks once more for the key of a token that names none, when its
	// signature does not fit the one that was found. It is nil when there is nothing new.
	findAfterRefresh(ctx context.Context, alg string) *key
	ready() bool
}

// NewVerifier makes a verifier for the tokens of the issuers. The error joins
// everything that is wrong with the settings; nothing was started then. Key sets
// are loaded in the background, again and again, until ctx ends: NewVerifier
// does not wait for their hosts.
func NewVerifier(ctx context.Context, log *slog.Logger, issuers ...Issuer) (*Verifier, error) {
	return newVerifier(ctx, log, nil, issuers)
}

// newVerifier lets tests bring a network of their own; dial is nil for the real one.
func newVerifier(ctx context.Context, log *slog.Logger, dial dialer, issuers []Issuer) (*Verifier, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	cache, err := lru.New[[sha256.Size]byte, *cachedToken](maxCachedTokens)
	if err != nil {
		return nil, err
	}
	v := &Verifier{log: log, issuers: map[string]*trustedIssuer{}, cache: cache}
	var wrong []error
	var sets []*keySet
	for position, issuer := range issuers {
		t, err := newTrustedIssuer(issuer)
		if err == nil && v.issuers[issuer.Name] != nil {
			err = errors.New("it is given twice")
		}
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", issuer.label(position), err))
			continue
		}
		if issuer.JWKSURL != "" {
			set := newKeySet(issuer, log, dial)
			t.keys, sets = set, append(sets, set)
		}
		v.issuers[issuer.Name] = t
	}
	if len(issuers) == 0 {
		wrong = append(wrong, errors.New("no issuer of tokens is given; at least one is needed"))
	}
	if len(wrong) > 0 {
		return nil, errors.Join(wrong...)
	}
	for _, set := range sets {
		go set.run(ctx)
	}
	return v, nil
}

// newTrustedIssuer checks the settings of an issuer; keys stays nil for a JWKS URL.
func newTrustedIssuer(issuer Issuer) (*trustedIssuer, error) {
	static, keyErr := issuer.staticKey()
	if err := errors.Join(issuer.check(), keyErr); err != nil {
		return nil, err
	}
	t := &trustedIssuer{
		validator: jwt.NewValidator(
			jwt.WithIssuer(issuer.Name),
			jwt.WithAudience(issuer.Audience),
			jwt.WithExpirationRequired(),
			jwt.WithIssuedAt(),
			jwt.WithLeeway(Leeway),
		),
	}
	t.customers, _ = newClaimPath(issuer.CustomerClaim, DefaultCustomerClaim)
	t.authorities, _ = newClaimPath(issuer.AuthoritiesClaim, DefaultAuthoritiesClaim)
	if static != nil {
		t.keys = staticSource{static}
	}
	return t, nil
}

// staticSource is the key of an issuer that has only one. A kid means nothing then.
type staticSource struct{ key *key }

func (s staticSource) ready() bool { return true }

func (s staticSource) findAfterRefresh(context.Context, string) *key { return nil }

func (s staticSource) find(_ context.Context, _ *string, alg string) (*key, error) {
	return s.key.forAlgorithm(alg)
}

// Ready reports whether tokens of at least one issuer can be verified. It is
// false only while every issuer publishes its keys and none could be loaded yet.
func (v *Verifier) Ready() bool {
	for _, t := range v.issuers {
		if t.keys.ready() {
			return true
		}
	}
	return false
}

// Verify gives the principal of a token. The error is a *models.Error:
// CodeUnavailable while the keys of the token's issuer could not be loaded yet,
// and CodeUnauthenticated with one fixed message for everything else; the reason
// is its cause. It can wait for the first key set, and for a refresh when no known key
// fits, two seconds at most for each and not beyond the end of ctx.
func (v *Verifier) Verify(ctx context.Context, token string) (*Principal, error) {
	principal, err := v.verify(ctx, token)
	switch {
	case err == nil:
		return principal, nil
	case errors.Is(err, errNoKeysYet):
		return nil, &models.Error{Code: models.CodeUnavailable, Message: unavailableMessage, Err: err}
	default:
		return nil, refused(err)
	}
}

func refused(reason error) *models.Error {
	return &models.Error{Code: models.CodeUnauthenticated, Message: invalidTokenMessage, Err: reason}
}

// verify finds the token in the cache or checks it.
func (v *Verifier) verify(ctx context.Context, token string) (*Principal, error) {
	id := fingerprint(token)
	if principal, err := v.cached(ctx, id); principal != nil || err != nil {
		return principal, err
	}
	checked, err := v.check(ctx, token)
	if err != nil {
		return nil, err
	}
	v.cache.Add(id, checked)
	return checked.principal, nil
}

// check takes the token apart itself and gives the library its parts: what is
// checked is then exactly what is used. The library's own parser lets the last
// of two equal names win and takes no notice of crit.
func (v *Verifier) check(ctx context.Context, token string) (*cachedToken, error) {
	t, err := parseToken(token)
	if err != nil {
		return nil, err
	}
	issuer, err := v.issuerOf(t.claims)
	if err != nil {
		return nil, err
	}
	k, err := issuer.keys.find(ctx, t.kid, t.alg)
	if err != nil {
		return nil, err
	}
	err = methods[t.alg].Verify(t.signed, t.signature, k.material)
	if err != nil && t.kid == nil { // another key may have taken the place of this one
		if fresh := issuer.keys.findAfterRefresh(ctx, t.alg); fresh != nil {
			k, err = fresh, methods[t.alg].Verify(t.signed, t.signature, fresh.material)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("signature: %w", err)
	}
	claims, principal, err := issuer.principal(t.claims)
	if err != nil {
		return nil, err
	}
	return &cachedToken{issuer, t.kid, t.alg, k, claims, principal}, nil
}

// issuerOf finds the issuer that a token, not yet verified, claims to come from.
// That choice is safe: only that issuer's own keys are tried, and only its audience.
func (v *Verifier) issuerOf(claims object) (*trustedIssuer, error) {
	name, err := claims.text("iss")
	if err != nil {
		return nil, err
	}
	issuer := v.issuers[name]
	if issuer == nil {
		return nil, fmt.Errorf("iss %s is not an accepted issuer", models.Quote(name))
	}
	return issuer, nil
}

// parsedToken is a token whose shape was checked and nothing else.
type parsedToken struct {
	alg       string
	kid       *string
	claims    object
	signed    string
	signature []byte
}

// parseToken reads the compact form of a signed token (RFC 7515, section 7.1).
func parseToken(token string) (*parsedToken, error) {
	if len(token) > MaxTokenSize {
		return nil, fmt.Errorf("the token has %d bytes; at most %d are read", len(token), MaxTokenSize)
	}
	if n := strings.Count(token, "."); n != 2 {
		return nil, fmt.Errorf("the token has %d parts; 3 are needed", n+1)
	}
	parts := strings.Split(token, ".")
	header, err := decodePart("header", parts[0])
	if err != nil {
		return nil, err
	}
	claims, err := decodePart("claims", parts[1])
	if err != nil {
		return nil, err
	}
	signature, err := decodeBase64(parts[2])
	if err != nil {
		return nil, fmt.Errorf("signature: %w", err)
	}
	t := &parsedToken{claims: claims, signed: parts[0] + "." + parts[1], signature: signature}
	if err := t.readHeader(header); err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	return t, nil
}

func decodePart(name, part string) (object, error) {
	data, err := decodeBase64(part)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	decoded, err := decodeObject(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return decoded, nil
}

// decodeBase64 decodes base64url without padding (RFC 7515, section 2), so that
// there is one way to write a token. Even strict decoding skips line breaks.
func decodeBase64(part string) ([]byte, error) {
	if strings.ContainsAny(part, "\r\n") {
		return nil, errors.New("line breaks in base64")
	}
	return base64.RawURLEncoding.Strict().DecodeString(part)
}

// tokenTypes are the values of typ that an access token has (RFC 7519, section
// 5.1; RFC 9068, section 2.1), lower-cased and without "application/". Tokens
// that say they are made for something else, such as a logout, are not taken for
// one (RFC 8725, section 3.11).
var tokenTypes = []string{"jwt", "at+jwt"}

// readHeader takes alg and kid from the header. Keys in it or behind it (jwk,
// jku, x5c, x5u) are not looked at: a token cannot bring the key that verifies it.
func (t *parsedToken) readHeader(header object) error {
	// Whoever does not know an extension must refuse a token that has it (RFC
	// 7515, section 4.1.11). No extension is known here.
	if _, has := header["crit"]; has {
		return errors.New("crit is not supported")
	}
	if _, has := header["typ"]; has {
		typ, err := header.text("typ")
		if err != nil {
			return err
		}
		if !slices.Contains(tokenTypes, strings.TrimPrefix(strings.ToLower(typ), "application/")) {
			return fmt.Errorf("typ %s is not an access token", models.Quote(typ))
		}
	}
	if _, has := header["kid"]; has {
		kid, err := header.text("kid")
		if err != nil {
			return err
		}
		t.kid = &kid
	}
	alg, err := header.text("alg")
	if err != nil {
		return err
	}
	if methods[alg] == nil {
		return fmt.Errorf("alg %s is not supported", models.Quote(alg))
	}
	t.alg = alg
	return nil
}
