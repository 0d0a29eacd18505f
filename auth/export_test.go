package auth

import (
	"context"
	"log/slog"
	"net"
	"net/http"
)

// NewVerifierOn is NewVerifier on a network of the test's own.
func NewVerifierOn(ctx context.Context, log *slog.Logger, dial func(context.Context, string, string) (net.Conn, error), issuers ...Issuer) (*Verifier, error) {
	return newVerifier(ctx, log, dial, issuers)
}

// CheckRedirect reports whether a key set may be read where a redirect leads.
func CheckRedirect(r *http.Request, via []*http.Request) error {
	return newKeyClient(nil).CheckRedirect(r, via)
}

// KeySetKeys gives the keys of a key set that tokens are verified with.
func KeySetKeys(data []byte) (materials []any, err error) {
	keys, _, err := parseKeySet(data)
	for _, k := range keys {
		materials = append(materials, k.material)
	}
	return materials, err
}

// The limits that tests reach for.
const (
	RefreshInterval = refreshInterval
	RefreshPause    = refreshPause
	Patience        = patience
	MaxListed       = maxListed
	MaxCachedTokens = maxCachedTokens
)

// Forget forgets all tokens.
func (v *Verifier) Forget() { v.cache.Purge() }

// CachedTokens is how many tokens are remembered.
func (v *Verifier) CachedTokens() int { return v.cache.Len() }
