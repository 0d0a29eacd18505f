package main

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"roster/db"
	"roster/models"
)

// replicaSettings name the read replicas of the database.
type replicaSettings struct {
	URLs   []string      `name:"database-replica-url" env:"ROSTER_DATABASE_REPLICA_URL" placeholder:"URL" help:"A read replica of the database, postgres://... Can be repeated."`
	MaxLag time.Duration `name:"max-replica-lag" env:"ROSTER_MAX_REPLICA_LAG" default:"5s" placeholder:"TIME" help:"How far a replica may be behind before nothing is read from it; at least 2s."`
}

// freshHeader is the header by which a caller who has just written asks for
// answers from the primary.
const freshHeader = "X-Roster-Fresh"

// readFromReplica makes the middleware that has requests read from a replica, unless they
// ask for fresh data.
func (s *server) readFromReplica(refuse refuseFunc) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch fresh := r.Header.Values(freshHeader); {
			case len(fresh) == 0:
				if ctx := s.db.WithReplica(r.Context()); ctx != r.Context() {
					r = r.WithContext(ctx)
				}
			case len(fresh) > 1 || fresh[0] != "1":
				refuse(w, r, models.Errorf(models.CodeBadRequest, "The header %s must be 1, once, or be left out.", freshHeader))
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// replicaMetrics tell how the replicas are.
type replicaMetrics struct{ db *db.DB }

var (
	replicaUsed     = prometheus.NewDesc("roster_replica_used", "Whether requests are sent to the replica.", []string{"replica"}, nil)
	replicaLag      = prometheus.NewDesc("roster_replica_lag_seconds", "By how much the replica was behind the primary when that was last known.", []string{"replica"}, nil)
	replicaRequests = prometheus.NewDesc("roster_replica_requests_total", "Requests sent to the replica.", []string{"replica"}, nil)
	replicaReruns   = prometheus.NewDesc("roster_replica_reruns_total", "Round trips that failed on the replica and were repeated on the primary.", []string{"replica"}, nil)
)

// Describe lists the metrics for Prometheus.
func (replicaMetrics) Describe(descriptions chan<- *prometheus.Desc) {
	for _, description := range []*prometheus.Desc{replicaUsed, replicaLag, replicaRequests, replicaReruns} {
		descriptions <- description
	}
}

// Collect gives their values to Prometheus.
func (m replicaMetrics) Collect(metrics chan<- prometheus.Metric) {
	for _, r := range m.db.Replicas() {
		used := 0.0
		if r.Used {
			used = 1
		}
		metrics <- prometheus.MustNewConstMetric(replicaUsed, prometheus.GaugeValue, used, r.Name)
		metrics <- prometheus.MustNewConstMetric(replicaLag, prometheus.GaugeValue, r.Lag.Seconds(), r.Name)
		metrics <- prometheus.MustNewConstMetric(replicaRequests, prometheus.CounterValue, float64(r.Requests), r.Name)
		metrics <- prometheus.MustNewConstMetric(replicaReruns, prometheus.CounterValue, float64(r.Reruns), r.Name)
	}
}
