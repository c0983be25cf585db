package main

import (
	"math"
	"slices"
)

// median is the middle of the values, or the mean of the two in the middle;
// NaN of none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// percentile is the smallest value that at least this share of the values does
// not exceed (nearest rank): a time that was really measured. NaN of none.
func percentile(values []float64, share float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	rank := int(math.Ceil(share * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// comparison is what alternating slices of two sides say.
type comparison struct {
	Median float64 // of the ratios of the pairs: what both sides suffered in a pair cancels out
	Best   float64 // best slice ÷ best slice: what it may be on a quiet machine
}

// compare divides the rates of a by those of b, pair by pair.
func compare(a, b []float64) comparison {
	pairs := min(len(a), len(b))
	if pairs == 0 {
		return comparison{Median: math.NaN(), Best: math.NaN()}
	}
	ratios := make([]float64, pairs)
	for i := range ratios {
		ratios[i] = a[i] / b[i]
	}
	return comparison{Median: median(ratios), Best: slices.Max(a) / slices.Max(b)}
}

func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}
