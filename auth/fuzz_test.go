package auth_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"roster/auth"
	"roster/models"
)

// FuzzVerify looks for a token that is accepted without the HMAC of the secret,
// which is computed here without any of the code under test.
func FuzzVerify(f *testing.F) {
	for _, tt := range malformedTokens() {
		f.Add(tt.token)
	}
	for _, tt := range headerTokens("https://evil.example.com") {
		f.Add(tt.token)
	}
	for _, tt := range registeredTokens() {
		f.Add(tt.token)
	}
	f.Add(rawToken(`{"alg":"none"}`, goodClaims(secretName).json(), unsigned))
	f.Add(forge(fields{"typ": "at+jwt", "kid": "x"}, fields{"exp": 32503680000}))
	f.Add(forge(nil, fields{"exp": 32503680000, "customer_id": []any{1, "2", customerID}}))

	v := newVerifier(f, auth.Issuer{Name: secretName, Audience: audience, Secret: secret})
	f.Fuzz(func(t *testing.T, token string) {
		p, err := v.Verify(t.Context(), token)
		if err != nil {
			if e := models.AsError(err); p != nil || e.Code != models.CodeUnauthenticated || e.Message != "The bearer token is not valid." || e.Err == nil {
				t.Fatalf("an unusual refusal: %v, %+v", p, e)
			}
			return
		}
		signed := token[:strings.LastIndexByte(token, '.')]
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(signed))
		if want := signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil)); token != want {
			t.Fatalf("accepted without its signature: %q", token)
		}
	})
}

// FuzzClaims signs any claims, as an issuer with a mistake in it would, and
// checks what becomes of those that are accepted.
func FuzzClaims(f *testing.F) {
	f.Add(goodClaims(secretName).with(fields{"exp": 32503680000}).json())
	for _, tt := range append(registeredTokens(), customerTokens()...) {
		if parts := strings.Split(tt.token, "."); len(parts) == 3 {
			claims, err := base64.RawURLEncoding.DecodeString(parts[1])
			if err == nil {
				f.Add(string(claims))
			}
		}
	}
	v := newVerifier(f, auth.Issuer{Name: secretName, Audience: audience, Secret: secret})
	f.Fuzz(func(t *testing.T, claims string) {
		p, err := v.Verify(t.Context(), rawToken(`{"alg":"HS256"}`, claims, signWith(jwt.SigningMethodHS256, secret)))
		if err != nil {
			return
		}
		var read map[string]any
		if err := json.Unmarshal([]byte(claims), &read); err != nil {
			t.Fatalf("accepted claims that are not an object: %q", claims)
		}
		if read["iss"] != secretName || read["sub"] != p.Subject || p.Subject == "" {
			t.Fatalf("accepted claims of somebody else: %q", claims)
		}
		if p.ExpiresAt.Before(time.Now().Add(-auth.Leeway-time.Second)) || p.ExpiresAt.Location() != time.UTC {
			t.Fatalf("accepted an expiry of %v: %q", p.ExpiresAt, claims)
		}
		if len(p.CustomerIDs)+len(p.CustomerNumbers) > auth.MaxListed || len(p.Authorities) > auth.MaxListed {
			t.Fatalf("accepted too much: %q", claims)
		}
		for _, number := range p.CustomerNumbers {
			if number < 1 {
				t.Fatalf("accepted the customer %d: %q", number, claims)
			}
		}
		for _, id := range p.CustomerIDs {
			if canonical, err := models.ParseID(string(id)); err != nil || canonical != id {
				t.Fatalf("accepted the customer %q: %q", id, claims)
			}
		}
		for _, text := range append([]string{p.Subject}, p.Authorities...) {
			if err := models.CheckText(text); err != nil || text == "" {
				t.Fatalf("accepted the text %q: %q", text, claims)
			}
		}
	})
}

// FuzzKeySet looks for an answer of a key host that breaks the reader or gets a
// secret or a weak key past it.
func FuzzKeySet(f *testing.F) {
	f.Add([]byte(hostileKeySet()))
	for _, set := range []string{
		``, `null`, `{}`, `[]`, `{"keys":null}`, `{"keys":[null,{},[],1]}`, `{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}`,
		`{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}]}`, `{"keys":[{"kty":"OKP","crv":"X25519","x":"AA"}]}`,
		`{"keys":[{"kty":"oct","k":"AAAA"}]}`, `{"keys":[{"kty":"RSA","x5u":"http://127.0.0.1:1/","x5c":["AA"]}]}`,
	} {
		f.Add([]byte(set))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		keys, err := auth.KeySetKeys(data)
		if (err == nil) != (len(keys) > 0) {
			t.Fatalf("%d keys and the error %v", len(keys), err)
		}
		for _, k := range keys {
			if _, isSecret := k.([]byte); isSecret {
				t.Fatalf("a secret out of a key set: %q", data)
			}
		}
	})
}
