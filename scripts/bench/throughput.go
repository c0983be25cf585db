package main

import (
	"context"
	"os"
	"regexp"
)

// usualEndpoints is how many a row has, each with a port of its own: with one alone the dispatcher's limit per endpoint would be what is measured.
const usualEndpoints = 10

// ordinary is a world with n endpoints that answer at once, and no api running.
func (l *lab) ordinary(ctx context.Context, label string, n int) (*deliveries, error) {
	w, err := l.newWorld(ctx, label)
	if err != nil {
		return nil, err
	}
	ids, err := w.register(ctx, n, "ok", attemptTimeout)
	if err != nil {
		return nil, err
	}
	return &deliveries{world: w, name: "dispatcher", backlog: ids, warm: l.pace.warm}, w.stopAPI()
}

var posting = regexp.MustCompile(`(?m)^posting$`)

// rawSide is the plain client against the same sink.
func (l *lab) rawSide(label string) side {
	return side{name: "plain net/http", run: func(ctx context.Context) (sample, error) {
		self, err := os.Executable()
		if err != nil {
			return sample{}, err
		}
		c, err := l.spawn(self, nil, "raw", l.target("ok", label, 0))
		if err != nil {
			return sample{}, err
		}
		if _, err := c.await(ctx, posting); err != nil {
			return sample{}, err
		}
		got, err := l.window(ctx, label, l.pace.warm, c)
		if err != nil {
			return sample{}, err
		}
		return got, c.stop()
	}}
}

// measureRaw is R1. One endpoint has 32 requests in flight by default, as many
// as the plain client. With eight endpoints the dispatcher may have 256: that is
// told beside it, because a limit per endpoint may be what one endpoint shows.
func measureRaw(ctx context.Context, l *lab) (result, error) {
	one, err := l.ordinary(ctx, "r1_one", 1)
	if err != nil {
		return result{}, err
	}
	one.name = "dispatcher, one endpoint"
	eight, err := l.ordinary(ctx, "r1_eight", 8)
	if err != nil {
		return result{}, err
	}
	eight.name = "dispatcher, eight endpoints"
	samples, err := l.alternate(ctx, one.side(), l.rawSide("r1_raw"), eight.side())
	if err != nil {
		return result{}, err
	}
	r := ratio(samples[0], samples[1], 0.60)
	c := compare(rates(samples[2]), rates(samples[1]))
	r.Values["ratio_eight_endpoints"], r.Values["best_eight_endpoints"] = c.Median, c.Best
	r.note("one endpoint, so 32 requests in flight on both sides; with eight endpoints, up to 256 in flight: %.2f, best/best %.2f (%s/s)",
		c.Median, c.Best, thousands(median(rates(samples[2]))))
	return r, nil
}
