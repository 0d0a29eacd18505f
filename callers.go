package main

import (
	"context"
	"sync"

	"roster/auth"
)

// callerName names a caller. A subject is unique only within its issuer (RFC 7519,
// section 4.1.2).
type callerName struct{ issuer, subject string }

// callerOf names the caller of a context; who has shown no token has no name.
func callerOf(ctx context.Context) (name callerName) {
	if principal := auth.PrincipalFrom(ctx); principal != nil {
		name = callerName{principal.Issuer, principal.Subject}
	}
	return name
}

// callerBytes adds up bytes of each caller.
type callerBytes struct {
	most int64
	mu   sync.Mutex
	of   map[callerName]int64
}

func newCallerBytes(most int64) *callerBytes {
	return &callerBytes{most: most, of: map[callerName]int64{}}
}

// add adds to the sum of a caller, unless that would be too much. A caller without any
// may have as many as it likes: how large one thing can be is bounded elsewhere.
func (c *callerBytes) add(by callerName, n int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	sum := c.of[by] + n
	if n > 0 && sum > c.most && sum > n {
		return false
	}
	if c.of[by] = sum; sum == 0 {
		delete(c.of, by)
	}
	return true
}
