package auth

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"roster/models"
)

// The claims that are read when an issuer names no others.
const (
	DefaultCustomerClaim    = "customer_id"
	DefaultAuthoritiesClaim = "authorities"
)

// Issuer is one party whose tokens are accepted. Exactly one of Secret,
// PublicKeyPEM and JWKSURL is set.
type Issuer struct {
	// Name is the iss claim of the issuer's tokens, compared exactly. Required.
	Name string
	// Audience is what the aud claim must name. Required.
	Audience string
	// Secret is a key for HS256, and for HS384 and HS512 where it is as long as
	// their hash: 32, 48 and 64 bytes (RFC 7518, section 3.2).
	Secret []byte
	// PublicKeyPEM is one public key or certificate: RSA of 2048 bits or more, EC on P-256,
	// P-384 or P-521, or Ed25519. Of a certificate only the key counts.
	PublicKeyPEM []byte
	// JWKSURL is where the issuer publishes its keys (RFC 7517, section 5). It is
	// https, or http on this host itself.
	JWKSURL string
	// CustomerClaim is where tokens name customers: names joined by dots for
	// nested claims, or one URI (RFC 7519, section 4.2), whose dots mean nothing.
	// It is [DefaultCustomerClaim] when empty.
	CustomerClaim string
	// AuthoritiesClaim is where tokens name authorities, written like
	// CustomerClaim. It is [DefaultAuthoritiesClaim] when empty.
	AuthoritiesClaim string
}

// label names the issuer in a settings error.
func (i Issuer) label(position int) string {
	if i.Name == "" {
		return fmt.Sprintf("issuer %d", position+1)
	}
	return fmt.Sprintf("issuer %q", i.Name)
}

// check gives everything that is wrong with the issuer except its key.
func (i Issuer) check() error {
	var wrong []error
	// An empty name or audience would turn the check of that claim off in most
	// libraries, ours included, so it must stop the start.
	if err := checkSetting("name (the iss claim)", i.Name); err != nil {
		wrong = append(wrong, err)
	}
	if err := checkSetting("audience", i.Audience); err != nil {
		wrong = append(wrong, err)
	}
	if _, err := newClaimPath(i.CustomerClaim, DefaultCustomerClaim); err != nil {
		wrong = append(wrong, fmt.Errorf("customer claim: %w", err))
	}
	if _, err := newClaimPath(i.AuthoritiesClaim, DefaultAuthoritiesClaim); err != nil {
		wrong = append(wrong, fmt.Errorf("authorities claim: %w", err))
	}
	return errors.Join(wrong...)
}

func checkSetting(name, value string) error {
	if strings.TrimSpace(value) == "" {
		return fmt.Errorf("the %s is empty; it is required", name)
	}
	if err := models.CheckText(value); err != nil {
		return fmt.Errorf("the %s: %w", name, err)
	}
	return nil
}

// staticKey reads the issuer's secret or public key; it is nil when the issuer has a JWKS URL instead.
func (i Issuer) staticKey() (*key, error) {
	given := 0
	for _, isSet := range []bool{len(i.Secret) > 0, len(i.PublicKeyPEM) > 0, i.JWKSURL != ""} {
		if isSet {
			given++
		}
	}
	if given != 1 {
		return nil, fmt.Errorf("%d of secret, public key and JWKS URL are given; exactly one is needed", given)
	}
	switch {
	case len(i.Secret) > 0:
		return newKey("", i.Secret)
	case len(i.PublicKeyPEM) > 0:
		return parsePEM(i.PublicKeyPEM)
	default:
		return nil, checkJWKSURL(i.JWKSURL)
	}
}

func checkJWKSURL(text string) error {
	u, err := url.Parse(text)
	if err != nil {
		// The parser's error repeats the URL, which can hold a password.
		return errors.New("the JWKS URL is not a URL")
	}
	if !isTrustworthy(u) {
		return fmt.Errorf("the JWKS URL %s must be https, or http on a loopback address", u.Redacted())
	}
	return nil
}

// isTrustworthy reports whether keys may be read from a URL: whoever can alter
// the answer on its way can sign tokens, so only this host does without TLS.
func isTrustworthy(u *url.URL) bool {
	switch u.Scheme {
	case "https":
		return u.Hostname() != ""
	case "http":
		ip := net.ParseIP(u.Hostname())
		return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
	default:
		return false
	}
}
