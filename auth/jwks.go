package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/MicahParks/jwkset"

	"roster/models"
)

// The times and sizes of key sets.
const (
	// refreshInterval is how long a revoked key keeps working, as long as its host answers.
	refreshInterval = 10 * time.Minute
	// refreshPause is the time between two refreshes that unknown keys ask for,
	// and the time after which a failed refresh is tried again.
	refreshPause = 30 * time.Second
	// fetchTimeout is for the whole answer, to its last byte.
	fetchTimeout = 5 * time.Second
	// patience is how long a request waits for a refresh. It is shorter than the
	// timeout, so that a host that hangs does not hold requests for long.
	patience = 2 * time.Second

	maxKeySetSize = 1 << 20
	maxKeys       = 100
	maxRedirects  = 3
)

var errUnknownKey = errors.New("the key that kid names is not in the issuer's key set")

// dialer opens a connection, like net.Dialer.DialContext.
type dialer func(ctx context.Context, network, address string) (net.Conn, error)

// keySet is the keys that an issuer publishes (RFC 7517, section 5), loaded
// again and again by the one goroutine of run.
//
// The refreshing is our own and not keyfunc's, which reads the same library's
// keys: that one waits for the host before it starts, and then until the next
// interval if it failed; it reads answers of any length; it gives up all known
// keys for an empty set, and a whole set for one broken key; and requests with
// unknown keys queue for the right to refresh. Each of these lets the host, or
// anybody who can send a token, stop the server from verifying.
type keySet struct {
	issuer string
	url    string
	client *http.Client
	log    *slog.Logger

	// attempted is closed when the first attempt to load the set is over.
	attempted chan struct{}
	// refreshRequested wakes run for an extra refresh.
	refreshRequested chan struct{}

	mu   sync.Mutex
	keys []*key // replaced as a whole, never altered
	// refreshing is closed when the extra refresh under way is over; nil when there is none.
	refreshing    chan struct{}
	lastRequested time.Time
}

func newKeySet(issuer Issuer, log *slog.Logger, dial dialer) *keySet {
	return &keySet{
		issuer:           issuer.Name,
		url:              issuer.JWKSURL,
		client:           newKeyClient(dial),
		log:              log,
		attempted:        make(chan struct{}),
		refreshRequested: make(chan struct{}, 1),
	}
}

// newKeyClient makes a client that keeps no connection and no goroutine between
// two refreshes, which are minutes apart.
func newKeyClient(dial dialer) *http.Client {
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            dial,
			DisableKeepAlives:      true,
			MaxResponseHeaderBytes: 64 << 10,
			Protocols:              protocols,
		},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > maxRedirects {
				return fmt.Errorf("more than %d redirects", maxRedirects)
			}
			// Not from TLS down to this host either: that would let a foreign
			// host choose what is read here.
			if !isTrustworthy(r.URL) || r.URL.Scheme == "http" && via[len(via)-1].URL.Scheme == "https" {
				return errors.New("a redirect to an address that keys may not come from")
			}
			return nil
		},
	}
}

func (s *keySet) snapshot() []*key {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys
}

func (s *keySet) ready() bool { return len(s.snapshot()) > 0 }

// find gives the key for a token. When the set does not have it, the set is
// refreshed first, at most once in refreshPause whatever tokens arrive: that is
// how a new key is noticed. The error is errNoKeysYet until a set was loaded.
func (s *keySet) find(ctx context.Context, kid *string, alg string) (*key, error) {
	// The first requests after a start come while the set is on its way.
	await(ctx, s.attempted)
	keys := s.snapshot()
	if len(keys) == 0 {
		return nil, errNoKeysYet
	}
	k, err := choose(keys, kid, alg)
	if err == nil || kid != nil && !errors.Is(err, errUnknownKey) {
		return k, err
	}
	refreshing := s.requestRefresh()
	if refreshing == nil {
		return nil, err
	}
	await(ctx, refreshing)
	return choose(s.snapshot(), kid, alg)
}

func (s *keySet) findAfterRefresh(ctx context.Context, alg string) *key {
	refreshing := s.requestRefresh()
	if refreshing == nil {
		return nil
	}
	await(ctx, refreshing)
	k, _ := choose(s.snapshot(), nil, alg) // nil with an error: then the first one counts
	return k
}

// choose gives the one key of the set that the token's kid and alg stand for. A
// token without a kid is taken only when there is nothing to choose between;
// trying key after key would leave the choice to the token.
func choose(keys []*key, kid *string, alg string) (*key, error) {
	if kid == nil {
		if len(keys) != 1 {
			return nil, fmt.Errorf("kid is missing, and the issuer has %d keys", len(keys))
		}
		return keys[0].forAlgorithm(alg)
	}
	var named, fit []*key
	for _, k := range keys {
		if k.id == *kid {
			named = append(named, k)
			if k.allows(alg) {
				fit = append(fit, k)
			}
		}
	}
	switch {
	case len(fit) == 1:
		return fit[0], nil
	case len(fit) > 1:
		return nil, fmt.Errorf("kid %s stands for %d keys", models.Quote(*kid), len(fit))
	case len(named) > 0:
		return nil, refusedAlgorithm(alg, named[0])
	default:
		return nil, fmt.Errorf("kid %s: %w", models.Quote(*kid), errUnknownKey)
	}
}

// await waits until done is closed, for a short while only.
func await(ctx context.Context, done <-chan struct{}) {
	select {
	case <-done:
		return
	default:
	}
	limit := time.NewTimer(patience)
	defer limit.Stop()
	select {
	case <-done:
	case <-ctx.Done():
	case <-limit.C:
	}
}

// requestRefresh starts an extra refresh, unless there was one less than refreshPause ago.
// What it gives is closed when the one under way is over; nil when there is none.
func (s *keySet) requestRefresh() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refreshing == nil && (s.lastRequested.IsZero() || time.Since(s.lastRequested) >= refreshPause) {
		s.refreshing, s.lastRequested = make(chan struct{}), time.Now()
		s.refreshRequested <- struct{}{} // never blocks: run took the last request before it ended that refresh
	}
	return s.refreshing
}

// endRefresh lets those go on that wait for the extra refresh.
func (s *keySet) endRefresh() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.refreshing)
	s.refreshing = nil
}

// run keeps the set fresh until ctx ends.
func (s *keySet) run(ctx context.Context) {
	err := s.refresh(ctx)
	close(s.attempted)
	for failures := 0; ; {
		if err != nil {
			failures++
		} else {
			failures = 0
		}
		next := time.NewTimer(s.pause(failures))
		select {
		case <-ctx.Done():
			next.Stop()
			return
		case <-next.C:
			err = s.refresh(ctx)
		case <-s.refreshRequested:
			next.Stop()
			err = s.refresh(ctx)
			s.endRefresh()
		}
	}
}

// pause gives the time until the next refresh. Before the first success nobody
// can be let in, so the first attempts follow each other quickly.
func (s *keySet) pause(failures int) time.Duration {
	switch {
	case failures == 0:
		return refreshInterval
	case s.ready():
		return refreshPause
	default:
		return min(refreshPause, time.Second<<min(failures-1, 10))
	}
}

// refresh loads the set. Known keys stay as they are when that fails.
func (s *keySet) refresh(ctx context.Context) error {
	data, err := s.fetch(ctx)
	var keys []*key
	var skipped []error
	if err == nil {
		keys, skipped, err = parseKeySet(data)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		s.log.WarnContext(ctx, "the key set of an issuer could not be loaded",
			"issuer", s.issuer, "known_keys", len(s.snapshot()), "error", err)
		return err
	}
	s.replace(ctx, keys, skipped)
	return nil
}

func (s *keySet) replace(ctx context.Context, keys []*key, skipped []error) {
	s.mu.Lock()
	before := names(s.keys)
	s.keys = keys
	s.mu.Unlock()
	if after := names(keys); !slices.Equal(before, after) {
		fields := []any{"issuer", s.issuer, "keys", after}
		if len(skipped) > 0 {
			fields = append(fields, "skipped", errors.Join(skipped...))
		}
		s.log.InfoContext(ctx, "the key set of an issuer has changed", fields...)
	}
}

func names(keys []*key) []string {
	var list []string
	for _, k := range keys {
		list = append(list, k.id+" ("+strings.Join(k.algorithms, " ")+")")
	}
	return list
}

// fetch reads the answer of the host, which is trusted with keys but not with
// this server's time and memory.
func (s *keySet) fetch(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/jwk-set+json, application/json")
	response, err := s.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the host answered with status %d", response.StatusCode)
	}
	data, err := io.ReadAll(io.LimitReader(response.Body, maxKeySetSize+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxKeySetSize {
		return nil, fmt.Errorf("the answer has more than %d bytes", maxKeySetSize)
	}
	return data, nil
}

// parseKeySet gives the keys of a set that can verify tokens, and why the others
// cannot. A set without any is an error: it would lock everybody out.
func parseKeySet(data []byte) (keys []*key, skipped []error, err error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(data, &set); err != nil {
		return nil, nil, fmt.Errorf("the answer is not a key set: %w", err)
	}
	if len(set.Keys) > maxKeys {
		return nil, nil, fmt.Errorf("the key set holds %d keys; at most %d are read", len(set.Keys), maxKeys)
	}
	for i, raw := range set.Keys {
		k, err := parseJWK(raw)
		if err != nil {
			// One key of a kind that is not known here does not make the others worse (RFC 7517, section 5).
			skipped = append(skipped, fmt.Errorf("key %d: %w", i+1, err))
			continue
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, nil, errors.Join(append([]error{errors.New("the key set holds no key that verifies tokens")}, skipped...)...)
	}
	return keys, skipped, nil
}

// parseJWK reads one key (RFC 7517, section 4).
func parseJWK(raw json.RawMessage) (*key, error) {
	var fields jwkset.JWKMarshal
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, err
	}
	switch {
	case fields.KTY == jwkset.KtyOct || fields.K != "":
		return nil, errors.New("a published secret is no secret")
	case fields.D != "":
		return nil, errors.New("a private key that is published can be used by everybody")
	case fields.USE != "" && fields.USE != jwkset.UseSig:
		return nil, fmt.Errorf("its use is %s, not signatures", models.Quote(string(fields.USE)))
	case len(fields.KEYOPS) > 0 && !slices.Contains(fields.KEYOPS, jwkset.KeyOpsVerify):
		return nil, errors.New("its key_ops do not hold verify")
	}
	// Certificates say nothing that is asked here, and an address of one must not be followed.
	fields.X5U, fields.X5C, fields.X5T, fields.X5TS256 = "", nil, "", ""
	jwk, err := jwkset.NewJWKFromMarshal(fields, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
	if err != nil {
		return nil, err
	}
	k, err := newKey(fields.KID, jwk.Key())
	if err != nil {
		return nil, err
	}
	if alg := string(fields.ALG); alg != "" {
		if _, err := k.forAlgorithm(alg); err != nil {
			return nil, err
		}
		k.algorithms = []string{alg}
	}
	return k, nil
}
