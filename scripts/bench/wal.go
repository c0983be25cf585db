package main

import (
	"context"
	"errors"
	"fmt"
	"math"
)

const walLimit = 1000 // bytes per delivery

// walUse is what a run wrote ahead, per delivery.
type walUse struct {
	bytes, records float64
	images         float64 // full-page images
	imageBytes     float64 // their size, NaN where pg_walinspect is not installed
}

// measureWAL is W. The figure is of deliveries whose pages were touched after the last
// checkpoint, as those are that are delivered within minutes of their commit;
// beside it stands the worst case, a checkpoint right before the first claim,
// after which every page is written whole once.
func measureWAL(ctx context.Context, l *lab) (result, error) {
	d, err := l.ordinary(ctx, "w", usualEndpoints)
	if err != nil {
		return result{}, err
	}
	if _, err := d.db.ExecContext(ctx, `CREATE EXTENSION IF NOT EXISTS pg_walinspect`); err != nil {
		l.say("without the size of full-page images: %v", err)
	}
	if err := l.checkpoint(ctx); err != nil {
		return result{}, err
	}
	foreign := l.watch()
	usual, err := d.walPerDelivery(ctx, func() error { return nil })
	if err != nil {
		return result{}, err
	}
	worst, err := d.walPerDelivery(ctx, func() error { return l.checkpoint(ctx) })
	if err != nil {
		return result{}, err
	}
	r := result{
		Figure: thousands(usual.bytes) + " bytes", Met: usual.bytes <= walLimit, Foreign: known(foreign()),
		Values: map[string]float64{
			"bytes": usual.bytes, "records": usual.records, "full_page_images": usual.images,
			"bytes_after_checkpoint": worst.bytes, "full_page_images_after_checkpoint": worst.images,
		},
	}
	r.note("%s; checkpoint before the load: full-page images hardly included. Right after a checkpoint: %s", usual, worst)
	return r, nil
}

func (u walUse) String() string {
	images := "size unknown"
	if !math.IsNaN(u.imageBytes) {
		images = thousands(u.imageBytes) + " bytes"
	}
	return fmt.Sprintf("%s bytes and %.1f records per delivery, of which %.3f full-page images (%s)", thousands(u.bytes), u.records, u.images, images)
}

// walPerDelivery loads a backlog and has it delivered to the last row.
func (d *deliveries) walPerDelivery(ctx context.Context, before func() error) (walUse, error) {
	n := d.pace.wal
	d.step("loading %s deliveries", thousands(float64(n)))
	if err := d.pending(ctx, n, d.backlog); err != nil {
		return walUse{}, err
	}
	if err := d.vacuum(ctx); err != nil {
		return walUse{}, err
	}
	if err := before(); err != nil {
		return walUse{}, err
	}
	from, err := d.walPosition(ctx)
	if err != nil {
		return walUse{}, err
	}
	d.step("delivering %s", thousands(float64(n)))
	c, err := d.dispatch(ctx)
	if err != nil {
		return walUse{}, err
	}
	profiled := d.profile(ctx, c)
	if err := d.untilEmpty(ctx, c); err != nil {
		return walUse{}, err
	}
	to, err := d.walPosition(ctx)
	if err != nil {
		return walUse{}, err
	}
	if err := errors.Join(profiled(), c.stop(), d.check(ctx, 0)); err != nil {
		return walUse{}, err
	}
	return d.walBetween(ctx, from, to, float64(n))
}
