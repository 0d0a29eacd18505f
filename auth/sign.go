package auth

import (
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Sign makes an HS256 token for development, with the default claims; see
// [Issuer.Sign].
func Sign(secret []byte, issuer, audience string, p Principal) (string, error) {
	return Issuer{Name: issuer, Audience: audience, Secret: secret}.Sign(p)
}

// Sign makes an HS256 token for development that a [Verifier] of the same issuer
// accepts until p.ExpiresAt. The error says which setting or which part of the
// principal cannot be used: an issuer without a secret of 32 bytes, a principal
// without a subject or an expiry, or too many customers for one token.
func (i Issuer) Sign(p Principal) (string, error) {
	if len(i.Secret) == 0 {
		return "", errors.New("tokens can be signed with a secret only; this issuer has none")
	}
	verifying, err := newTrustedIssuer(i)
	if err != nil {
		return "", err
	}
	claims, err := i.claims(p)
	if err != nil {
		return "", err
	}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString(i.Secret)
	if err != nil {
		return "", fmt.Errorf("sign the token: %w", err)
	}
	// Whatever the verifier would refuse is an error here and not a puzzle later,
	// except a token that has expired, which can be wanted to see it refused.
	parsed, err := parseToken(token)
	if err == nil {
		_, _, err = verifying.principal(parsed.claims)
	}
	if err != nil && !errors.Is(err, jwt.ErrTokenExpired) {
		return "", fmt.Errorf("the token would be refused: %w", err)
	}
	return token, nil
}

func (i Issuer) claims(p Principal) (jwt.MapClaims, error) {
	claims := jwt.MapClaims{
		"iss": i.Name,
		"aud": i.Audience,
		"sub": p.Subject,
		"iat": time.Now().Unix(),
		"exp": p.ExpiresAt.Unix(),
	}
	customers, err := newClaimPath(i.CustomerClaim, DefaultCustomerClaim)
	if err != nil {
		return nil, err
	}
	authorities, err := newClaimPath(i.AuthoritiesClaim, DefaultAuthoritiesClaim)
	if err != nil {
		return nil, err
	}
	if len(p.CustomerIDs)+len(p.CustomerNumbers) > 0 {
		if err := customers.put(claims, customerList(p)); err != nil {
			return nil, err
		}
	}
	if len(p.Authorities) > 0 {
		if err := authorities.put(claims, p.Authorities); err != nil {
			return nil, err
		}
	}
	return claims, nil
}

// customerList gives one customer as it is, which is what most tokens have, and several as a list.
func customerList(p Principal) any {
	var list []any
	for _, id := range p.CustomerIDs {
		list = append(list, id)
	}
	for _, number := range p.CustomerNumbers {
		list = append(list, number)
	}
	if len(list) == 1 {
		return list[0]
	}
	return list
}
