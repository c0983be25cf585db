package outbox

import (
	"math"
	"time"
)

// The slots of [Latencies]: the first is below shortest, each of the others growth
// times as wide as the one before. The last one takes what is longer than any
// attempt may be.
const (
	shortest = 100 * time.Microsecond
	growth   = 1.2
	slots    = 71
)

// Latencies counts response times by slots. A quantile is off by at most 10 % (the
// square root of 1.2 is 1.095) between a tenth of a millisecond and 35 seconds. Slots
// at the end that are empty may be missing; nil counts nothing.
type Latencies []int64

// Add counts one response time.
func (l *Latencies) Add(took time.Duration) { l.add(slotOf(took), 1) }

func (l *Latencies) add(slot int, n int64) {
	for len(*l) <= slot {
		*l = append(*l, 0)
	}
	(*l)[slot] += n
}

// AddAll counts all that other has counted.
func (l *Latencies) AddAll(other Latencies) {
	for slot, n := range other {
		l.add(slot, n)
	}
}

// Quantile estimates the response time that a share q of all, 0 to 1, do not exceed
// (nearest rank); false when nothing was counted.
func (l Latencies) Quantile(q float64) (time.Duration, bool) {
	total := int64(0)
	for _, n := range l {
		total += n
	}
	if total == 0 {
		return 0, false
	}
	rank := max(1, int64(math.Ceil(q*float64(total))))
	for slot, n := range l {
		if rank -= n; rank <= 0 {
			return middle(slot), true
		}
	}
	return middle(len(l) - 1), true
}

func slotOf(took time.Duration) int {
	if took < shortest {
		return 0
	}
	slot := 1 + int(math.Log(float64(took)/float64(shortest))/math.Log(growth))
	return min(slot, slots-1)
}

// middle is what a response time of the slot is taken for: off by the same share from
// either end.
func middle(slot int) time.Duration {
	if slot == 0 {
		return shortest / 2
	}
	return time.Duration(float64(shortest) * math.Pow(growth, float64(slot)-0.5))
}
