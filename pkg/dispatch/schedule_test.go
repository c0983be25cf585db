package dispatch

import (
	"slices"
	"testing"
	"time"
)

// documented is the schedule that the README prints.
var documented = []time.Duration{
	10 * time.Second, 50 * time.Second, 250 * time.Second, 1250 * time.Second, 6250 * time.Second, 31250 * time.Second,
	24 * time.Hour, 24 * time.Hour, 24 * time.Hour,
}

func TestScheduleIsTheDocumentedOne(t *testing.T) {
	t.Parallel()
	exact := Schedule{Initial: 10 * time.Second, Multiplier: 5, Max: 24 * time.Hour}
	jittered := exact
	jittered.Jitter = 0.2
	total := time.Duration(0)
	for i, want := range documented {
		total += want
		if got := exact.Delay(i + 1); got != want {
			t.Errorf("retry %d: %s, want %s", i+1, got, want)
		}
		for range 200 {
			got := jittered.Delay(i + 1)
			if got < want*8/10 || got > want*12/10+1 {
				t.Fatalf("retry %d: %s is not within 20 %% of %s", i+1, got, want)
			}
		}
	}
	if hours := total.Hours(); hours < 82 || hours > 84 {
		t.Errorf("nine retries take %.1f h, documented are about 83", hours)
	}
}

func TestAnEndpointsOwnWaitsReplaceTheSchedule(t *testing.T) {
	t.Parallel()
	set := Schedule{Initial: 10 * time.Second, Multiplier: 5, Max: time.Minute}
	for name, c := range map[string]struct{ own, want []time.Duration }{
		"none":                    {nil, []time.Duration{10 * time.Second, 50 * time.Second, time.Minute, time.Minute}},
		"none, but not nil":       {[]time.Duration{}, []time.Duration{10 * time.Second, 50 * time.Second}},
		"one for all retries":     {[]time.Duration{time.Second}, []time.Duration{time.Second, time.Second, time.Second}},
		"one for each":            {[]time.Duration{3, 2, 1}, []time.Duration{3, 2, 1}},
		"the last is repeated":    {[]time.Duration{5, 7}, []time.Duration{5, 7, 7, 7, 7}},
		"longer than the set":     {[]time.Duration{24 * time.Hour}, []time.Duration{24 * time.Hour, 24 * time.Hour}},
		"as many as there may be": {slices.Repeat([]time.Duration{time.Second, time.Hour}, 25), slices.Repeat([]time.Duration{time.Second, time.Hour}, 25)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for i, want := range c.want {
				if got := set.with(c.own).Delay(i + 1); got != want {
					t.Errorf("retry %d: %s, want %s", i+1, got, want)
				}
			}
		})
	}
}

func TestAnEndpointsOwnWaitsHaveTheSetJitter(t *testing.T) {
	t.Parallel()
	s := Schedule{Initial: time.Second, Multiplier: 2, Max: time.Second, Jitter: 0.5}.with([]time.Duration{time.Hour})
	least, most := s.Delay(1), s.Delay(1)
	for range 1000 {
		least, most = min(least, s.Delay(2)), max(most, s.Delay(2))
	}
	if least < 30*time.Minute || least > 40*time.Minute || most > 90*time.Minute+1 || most < 80*time.Minute {
		t.Errorf("from %s to %s", least, most)
	}
}

func TestDelaysNeverOverflowNorStop(t *testing.T) {
	t.Parallel()
	for _, s := range []Schedule{
		{Initial: time.Nanosecond, Multiplier: 1000, Max: 24 * time.Hour, Jitter: 0.9},
		{Initial: 24 * time.Hour, Multiplier: 5, Max: 24 * time.Hour, Jitter: 0.5},
		{Initial: time.Second, Multiplier: 1, Max: time.Second},
		Schedule{Max: 24 * time.Hour, Jitter: 0.9}.with([]time.Duration{24 * time.Hour, time.Nanosecond}),
	} {
		for n := 1; n <= 51; n++ {
			if d := s.Delay(n); d < 0 || d > 2*s.Max {
				t.Errorf("%+v: delay %d is %s", s, n, d)
			}
		}
	}
}
