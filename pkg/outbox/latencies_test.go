package outbox_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/sonicus/webhooks/pkg/outbox"
)

// exact is the quantile by nearest rank.
func exact(all []time.Duration, q float64) time.Duration {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[max(1, int(math.Ceil(q*float64(len(sorted)))))-1]
}

func TestQuantilesAreWithinTenPercentOfTheExactOnes(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	ms := float64(time.Millisecond)
	for name, draw := range map[string]func() float64{
		"all the same":      func() float64 { return 42 * ms },
		"evenly":            func() float64 { return (1 + 999*random.Float64()) * ms },
		"long tail":         func() float64 { return 20 * ms * math.Exp(1.5*random.NormFloat64()) },
		"fast or timed out": func() float64 { return []float64{2 * ms, 30_000 * ms}[random.IntN(20)/19] },
		"fastest":           func() float64 { return 0.1 * ms * (1 + random.Float64()) },
		"slowest":           func() float64 { return 30_000 * ms * (1 + 0.1*random.Float64()) },
		"on every edge":     func() float64 { return 0.1 * ms * math.Pow(1.2, float64(random.IntN(70))) },
	} {
		for _, n := range []int{1, 2, 10, 10_000} {
			var l outbox.Latencies
			var all []time.Duration
			for range n {
				took := time.Duration(min(max(draw(), 0.1*ms), 35_000*ms))
				l.Add(took)
				all = append(all, took)
			}
			for _, q := range []float64{0, 0.5, 0.9, 0.95, 0.99, 1} {
				got, ok := l.Quantile(q)
				if want := exact(all, q); !ok || math.Abs(float64(got-want)) > 0.1*float64(want) {
					t.Errorf("%s, %d of them: the quantile %v is %s, exactly %s", name, n, q, got, want)
				}
			}
		}
	}
}

func TestNothingHasNoQuantile(t *testing.T) {
	t.Parallel()
	for _, l := range []outbox.Latencies{nil, {0, 0}} {
		if got, ok := l.Quantile(0.5); ok {
			t.Errorf("%v: %s", l, got)
		}
	}
}

func TestWhatIsOutOfRangeIsCountedAtTheEnds(t *testing.T) {
	t.Parallel()
	var l, other outbox.Latencies
	for _, took := range []time.Duration{-time.Second, 0, time.Hour, math.MaxInt64} {
		l.Add(took)
	}
	low, _ := l.Quantile(0)
	high, _ := l.Quantile(1)
	if low > 100*time.Microsecond || high < 30*time.Second || high > 40*time.Second {
		t.Errorf("from %s to %s", low, high)
	}
	other.AddAll(l)
	if !slices.Equal(l, other) || len(l) > 100 {
		t.Errorf("%v is not %v", other, l)
	}
}
