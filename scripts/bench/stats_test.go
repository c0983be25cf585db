package main

import (
	"math"
	"testing"
)

func TestMedianAndPercentiles(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ got, want float64 }{
		"odd":            {median([]float64{9, 1, 5}), 5},
		"even":           {median([]float64{4, 1, 3, 2}), 2.5},
		"one":            {median([]float64{7}), 7},
		"p50":            {percentile([]float64{4, 1, 3, 2}, 0.5), 2},
		"p99 of few":     {percentile([]float64{1, 2, 3}, 0.99), 3},
		"p99 of hundred": {percentile(upTo(100), 0.99), 99},
		"smallest":       {percentile([]float64{3, 2}, 0), 2},
		"largest":        {percentile([]float64{3, 2}, 1), 3},
	} {
		if c.got != c.want {
			t.Errorf("%s: %v, want %v", name, c.got, c.want)
		}
	}
	if !math.IsNaN(median(nil)) || !math.IsNaN(percentile(nil, 0.5)) {
		t.Error("of no values there is neither")
	}
}

func TestStatisticsLeaveTheirValuesInOrder(t *testing.T) {
	t.Parallel()
	values := []float64{3, 1, 2}
	median(values)
	percentile(values, 0.5)
	if values[0] != 3 || values[1] != 1 {
		t.Errorf("reordered to %v", values)
	}
}

func TestRatiosAreTakenPairByPair(t *testing.T) {
	t.Parallel()
	// Both sides suffered in the second pair: the ratio did not.
	c := compare([]float64{60, 30, 61}, []float64{100, 50, 90})
	if c.Median != 0.6 || c.Best != 0.61 {
		t.Errorf("%+v, want the median of 0.6, 0.6, 0.68, and 61/100", c)
	}
	if c := compare(nil, []float64{1}); !math.IsNaN(c.Median) || !math.IsNaN(c.Best) {
		t.Errorf("of no pair: %+v", c)
	}
}

func upTo(n int) (values []float64) {
	for i := range n {
		values = append(values, float64(i+1))
	}
	return values
}
