package auth_test

import (
	"context"
	"crypto"
	"crypto/ecdh"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"roster/auth"
	"roster/models"
)

const issuerName = "https://login.example.com"

func secretIssuer() auth.Issuer {
	return auth.Issuer{Name: issuerName, Audience: audience, Secret: secret}
}

func TestVerifyEveryAlgorithm(t *testing.T) {
	type pair struct {
		method jwt.SigningMethod
		key    any
		issuer auth.Issuer
	}
	pemOf := func(public crypto.PublicKey) auth.Issuer {
		return auth.Issuer{Name: issuerName, Audience: audience, PublicKeyPEM: publicPEM(t, public)}
	}
	tests := []pair{
		{jwt.SigningMethodHS256, secret, secretIssuer()},
		{jwt.SigningMethodHS384, secret, secretIssuer()},
		{jwt.SigningMethodHS512, secret, secretIssuer()},
		{jwt.SigningMethodRS256, rsaKey(), pemOf(rsaKey().Public())},
		{jwt.SigningMethodRS384, rsaKey(), pemOf(rsaKey().Public())},
		{jwt.SigningMethodRS512, rsaKey(), pemOf(rsaKey().Public())},
		{jwt.SigningMethodPS256, rsaKey(), pemOf(rsaKey().Public())},
		{jwt.SigningMethodPS384, rsaKey(), pemOf(rsaKey().Public())},
		{jwt.SigningMethodPS512, rsaKey(), pemOf(rsaKey().Public())},
		{jwt.SigningMethodES256, p256Key(), pemOf(p256Key().Public())},
		{jwt.SigningMethodES384, p384Key(), pemOf(p384Key().Public())},
		{jwt.SigningMethodES512, p521Key(), pemOf(p521Key().Public())},
		{jwt.SigningMethodEdDSA, ed25519Key(), pemOf(ed25519Key().Public())},
	}
	for _, tt := range tests {
		alg := tt.method.Alg()
		t.Run(alg, func(t *testing.T) {
			claims := goodClaims(issuerName)
			token := rawToken(fields{"alg": alg, "typ": "JWT"}.json(), claims.json(), signWith(tt.method, tt.key))
			got, err := newVerifier(t, tt.issuer).Verify(t.Context(), token)
			if err != nil {
				t.Fatal(err)
			}
			want := &auth.Principal{
				Issuer:      issuerName,
				Subject:     "caller",
				Authorities: []string{auth.RoleCompanyAdmin},
				CustomerIDs: []models.ID{customerID},
				ExpiresAt:   time.Unix(claims["exp"].(int64), 0).UTC(),
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("Principal (-want +got):\n%s", diff)
			}
		})
	}
}

// hs256 is a token of the issuer with the secret.
func hs256(header, claims fields) string {
	return rawToken(fields{"alg": "HS256"}.with(header).json(), claims.json(), signWith(jwt.SigningMethodHS256, secret))
}

func TestVerifyHeaders(t *testing.T) {
	v := newVerifier(t, secretIssuer())
	for name, header := range map[string]fields{
		"NoType":          {},
		"LowerCaseType":   {"typ": "jwt"},
		"AccessTokenType": {"typ": "at+jwt"},
		"MediaType":       {"typ": "application/at+JWT"},
		"KidOfASecret":    {"kid": "anything"},
		// Some issuers put addresses of keys into every token. They are not followed, and no harm.
		"UnusedAddresses": {"jku": "http://127.0.0.1:1/", "x5u": "http://127.0.0.1:1/", "x5t": "x"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := v.Verify(t.Context(), hs256(header, goodClaims(issuerName))); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestVerifyClaims(t *testing.T) {
	many := make([]int, auth.MaxListed)
	var numbers []int64
	for i := range many {
		many[i] = i%9 + 1
	}
	for i := range 9 {
		numbers = append(numbers, int64(i+1))
	}
	other := models.ID("0b0e7c2c-33c0-4f5a-9c0a-0a51d33b8c01")
	type principal = auth.Principal
	tests := []struct {
		name   string
		claims fields
		want   principal
	}{
		{"Number", fields{"customer_id": 42}, principal{CustomerNumbers: []int64{42}}},
		{"LargestNumber", fields{"customer_id": int64(9223372036854775807)}, principal{CustomerNumbers: []int64{9223372036854775807}}},
		{"NumberAsText", fields{"customer_id": "42"}, principal{CustomerNumbers: []int64{42}}},
		{"UUID", fields{"customer_id": strings.ToUpper(string(customerID))}, principal{CustomerIDs: []models.ID{customerID}}},
		{"List", fields{"customer_id": []any{customerID, 42, "43", other, 42, customerID}},
			principal{CustomerIDs: []models.ID{customerID, other}, CustomerNumbers: []int64{42, 43}}},
		{"EmptyList", fields{"customer_id": []any{}}, principal{}},
		{"LongestList", fields{"customer_id": many}, principal{CustomerNumbers: numbers}},
		{"NoCustomer", fields{}, principal{}},
		{"Authorities", fields{"authorities": []string{"A", "b c", "ROLE_ÇALIŞAN"}}, principal{Authorities: []string{"A", "b c", "ROLE_ÇALIŞAN"}}},
		{"AudienceAmongOthers", fields{"aud": []string{"other", audience}}, principal{}},
		{"FractionalExpiry", fields{"exp": 32503680000.75}, principal{}},
		{"NotBeforeAndIssuedAt", fields{"nbf": 0, "iat": 1}, principal{}},
		{"UnknownClaims", fields{"scope": nil, "nested": fields{"a": []any{fields{"b": null}}}}, principal{}},
		{"ClaimInOtherCase", fields{"CUSTOMER_ID": 42, "Authorities": []string{auth.RoleAdmin}}, principal{}},
	}
	v := newVerifier(t, secretIssuer())
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			claims := goodClaims(issuerName).with(fields{"customer_id": nil, "authorities": nil}).with(tt.claims)
			got, err := v.Verify(t.Context(), hs256(nil, claims))
			if err != nil {
				t.Fatal(err)
			}
			tt.want.Issuer, tt.want.Subject, tt.want.ExpiresAt = issuerName, "caller", got.ExpiresAt
			if diff := cmp.Diff(&tt.want, got); diff != "" {
				t.Errorf("Principal (-want +got):\n%s", diff)
			}
		})
	}
}

func TestVerifyClaimPaths(t *testing.T) {
	tests := []struct {
		name                  string
		customer, authorities string
		claims                fields
		want                  bool
	}{
		{"Nested", "org.customer", "realm_access.roles", fields{"org": fields{"customer": 42}, "realm_access": fields{"roles": []string{"A"}}}, true},
		{"URI", "https://example.com/customer.id", "urn:roles", fields{"https://example.com/customer.id": 42, "urn:roles": []string{"A"}}, true},
		{"DefaultsAreNotRead", "org.customer", "roles", fields{"customer_id": 42, "authorities": []string{"A"}}, false},
		{"DottedNameIsNotNested", "org.customer", "realm_access.roles", fields{"org.customer": 42, "realm_access.roles": []string{"A"}}, false},
		{"HalfOfThePath", "org.customer", "realm_access.roles", fields{"org": fields{}}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			issuer := secretIssuer()
			issuer.CustomerClaim, issuer.AuthoritiesClaim = tt.customer, tt.authorities
			claims := goodClaims(issuerName).with(fields{"customer_id": nil, "authorities": nil}).with(tt.claims)
			p, err := newVerifier(t, issuer).Verify(t.Context(), hs256(nil, claims))
			if err != nil {
				t.Fatal(err)
			}
			if got := len(p.CustomerNumbers) == 1 && p.Has("A"); got != tt.want {
				t.Errorf("read %+v, want the claims read: %v", p, tt.want)
			}
		})
	}
}

func TestVerifyLeeway(t *testing.T) {
	const second, leeway = time.Second, auth.Leeway
	tests := []struct {
		name  string
		claim string
		at    time.Duration // from now
		want  models.Code
	}{
		{"ExpiredWithinLeeway", "exp", second - leeway, ""},
		{"ExpiredAtLeeway", "exp", -leeway, models.CodeUnauthenticated},
		{"NotBeforeAtLeeway", "nbf", leeway, ""},
		{"NotBeforeBeyondLeeway", "nbf", leeway + second, models.CodeUnauthenticated},
		{"IssuedAtLeeway", "iat", leeway, ""},
		{"IssuedBeyondLeeway", "iat", leeway + second, models.CodeUnauthenticated},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // its clock stands still
				claims := goodClaims(issuerName).with(fields{tt.claim: time.Now().Add(tt.at).Unix()})
				_, err := newVerifier(t, secretIssuer()).Verify(t.Context(), hs256(nil, claims))
				if got := codeOf(err); got != tt.want {
					t.Errorf("code %q, want %q (%v)", got, tt.want, err)
				}
			})
		})
	}
}

func TestSeveralIssuers(t *testing.T) {
	const a, b = "https://a.example.com", "https://b.example.com"
	keyA, keyB := secret, []byte(strings.Repeat("another secret! ", 4))
	v := newVerifier(t,
		auth.Issuer{Name: a, Audience: "aud-a", Secret: keyA, CustomerClaim: "tenant"},
		auth.Issuer{Name: b, Audience: "aud-b", Secret: keyB},
		auth.Issuer{Name: a + "/", Audience: "aud-a", Secret: keyA}, // the same key
	)
	tests := []struct {
		name, iss, aud string
		key            []byte
		want           models.Code
	}{
		{"A", a, "aud-a", keyA, ""},
		{"B", b, "aud-b", keyB, ""},
		{"AWithKeyOfB", a, "aud-a", keyB, models.CodeUnauthenticated},
		{"BWithKeyOfA", b, "aud-b", keyA, models.CodeUnauthenticated},
		{"AWithAudienceOfB", a, "aud-b", keyA, models.CodeUnauthenticated},
		{"BWithAudienceOfA", b, "aud-a", keyB, models.CodeUnauthenticated},
		{"SharedKeyForeignAudience", a + "/", "aud-b", keyA, models.CodeUnauthenticated},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			claims := goodClaims(tt.iss).with(fields{"aud": tt.aud, "tenant": 42}).json()
			p, err := v.Verify(t.Context(), rawToken(`{"alg":"HS256"}`, claims, signWith(jwt.SigningMethodHS256, tt.key)))
			if got := codeOf(err); got != tt.want {
				t.Fatalf("code %q, want %q (%v)", got, tt.want, err)
			}
			if err == nil && (len(p.CustomerNumbers) == 1) != (tt.iss == a) {
				t.Errorf("customers %v were read from another issuer's claim", p.CustomerNumbers)
			}
		})
	}
}

func certificatePEM(t *testing.T) []byte {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "tokens"},
		NotBefore:    time.Unix(0, 0),
		NotAfter:     time.Unix(1, 0), // expired long ago
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, p256Key().Public(), p256Key())
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestPublicKeyForms(t *testing.T) {
	pkcs1 := pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&rsaKey().PublicKey)})
	tests := []struct {
		name   string
		pem    []byte
		method jwt.SigningMethod
		key    any
	}{
		{"PKCS1", pkcs1, jwt.SigningMethodRS256, rsaKey()},
		{"Certificate", certificatePEM(t), jwt.SigningMethodES256, p256Key()},
		{"TextAround", slices.Concat([]byte("Bag Attributes\n"), publicPEM(t, p256Key().Public()), []byte("\n\n")), jwt.SigningMethodES256, p256Key()},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := newVerifier(t, auth.Issuer{Name: issuerName, Audience: audience, PublicKeyPEM: tt.pem})
			token := rawToken(fields{"alg": tt.method.Alg()}.json(), goodClaims(issuerName).json(), signWith(tt.method, tt.key))
			if _, err := v.Verify(t.Context(), token); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestSettingsErrors(t *testing.T) {
	block := func(kind string, der []byte, err error) []byte {
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	}
	pkcs8, pkcs8Err := x509.MarshalPKCS8PrivateKey(p256Key())
	sec1, sec1Err := x509.MarshalECPrivateKey(p256Key())
	x25519, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good := publicPEM(t, p256Key().Public())
	type change = func(*auth.Issuer)
	withPEM := func(data []byte) change {
		return func(i *auth.Issuer) { i.Secret, i.PublicKeyPEM = nil, data }
	}
	withURL := func(url string) change {
		return func(i *auth.Issuer) { i.Secret, i.JWKSURL = nil, url }
	}
	tests := []struct {
		name   string
		change change
		want   string
	}{
		{"NoName", func(i *auth.Issuer) { i.Name = "" }, "issuer 1: the name (the iss claim) is empty"},
		{"BlankName", func(i *auth.Issuer) { i.Name = " " }, "the name (the iss claim) is empty"},
		{"NoAudience", func(i *auth.Issuer) { i.Audience = "" }, `issuer "https://login.example.com": the audience is empty`},
		{"BlankAudience", func(i *auth.Issuer) { i.Audience = "\t" }, "the audience is empty"},
		{"AudienceWithNUL", func(i *auth.Issuer) { i.Audience = "a\x00" }, "U+0000"},
		{"NoKey", func(i *auth.Issuer) { i.Secret = nil }, "0 of secret, public key and JWKS URL are given"},
		{"TwoKeys", func(i *auth.Issuer) { i.PublicKeyPEM = good }, "2 of secret, public key and JWKS URL are given"},
		{"ThreeKeys", func(i *auth.Issuer) { i.PublicKeyPEM, i.JWKSURL = good, "https://a/" }, "3 of secret"},
		{"ShortSecret", func(i *auth.Issuer) { i.Secret = secret[:31] }, "the secret has 31 bytes; at least 32"},
		{"CustomerClaim", func(i *auth.Issuer) { i.CustomerClaim = "a..b" }, `customer claim: "a..b" is not names joined by dots`},
		{"AuthoritiesClaim", func(i *auth.Issuer) { i.AuthoritiesClaim = "." }, `authorities claim: "." is not`},
		{"ClaimNotUTF8", func(i *auth.Issuer) { i.AuthoritiesClaim = "\xff" }, "UTF-8"},
		{"NotPEM", withPEM([]byte("ssh-ed25519 AAAA")), "holds 0 PEM blocks"},
		{"TwoPEMs", withPEM(slices.Concat(good, good)), "holds 2 PEM blocks"},
		{"PrivateKey", withPEM(block("PRIVATE KEY", pkcs8, pkcs8Err)), "holds a private key"},
		{"ECPrivateKey", withPEM(block("EC PRIVATE KEY", sec1, sec1Err)), "holds a private key"},
		{"EncryptedPrivateKey", withPEM(block("ENCRYPTED PRIVATE KEY", pkcs8, nil)), "holds a private key"},
		{"PublicThenPrivate", withPEM(slices.Concat(good, block("PRIVATE KEY", pkcs8, nil))), "holds a private key"},
		{"BrokenKey", withPEM(block("PUBLIC KEY", []byte("no"), nil)), "cannot be read"},
		{"BrokenCertificate", withPEM(block("CERTIFICATE", []byte("no"), nil)), "cannot be read"},
		{"OtherBlock", withPEM(block("EC PARAMETERS", []byte("no"), nil)), `the PEM block is "EC PARAMETERS"`},
		{"WeakRSA", withPEM(publicPEM(t, weakRSA().Public())), "the RSA key has 1024 bits"},
		{"P224", withPEM(publicPEM(t, newEC(elliptic.P224()).Public())), "on the curve P-224"},
		{"X25519", withPEM(publicPEM(t, x25519.Public())), "cannot verify tokens"},
		{"PlainHTTP", withURL("http://keys.example.com/jwks"), "must be https, or http on a loopback address"},
		{"PlainHTTPOnNetwork", withURL("http://10.0.0.1/jwks"), "must be https"},
		{"PlainHTTPLikeLoopback", withURL("http://127.0.0.1.example.com/jwks"), "must be https"},
		{"File", withURL("file:///etc/jwks"), "must be https"},
		{"NoHost", withURL("https:///jwks"), "must be https"},
		{"NoScheme", withURL("keys.example.com"), "must be https"},
		{"NoURL", withURL("https://user:hunter2@a b/%"), "the JWKS URL is not a URL"},
		{"PasswordInURL", withURL("http://user:hunter2@example.com/"), "must be https"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			issuer := secretIssuer()
			tt.change(&issuer)
			v, err := auth.NewVerifier(t.Context(), nil, issuer)
			if err == nil || v != nil {
				t.Fatal("the settings were accepted")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %q, want %q in it", err, tt.want)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error %q holds a password", err)
			}
		})
	}
}

func TestSettingsErrorsOfSeveralIssuers(t *testing.T) {
	bad := secretIssuer()
	bad.Audience, bad.Secret = "", secret[:8]
	nameless := secretIssuer()
	nameless.Name = ""
	_, err := auth.NewVerifier(t.Context(), nil, secretIssuer(), secretIssuer(), bad, nameless)
	if err == nil {
		t.Fatal("the settings were accepted")
	}
	for _, want := range []string{"given twice", "the audience is empty", "the secret has 8 bytes", "issuer 4: the name"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q lacks %q", err, want)
		}
	}
	if _, err := auth.NewVerifier(t.Context(), nil); err == nil {
		t.Error("no issuer at all was accepted")
	}
}

// A secret verifies only with hashes that it is long enough for (RFC 7518, section 3.2).
func TestSecretSizes(t *testing.T) {
	for size, want := range map[int]int{32: 1, 47: 1, 48: 2, 63: 2, 64: 3} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			issuer := secretIssuer()
			issuer.Secret = secret[:size]
			v, accepted := newVerifier(t, issuer), 0
			for _, method := range []jwt.SigningMethod{jwt.SigningMethodHS256, jwt.SigningMethodHS384, jwt.SigningMethodHS512} {
				token := rawToken(fields{"alg": method.Alg()}.json(), goodClaims(issuerName).json(), signWith(method, issuer.Secret))
				if _, err := v.Verify(t.Context(), token); err == nil {
					accepted++
				}
			}
			if accepted != want {
				t.Errorf("%d algorithms accepted, want %d", accepted, want)
			}
		})
	}
}

func TestReadyWithAStaticKey(t *testing.T) {
	if !newVerifier(t, secretIssuer()).Ready() {
		t.Error("a verifier with its key is not ready")
	}
}

func TestSign(t *testing.T) {
	expires := time.Now().Add(time.Hour).Truncate(time.Second).UTC()
	principals := map[string]auth.Principal{
		"Full": {Issuer: issuerName, Subject: "a", Authorities: []string{auth.RoleAdmin, "B"}, CustomerIDs: []models.ID{customerID}, CustomerNumbers: []int64{1, 2}, ExpiresAt: expires},
		"One":  {Issuer: issuerName, Subject: "a", CustomerNumbers: []int64{9223372036854775807}, ExpiresAt: expires},
		"None": {Issuer: issuerName, Subject: "a", ExpiresAt: expires},
	}
	nested := secretIssuer()
	nested.CustomerClaim, nested.AuthoritiesClaim = "realm.customers", "realm.roles"
	for name, p := range principals {
		t.Run(name, func(t *testing.T) {
			for _, issuer := range []auth.Issuer{secretIssuer(), nested} {
				token, err := issuer.Sign(p)
				if err != nil {
					t.Fatal(err)
				}
				got, err := newVerifier(t, issuer).Verify(t.Context(), token)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(&p, got); diff != "" {
					t.Errorf("Principal (-signed +verified):\n%s", diff)
				}
			}
		})
	}
}

func TestSignFunction(t *testing.T) {
	token, err := auth.Sign(secret, issuerName, audience, auth.Principal{Subject: "a", ExpiresAt: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newVerifier(t, secretIssuer()).Verify(context.Background(), token); err != nil {
		t.Error(err)
	}
}

func TestSignErrors(t *testing.T) {
	good := auth.Principal{Subject: "a", CustomerNumbers: []int64{1}, Authorities: []string{"A"}, ExpiresAt: time.Now().Add(time.Hour)}
	many := make([]models.ID, 300)
	for i := range many {
		many[i] = models.ID(fmt.Sprintf("00000000-0000-4000-8000-%012d", i))
	}
	tests := []struct {
		name   string
		change func(*auth.Issuer, *auth.Principal)
		want   string
	}{
		{"NoSecret", func(i *auth.Issuer, _ *auth.Principal) { i.Secret, i.JWKSURL = nil, "https://a/" }, "with a secret only"},
		{"ShortSecret", func(i *auth.Issuer, _ *auth.Principal) { i.Secret = secret[:31] }, "31 bytes"},
		{"NoAudience", func(i *auth.Issuer, _ *auth.Principal) { i.Audience = "" }, "audience"},
		{"SameClaim", func(i *auth.Issuer, _ *auth.Principal) { i.CustomerClaim = "authorities" }, "the claim authorities is there twice"},
		{"ClaimInTheWay", func(i *auth.Issuer, _ *auth.Principal) { i.CustomerClaim = "sub.customer" }, "the claim sub is not an object"},
		{"NoSubject", func(_ *auth.Issuer, p *auth.Principal) { p.Subject = "" }, "sub: an empty string"},
		{"NoExpiry", func(_ *auth.Issuer, p *auth.Principal) { p.ExpiresAt = time.Time{} }, "exp: out of range"},
		{"NoNumber", func(_ *auth.Issuer, p *auth.Principal) { p.CustomerNumbers = []int64{0} }, "customer_id"},
		{"NoID", func(_ *auth.Issuer, p *auth.Principal) { p.CustomerIDs = []models.ID{"x"} }, "customer_id"},
		{"TooLarge", func(_ *auth.Issuer, p *auth.Principal) { p.CustomerIDs = many }, "at most 8192 are read"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			issuer, p := secretIssuer(), good
			tt.change(&issuer, &p)
			_, err := issuer.Sign(p)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q in it", err, tt.want)
			}
		})
	}
}

func TestSignExpired(t *testing.T) {
	token, err := secretIssuer().Sign(auth.Principal{Subject: "a", ExpiresAt: time.Now().Add(-time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newVerifier(t, secretIssuer()).Verify(t.Context(), token); codeOf(err) != models.CodeUnauthenticated {
		t.Errorf("an expired token: %v", err)
	}
}

// A claim that is no object holds no claim, and the token is not taken for one without it.
func TestVerifyClaimPathThroughAText(t *testing.T) {
	issuer := secretIssuer()
	issuer.CustomerClaim = "org.customer"
	claims := goodClaims(issuerName).with(fields{"customer_id": nil, "org": "everything"})
	if p, err := newVerifier(t, issuer).Verify(t.Context(), hs256(nil, claims)); codeOf(err) != models.CodeUnauthenticated {
		t.Errorf("read %+v, error %v", p, err)
	}
}

// A signature that fits no key makes nobody wait while there was a refresh just now.
func TestKeySetBadSignatureWithoutKid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := verifierOn(t, newKeyHost(t, text(oldKeys())))
		wantCode(t, v, oldToken(), "")
		bad := rawToken(`{"alg":"ES256"}`, longLived(), signWith(jwt.SigningMethodES256, otherP256()))
		wantCode(t, v, bad, models.CodeUnauthenticated)
		began := time.Now()
		wantCode(t, v, bad, models.CodeUnauthenticated)
		if waited := time.Since(began); waited != 0 {
			t.Errorf("it waited %v for a refresh that there is none of", waited)
		}
	})
}

// Keys whose check is too much work, or proves nothing, are not taken.
func TestUnsafeRSAKeys(t *testing.T) {
	modulus := func(bits uint) *big.Int { return new(big.Int).SetBit(big.NewInt(1), int(bits)-1, 1) }
	tests := []struct {
		name string
		key  *rsa.PublicKey
		want string
	}{
		{"Good", &rsa.PublicKey{N: rsaKey().N, E: 3}, ""},
		{"Largest", &rsa.PublicKey{N: modulus(8192), E: 65537}, ""},
		{"TooLarge", &rsa.PublicKey{N: modulus(8193), E: 65537}, "the RSA key has 8193 bits; between 2048 and 8192 are needed"},
		{"ExponentOne", &rsa.PublicKey{N: rsaKey().N, E: 1}, "the RSA key has the exponent 1, which is not safe"},
		{"ExponentEven", &rsa.PublicKey{N: rsaKey().N, E: 65536}, "the RSA key has the exponent 65536, which is not safe"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			der, err := asn1.Marshal(*tt.key)
			if err != nil {
				t.Fatal(err)
			}
			issuer := secretIssuer()
			issuer.Secret, issuer.PublicKeyPEM = nil, pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: der})
			_, err = auth.NewVerifier(t.Context(), nil, issuer)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.HasSuffix(err.Error(), tt.want)) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}
