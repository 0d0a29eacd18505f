package auth

import (
	"context"
	"crypto/sha256"

	"github.com/golang-jwt/jwt/v5"
)

// maxCachedTokens is how many tokens are remembered. One takes about a kilobyte, and
// about 20 when it names as many customers as fit into a token.
const maxCachedTokens = 1_000

// cachedToken is a token that was verified. The same token comes with every request
// of a caller, and taking it apart and checking its signature again gives the same
// every time: 8 % of the work for a page with an HMAC signature, and more with
// RSA or ECDSA. What may change is checked every time: the time, and whether the
// issuer still has the key. [BenchmarkVerify] compares the two.
type cachedToken struct {
	issuer    *trustedIssuer
	kid       *string
	alg       string
	key       *key
	claims    jwt.RegisteredClaims
	principal *Principal
}

// fingerprint stands for a token, so that no token is kept.
func fingerprint(token string) [sha256.Size]byte { return sha256.Sum256([]byte(token)) }

// cached gives the principal of a token that was verified before, nil when it
// has to be checked again. The error is that of the key set.
func (v *Verifier) cached(ctx context.Context, id [sha256.Size]byte) (*Principal, error) {
	found, ok := v.cache.Get(id)
	if !ok {
		return nil, nil
	}
	key, err := found.issuer.keys.find(ctx, found.kid, found.alg)
	if err == nil && key == found.key && found.issuer.validator.Validate(found.claims) == nil {
		return found.principal, nil
	}
	v.cache.Remove(id)
	return nil, err
}
