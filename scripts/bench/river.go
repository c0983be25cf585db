package main

import (
	"context"
	"regexp"
	"strconv"
)

const (
	riverWorkers = 1000
	// riverCooldown is River's pause between two fetches. With its default, a
	// thousand workers do at most 10,000 jobs a second, however fast the machine
	// is: the figure is against a worker without that limit, and the default is
	// measured beside it.
	riverCooldown = "10ms"
	riverDefault  = "100ms"
)

// riverSettings give the dispatcher as many requests in flight as River has workers,
// evenly over the usual endpoints, as River's jobs go evenly round the same receivers.
var riverSettings = []string{
	"SONICUS_DISPATCH_CONCURRENCY=" + strconv.Itoa(riverWorkers),
	"SONICUS_DISPATCH_PER_ENDPOINT=" + strconv.Itoa(riverWorkers/usualEndpoints),
}

// measureRiver is R5.
func measureRiver(ctx context.Context, l *lab) (result, error) {
	d, err := l.ordinary(ctx, "r5", usualEndpoints)
	if err != nil {
		return result{}, err
	}
	d.settings = riverSettings
	other, err := l.newWorld(ctx, "r5_river") // River's tables stand beside ours, in a schema of their own
	if err != nil {
		return result{}, err
	}
	if err := other.stopAPI(); err != nil {
		return result{}, err
	}
	samples, err := l.alternate(ctx, d.side(),
		(&riverJobs{world: other, cooldown: riverCooldown}).side(), (&riverJobs{world: other, cooldown: riverDefault}).side())
	if err != nil {
		return result{}, err
	}
	r := ratio(samples[0], samples[1], 2)
	c := compare(rates(samples[0]), rates(samples[2]))
	r.Values["ratio_river_default"], r.Values["best_river_default"] = c.Median, c.Best
	r.note("against River with its default pause between fetches, %s, which limits it to 10,000 jobs/s: %.2f, best/best %.2f (%s/s)",
		riverDefault, c.Median, c.Best, thousands(median(rates(samples[2]))))
	r.note("%d workers, %d endpoints; River fetches at most every %s, signs nothing and logs no attempts; the dispatcher has %d in flight, %d for each endpoint",
		riverWorkers, usualEndpoints, riverCooldown, riverWorkers, riverWorkers/usualEndpoints)
	return r, nil
}

// riverJobs is a side: a River worker on jobs that were inserted beforehand.
type riverJobs struct {
	*world
	cooldown string
	rate     float64
}

var riverWorking = regexp.MustCompile(`(?m)^working on `)

func (j *riverJobs) side() side {
	return side{name: "River worker, fetching every " + j.cooldown, prepare: j.prepare, run: j.run}
}

func (j *riverJobs) environment() []string {
	return []string{
		"BENCH_DATABASE_URL=" + j.url, "BENCH_PAYLOAD=" + payload("00000000-0000-7000-8000-000000000000"),
		"BENCH_FETCH_COOLDOWN=" + j.cooldown, "GOGC=" + strconv.Itoa(gcPercent),
	}
}

func (j *riverJobs) prepare(ctx context.Context) error {
	if j.rate == 0 {
		j.rate = firstGuess
	}
	have, err := j.left(ctx)
	if err != nil {
		return err
	}
	need := int(j.rate * 1.3 * (j.pace.warm + j.pace.slice).Seconds())
	if have < need {
		if err := j.insert(ctx, need-have); err != nil {
			return err
		}
	}
	if _, err := j.db.ExecContext(ctx, `VACUUM (ANALYZE) river_job`); err != nil {
		return err
	}
	return j.checkpoint(ctx)
}

func (j *riverJobs) insert(ctx context.Context, n int) error {
	program, err := bin("bench-river")
	if err != nil {
		return err
	}
	c, err := j.spawn(program, j.environment(), "insert", strconv.Itoa(n))
	if err != nil {
		return err
	}
	return c.finish(ctx)
}

// left is how many jobs are not done.
func (j *riverJobs) left(ctx context.Context) (n int, err error) {
	var made bool
	if err := j.db.GetContext(ctx, &made, `SELECT to_regclass('river_job') IS NOT NULL`); err != nil || !made {
		return 0, err
	}
	err = j.db.GetContext(ctx, &n, `SELECT count(*) FROM river_job WHERE state <> 'completed'`)
	return n, err
}

func (j *riverJobs) run(ctx context.Context) (sample, error) {
	program, err := bin("bench-river")
	if err != nil {
		return sample{}, err
	}
	urls := make([]string, usualEndpoints)
	for i := range urls {
		urls[i] = j.target("ok", j.label, i)
	}
	c, err := j.spawn(program, j.environment(), append([]string{"work"}, urls...)...)
	if err != nil {
		return sample{}, err
	}
	if _, err := c.await(ctx, riverWorking); err != nil {
		return sample{}, err
	}
	got, err := j.window(ctx, j.label, j.pace.warm, c)
	if err != nil {
		return sample{}, err
	}
	if err := c.stop(); err != nil {
		return sample{}, err
	}
	left, err := j.left(ctx)
	if err != nil {
		return sample{}, err
	}
	if left == 0 {
		j.rate = max(j.rate, got.rate) * 2
		return sample{}, errRanDry
	}
	j.rate = max(j.rate/2, got.rate)
	return got, nil
}
