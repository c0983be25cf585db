package dispatch

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/outbox"
	"github.com/sonicus/webhooks/pkg/postgres"
)

const (
	// tallyEvery is how often it is looked whether statistics are to be written, and
	// tallyLatest when they are at the latest: what a crash may lose of them.
	tallyEvery  = 2 * time.Second
	tallyLatest = 10 * time.Second
	// tallyWorth is how many attempts are worth a row: with many endpoints that get
	// little, rows would cost as much as deliveries.
	tallyWorth = 16
	// tallyMost bounds the rows that are kept while the database does not take them:
	// some megabytes.
	tallyMost = 20_000
	// tallyTimeout bounds a try to write them.
	tallyTimeout = 15 * time.Second
	// tallyLast bounds the last one, at a stop.
	tallyLast = 5 * time.Second
	// condenseEvery is how often old statistics are summed up.
	condenseEvery = time.Minute
)

// statistics collects what becomes of deliveries and writes it every few seconds.
// Losing some of it harms no delivery, so nothing ever waits for it.
type statistics struct {
	db  *postgres.DB
	log *slog.Logger

	mu       sync.Mutex
	pending  outbox.Tally
	attempts int       // in pending
	oldest   time.Time // when pending was empty

	writing sync.Mutex // one at a time
}

func newStatistics(db *postgres.DB, log *slog.Logger) *statistics {
	return &statistics{db: db, log: log, pending: outbox.Tally{}}
}

// note counts results that have been recorded, but for tests and for the late ones, which
// say nothing of what became of their deliveries. now is the time of the recording, by the database's clock.
func (s *statistics) note(now time.Time, results []outbox.Result, late []uuid.UUID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ignored := make(map[uuid.UUID]bool, len(late))
	for _, id := range late {
		ignored[id] = true
	}
	if len(s.pending) == 0 {
		s.oldest = time.Now()
	}
	for _, r := range results {
		if !ignored[r.DeliveryID] && !r.Test {
			s.pending.Add(now, r)
			s.attempts++
		}
	}
	s.bound()
}

// bound forgets single endpoints, and keeps the totals, when there is too much to keep.
func (s *statistics) bound() {
	if len(s.pending) <= tallyMost {
		return
	}
	before := len(s.pending)
	s.pending.Forget()
	s.log.Warn("statistics of single endpoints are lost, the database has not taken them for too long", slog.Int("rows", before-len(s.pending)))
}

// due says whether what was collected is worth writing, or has waited for long enough.
func (s *statistics) due(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.pending) > 0 && (s.attempts >= tallyWorth*len(s.pending) || now.Sub(s.oldest) >= tallyLatest)
}

// write writes what was collected. What could not be written is kept.
func (s *statistics) write(ctx context.Context) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	tally, attempts, oldest := s.pending, s.attempts, s.oldest
	s.pending, s.attempts = outbox.Tally{}, 0
	s.mu.Unlock()
	err := tally.Write(ctx, s.db)
	if len(tally) > 0 {
		s.mu.Lock()
		defer s.mu.Unlock()
		tally.AddAll(s.pending)
		s.pending, s.attempts, s.oldest = tally, s.attempts+attempts, oldest
		s.bound()
	}
	return err
}

// run writes statistics, and sums old ones up, until ctx ends.
func (s *statistics) run(ctx context.Context) {
	failing := false
	var condensed time.Time
	for ctx.Err() == nil {
		pause(ctx, nil, tallyEvery)
		err := s.writeIfDue(ctx)
		if now := time.Now(); err == nil && now.Sub(condensed) >= condenseEvery {
			condensed = now
			err = s.condense(ctx)
		}
		if err != nil && !failing && ctx.Err() == nil {
			s.log.Warn("cannot write statistics, keeping them", slog.Any("error", err))
		}
		failing = err != nil
	}
}

func (s *statistics) writeIfDue(ctx context.Context) error {
	if !s.due(time.Now()) {
		return nil
	}
	// A stop must not cut it in two: run's end writes the rest.
	short, cancel := context.WithTimeout(context.WithoutCancel(ctx), tallyTimeout)
	defer cancel()
	return s.write(short)
}

func (s *statistics) condense(ctx context.Context) error {
	for ctx.Err() == nil {
		short, cancel := context.WithTimeout(ctx, tallyTimeout)
		n, err := outbox.Condense(short, s.db)
		cancel()
		if n == 0 || err != nil {
			return err
		}
	}
	return ctx.Err()
}

// finish writes what is left at a stop, for which it may take a moment.
func (s *statistics) finish(ctx context.Context) {
	if err := s.write(ctx); err != nil && !errors.Is(err, postgres.ErrCommitUnknown) {
		s.log.Warn("the last statistics are lost", slog.Any("error", err))
	}
}
