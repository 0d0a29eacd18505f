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

// holds reports whether the token would be accepted again.
func (r *remembered) holds(ctx context.Context) bool {
	key, err := r.issuer.keys.find(ctx, r.kid, r.alg)
	return err == nil && key == r.key && r.issuer.validator.Validate(r.claims) == nil
}
