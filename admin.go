package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics are what the operator can watch. Routes are patterns and never paths,
// which name customers.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	running  prometheus.Gauge
	cut      prometheus.Counter
}

func newMetrics(admission *admission, resets *resetLimit) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "roster_requests_total", Help: "Requests answered."}, []string{"route", "status"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "roster_request_duration_seconds", Help: "How long requests took, streams included.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"route"}),
		running: prometheus.NewGauge(prometheus.GaugeOpts{Name: "roster_requests_running", Help: "Requests being answered."}),
		cut: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "roster_answers_cut_total", Help: "Answers that were given up before they were whole. Their status is the one that they began with.",
		}),
	}
	m.registry.MustRegister(m.requests, m.duration, m.running, m.cut,
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "roster_requests_shed_total", Help: "Requests refused because the server had too much to do."},
			func() float64 { return float64(admission.refused.Load()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "roster_connections_reset_total", Help: "How often a connection of HTTP/2 was ended because its client gave up too many requests."},
			func() float64 { return float64(resets.ended.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "roster_documents_running", Help: "GraphQL documents that run."},
			func() float64 { return float64(len(admission.slots)) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "roster_documents_waiting", Help: "Requests that wait until a document of theirs may run."},
			func() float64 { return float64(admission.waiting.Load()) }),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// begin counts a request that begins, and end its end.
func (m *metrics) begin() (end func(route string, status int, took time.Duration)) {
	m.running.Inc()
	return func(route string, status int, took time.Duration) {
		m.running.Dec()
		m.requests.WithLabelValues(route, strconv.Itoa(status)).Inc()
		m.duration.WithLabelValues(route).Observe(took.Seconds())
	}
}

// adminRoutes are for the operator only, and so on a listener of their own.
func (s *server) adminRoutes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}

// listenAdmin opens the address for the operator, and gives nil where there is none.
func (s *server) listenAdmin(ctx context.Context) (net.Listener, error) {
	if s.settings.AdminListen == "" {
		return nil, nil
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", s.settings.AdminListen)
	if err != nil {
		return nil, fmt.Errorf("--admin-listen: cannot listen on %s: %w", s.settings.AdminListen, err)
	}
	return listener, nil
}

// startAdmin serves the operator, if the settings say so. stop ends that at once: nobody
// waits for the end of a profile.
func (s *server) startAdmin() (stop func()) {
	if s.admin == nil {
		return func() {}
	}
	s.log.Info("serving metrics and profiles", "admin", s.admin.Addr().String())
	server := &http.Server{Handler: s.adminRoutes(), ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(s.admin) }()
	return func() {
		_ = server.Close() // there is nothing to lose
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			s.log.Warn("metrics and profiles had stopped being served", "error", err)
		}
	}
}
