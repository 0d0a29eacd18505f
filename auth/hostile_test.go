package auth_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"roster/auth"
	"roster/models"
)

// The issuers that hostile tokens are tried on: one with a secret, one with a
// public key, one with a key set.
const (
	secretName = "https://secret.example.com"
	pemName    = "https://pem.example.com"
	jwksName   = "https://jwks.example.com"
)

// hostile is a token, and the words by which the log tells why it was refused.
// The words make sure that it was not refused for something else.
type hostile struct {
	name   string
	token  string
	reason string
}

// forge makes HS256 tokens of the issuer with the secret, which are good but for the changes.
func forge(header, claims fields) string {
	return hs256(header, goodClaims(secretName).with(claims))
}

// forgeRaw signs claims that no encoder would write.
func forgeRaw(claims string) string {
	return rawToken(`{"alg":"HS256"}`, claims, signWith(jwt.SigningMethodHS256, secret))
}

// member gives good claims, as JSON, with more members at the end.
func member(more string) string {
	return strings.TrimSuffix(goodClaims(secretName).json(), "}") + "," + more + "}"
}

func forgeKey(alg string, issuer string, header fields, sign signer) string {
	return rawToken(fields{"alg": alg}.with(header).json(), goodClaims(issuer).json(), sign)
}

func malformedTokens() []hostile {
	good := forge(nil, nil)
	parts := strings.Split(good, ".")
	// The last character of 32 bytes in base64 has two spare bits, which say nothing.
	last := parts[2][len(parts[2])-1]
	alphabet := "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	spare := parts[2][:len(parts[2])-1] + string(alphabet[strings.IndexByte(alphabet, last)+1])
	deep := strings.Repeat(`[`, 100) + strings.Repeat(`]`, 100)
	return []hostile{
		{"Empty", "", "1 parts"},
		{"Word", "hello", "1 parts"},
		{"TwoParts", parts[0] + "." + parts[1], "2 parts"},
		{"FourParts", good + ".x", "4 parts"},
		{"Encrypted", good + ".x.y", "5 parts"},
		{"OnlyDots", "..", "header: not valid JSON"},
		{"TooLarge", forge(nil, fields{"pad": strings.Repeat("x", auth.MaxTokenSize)}), "at most 8192 are read"},
		{"Enormous", strings.Repeat("a.", 1<<20), "at most 8192 are read"},
		{"Padded", parts[0] + "=." + parts[1] + "." + parts[2], "illegal base64"},
		{"PaddedSignature", good + "=", "illegal base64"},
		{"StandardAlphabet", parts[0] + "." + parts[1] + ".+/+/", "illegal base64"},
		{"SpareBits", parts[0] + "." + parts[1] + "." + spare, "illegal base64"},
		{"LineBreak", parts[0] + "." + parts[1] + "." + parts[2][:9] + "\n" + parts[2][9:], "line breaks"},
		{"Space", parts[0] + " ." + parts[1] + "." + parts[2], "illegal base64"},
		{"TwoTokens", good + ", Bearer " + good, "5 parts"},
		{"Quoted", `"` + good + `"`, "illegal base64"},
		{"HeaderNotJSON", rawToken(`alg`, goodClaims(secretName).json(), unsigned), "header: not valid JSON"},
		{"HeaderList", rawToken(`["HS256"]`, goodClaims(secretName).json(), unsigned), "header: not a JSON object"},
		{"HeaderTwoObjects", rawToken(`{"alg":"HS256"}{}`, goodClaims(secretName).json(), unsigned), "header: not valid JSON"},
		{"HeaderNotUTF8", rawToken("{\"alg\":\"HS256\",\"x\":\"\xff\"}", goodClaims(secretName).json(), unsigned), "header: not valid UTF-8"},
		{"HeaderByteOrderMark", rawToken("\ufeff{\"alg\":\"HS256\"}", goodClaims(secretName).json(), unsigned), "header: not valid JSON"},
		{"HeaderTwoAlgs", rawToken(`{"alg":"none","alg":"HS256"}`, goodClaims(secretName).json(), signWith(jwt.SigningMethodHS256, secret)), "is there twice"},
		{"HeaderTwoAlgsEscaped", rawToken(`{"alg":"HS256","\u0061lg":"none"}`, goodClaims(secretName).json(), signWith(jwt.SigningMethodHS256, secret)), "is there twice"},
		{"HeaderDeep", rawToken(`{"alg":"HS256","x":`+deep+`}`, goodClaims(secretName).json(), unsigned), "nested too deep: at most 32 levels"},
		{"ClaimsNotJSON", forgeRaw("hello"), "claims: not valid JSON"},
		{"ClaimsEmpty", forgeRaw(""), "claims: not valid JSON"},
		{"ClaimsNull", forgeRaw("null"), "claims: not a JSON object"},
		{"ClaimsList", forgeRaw("[" + goodClaims(secretName).json() + "]"), "claims: not a JSON object"},
		{"ClaimsNotUTF8", forgeRaw(member("\"x\":\"\xc0\xaf\"")), "claims: not valid UTF-8"},
		{"ClaimsTrailing", forgeRaw(goodClaims(secretName).json() + "x"), "claims: not valid JSON"},
		{"ClaimsDeep", forgeRaw(member(`"x":` + deep)), "nested too deep: at most 32 levels"},
		{"NestedToken", rawToken(`{"alg":"HS256","cty":"JWT"}`, good, signWith(jwt.SigningMethodHS256, secret)), "claims: not valid JSON"},
	}
}

func algorithmTokens(t *testing.T) []hostile {
	rs256, ps256, es256 := signWith(jwt.SigningMethodRS256, rsaKey()), signWith(jwt.SigningMethodPS256, rsaKey()), signWith(jwt.SigningMethodES256, p256Key())
	pemSecret := publicPEM(t, rsaKey().Public())
	good := strings.Split(forge(nil, nil), ".")
	other := strings.Split(forge(nil, fields{"sub": "somebody else"}), ".")
	longSalt := func(signed string) []byte {
		hash := crypto.SHA256.New()
		hash.Write([]byte(signed))
		signature, err := rsa.SignPSS(rand.Reader, rsaKey(), crypto.SHA256, hash.Sum(nil), &rsa.PSSOptions{SaltLength: 64})
		if err != nil {
			t.Fatal(err)
		}
		return signature
	}
	inDER := func(signed string) []byte {
		hash := crypto.SHA256.New()
		hash.Write([]byte(signed))
		signature, err := ecdsa.SignASN1(rand.Reader, p256Key(), hash.Sum(nil))
		if err != nil {
			t.Fatal(err)
		}
		return signature
	}
	zeros := func(string) []byte { return make([]byte, 64) }
	return []hostile{
		{"None", rawToken(`{"alg":"none"}`, goodClaims(secretName).json(), unsigned), `alg "none" is not supported`},
		{"NoneCapital", rawToken(`{"alg":"None"}`, goodClaims(secretName).json(), unsigned), `alg "None" is not supported`},
		{"NoneMixed", rawToken(`{"alg":"nOnE"}`, goodClaims(pemName).json(), unsigned), `alg "nOnE" is not supported`},
		{"NoneSigned", forge(fields{"alg": "none"}, nil), `alg "none" is not supported`},
		{"AlgMissing", forge(fields{"alg": nil}, nil), "alg is missing"},
		{"AlgEmpty", forge(fields{"alg": ""}, nil), "alg: an empty string"},
		{"AlgNumber", forge(fields{"alg": 256}, nil), "alg: not a string"},
		{"AlgList", forge(fields{"alg": []string{"HS256"}}, nil), "alg: not a string"},
		{"AlgNull", forge(fields{"alg": null}, nil), "alg: not a string"},
		{"AlgLowerCase", forge(fields{"alg": "hs256"}, nil), `alg "hs256" is not supported`},
		{"AlgNameUpperCase", rawToken(`{"ALG":"HS256"}`, goodClaims(secretName).json(), signWith(jwt.SigningMethodHS256, secret)), "alg is missing"},
		{"AlgUnknown", forge(fields{"alg": "HS1"}, nil), `alg "HS1" is not supported`},
		{"PublicKeyAsSecret", forgeKey("HS256", pemName, nil, signWith(jwt.SigningMethodHS256, pemSecret)), `alg "HS256" does not fit the key`},
		{"ModulusAsSecret", forgeKey("HS512", pemName, nil, signWith(jwt.SigningMethodHS512, rsaKey().N.Bytes())), `alg "HS512" does not fit the key`},
		{"PublicKeyAsSecretOfKeySet", forgeKey("HS256", jwksName, fields{"kid": "rsa"}, signWith(jwt.SigningMethodHS256, pemSecret)), `alg "HS256" does not fit the key`},
		{"RSAOnSecret", forgeKey("RS256", secretName, nil, rs256), `alg "RS256" does not fit the key`},
		{"EdDSAOnRSA", forgeKey("EdDSA", pemName, nil, signWith(jwt.SigningMethodEdDSA, ed25519Key())), `alg "EdDSA" does not fit the key`},
		{"ES384OnP256", forgeKey("ES384", jwksName, fields{"kid": "p256"}, signWith(jwt.SigningMethodES384, p384Key())), `alg "ES384" does not fit the key`},
		{"ES256OnP384", forgeKey("ES256", jwksName, fields{"kid": "p384"}, es256), `alg "ES256" does not fit the key`},
		{"PSOnKeyForRS256", forgeKey("PS256", jwksName, fields{"kid": "rs256"}, ps256), `alg "PS256" does not fit the key`},
		{"RSUnderThePSName", forgeKey("PS256", pemName, nil, rs256), "signature: "},
		{"PSUnderTheRSName", forgeKey("RS256", pemName, nil, ps256), "signature: "},
		{"OtherSalt", forgeKey("PS256", pemName, nil, longSalt), "signature: "},
		{"RS512UnderTheRS256Name", forgeKey("RS256", pemName, nil, signWith(jwt.SigningMethodRS512, rsaKey())), "signature: "},
		{"ForeignRSAKey", forgeKey("RS256", pemName, nil, signWith(jwt.SigningMethodRS256, otherRSA())), "signature: "},
		{"ForeignECKey", forgeKey("ES256", jwksName, fields{"kid": "p256"}, signWith(jwt.SigningMethodES256, otherP256())), "signature: "},
		{"ZeroECSignature", forgeKey("ES256", jwksName, fields{"kid": "p256"}, zeros), "signature: "},
		{"ZeroEdSignature", forgeKey("EdDSA", jwksName, fields{"kid": "ed"}, zeros), "signature: "},
		{"ECSignatureInDER", forgeKey("ES256", jwksName, fields{"kid": "p256"}, inDER), "signature: "},
		{"NoSignature", good[0] + "." + good[1] + ".", "signature: "},
		{"ShortSignature", good[0] + "." + good[1] + "." + good[2][:20], "signature: "},
		{"ForeignSignature", good[0] + "." + good[1] + "." + other[2], "signature: "},
		{"ForeignClaims", good[0] + "." + other[1] + "." + good[2], "signature: "},
		{"ForeignHeader", strings.Split(forge(fields{"kid": "x"}, nil), ".")[0] + "." + good[1] + "." + good[2], "signature: "},
		{"EmptySecret", forgeKey("HS256", secretName, nil, signWith(jwt.SigningMethodHS256, []byte{})), "signature: "},
		{"GuessedSecret", forgeKey("HS256", secretName, nil, signWith(jwt.SigningMethodHS256, []byte("secret"))), "signature: "},
	}
}

// headerTokens take a host of the attacker's that must never be asked.
func headerTokens(evil string) []hostile {
	foreign := signWith(jwt.SigningMethodRS256, otherRSA())
	public := jwk("evil", otherRSA().Public(), fields{"alg": "RS256"})
	onSet := func(header fields) string { return forgeKey("RS256", jwksName, header, foreign) }
	return []hostile{
		{"Crit", forge(fields{"crit": []string{"exp"}}, nil), "crit is not supported"},
		{"CritEmpty", forge(fields{"crit": []string{}}, nil), "crit is not supported"},
		{"CritNull", forge(fields{"crit": null}, nil), "crit is not supported"},
		{"CritPlainPayload", rawToken(`{"alg":"HS256","b64":false,"crit":["b64"]}`, goodClaims(secretName).json(), signWith(jwt.SigningMethodHS256, secret)), "crit is not supported"},
		{"EmbeddedKey", onSet(fields{"kid": "rsa", "jwk": public}), "signature: "},
		{"EmbeddedKeyNewKid", onSet(fields{"kid": "evil", "jwk": public}), "not in the issuer's key set"},
		{"EmbeddedKeyOnPEM", forgeKey("RS256", pemName, fields{"jwk": public}, foreign), "signature: "},
		{"KeySetAddress", onSet(fields{"kid": "evil", "jku": evil + "/jwks"}), "not in the issuer's key set"},
		{"KeySetAddressKnownKid", onSet(fields{"kid": "rsa", "jku": evil + "/jwks"}), "signature: "},
		{"CertificateAddress", onSet(fields{"kid": "rsa", "x5u": evil + "/cert"}), "signature: "},
		{"CertificateAddressOnPEM", forgeKey("RS256", pemName, fields{"x5u": evil + "/cert", "jku": evil + "/jwks"}, foreign), "signature: "},
		{"Certificate", onSet(fields{"kid": "rsa", "x5c": []string{"MIIB"}}), "signature: "},
		{"KidUnknown", onSet(fields{"kid": "unknown"}), "not in the issuer's key set"},
		{"KidMissing", onSet(nil), "kid is missing"},
		{"KidEmpty", onSet(fields{"kid": ""}), "kid: an empty string"},
		{"KidNumber", onSet(fields{"kid": 1}), "kid: not a string"},
		{"KidNull", onSet(fields{"kid": null}), "kid: not a string"},
		{"KidList", onSet(fields{"kid": []string{"rsa"}}), "kid: not a string"},
		{"KidWithNUL", onSet(fields{"kid": "rsa\x00"}), "U+0000"},
		{"KidOtherCase", onSet(fields{"kid": "RSA"}), "not in the issuer's key set"},
		{"KidPath", onSet(fields{"kid": "../../../../dev/null"}), "not in the issuer's key set"},
		{"KidSQL", onSet(fields{"kid": "x' UNION SELECT 'key'--"}), "not in the issuer's key set"},
		{"KidOfSecretInSet", forgeKey("HS256", jwksName, fields{"kid": "oct"}, signWith(jwt.SigningMethodHS256, secret)), "not in the issuer's key set"},
		{"KidOfEncryptionKey", forgeKey("RS256", jwksName, fields{"kid": "enc"}, signWith(jwt.SigningMethodRS256, rsaKey())), "not in the issuer's key set"},
		{"KidOfWrapKey", forgeKey("RS256", jwksName, fields{"kid": "ops"}, signWith(jwt.SigningMethodRS256, rsaKey())), "not in the issuer's key set"},
		{"KidOfWeakKey", forgeKey("RS256", jwksName, fields{"kid": "weak"}, signWith(jwt.SigningMethodRS256, weakRSA())), "not in the issuer's key set"},
		{"KidOfPublishedPrivateKey", forgeKey("ES256", jwksName, fields{"kid": "private"}, signWith(jwt.SigningMethodES256, p256Key())), "not in the issuer's key set"},
		{"KidOfTwoKeys", forgeKey("ES256", jwksName, fields{"kid": "twice"}, signWith(jwt.SigningMethodES256, p256Key())), `stands for 2 keys`},
		{"TypeLogout", forge(fields{"typ": "logout+jwt"}, nil), "is not an access token"},
		{"TypeDPoP", forge(fields{"typ": "dpop+jwt"}, nil), "is not an access token"},
		{"TypeNumber", forge(fields{"typ": 1}, nil), "typ: not a string"},
		{"TypeNull", forge(fields{"typ": null}, nil), "typ: not a string"},
	}
}

func registeredTokens() []hostile {
	now := time.Now()
	past, future := now.Add(-time.Minute).Unix(), now.Add(time.Minute).Unix()
	return []hostile{
		{"IssMissing", forge(nil, fields{"iss": nil}), "iss is missing"},
		{"IssUnknown", forge(nil, fields{"iss": "https://evil.example.com"}), "is not an accepted issuer"},
		{"IssOtherCase", forge(nil, fields{"iss": strings.ToUpper(secretName)}), "is not an accepted issuer"},
		{"IssSlash", forge(nil, fields{"iss": secretName + "/"}), "is not an accepted issuer"},
		{"IssSpace", forge(nil, fields{"iss": secretName + " "}), "is not an accepted issuer"},
		{"IssEmpty", forge(nil, fields{"iss": ""}), "iss: an empty string"},
		{"IssNumber", forge(nil, fields{"iss": 1}), "iss: not a string"},
		{"IssList", forge(nil, fields{"iss": []string{secretName}}), "iss: not a string"},
		{"IssNull", forge(nil, fields{"iss": null}), "iss: not a string"},
		{"IssOfPEM", forge(nil, fields{"iss": pemName}), `alg "HS256" does not fit the key`},
		{"IssTwice", forgeRaw(member(`"iss":"` + pemName + `"`)), `"iss" is there twice`},
		{"IssNameUpperCase", forgeRaw(strings.Replace(goodClaims(secretName).json(), `"iss"`, `"ISS"`, 1)), "iss is missing"},
		{"AudMissing", forge(nil, fields{"aud": nil}), "aud is missing"},
		{"AudOther", forge(nil, fields{"aud": "other"}), "audience"},
		{"AudPrefix", forge(nil, fields{"aud": audience + "-admin"}), "audience"},
		{"AudOtherCase", forge(nil, fields{"aud": "Roster"}), "audience"},
		{"AudEmpty", forge(nil, fields{"aud": ""}), "aud: an empty string"},
		{"AudEmptyList", forge(nil, fields{"aud": []string{}}), "aud claim is required"},
		{"AudOtherList", forge(nil, fields{"aud": []string{"a", "b"}}), "audience"},
		{"AudNumber", forge(nil, fields{"aud": 1}), "aud: not a string"},
		{"AudNull", forge(nil, fields{"aud": null}), "aud: not a string"},
		{"AudObject", forge(nil, fields{"aud": fields{audience: true}}), "aud: not a string"},
		{"AudListWithNumber", forge(nil, fields{"aud": []any{audience, 1}}), "aud: not a string"},
		{"AudTwice", forgeRaw(member(`"aud":"other"`)), `"aud" is there twice`},
		{"SubMissing", forge(nil, fields{"sub": nil}), "sub is missing"},
		{"SubEmpty", forge(nil, fields{"sub": ""}), "sub: an empty string"},
		{"SubNumber", forge(nil, fields{"sub": 1}), "sub: not a string"},
		{"SubNull", forge(nil, fields{"sub": null}), "sub: not a string"},
		{"SubWithNUL", forge(nil, fields{"sub": "a\x00b"}), "U+0000"},
		{"SubHalfSurrogate", forgeRaw(strings.Replace(goodClaims(secretName).json(), `"caller"`, `"\ud83d"`, 1)), "not valid Unicode"},
		{"ExpMissing", forge(nil, fields{"exp": nil}), "exp claim is required"},
		{"ExpPast", forge(nil, fields{"exp": past}), "expired"},
		{"ExpZero", forge(nil, fields{"exp": 0}), "expired"},
		{"ExpNegative", forge(nil, fields{"exp": -1}), "exp: out of range"},
		{"ExpText", forge(nil, fields{"exp": "32503680000"}), "exp: not a number"},
		{"ExpNull", forge(nil, fields{"exp": null}), "exp: not a number"},
		{"ExpTrue", forge(nil, fields{"exp": true}), "exp: not a number"},
		{"ExpList", forge(nil, fields{"exp": []int64{future}}), "exp: not a number"},
		{"ExpBeyondFloat", forge(nil, fields{"exp": json.RawMessage("1e400")}), "exp: out of range"},
		{"ExpBeyondInteger", forge(nil, fields{"exp": json.RawMessage("1e300")}), "exp: out of range"},
		{"ExpMilliseconds", forge(nil, fields{"exp": now.Add(time.Hour).UnixMilli()}), "exp: out of range"},
		{"ExpTwice", forgeRaw(member(`"exp":32503680000`)), `"exp" is there twice`},
		{"NbfFuture", forge(nil, fields{"nbf": future}), "not valid yet"},
		{"NbfText", forge(nil, fields{"nbf": "0"}), "nbf: not a number"},
		{"NbfNull", forge(nil, fields{"nbf": null}), "nbf: not a number"},
		{"IatFuture", forge(nil, fields{"iat": future}), "used before issued"},
		{"IatText", forge(nil, fields{"iat": "0"}), "iat: not a number"},
	}
}

func customerTokens() []hostile {
	many := slices.Repeat([]int{1}, auth.MaxListed+1)
	return []hostile{
		{"CustomerNull", forge(nil, fields{"customer_id": null}), "neither a UUID nor a number"},
		{"CustomerTrue", forge(nil, fields{"customer_id": true}), "neither a UUID nor a number"},
		{"CustomerObject", forge(nil, fields{"customer_id": fields{"id": 1}}), "neither a UUID nor a number"},
		{"CustomerListInList", forge(nil, fields{"customer_id": []any{[]int{1}}}), "neither a UUID nor a number"},
		{"CustomerZero", forge(nil, fields{"customer_id": 0}), "positive whole number"},
		{"CustomerNegative", forge(nil, fields{"customer_id": -1}), "positive whole number"},
		{"CustomerFraction", forge(nil, fields{"customer_id": 1.5}), "positive whole number"},
		{"CustomerPoint", forge(nil, fields{"customer_id": json.RawMessage("1.0")}), "positive whole number"},
		{"CustomerExponent", forge(nil, fields{"customer_id": json.RawMessage("1e3")}), "positive whole number"},
		{"CustomerTooLarge", forge(nil, fields{"customer_id": json.RawMessage("9223372036854775808")}), "positive whole number"},
		{"CustomerWraps", forge(nil, fields{"customer_id": json.RawMessage("18446744073709551617")}), "positive whole number"},
		{"CustomerWord", forge(nil, fields{"customer_id": "everything"}), "positive whole number"},
		{"CustomerStar", forge(nil, fields{"customer_id": "*"}), "positive whole number"},
		{"CustomerEmpty", forge(nil, fields{"customer_id": ""}), "positive whole number"},
		{"CustomerSpaces", forge(nil, fields{"customer_id": " 1"}), "positive whole number"},
		{"CustomerLeadingZero", forge(nil, fields{"customer_id": "01"}), "positive whole number"},
		{"CustomerPlus", forge(nil, fields{"customer_id": "+1"}), "positive whole number"},
		{"CustomerUnderscore", forge(nil, fields{"customer_id": "1_0"}), "positive whole number"},
		{"CustomerOtherDigits", forge(nil, fields{"customer_id": "١"}), "positive whole number"},
		{"CustomerBareUUID", forge(nil, fields{"customer_id": strings.ReplaceAll(string(customerID), "-", "")}), "positive whole number"},
		{"CustomerBraces", forge(nil, fields{"customer_id": "{" + customerID + "}"}), "positive whole number"},
		{"CustomerNUL", forge(nil, fields{"customer_id": string(customerID) + "\x00"}), "positive whole number"},
		{"CustomerOneWrong", forge(nil, fields{"customer_id": []any{1, "x"}}), "positive whole number"},
		{"CustomerTooMany", forge(nil, fields{"customer_id": many}), "a list of 1001"},
		{"CustomerTwice", forgeRaw(member(`"customer_id":1`)), "is there twice"},
		{"AuthoritiesText", forge(nil, fields{"authorities": auth.RoleAdmin}), "authorities: not a list"},
		{"AuthoritiesNull", forge(nil, fields{"authorities": null}), "authorities: not a list"},
		{"AuthoritiesObject", forge(nil, fields{"authorities": fields{auth.RoleAdmin: true}}), "authorities: not a list"},
		{"AuthoritiesNumber", forge(nil, fields{"authorities": []any{"A", 1}}), "authorities: not a string"},
		{"AuthoritiesEmptyText", forge(nil, fields{"authorities": []string{""}}), "authorities: an empty string"},
		{"AuthoritiesNUL", forge(nil, fields{"authorities": []string{auth.RoleAdmin + "\x00"}}), "U+0000"},
		{"AuthoritiesTooMany", forge(nil, fields{"authorities": slices.Repeat([]string{"A"}, auth.MaxListed+1)}), "a list of 1001"},
		{"AuthoritiesTwice", forgeRaw(member(`"authorities":["ROLE_ADMIN"]`)), "is there twice"},
		{"TwiceDeepDown", forgeRaw(member(`"x":[{"a":{"b":1,"b":2}}]`)), `"b" is there twice`},
	}
}

// hostileKeySet holds good keys and some that must not be used.
func hostileKeySet() string {
	return jwks(
		jwk("rsa", rsaKey().Public(), nil),
		jwk("rs256", rsaKey().Public(), fields{"alg": "RS256", "use": "sig"}),
		jwk("p256", p256Key().Public(), fields{"key_ops": []string{"verify"}}),
		jwk("p384", p384Key().Public(), nil),
		jwk("ed", ed25519Key().Public(), nil),
		jwk("oct", secret, nil),
		jwk("enc", rsaKey().Public(), fields{"use": "enc"}),
		jwk("ops", rsaKey().Public(), fields{"key_ops": []string{"wrapKey"}}),
		jwk("weak", weakRSA().Public(), nil),
		jwk("private", p256Key().Public(), fields{"d": b64(make([]byte, 32))}),
		jwk("twice", p256Key().Public(), nil),
		jwk("twice", otherP256().Public(), nil),
	)
}

// answer is what a client sees.
type answer struct {
	Status int
	Header http.Header
	Body   string
}

// plainRefusal answers like a surface does: with the code and the message.
func plainRefusal(w http.ResponseWriter, _ *http.Request, err error) {
	e := models.AsError(err)
	status := http.StatusUnauthorized
	if e.Code == models.CodeUnavailable {
		status = http.StatusServiceUnavailable
	}
	http.Error(w, string(e.Code)+" "+e.Message, status)
}

// call sends one request through the middleware; reached tells whether it got to the other side.
func call(v *auth.Verifier, authorization ...string) (got answer, reached bool) {
	handler := v.Middleware(plainRefusal)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
	request := httptest.NewRequest(http.MethodGet, "/graphql", nil)
	request.Header["Authorization"] = authorization
	recorder := httptest.NewRecorder()
	recorder.Header().Set("X-Request-Id", "the-request") // as the server does
	handler.ServeHTTP(recorder, request)
	recorder.Header().Del("X-Request-Id")
	return answer{recorder.Code, recorder.Header(), recorder.Body.String()}, reached
}

func TestHostileTokens(t *testing.T) {
	keys := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(hostileKeySet())) }))
	defer keys.Close()
	var evilRequests atomic.Int64
	evil := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { evilRequests.Add(1) }))
	defer evil.Close()

	log := &logBuffer{}
	v, err := auth.NewVerifier(t.Context(), log.logger(),
		auth.Issuer{Name: secretName, Audience: audience, Secret: secret},
		auth.Issuer{Name: pemName, Audience: audience, PublicKeyPEM: publicPEM(t, rsaKey().Public())},
		auth.Issuer{Name: jwksName, Audience: audience, JWKSURL: keys.URL},
	)
	if err != nil {
		t.Fatal(err)
	}
	for _, good := range []string{
		forge(nil, nil),
		forgeKey("PS512", pemName, nil, signWith(jwt.SigningMethodPS512, rsaKey())),
		forgeKey("RS256", jwksName, fields{"kid": "rs256"}, signWith(jwt.SigningMethodRS256, rsaKey())),
		forgeKey("EdDSA", jwksName, fields{"kid": "ed"}, signWith(jwt.SigningMethodEdDSA, ed25519Key())),
	} {
		if got, reached := call(v, "Bearer "+good); !reached {
			t.Fatalf("a good token was refused, so the table would prove nothing: %+v %s", got, log.take())
		}
	}

	want := answer{
		Status: http.StatusUnauthorized,
		Header: http.Header{
			"Www-Authenticate":       {`Bearer error="invalid_token"`},
			"Content-Type":           {"text/plain; charset=utf-8"},
			"X-Content-Type-Options": {"nosniff"},
		},
		Body: "UNAUTHENTICATED The bearer token is not valid.\n",
	}
	table := slices.Concat(malformedTokens(), algorithmTokens(t), headerTokens(evil.URL), registeredTokens(), customerTokens())
	for _, tt := range table {
		t.Run(tt.name, func(t *testing.T) {
			log.take()
			got, reached := call(v, "Bearer "+tt.token)
			if reached {
				t.Fatal("the token was accepted")
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("the answer differs from that to every other hostile token (-want +got):\n%s", diff)
			}
			logged := strings.ReplaceAll(log.take(), `\"`, `"`)
			if !strings.Contains(logged, "requestId=the-request ") {
				t.Errorf("the log does not tell which request this was:\n%s", logged)
			}
			if !strings.Contains(logged, tt.reason) {
				t.Errorf("refused for another reason than %q:\n%s", tt.reason, logged)
			}
			if _, signature, _ := strings.Cut(tt.token, "."); len(signature) > 40 && strings.Contains(logged, signature[:40]) {
				t.Errorf("the token is in the log:\n%s", logged)
			}
		})
	}
	t.Logf("%d hostile tokens", len(table))
	if n := evilRequests.Load(); n != 0 {
		t.Errorf("an address out of a token was asked %d times", n)
	}
}

// Two Authorization headers can be read differently by a proxy and by the server.
func TestSeveralAuthorizationHeaders(t *testing.T) {
	v, good := newVerifier(t, auth.Issuer{Name: secretName, Audience: audience, Secret: secret}), "Bearer "+forge(nil, nil)
	for _, values := range [][]string{{good, good}, {good, "Basic eDp5"}, {"", good}} {
		got, reached := call(v, values...)
		if challenge := got.Header.Get("WWW-Authenticate"); reached || got.Status != http.StatusUnauthorized || challenge != `Bearer error="invalid_token"` {
			t.Errorf("%d headers: reached %v, status %d, challenge %q", len(values), reached, got.Status, challenge)
		}
	}
}

func TestMiddlewareWithoutToken(t *testing.T) {
	v := newVerifier(t, auth.Issuer{Name: secretName, Audience: audience, Secret: secret})
	for name, values := range map[string][]string{
		"NoHeader":    nil,
		"EmptyHeader": {""},
		"Basic":       {"Basic " + base64.StdEncoding.EncodeToString([]byte("user:password"))},
		"BareToken":   {forge(nil, nil)},
		"LongScheme":  {"BearerX " + forge(nil, nil)},
	} {
		t.Run(name, func(t *testing.T) {
			got, reached := call(v, values...)
			if reached || got.Status != http.StatusUnauthorized {
				t.Fatalf("reached %v, status %d", reached, got.Status)
			}
			if challenge := got.Header.Get("WWW-Authenticate"); challenge != "Bearer" {
				t.Errorf("challenge %q, want Bearer alone", challenge)
			}
		})
	}
}

func TestMiddlewareTakesNoTokenFromTheURL(t *testing.T) {
	v := newVerifier(t, auth.Issuer{Name: secretName, Audience: audience, Secret: secret})
	handler := v.Middleware(plainRefusal)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the token was taken") }))
	body := strings.NewReader("access_token=" + forge(nil, nil))
	request := httptest.NewRequest(http.MethodPost, "/graphql?access_token="+forge(nil, nil), body)
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	handler.ServeHTTP(httptest.NewRecorder(), request)
}

func TestMiddlewareAccepts(t *testing.T) {
	v := newVerifier(t, auth.Issuer{Name: secretName, Audience: audience, Secret: secret})
	for _, scheme := range []string{"Bearer ", "bearer ", "BEARER ", "Bearer   "} {
		var got *auth.Principal
		handler := v.Middleware(plainRefusal)(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = auth.PrincipalFrom(r.Context()) }))
		request := httptest.NewRequest(http.MethodGet, "/", nil)
		request.Header.Set("Authorization", scheme+forge(nil, nil))
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, request)
		if got == nil || got.Subject != "caller" {
			t.Errorf("%q: principal %+v", scheme, got)
		}
		if len(recorder.Header()) != 0 {
			t.Errorf("%q: headers %v were set", scheme, recorder.Header())
		}
	}
}
