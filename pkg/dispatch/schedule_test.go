package dispatch

import (
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

func TestDelaysNeverOverflowNorStop(t *testing.T) {
	t.Parallel()
	for _, s := range []Schedule{
		{Initial: time.Nanosecond, Multiplier: 1000, Max: 24 * time.Hour, Jitter: 0.9},
		{Initial: 24 * time.Hour, Multiplier: 5, Max: 24 * time.Hour, Jitter: 0.5},
		{Initial: time.Second, Multiplier: 1, Max: time.Second},
	} {
		for n := 1; n <= 51; n++ {
			if d := s.Delay(n); d < 0 || d > 2*s.Max {
				t.Errorf("%+v: delay %d is %s", s, n, d)
			}
		}
	}
}
