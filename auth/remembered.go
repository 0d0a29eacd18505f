package auth

import (
	"context"
	"crypto/sha256"

	"github.com/golang-jwt/jwt/v5"
)

// maxRemembered is how many tokens are remembered. One takes about a kilobyte, and
// about 20 when it names as many customers as fit into a token.
const maxRemembered = 1_000

// remembered is a token that was verified. The same token comes with every request
// of a caller, and taking it apart and checking its signature again gives the same
// every time: 8 % of the work for a page with an HMAC signature, and more with
// RSA or ECDSA. What may change is checked every time: the time, and whether the
// issuer still has the key. [BenchmarkVerify] compares the two.
type remembered struct {
	issuer    *trusted
	kid       *string
	alg       string
	key       *key
	claims    jwt.RegisteredClaims
	principal *Principal
}

// fingerprint stands for a token, so that no token is kept.
func fingerprint(token string) [sha256.Size]byte { return sha256.Sum256([]byte(token)) }

// recognize gives the principal of a token that was verified before, nil when it
// has to be checked again. The error is that of the key set.
func (v *Verifier) recognize(ctx context.Context, id [sha256.Size]byte) (*Principal, error) {
	known, ok := v.known.Get(id)
	if !ok {
		return nil, nil
	}
	key, err := known.issuer.keys.find(ctx, known.kid, known.alg)
	if err == nil && key == known.key && known.issuer.validator.Validate(known.claims) == nil {
		return known.principal, nil
	}
	v.known.Remove(id)
	return nil, err
}
