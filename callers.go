package main

import (
	"context"
	"sync"

	"roster/auth"
)

// callerName names a caller. A subject is unique only within its issuer (RFC 7519,
// section 4.1.2).
type callerName struct{ issuer, subject string }

// callerOf names the caller of a context; without a valid token there is no name.
func callerOf(ctx context.Context) (name callerName) {
	if principal := auth.PrincipalFrom(ctx); principal != nil {
		name = callerName{principal.Issuer, principal.Subject}
	}
	return name
}

// callerBytes bounds the bytes that each caller has somewhere.
type callerBytes struct {
	limit int64
	mu    sync.Mutex
	sums  map[callerName]int64
}

func newCallerBytes(limit int64) *callerBytes {
	return &callerBytes{limit: limit, sums: map[callerName]int64{}}
}

// add adds to the sum of a caller, unless that would be too much. A caller without any
// may add as many as it likes: how large one thing can be is bounded elsewhere.
func (c *callerBytes) add(caller callerName, n int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	sum := c.sums[caller] + n
	if n > 0 && sum > c.limit && sum > n {
		return false
	}
	if c.sums[caller] = sum; sum == 0 {
		delete(c.sums, caller)
	}
	return true
}
