package auth_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/goleak"

	"roster/auth"
	"roster/models"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	customerID = models.ID("94520740-d63c-4e02-85ca-c4e138801e73")
	audience   = "roster"
)

// secret is long enough for every HMAC algorithm.
var secret = []byte(strings.Repeat("0123456789abcdef", 4))

// The keys are made once: RSA keys take their time.
var (
	rsaKey     = sync.OnceValue(func() *rsa.PrivateKey { return newRSA(2048) })
	otherRSA   = sync.OnceValue(func() *rsa.PrivateKey { return newRSA(2048) })
	weakRSA    = sync.OnceValue(func() *rsa.PrivateKey { return newRSA(1024) })
	p256Key    = sync.OnceValue(func() *ecdsa.PrivateKey { return newEC(elliptic.P256()) })
	otherP256  = sync.OnceValue(func() *ecdsa.PrivateKey { return newEC(elliptic.P256()) })
	p384Key    = sync.OnceValue(func() *ecdsa.PrivateKey { return newEC(elliptic.P384()) })
	p521Key    = sync.OnceValue(func() *ecdsa.PrivateKey { return newEC(elliptic.P521()) })
	ed25519Key = sync.OnceValue(newEd25519)
)

func newRSA(bits int) *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		panic(err)
	}
	return k
}

func newEC(curve elliptic.Curve) *ecdsa.PrivateKey {
	k, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		panic(err)
	}
	return k
}

func newEd25519() ed25519.PrivateKey {
	_, k, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	return k
}

func publicPEM(t testing.TB, public crypto.PublicKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// signer makes the signature of a token's first two parts.
type signer func(signed string) []byte

func signWith(method jwt.SigningMethod, key any) signer {
	return func(signed string) []byte {
		signature, err := method.Sign(signed, key)
		if err != nil {
			panic(err)
		}
		return signature
	}
}

func unsigned(string) []byte { return nil }

func b64(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

// rawToken signs any two texts as header and claims.
func rawToken(header, claims string, sign signer) string {
	signed := b64([]byte(header)) + "." + b64([]byte(claims))
	return signed + "." + b64(sign(signed))
}

type fields map[string]any

// with gives a copy with other values; nil takes a name away.
func (f fields) with(changes fields) fields {
	f = maps.Clone(f)
	for name, value := range changes {
		if value == nil {
			delete(f, name)
		} else {
			f[name] = value
		}
	}
	return f
}

func (f fields) json() string {
	data, err := json.Marshal(f)
	if err != nil {
		panic(err)
	}
	return string(data)
}

// null is a JSON null, where nil means that a name is left out.
var null = json.RawMessage("null")

// goodClaims are the claims of a token that is accepted for the next hour.
func goodClaims(issuer string) fields {
	return fields{
		"iss":         issuer,
		"aud":         audience,
		"sub":         "caller",
		"exp":         time.Now().Add(time.Hour).Unix(),
		"customer_id": string(customerID),
		"authorities": []string{auth.RoleCompanyAdmin},
	}
}

// jwk describes a public key for a key set.
func jwk(kid string, public any, more fields) fields {
	f := fields{}
	switch public := public.(type) {
	case *rsa.PublicKey:
		f = fields{"kty": "RSA", "n": b64(public.N.Bytes()), "e": "AQAB"}
	case *ecdsa.PublicKey:
		point, err := public.Bytes()
		if err != nil {
			panic(err)
		}
		half := (len(point) - 1) / 2
		f = fields{"kty": "EC", "crv": public.Curve.Params().Name, "x": b64(point[1 : 1+half]), "y": b64(point[1+half:])}
	case ed25519.PublicKey:
		f = fields{"kty": "OKP", "crv": "Ed25519", "x": b64(public)}
	case []byte:
		f = fields{"kty": "oct", "k": b64(public)}
	}
	if kid != "" {
		f["kid"] = kid
	}
	return f.with(more)
}

func jwks(keys ...fields) string { return fields{"keys": keys}.json() }

// logBuffer keeps what is logged.
type logBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) take() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer b.text.Reset()
	return b.text.String()
}

func (b *logBuffer) logger() *slog.Logger { return slog.New(slog.NewTextHandler(b, nil)) }

func newVerifier(t testing.TB, issuers ...auth.Issuer) *auth.Verifier {
	t.Helper()
	v, err := auth.NewVerifier(t.Context(), slog.New(slog.DiscardHandler), issuers...)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func codeOf(err error) models.Code {
	if err == nil {
		return ""
	}
	return models.AsError(err).Code
}
