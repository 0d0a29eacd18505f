package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// "roster serve" takes the tokens of several issuers, each with its own key,
// audience and claims, and none that mixes them.
func TestSeveralIssuersOnTheCommandLine(t *testing.T) {
	folder := t.TempDir()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(folder, "partner.pem")
	if err := os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: encoded}), 0o600); err != nil {
		t.Fatal(err)
	}
	secret := strings.Repeat("k", 32)
	file := filepath.Join(folder, "issuers.json")
	if err := os.WriteFile(file, mustJSON([]map[string]string{
		{"issuer": "own", "audience": "own-roster", "secret": secret},
		{"issuer": "partner", "audience": "partner-roster", "public-key-file": key, "authorities-claim": "realm.roles"},
	}), 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"DATABASE_URL": "sqlite:" + filepath.Join(folder, "r.db"), "ROSTER_JWT_ISSUERS": file}
	if _, _, err := command(t, env, "migrate"); err != nil {
		t.Fatal(err)
	}
	base := startServer(t, env)
	bySecret := func(claims jwt.MapClaims) (string, error) {
		return jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(secret))
	}
	byKey := func(claims jwt.MapClaims) (string, error) {
		return jwt.NewWithClaims(jwt.SigningMethodEdDSA, claims).SignedString(private)
	}
	for _, test := range []struct {
		name, issuer, audience string
		sign                   func(jwt.MapClaims) (string, error)
		status                 int
	}{
		{"own", "own", "own-roster", bySecret, 200},
		{"partner", "partner", "partner-roster", byKey, 200},
		{"own, the partner's key", "own", "own-roster", byKey, 401},
		{"partner, our own key", "partner", "partner-roster", bySecret, 401},
		{"own, the partner's audience", "own", "partner-roster", bySecret, 401},
		{"partner, our own audience", "partner", "own-roster", byKey, 401},
		{"somebody else", "other", "own-roster", bySecret, 401},
	} {
		t.Run(test.name, func(t *testing.T) {
			token, err := test.sign(jwt.MapClaims{
				"iss": test.issuer, "aud": test.audience, "sub": "s", "exp": time.Now().Add(time.Hour).Unix(),
				"authorities": []string{"FROM_THE_FLAG"}, "realm": map[string]any{"roles": []string{"FROM_THE_FILE"}},
			})
			if err != nil {
				t.Fatal(err)
			}
			status, _, body := ask(t, "POST", base+"/graphql", token, `{"query":"{ viewer { authorities } }"}`)
			wants := map[string]string{"own": "FROM_THE_FLAG", "partner": "FROM_THE_FILE"}[test.issuer]
			if test.status == 401 {
				wants = "UNAUTHENTICATED"
			}
			if status != test.status || !strings.Contains(body, wants) {
				t.Errorf("%d %s", status, body)
			}
		})
	}
}

// What is wrong with the file of issuers is said at the start, without its secrets.
func TestMistakesInTheFileOfIssuers(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "issuers.json")
	secret := strings.Repeat("k", 32)
	good := `{"issuer": "a", "audience": "b", "secret": "` + secret + `"}`
	for _, test := range []struct{ name, content, wants string }{
		{"empty", "", "a JSON array of issuers is expected"},
		{"not an array", good, "a JSON array of issuers is expected, each an object of strings; the value at byte 1 is of type object"},
		{"no issuer", "[]", "there is no issuer in it"},
		{"null", "null", "there is no issuer in it"},
		{"more behind it", "[" + good + "] []", "there is more after the array"},
		{"unknown field", `[{"issuer": "a", "aud": "b", "secret": "` + secret + `"}]`, `unknown field "aud"`},
		{"no audience", `[{"issuer": "a", "secret": "` + secret + `"}]`, `issuer "a": the audience is empty`},
		{"no name", `[{"audience": "b", "secret": "` + secret + `"}]`, "issuer 1: the name (the iss claim) is empty"},
		{"no key", `[{"issuer": "a", "audience": "b"}]`, "exactly one is needed"},
		{"two keys", `[{"issuer": "a", "audience": "b", "secret": "` + secret + `", "jwks-url": "https://keys.example"}]`, "exactly one is needed"},
		{"short secret", `[{"issuer": "a", "audience": "b", "secret": "kkk"}]`, "32"},
		{"no such key", `[` + good + `, {"issuer": "c", "audience": "b", "public-key-file": "none.pem"}]`, "public-key-file of issuer 2: open none.pem"},
		{"twice", `[` + good + `, ` + good + `]`, `issuer "a": it is given twice`},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := os.WriteFile(file, []byte(test.content), 0o600); err != nil {
				t.Fatal(err)
			}
			_, _, err := command(t, nil, "serve", "--jwt-issuers", file)
			if err == nil || !strings.Contains(err.Error(), test.wants) || strings.Contains(err.Error(), "kkk") {
				t.Errorf("got %v, want %q", err, test.wants)
			}
		})
	}
	if _, _, err := command(t, nil, "serve", "--jwt-issuers", filepath.Join(folder, "none.json")); err == nil || !strings.Contains(err.Error(), "none.json") {
		t.Errorf("no file: %v", err)
	}
	for _, flag := range []string{"--jwt-secret", "--jwt-public-key-file", "--jwt-jwks-url", "--jwt-issuer", "--jwt-audience"} {
		if _, _, err := command(t, nil, "serve", "--jwt-issuers", file, flag, "x"); err == nil || err.Error() != "--jwt-issuers and "+flag+" are both given; only one of them can be" {
			t.Errorf("%s: %v", flag, err)
		}
	}
}

// While the server stops it goes on answering, also those whose key is new.
func TestKeysAreRefreshedWhileStopping(t *testing.T) {
	keys := map[string]ed25519.PrivateKey{}
	var published atomic.Value
	publish := func(kid string) {
		public, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		keys[kid] = private
		published.Store(mustJSON(map[string]any{"keys": []map[string]string{
			{"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": kid, "x": base64.RawURLEncoding.EncodeToString(public)},
		}}))
	}
	publish("old")
	host := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(published.Load().([]byte)) }))
	defer host.Close()
	env := map[string]string{
		"DATABASE_URL": "sqlite:" + filepath.Join(t.TempDir(), "r.db"), "ROSTER_DRAIN_DELAY": "3s",
		"ROSTER_JWT_JWKS_URL": host.URL, "ROSTER_JWT_ISSUER": "i", "ROSTER_JWT_AUDIENCE": "a",
	}
	if _, _, err := command(t, env, "migrate"); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	base := startServerUntil(ctx, t, env)
	status := func(kid string) int {
		token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.MapClaims{"iss": "i", "aud": "a", "sub": "1", "exp": time.Now().Add(time.Hour).Unix()})
		token.Header["kid"] = kid
		signed, err := token.SignedString(keys[kid])
		if err != nil {
			t.Fatal(err)
		}
		status, _, _ := ask(t, "POST", base+"/graphql", signed, `{"query":"{ viewer { subject } }"}`)
		return status
	}
	if got := status("old"); got != 200 {
		t.Fatalf("before: %d", got)
	}
	publish("new")
	stop()
	for ready := 200; ready != 503; {
		ready, _, _ = ask(t, "GET", base+"/readyz", "", "")
	}
	if got := status("new"); got != 200 {
		t.Errorf("a new key while the server stops: %d", got)
	}
}
