package main

import (
	"container/list"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"roster/models"
)

// maxCallers bounds the memory for the rates of callers. Whoever has not called
// for longest is forgotten, and starts anew.
const maxCallers = 10_000

// rateLimiter lets every caller, known by the issuer and the subject of its
// token, make so many requests per second and, after a pause, some more at once. It
// is a token bucket for each.
type rateLimiter struct {
	limit rate.Limit
	burst int
	now   func() time.Time

	mu      sync.Mutex
	callers map[callerName]*list.Element
	latest  *list.List // of caller, who called last in front
}

// caller is one caller's bucket.
type caller struct {
	name   callerName
	bucket *rate.Limiter
}

// newRateLimiter makes one, and none when there is no limit. A burst of 0 is what
// one second allows.
func newRateLimiter(limit float64, burst int) *rateLimiter {
	if limit == 0 {
		return nil
	}
	if burst == 0 {
		burst = int(math.Ceil(limit))
	}
	return &rateLimiter{limit: rate.Limit(limit), burst: burst, now: time.Now, callers: map[callerName]*list.Element{}, latest: list.New()}
}

// bucket gives the bucket of a caller.
func (l *rateLimiter) bucket(name callerName) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	if known, ok := l.callers[name]; ok {
		l.latest.MoveToFront(known)
		return known.Value.(caller).bucket
	}
	if len(l.callers) >= maxCallers {
		oldest := l.latest.Back()
		delete(l.callers, l.latest.Remove(oldest).(caller).name)
	}
	bucket := rate.NewLimiter(l.limit, l.burst)
	l.callers[name] = l.latest.PushFront(caller{name, bucket})
	return bucket
}

// middleware counts each request of a caller and refuses those beyond the limit.
// It stands behind the one that verifies the token. Every answer tells what is
// left, in the fields that the IETF's draft "RateLimit header fields for HTTP" names.
func (l *rateLimiter) middleware(refuse refuseFunc) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		if l == nil {
			return next
		}
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			bucket, now := l.bucket(callerOf(r.Context())), l.now()
			allowed := bucket.AllowN(now, 1)
			left := bucket.TokensAt(now)
			w.Header().Set("RateLimit-Policy", fmt.Sprintf(`"caller";q=%d;w=%d`, l.burst, l.seconds(float64(l.burst))))
			w.Header().Set("RateLimit", fmt.Sprintf(`"caller";r=%d;t=%d`, int(max(left, 0)), l.seconds(float64(l.burst)-left)))
			if !allowed {
				w.Header().Set("Retry-After", strconv.Itoa(max(l.seconds(1-left), 1)))
				refuse(w, r, models.Errorf(models.CodeRateLimited, "This caller has made too many requests. Wait as long as Retry-After says."))
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// seconds is how long it takes until so many more requests are allowed.
func (l *rateLimiter) seconds(requests float64) int {
	return int(math.Ceil(requests / float64(l.limit)))
}
