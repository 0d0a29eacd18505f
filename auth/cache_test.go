package auth_test

import (
	"crypto"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"roster/auth"
	"roster/models"
)

// A token that was accepted is refused as soon as its time is over.
func TestRememberedTokenExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVerifier(t, secretIssuer())
		token := hs256(nil, goodClaims(issuerName).with(fields{"exp": time.Now().Add(time.Minute).Unix()}))
		wantCode(t, v, token, "")
		pass(time.Minute + auth.Leeway - time.Second)
		wantCode(t, v, token, "")
		pass(time.Second)
		wantCode(t, v, token, models.CodeUnauthenticated)
	})
}

// A token that was accepted is refused as soon as its key has left the key set,
// even when another key has taken the name.
func TestRememberedTokenOfAKeyThatLeft(t *testing.T) {
	for name, after := range map[string]string{
		"Left":     newKeys(),
		"Replaced": jwks(jwk("old", otherP256().Public(), nil)),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newKeyHost(t, text(oldKeys()))
				v, token := verifierOn(t, h), oldToken()
				wantCode(t, v, token, "")
				pass(auth.RefreshInterval) // the same key, read anew
				wantCode(t, v, token, "")
				h.answer(text(after))
				pass(auth.RefreshInterval)
				wantCode(t, v, token, models.CodeUnauthenticated)
			})
		})
	}
}

// Nothing but the very same token is recognized.
func TestRememberedTokenAltered(t *testing.T) {
	v := newVerifier(t, secretIssuer())
	token := hs256(nil, goodClaims(issuerName))
	wantCode(t, v, token, "")
	other := hs256(nil, goodClaims(issuerName).with(fields{"sub": "somebody else"}))
	payload, signature := strings.LastIndex(other, "."), strings.LastIndex(token, ".")
	for _, altered := range []string{
		other[:payload] + token[signature:],
		token[:signature+1],
		token + "A",
		token + ".",
		strings.ToUpper(token),
	} {
		wantCode(t, v, altered, models.CodeUnauthenticated)
	}
	wantCode(t, v, token, "")
}

// More tokens than are remembered are all accepted, the first ones too.
func TestMoreTokensThanRemembered(t *testing.T) {
	v := newVerifier(t, secretIssuer())
	var tokens []string
	for i := range auth.MaxCachedTokens + 10 {
		tokens = append(tokens, hs256(nil, goodClaims(issuerName).with(fields{"sub": "caller", "n": i})))
	}
	for range 2 {
		for _, token := range tokens {
			wantCode(t, v, token, "")
		}
	}
	if n := v.CachedTokens(); n != auth.MaxCachedTokens {
		t.Errorf("%d are remembered", n)
	}
}

// BenchmarkVerify compares a token that comes for the first time with one that
// comes again.
func BenchmarkVerify(b *testing.B) {
	for name, key := range map[string]struct {
		method  jwt.SigningMethod
		private any
		issuer  auth.Issuer
	}{
		"HS256": {jwt.SigningMethodHS256, secret, secretIssuer()},
		"RS256": {jwt.SigningMethodRS256, rsaKey(), keyIssuer(b, rsaKey().Public())},
		"ES256": {jwt.SigningMethodES256, p256Key(), keyIssuer(b, p256Key().Public())},
	} {
		token := rawToken(`{"alg":"`+name+`"}`, goodClaims(issuerName).json(), signWith(key.method, key.private))
		b.Run(name+"/First", func(b *testing.B) {
			v := newVerifier(b, key.issuer)
			for b.Loop() {
				v.Forget()
				if _, err := v.Verify(b.Context(), token); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/Again", func(b *testing.B) {
			v := newVerifier(b, key.issuer)
			for b.Loop() {
				if _, err := v.Verify(b.Context(), token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func keyIssuer(b *testing.B, public crypto.PublicKey) auth.Issuer {
	b.Helper()
	issuer := secretIssuer()
	issuer.Secret, issuer.PublicKeyPEM = nil, publicPEM(b, public)
	return issuer
}
