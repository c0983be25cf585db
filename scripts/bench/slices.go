package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"time"
)

// side is one of the things that are compared.
type side struct {
	name    string
	prepare func(ctx context.Context) error // not timed; may be nil
	run     func(ctx context.Context) (sample, error)
}

// sample is one slice of one side.
type sample struct {
	rate    float64 // per second
	foreign float64 // CPU share of others, NaN where it cannot be read
}

// errRanDry: the backlog was used up within the slice, so it says nothing.
var errRanDry = errors.New("the backlog was used up before the slice ended")

// alternate runs slices of all sides in turn, and returns them by side.
func (l *lab) alternate(ctx context.Context, sides ...side) ([][]sample, error) {
	samples := make([][]sample, len(sides))
	for pair := range l.pace.pairs {
		for i, s := range sides {
			got, err := l.sliceOf(ctx, s)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", s.name, err)
			}
			samples[i] = append(samples[i], got)
			l.say("%d/%d  %-34s %9s/s", pair+1, l.pace.pairs, s.name, thousands(got.rate))
		}
	}
	return samples, nil
}

// sliceOf runs one slice, again when its backlog was too small.
func (l *lab) sliceOf(ctx context.Context, s side) (got sample, err error) {
	for range 4 {
		if s.prepare != nil {
			l.step("preparing: %s", s.name)
			if err := s.prepare(ctx); err != nil {
				return sample{}, err
			}
		}
		l.step("measuring: %s", s.name)
		if got, err = s.run(ctx); !errors.Is(err, errRanDry) {
			return got, err
		}
		l.say("%s: %v; once more with a larger one", s.name, err)
	}
	return got, err
}

// window measures for a slice what c sends to the sink under a label: from the
// first arrival on, without the warm-up.
func (l *lab) window(ctx context.Context, label string, warm time.Duration, c *child) (sample, error) {
	start, err := l.counts(ctx)
	if err != nil {
		return sample{}, err
	}
	if err := l.firstArrival(ctx, label, start.Requests[label], c); err != nil {
		return sample{}, err
	}
	if !waitFor(ctx, warm) {
		return sample{}, ctx.Err()
	}
	return l.measure(ctx, label, l.pace.slice, c)
}

func (l *lab) firstArrival(ctx context.Context, label string, before int64, c *child) error {
	for deadline := time.Now().Add(startLimit); ; {
		now, err := l.counts(ctx)
		if err != nil || now.Requests[label] > before {
			return err
		}
		if err := c.alive(); err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("no request of %s arrived within %s", c.name, startLimit)
		}
		if !waitFor(ctx, 5*time.Millisecond) {
			return ctx.Err()
		}
	}
}

// measure counts for d from now on. c is profiled if that is asked for, and must be alive
// in the end; it may be nil.
func (l *lab) measure(ctx context.Context, label string, d time.Duration, c *child) (sample, error) {
	foreign := l.watch()
	from, err := l.counts(ctx)
	if err != nil {
		return sample{}, err
	}
	profiled := l.profile(ctx, c)
	if !waitFor(ctx, d) {
		return sample{}, ctx.Err()
	}
	to, err := l.counts(ctx)
	if err != nil {
		return sample{}, err
	}
	got := sample{rate: float64(to.Requests[label]-from.Requests[label]) / time.Duration(to.At-from.At).Seconds()}
	got.foreign = foreign()
	return got, errors.Join(c.alive(), profiled())
}

// watch returns a function that says which CPU share others have had since.
func (l *lab) watch() (share func() float64) {
	from, err := l.cpu()
	return func() float64 {
		to, endErr := l.cpu()
		if err != nil || endErr != nil {
			return math.NaN()
		}
		return foreignShare(from, to)
	}
}

// cpu reads the clock of the machine's and our own CPU time.
func (l *lab) cpu() (cpuTimes, error) {
	if l.postmaster == 0 {
		return cpuTimes{}, errors.New("the server's process is not known")
	}
	return readCPU(os.Getpid(), l.postmaster)
}

// ratio fills a result from the slices of two sides. limit is the least ratio
// that meets the target.
func ratio(over, under []sample, limit float64) result {
	a, b := rates(over), rates(under)
	c := compare(a, b)
	r := result{
		Figure: fmt.Sprintf("%.3f", c.Median), Best: fmt.Sprintf("%.3f", c.Best), Met: c.Median >= limit,
		Values:  map[string]float64{"ratio": c.Median, "best": c.Best, "over_per_second": median(a), "under_per_second": median(b)},
		Foreign: foreignOf(over, under),
	}
	for i := range min(len(a), len(b)) {
		r.Pairs = append(r.Pairs, []float64{math.Round(a[i]), math.Round(b[i])})
	}
	r.note("median %s/s against %s/s, best %s/s against %s/s", thousands(median(a)), thousands(median(b)),
		thousands(percentile(a, 1)), thousands(percentile(b, 1)))
	return r
}

func rates(samples []sample) []float64 {
	values := make([]float64, len(samples))
	for i, s := range samples {
		values[i] = s.rate
	}
	return values
}

// foreignOf is the mean CPU share of others, nil where it is not known.
func foreignOf(sides ...[]sample) *float64 {
	var shares []float64
	for _, samples := range sides {
		for _, s := range samples {
			shares = append(shares, s.foreign)
		}
	}
	return known(mean(shares))
}

// known is nil for what is not a number.
func known(share float64) *float64 {
	if math.IsNaN(share) {
		return nil
	}
	return &share
}
