package main

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"
)

const (
	latencyRate   = 50 // organizations/s
	p50Limit      = 2.5
	p99Limit      = 10.0 // milliseconds
	latencyLosses = 30 * time.Second
)

// measureLatency is L: from the commit of an organization to the arrival of its
// POST at the receiver, both by the clock of this machine. The commit is dated by
// Postgres itself (track_commit_timestamp), just before it writes the commit
// to the disk: so that the disk's time is in the latency. The true moment lies
// between that and the 201, from which the POST's delay is told beside it.
func measureLatency(ctx context.Context, l *lab) (result, error) {
	w, err := l.newWorld(ctx, "l")
	if err != nil {
		return result{}, err
	}
	if _, err := w.register(ctx, 1, "timed", attemptTimeout); err != nil {
		return result{}, err
	}
	if err := l.checkpoint(ctx); err != nil {
		return result{}, err
	}
	c, err := w.dispatch(ctx)
	if err != nil {
		return result{}, err
	}
	if err := w.createFor(ctx, l.pace.warm); err != nil { // whose arrivals are thrown away
		return result{}, err
	}
	if _, err := w.arrivals(ctx, int(l.pace.warm.Seconds()*latencyRate)); err != nil {
		return result{}, err
	}
	since, err := w.now(ctx)
	if err != nil {
		return result{}, err
	}
	l.step("creating %d organizations/s for %s", latencyRate, l.pace.latency)
	foreign := l.watch()
	profiled := l.profile(ctx, c)
	if err := w.createFor(ctx, l.pace.latency); err != nil {
		return result{}, err
	}
	share := known(foreign())
	if err := profiled(); err != nil {
		return result{}, err
	}
	r, err := w.latencies(ctx, since)
	r.Foreign = share
	return r, err
}

// createFor creates organizations at an even pace, which slow answers do not
// slow down, and waits for all answers.
func (w *world) createFor(ctx context.Context, d time.Duration) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	tick := time.NewTicker(time.Second / latencyRate)
	defer tick.Stop()
	var running sync.WaitGroup
	for range int(d.Seconds() * latencyRate) {
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		running.Go(func() {
			id, err := w.createOrganization(ctx)
			if err != nil {
				cancel(err)
			}
			w.answered.Store(id, time.Now().UnixNano())
		})
	}
	running.Wait()
	return context.Cause(ctx)
}

// arrivals collects what /timed/ has received until there are n.
func (w *world) arrivals(ctx context.Context, n int) ([]arrival, error) {
	var all []arrival
	for deadline := time.Now().Add(latencyLosses); ; {
		var more []arrival
		if err := w.ask(ctx, "/arrivals", &more); err != nil {
			return nil, err
		}
		if all = append(all, more...); len(all) >= n {
			return all, nil
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("%d of %d POSTs arrived within %s", len(all), n, latencyLosses)
		}
		if !waitFor(ctx, 20*time.Millisecond) {
			return nil, ctx.Err()
		}
	}
}

// latencies joins commits and arrivals.
func (w *world) latencies(ctx context.Context, since time.Time) (result, error) {
	var commits []struct {
		ID           string  `db:"id"`
		Organization string  `db:"organization_id"`
		At           float64 `db:"at"` // seconds since 1970, exact to a microsecond
	}
	err := w.db.SelectContext(ctx, &commits, `
		SELECT id, organization_id, extract(epoch FROM pg_xact_commit_timestamp(xmin))::double precision AS at FROM sonicus.events WHERE created_at >= $1`, since)
	if err != nil {
		return result{}, fmt.Errorf("read the times of the commits: %w", err)
	}
	arrived, err := w.arrivals(ctx, len(commits))
	if err != nil {
		return result{}, err
	}
	at := map[string]int64{}
	for _, a := range arrived {
		at[a.EventID] = a.At
	}
	var took, sinceAnswer []float64
	for _, c := range commits {
		nanos, ok := at[c.ID]
		if !ok {
			continue
		}
		took = append(took, float64(nanos)/1e6-c.At*1e3)
		if answered, ok := w.answered.Load(c.Organization); ok {
			sinceAnswer = append(sinceAnswer, float64(nanos-answered.(int64))/1e6) //nolint:errcheck // nothing else is stored
		}
	}
	if len(took) < len(commits) || len(took) == 0 {
		return result{}, fmt.Errorf("of %d events only %d arrived", len(commits), len(took))
	}
	p50, p99 := percentile(took, 0.5), percentile(took, 0.99)
	r := result{
		Figure: fmt.Sprintf("%.1f / %.1f ms", p50, p99), Met: p50 <= p50Limit && p99 <= p99Limit,
		Values: map[string]float64{
			"p50_ms": p50, "p99_ms": p99, "max_ms": percentile(took, 1),
			"p50_ms_after_201": percentile(sinceAnswer, 0.5), "p99_ms_after_201": percentile(sinceAnswer, 0.99),
		},
	}
	r.note("%d organizations; max %.1f ms; from Postgres' commit timestamp, which is taken just before the commit is written to the disk, to the "+
		"header's arrival at the receiver", len(took), percentile(took, 1))
	r.note("from the api's 201 at the client, at the latest when the commit is on the disk: %.1f / %.1f ms", percentile(sinceAnswer, 0.5), percentile(sinceAnswer, 0.99))
	return r, nil
}

// createOrganization creates one with a domain of its own, all fields filled.
func (w *world) createOrganization(ctx context.Context) (id string, err error) {
	n := w.created.Add(1)
	var made struct {
		ID string `json:"id"`
	}
	err = w.create(ctx, "/api/v1/organizations/", map[string]any{
		"name": fmt.Sprintf("Example Corporation %d", n), "display_name": fmt.Sprintf("Example Corporation %d Inc.", n),
		"domain": fmt.Sprintf("example-%d.example", n), "primary_contact_email": "admin@example.com", "subscription_tier": "premium",
		"max_users": 250, "industry": "Technology", "company_size": "50-100",
	}, &made)
	return made.ID, err
}

// createClients is how many organizations R4 has under way at the same time: as
// many as the api has connections.
const createClients = 16

// apiClient keeps a connection for each of them.
var apiClient = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
	MaxIdleConns: 2 * createClients, MaxIdleConnsPerHost: createClients, DisableCompression: true,
}}
