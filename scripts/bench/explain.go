package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

const (
	manyEndpoints = 10_000
	dueDeliveries = 4 * manyEndpoints // so that a lane of many, too, gives as much as a claim asks of it
)

// situation is what the tables hold while the statements are explained: settled
// deliveries, and endpoints that have something due.
type situation struct{ settled, endpoints int }

func (s situation) String() string {
	plural := "s"
	if s.endpoints == 1 {
		plural = ""
	}
	return fmt.Sprintf("%s settled, %s endpoint%s", thousands(float64(s.settled)), thousands(float64(s.endpoints)), plural)
}

// explained is a statement in a situation: the run of median time, and the time
// of the best.
type explained struct {
	situation
	statement string
	plan
	best float64
}

// file is the name for the whole plan.
func (e explained) file() string {
	return strings.NewReplacer(", ", "-", ",", "", " ", "-").Replace(e.String()+" "+e.statement) + ".txt"
}

// explainAll explains the statements in all situations, writes their plans to
// files, and prints what is to be compared.
func explainAll(ctx context.Context, o options, stdout io.Writer) error {
	dir, err := bin("explain")
	if err != nil {
		return err
	}
	l := &lab{progress: newProgress(stdout), options: o, pace: paceOf(o)}
	all, err := l.explainSituations(ctx)
	if err := l.end(ctx, err); err != nil {
		return err
	}
	if err := writePlans(dir, all); err != nil {
		return fmt.Errorf("write the plans: %w", err)
	}
	fmt.Fprintf(stdout, "\n%s%s\n\n", machine(), caveat(o))
	writeExplained(stdout, all)
	fmt.Fprintf(stdout, "\nthe plans are in %s\n", dir)
	return nil
}

func (l *lab) explainSituations(ctx context.Context) (all []explained, err error) {
	if err := l.open(ctx); err != nil {
		return nil, err
	}
	err = l.bounded(ctx, func(ctx context.Context) error {
		none, err := l.newPast(ctx, 0)
		if err != nil {
			return err
		}
		full, err := l.newPast(ctx, l.pace.history)
		if err != nil {
			return err
		}
		for _, endpoints := range []int{1, manyEndpoints} {
			some, err := l.explainAlternately(ctx, endpoints, none, full)
			if err != nil {
				return err
			}
			all = append(all, some...)
		}
		return nil
	})
	return all, err
}

// past is a database in which so many deliveries have been settled.
type past struct {
	*deliveries
	settled int
}

func (l *lab) newPast(ctx context.Context, settled int) (past, error) {
	l.say("%s settled deliveries, %s endpoints", thousands(float64(settled)), thousands(manyEndpoints))
	d, err := l.ordinary(ctx, fmt.Sprintf("explain_%d", settled), manyEndpoints)
	if err != nil {
		return past{}, err
	}
	if settled > 0 {
		err = d.loadHistory(ctx, settled)
	}
	return past{d, settled}, err
}

// explainAlternately runs a batch in each of the databases, and again, so that what
// else the machine does meanwhile is the same for all.
func (l *lab) explainAlternately(ctx context.Context, endpoints int, pasts ...past) (all []explained, err error) {
	explainers := make([]*explainer, len(pasts))
	for i, p := range pasts {
		due := p.backlog[:endpoints]
		if err := p.refill(ctx, due); err != nil {
			return nil, err
		}
		if explainers[i], err = p.newExplainer(ctx, due); err != nil {
			return nil, err
		}
	}
	l.step("explaining with something due for %s", thousands(float64(endpoints)))
	for range warmUps + batches {
		for i, p := range pasts {
			if err := explainers[i].batch(ctx); err != nil {
				return nil, fmt.Errorf("%s: %w", situation{p.settled, endpoints}, err)
			}
		}
	}
	for i, p := range pasts {
		all = append(all, explainers[i].summary(situation{p.settled, endpoints})...)
	}
	return all, nil
}

// refill makes the queue anew, with something due for these endpoints alone.
func (d *deliveries) refill(ctx context.Context, endpoints []uuid.UUID) error {
	d.step("loading %s due deliveries", thousands(dueDeliveries))
	if _, err := d.db.ExecContext(ctx, `TRUNCATE sonicus.queue`); err != nil {
		return err
	}
	if err := d.pending(ctx, dueDeliveries, endpoints); err != nil {
		return err
	}
	if _, err := d.db.ExecContext(ctx, `ANALYZE sonicus.endpoints, sonicus.lanes`); err != nil {
		return err
	}
	return errors.Join(d.vacuum(ctx), d.checkpoint(ctx))
}

// writePlans leaves no plan of an earlier run beside its own.
func writePlans(dir string, all []explained) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, e := range all {
		if err := os.WriteFile(filepath.Join(dir, e.file()), []byte(e.text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// writeExplained prints a line for each statement in each situation. The first of
// those that differ in the history alone is what the others are compared with.
func writeExplained(w io.Writer, all []explained) {
	type kind struct {
		endpoints int
		statement string
	}
	bases := make(map[kind]explained)
	lines := [][]string{{"", "", "rows", "ms", "best", "÷ 0 settled", "buffers hit", "read", "÷ 0 settled", "partitions read"}}
	for _, e := range all {
		k, time, buffers := kind{e.endpoints, e.statement}, "", ""
		if base, known := bases[k]; known {
			time = fmt.Sprintf("%.2f", e.best/base.best)
			buffers = fmt.Sprintf("%.2f", float64(e.hit+e.read)/float64(base.hit+base.read))
		} else {
			bases[k] = e
		}
		lines = append(lines, []string{
			e.String(), e.statement, thousands(batchSize), fmt.Sprintf("%.2f", e.ms), fmt.Sprintf("%.2f", e.best), time,
			thousands(float64(e.hit)), thousands(float64(e.read)), buffers, strconv.Itoa(e.partitions),
		})
	}
	writeColumns(w, lines)
	fmt.Fprintf(w, `
Each is the run of median time of %d, after %d others on the same connection; times include what timing every step costs, and are
compared best with best. Claims are of 1 lane × %d or %d lanes × %d. A larger index may have one level, and so one buffer for each
look-up, more than a small one.
`, batches, warmUps, batchSize, batchLanes, batchSize/batchLanes)
}
