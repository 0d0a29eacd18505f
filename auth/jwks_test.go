package auth_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/goleak"

	"roster/auth"
	"roster/models"
)

// The tests run in synctest bubbles: their clock moves only while everything
// waits, so an hour costs nothing and no test depends on how fast the machine is.
// Sockets would stop that clock; pipes take their place below a real client and
// a real server.

// keyHost is a host of a key set whose behaviour can be changed at any time.
type keyHost struct {
	conns    chan net.Conn
	closed   chan struct{}
	requests atomic.Int64
	kept     atomic.Bool // a connection was to be kept open

	mu      sync.Mutex
	handler http.HandlerFunc // nil refuses connections
}

func newKeyHost(t *testing.T, handler http.HandlerFunc) *keyHost {
	h := &keyHost{conns: make(chan net.Conn), closed: make(chan struct{}), handler: handler}
	server := &http.Server{Handler: h, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	go func() { _ = server.Serve(h) }()
	t.Cleanup(func() { _ = server.Close() })
	return h
}

func (h *keyHost) answer(handler http.HandlerFunc) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.handler = handler
}

func (h *keyHost) current() http.HandlerFunc {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.handler
}

func (h *keyHost) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.requests.Add(1)
	if !r.Close {
		h.kept.Store(true)
	}
	h.current()(w, r)
}

func (h *keyHost) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

func (h *keyHost) Close() error   { close(h.closed); return nil }
func (h *keyHost) Addr() net.Addr { return &net.IPAddr{} }

func (h *keyHost) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	if h.current() == nil {
		return nil, errors.New("connection refused")
	}
	client, server := net.Pipe()
	select {
	case h.conns <- server:
		return client, nil
	case <-h.closed: // the test ended before its request was on its way
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func text(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }
}

func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

const jwksURL = "http://127.0.0.1/jwks"

func verifierOn(t *testing.T, h *keyHost) *auth.Verifier {
	t.Helper()
	return verifierLogging(t, h, slog.New(slog.DiscardHandler))
}

func verifierLogging(t *testing.T, h *keyHost, log *slog.Logger) *auth.Verifier {
	t.Helper()
	v, err := auth.NewVerifierOn(t.Context(), log, h.dial,
		auth.Issuer{Name: jwksName, Audience: audience, JWKSURL: jwksURL})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// pass lets time go by and everything happen that was due.
func pass(d time.Duration) {
	time.Sleep(d) // in a bubble this moves the clock and takes no time
	synctest.Wait()
}

// The tokens of two generations of keys.
func oldToken() string { return ecToken("old") }
func newToken() string {
	return rawToken(`{"alg":"ES384","kid":"new"}`, longLived(), signWith(jwt.SigningMethodES384, p384Key()))
}

func ecToken(kid string) string {
	return rawToken(fields{"alg": "ES256", "kid": kid}.json(), longLived(), signWith(jwt.SigningMethodES256, p256Key()))
}

func longLived() string { return goodClaims(jwksName).with(fields{"exp": 32503680000}).json() }

func oldKeys() string { return jwks(jwk("old", p256Key().Public(), nil)) }
func newKeys() string { return jwks(jwk("new", p384Key().Public(), nil)) }

func wantCode(t *testing.T, v *auth.Verifier, token string, want models.Code) {
	t.Helper()
	if _, err := v.Verify(t.Context(), token); codeOf(err) != want {
		t.Errorf("code %q, want %q (%v)", codeOf(err), want, err)
	}
}

func TestKeySetRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newKeyHost(t, text(oldKeys()))
		v := verifierOn(t, h)
		wantCode(t, v, oldToken(), "")
		h.answer(text(newKeys()))
		wantCode(t, v, newToken(), "")
		wantCode(t, v, oldToken(), models.CodeUnauthenticated)
		if n := h.requests.Load(); n != 2 {
			t.Errorf("%d requests to the host, want 2", n)
		}
		if h.kept.Load() {
			t.Error("a connection is kept between two refreshes")
		}
	})
}

// A new key is noticed at once by the tokens that fit no other, where keys have no names.
func TestKeySetRotationWithoutKids(t *testing.T) {
	without := func(method jwt.SigningMethod, private any) string {
		return rawToken(fields{"alg": method.Alg()}.json(), longLived(), signWith(method, private))
	}
	tokens := []string{without(jwt.SigningMethodES256, p256Key()), without(jwt.SigningMethodES256, otherP256()), without(jwt.SigningMethodES384, p384Key())}
	synctest.Test(t, func(t *testing.T) {
		h := newKeyHost(t, text(jwks(jwk("", p256Key().Public(), nil))))
		v := verifierOn(t, h)
		wantCode(t, v, tokens[0], "")
		for i, public := range []any{otherP256().Public(), p384Key().Public()} {
			h.answer(text(jwks(jwk("", public, nil))))
			wantCode(t, v, tokens[i+1], "")
			wantCode(t, v, tokens[i], models.CodeUnauthenticated)
			if n := h.requests.Load(); n != int64(2+i) {
				t.Errorf("%d requests to the host, want %d", n, 2+i)
			}
			pass(time.Minute) // there is one such request in 30 seconds
		}
	})
}

func TestKeySetRefreshesByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newKeyHost(t, text(oldKeys()))
		v := verifierOn(t, h)
		wantCode(t, v, oldToken(), "")
		h.answer(text(newKeys()))
		pass(auth.RefreshInterval)
		wantCode(t, v, oldToken(), models.CodeUnauthenticated)
		pass(24 * time.Hour)
		if n, want := h.requests.Load(), int64(24*time.Hour/auth.RefreshInterval)+3; n < want-1 || n > want {
			t.Errorf("%d requests in a day, want about %d", n, want)
		}
	})
}

func TestKeySetUnknownKeys(t *testing.T) {
	const tokens, callers = 10_000, 50
	synctest.Test(t, func(t *testing.T) {
		h := newKeyHost(t, text(oldKeys()))
		v := verifierOn(t, h)
		wantCode(t, v, oldToken(), "")
		before := h.requests.Load()

		claims := longLived()
		var all sync.WaitGroup
		for caller := range callers {
			all.Go(func() {
				for i := range tokens / callers {
					token := rawToken(`{"alg":"ES256","kid":"`+strconv.Itoa(caller*tokens+i)+`"}`, claims, unsigned)
					if _, err := v.Verify(t.Context(), token); codeOf(err) != models.CodeUnauthenticated {
						t.Errorf("an unknown key: %v", err)
					}
				}
			})
		}
		all.Wait()
		if n := h.requests.Load() - before; n != 1 {
			t.Errorf("%d refreshes for %d unknown keys, want 1", n, tokens)
		}

		pass(auth.RefreshPause - time.Nanosecond)
		wantCode(t, v, newToken(), models.CodeUnauthenticated)
		if n := h.requests.Load() - before; n != 1 {
			t.Errorf("%d refreshes before the pause was over, want 1", n)
		}
		pass(time.Nanosecond)
		h.answer(text(newKeys()))
		wantCode(t, v, newToken(), "")
		if n := h.requests.Load() - before; n != 2 {
			t.Errorf("%d refreshes after the pause, want 2", n)
		}
	})
}

// Unknown keys during an outage must not make it worse either.
func TestKeySetUnknownKeysDuringAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newKeyHost(t, text(oldKeys()))
		v := verifierOn(t, h)
		wantCode(t, v, oldToken(), "")
		h.answer(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
		before := h.requests.Load()
		for range 290 {
			wantCode(t, v, newToken(), models.CodeUnauthenticated)
			pass(100 * time.Millisecond)
		}
		if n := h.requests.Load() - before; n != 1 {
			t.Errorf("%d requests in 29 seconds, want 1", n)
		}
	})
}

// badAnswers are answers of which none may take known keys away.
func badAnswers() map[string]http.HandlerFunc {
	// Whoever follows such a redirect gets keys there.
	redirect := func(to string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.Host != "127.0.0.1" {
				_, _ = io.WriteString(w, newKeys())
				return
			}
			http.Redirect(w, r, to, http.StatusFound)
		}
	}
	endless := func(start, more string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			_, err := io.WriteString(w, start)
			for block := strings.Repeat(more, 1000); err == nil; {
				_, err = io.WriteString(w, block)
			}
		}
	}
	var bomb bytes.Buffer
	zip := gzip.NewWriter(&bomb)
	_, _ = zip.Write(append([]byte(`{"keys":[],"x":"`), bytes.Repeat([]byte{'x'}, 10<<20)...))
	_ = zip.Close()
	many := make([]fields, 101)
	for i := range many {
		many[i] = jwk("new", p384Key().Public(), nil)
	}
	return map[string]http.HandlerFunc{
		"Refused":  nil,
		"Hanging":  hang,
		"NoKeys":   text(`{"keys":[]}`),
		"NullKeys": text(`{"keys":null}`),
		"NoMember": text(`{}`),
		"Null":     text(`null`),
		"List":     text(`[]`),
		"Nothing":  text(``),
		"Page":     text(`<!doctype html><title>Sign in to the network</title>`),
		"Trailing": text(newKeys() + newKeys()),
		"Half":     text(newKeys()[:40]),
		"Status500": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = io.WriteString(w, newKeys())
		},
		"Status204": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
		"Shorter": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100000")
			_, _ = io.WriteString(w, newKeys())
		},
		"Dropped":      func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"Endless":      endless(`{"keys":[`, `{"kty":"x"},`),
		"EndlessSpace": endless(newKeys(), ` `),
		"EndlessHeader": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", strings.Repeat("x", 1<<20))
			_, _ = io.WriteString(w, newKeys())
		},
		"Trickle": func(w http.ResponseWriter, r *http.Request) {
			for err := error(nil); err == nil && r.Context().Err() == nil; {
				_, err = io.WriteString(w, " ")
				_ = http.NewResponseController(w).Flush()
				time.Sleep(time.Second) // in a bubble this moves the clock and takes no time
			}
		},
		"Bomb": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(bomb.Bytes())
		},
		"RedirectLoop":     redirect(jwksURL),
		"RedirectPlain":    redirect("http://keys.example.com/"),
		"RedirectNetwork":  redirect("http://169.254.169.254/"),
		"RedirectFile":     redirect("file:///etc/passwd"),
		"TooManyKeys":      text(jwks(many...)),
		"OnlySecret":       text(jwks(jwk("new", secret, nil))),
		"OnlyEncryption":   text(jwks(jwk("new", p384Key().Public(), fields{"use": "enc"}))),
		"OnlyWeak":         text(jwks(jwk("new", weakRSA().Public(), nil))),
		"OnlyBroken":       text(jwks(fields{"kty": "EC", "kid": "new", "crv": "P-384", "x": "AA", "y": "AA"})),
		"OnlyUnknownCurve": text(jwks(jwk("new", p384Key().Public(), fields{"crv": "secp256k1"}))),
		"OnlyForeignAlg":   text(jwks(jwk("new", p384Key().Public(), fields{"alg": "HS256"}))),
		"OnlyMistyped":     text(jwks(jwk("new", p384Key().Public(), fields{"kid": 1}))),
	}
}

func TestKeySetKeepsKnownKeys(t *testing.T) {
	for name, bad := range badAnswers() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newKeyHost(t, text(oldKeys()))
				v := verifierOn(t, h)
				wantCode(t, v, oldToken(), "")
				h.answer(bad)
				pass(auth.RefreshInterval)
				for range 3 {
					wantCode(t, v, oldToken(), "")
					wantCode(t, v, newToken(), models.CodeUnauthenticated)
					pass(auth.RefreshPause)
				}
				if !v.Ready() {
					t.Error("known keys do not count as ready")
				}
				h.answer(text(newKeys()))
				pass(2 * auth.RefreshPause)
				wantCode(t, v, newToken(), "")
			})
		})
	}
}

func TestKeySetStartsWithoutItsHost(t *testing.T) {
	for name, bad := range badAnswers() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, started := newKeyHost(t, bad), time.Now()
				v := verifierOn(t, h)
				if waited := time.Since(started); waited != 0 {
					t.Errorf("NewVerifier waited %v for the host", waited)
				}
				for range 5 {
					wantCode(t, v, oldToken(), models.CodeUnavailable)
					pass(10 * time.Second)
				}
				if v.Ready() {
					t.Error("ready without keys")
				}
				// What no key could save is refused all the same.
				wantCode(t, v, "hello", models.CodeUnauthenticated)
				h.answer(text(oldKeys()))
				pass(auth.RefreshPause + 5*time.Second)
				wantCode(t, v, oldToken(), "")
			})
		})
	}
}

// A short outage at the start is over soon, not after a whole interval.
func TestKeySetRetriesQuickly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newKeyHost(t, nil)
		v := verifierOn(t, h)
		wantCode(t, v, oldToken(), models.CodeUnavailable)
		h.answer(text(oldKeys()))
		pass(time.Second)
		wantCode(t, v, oldToken(), "")
	})
}

func TestMiddlewareUnavailable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got, reached := call(verifierOn(t, newKeyHost(t, nil)), "Bearer "+oldToken())
		if reached || got.Status != http.StatusServiceUnavailable {
			t.Fatalf("reached %v, status %d", reached, got.Status)
		}
		if got.Header.Get("Retry-After") != "5" || got.Header.Get("WWW-Authenticate") != "" {
			t.Errorf("headers %v", got.Header)
		}
	})
}

// One issuer without its keys does not stand in the way of another.
func TestKeySetDoesNotStopOtherIssuers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, err := auth.NewVerifierOn(t.Context(), nil, newKeyHost(t, hang).dial,
			auth.Issuer{Name: jwksName, Audience: audience, JWKSURL: jwksURL},
			auth.Issuer{Name: secretName, Audience: audience, Secret: secret})
		if err != nil {
			t.Fatal(err)
		}
		started := time.Now()
		wantCode(t, v, forge(nil, nil), "")
		if waited := time.Since(started); waited != 0 || !v.Ready() {
			t.Errorf("waited %v, ready %v", waited, v.Ready())
		}
	})
}

func TestKeySetHangingHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newKeyHost(t, text(oldKeys()))
		v := verifierOn(t, h)
		wantCode(t, v, oldToken(), "")
		h.answer(hang)

		started := time.Now()
		wantCode(t, v, newToken(), models.CodeUnauthenticated)
		if waited := time.Since(started); waited != auth.Patience {
			t.Errorf("an unknown key waited %v, want %v", waited, auth.Patience)
		}
		started = time.Now() // the refresh still hangs
		wantCode(t, v, oldToken(), "")
		if waited := time.Since(started); waited != 0 {
			t.Errorf("a known key waited %v", waited)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := v.Verify(ctx, newToken()); codeOf(err) != models.CodeUnauthenticated {
			t.Errorf("a caller who left: %v", err)
		}
		if waited := time.Since(started); waited != 0 {
			t.Errorf("a caller who left waited %v", waited)
		}
	})
}

// One bad key does not make the others worse.
func TestKeySetSkipsBadKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := verifierOn(t, newKeyHost(t, text(jwks(
			fields{"kty": "EC", "kid": "broken", "crv": "P-256", "x": "AA", "y": "AA"},
			fields{"kty": 5},
			fields{"kty": "AKP", "kid": "future", "alg": "ML-DSA-65"},
			jwk("old", p256Key().Public(), fields{"x5u": "http://127.0.0.1/never", "x5c": []string{"junk"}}),
		))))
		wantCode(t, v, oldToken(), "")
		wantCode(t, v, ecToken("broken"), models.CodeUnauthenticated)
	})
}

// The log tells of the keys that were skipped, and only where there are any.
func TestKeySetChangesAreLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logBuffer
		h := newKeyHost(t, text(oldKeys()))
		v := verifierLogging(t, h, log.logger())
		wantCode(t, v, oldToken(), "")
		if got := log.take(); !strings.Contains(got, "the key set of an issuer has changed") || strings.Contains(got, "skipped") {
			t.Errorf("the log has %s", got)
		}
		h.answer(text(jwks(fields{"kty": 5}, jwk("new", p384Key().Public(), nil))))
		wantCode(t, v, newToken(), "")
		if got := log.take(); !strings.Contains(got, `skipped="key 1: `) {
			t.Errorf("the log has %s", got)
		}
	})
}

func TestKeySetChoice(t *testing.T) {
	noKid := func() string {
		return rawToken(`{"alg":"ES256"}`, longLived(), signWith(jwt.SigningMethodES256, p256Key()))
	}
	p256, p384 := p256Key().Public(), p384Key().Public()
	tests := []struct {
		name  string
		keys  string
		token string
		want  models.Code
	}{
		{"NoKidOneKey", jwks(jwk("old", p256, nil)), noKid(), ""},
		{"NoKidOneKeyWithoutKid", jwks(jwk("", p256, nil)), noKid(), ""},
		{"NoKidOneUsableKey", jwks(jwk("old", p256, nil), jwk("x", secret, nil)), noKid(), ""},
		{"NoKidOtherKind", jwks(jwk("old", p384, nil)), noKid(), models.CodeUnauthenticated},
		{"NoKidTwoKeys", jwks(jwk("old", p256, nil), jwk("x", p384, nil)), noKid(), models.CodeUnauthenticated},
		{"KidOfKeyWithoutKid", jwks(jwk("", p256, nil)), oldToken(), models.CodeUnauthenticated},
		{"KidOfTwoKinds", jwks(jwk("old", p384, nil), jwk("old", p256, nil)), oldToken(), ""},
		{"KidOfTwoOfAKind", jwks(jwk("old", p256, nil), jwk("old", otherP256().Public(), nil)), oldToken(), models.CodeUnauthenticated},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				wantCode(t, verifierOn(t, newKeyHost(t, text(tt.keys))), tt.token, tt.want)
			})
		})
	}
}

func TestKeySetAlgorithms(t *testing.T) {
	tests := []struct {
		method  jwt.SigningMethod
		private any
		public  any
	}{
		{jwt.SigningMethodRS256, rsaKey(), rsaKey().Public()},
		{jwt.SigningMethodPS384, rsaKey(), rsaKey().Public()},
		{jwt.SigningMethodES256, p256Key(), p256Key().Public()},
		{jwt.SigningMethodES384, p384Key(), p384Key().Public()},
		{jwt.SigningMethodES512, p521Key(), p521Key().Public()},
		{jwt.SigningMethodEdDSA, ed25519Key(), ed25519Key().Public()},
	}
	for _, tt := range tests {
		alg := tt.method.Alg()
		t.Run(alg, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				key := jwk("k", tt.public, fields{"alg": alg, "use": "sig", "key_ops": []string{"verify"}})
				v := verifierOn(t, newKeyHost(t, text(jwks(key))))
				wantCode(t, v, rawToken(fields{"alg": alg, "kid": "k"}.json(), longLived(), signWith(tt.method, tt.private)), "")
			})
		})
	}
}

// A redirect on a trusted way is followed.
func TestKeySetRedirect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := verifierOn(t, newKeyHost(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/jwks" {
				http.Redirect(w, r, "/moved", http.StatusMovedPermanently)
				return
			}
			text(oldKeys())(w, r)
		}))
		wantCode(t, v, oldToken(), "")
	})
}

// A foreign host that is asked over TLS does not choose what is read here, and no way is
// endless.
func TestRedirectsOfKeySets(t *testing.T) {
	request := func(address string) *http.Request {
		return httptest.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	}
	const foreign, here = "https://keys.example.com/jwks", "http://127.0.0.1/jwks"
	for _, test := range []struct {
		from, to string
		via      int
		followed bool
	}{
		{foreign, foreign, 1, true}, {here, here, 1, true}, {here, foreign, 1, true}, {foreign, here, 1, false},
		{foreign, "http://keys.example.com/jwks", 1, false}, {foreign, foreign, 3, true}, {foreign, foreign, 4, false},
	} {
		if err := auth.CheckRedirect(request(test.to), slices.Repeat([]*http.Request{request(test.from)}, test.via)); (err == nil) != test.followed {
			t.Errorf("%+v: %v", test, err)
		}
	}
}

// Keys come over TLS, or from this host by any of its names.
func TestAddressesOfKeySets(t *testing.T) {
	for _, address := range []string{"https://keys.example.com/jwks", "http://localhost:1/jwks", "http://127.0.0.2/jwks", "http://[::1]/jwks"} {
		issuer := auth.Issuer{Name: "i", Audience: "a", JWKSURL: address}
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // nothing is asked
		if _, err := auth.NewVerifier(ctx, slog.New(slog.DiscardHandler), issuer); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// The same over real sockets, and nothing is left when the context ends: not
// between two refreshes, and not in the middle of one.
func TestKeySetLeavesNothingBehind(t *testing.T) {
	before := goleak.IgnoreCurrent()
	var keys atomic.Value
	keys.Store(oldKeys())
	arrived := make(chan struct{}, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := keys.Load().(string)
		if body == "" {
			arrived <- struct{}{}
			hang(w, r)
		}
		_, _ = io.WriteString(w, body)
	}))
	for _, hanging := range []bool{false, true} {
		ctx, cancel := context.WithCancel(t.Context())
		v, err := auth.NewVerifier(ctx, nil, auth.Issuer{Name: jwksName, Audience: audience, JWKSURL: server.URL})
		if err != nil {
			t.Fatal(err)
		}
		if hanging {
			<-arrived
		} else {
			wantCode(t, v, oldToken(), "")
			keys.Store(newKeys())
			wantCode(t, v, newToken(), "")
			keys.Store("")
		}
		cancel()
	}
	server.Close()
	goleak.VerifyNone(t, before)
}
