package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Counter is a number that only grows, counted elsewhere.
type Counter struct {
	Name  string // in full, for example sonicus_late_results_total
	Help  string // one sentence
	Value func() float64
}

// ServeMetrics adds /metrics, in the Prometheus text format, with these counters
// and those of Go and the process. Call it once, with names that differ.
func (a *Admin) ServeMetrics(counters ...Counter) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, c := range counters {
		registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: c.Name, Help: c.Help}, c.Value))
	}
	a.mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
}
