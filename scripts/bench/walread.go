package main

import (
	"context"
	"fmt"
	"math"
	"time"
)

// walMark is a place in the write-ahead log.
type walMark struct {
	LSN     string `db:"lsn"`
	Records int64  `db:"records"`
	Images  int64  `db:"images"`
}

// walPosition reads the counters after a pause, because a backend may hand its
// counts over a second late.
func (w *world) walPosition(ctx context.Context) (m walMark, err error) {
	if !waitFor(ctx, 1100*time.Millisecond) {
		return m, ctx.Err()
	}
	err = w.db.GetContext(ctx, &m, `
		SELECT pg_current_wal_insert_lsn()::text AS lsn, wal_records AS records, wal_fpi AS images FROM pg_stat_wal`)
	return m, err
}

// walBetween divides what was written between two marks by n.
func (w *world) walBetween(ctx context.Context, from, to walMark, n float64) (walUse, error) {
	var bytes float64
	if err := w.db.GetContext(ctx, &bytes, `SELECT pg_wal_lsn_diff($1::pg_lsn, $2::pg_lsn)::double precision`, to.LSN, from.LSN); err != nil {
		return walUse{}, fmt.Errorf("read the size of the WAL: %w", err)
	}
	images := math.NaN()
	var size float64
	err := w.db.GetContext(ctx, &size, `SELECT coalesce(sum(fpi_size), 0)::double precision FROM pg_get_wal_stats($1::pg_lsn, $2::pg_lsn)`, from.LSN, to.LSN)
	if err == nil {
		images = size
	}
	return perDelivery(from, to, bytes, images, n), nil
}

// perDelivery divides; bytes and imageBytes are what was written between the marks.
func perDelivery(from, to walMark, bytes, imageBytes, n float64) walUse {
	return walUse{
		bytes: bytes / n, records: float64(to.Records-from.Records) / n, images: float64(to.Images-from.Images) / n, imageBytes: imageBytes / n,
	}
}

// untilEmpty waits until every delivery is settled. It looks at the sink first, because
// looking at a queue that is being worked off costs.
func (d *deliveries) untilEmpty(ctx context.Context, c *child) error {
	for {
		counts, err := d.counts(ctx)
		if err != nil {
			return err
		}
		if counts.Requests[d.label] >= d.loaded.Load() {
			left, err := d.queued(ctx, nil)
			if err != nil || left == 0 {
				return err
			}
		}
		if err := c.alive(); err != nil {
			return err
		}
		if !waitFor(ctx, 20*time.Millisecond) {
			return ctx.Err()
		}
	}
}
