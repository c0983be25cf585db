package main

import "time"

// pace is how long and how large everything is.
type pace struct {
	warm, slice time.Duration // of a slice: what is not measured, and what is
	pairs       int
	history     int           // settled deliveries of R2
	deep        int           // due deliveries of one endpoint in R7, and of all in M
	held        time.Duration // how long R3's snapshot is held
	window      time.Duration // of R3, before and at the end
	latency     time.Duration // how long L creates organizations
	wal         int           // deliveries of W
	repeats     int           // of R7
	memory      time.Duration // how long M delivers
}

// fullPace keeps a whole run under 25 minutes on two cores.
var fullPace = pace{
	warm: time.Second, slice: 5 * time.Second, pairs: 5, history: 5_000_000, deep: 1_000_000,
	held: 2 * time.Minute, window: 20 * time.Second, latency: 30 * time.Second, wal: 50_000, repeats: 3, memory: 15 * time.Second,
}

// quickPace shows that everything works; its figures mean nothing.
var quickPace = pace{
	warm: 500 * time.Millisecond, slice: time.Second, pairs: 2, history: 100_000, deep: 50_000,
	held: 6 * time.Second, window: 2 * time.Second, latency: 4 * time.Second, wal: 5_000, repeats: 1, memory: 3 * time.Second,
}

// paceOf is the pace that the options ask for. A profile wants one slice long enough to
// show something, and shorter than the 30 s in which the admin server has to answer.
func paceOf(o options) pace {
	p := fullPace
	if o.quick {
		p = quickPace
	}
	if o.profile != "" {
		p.pairs, p.repeats = 1, 1
		if !o.quick {
			p.slice, p.window, p.latency, p.memory = profileLimit, profileLimit, profileLimit, profileLimit
		}
	}
	return p
}

const profileLimit = 25 * time.Second
