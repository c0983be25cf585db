// Command demo shows the main job on a private Postgres: it starts the built
// api and dispatcher and a local receiver, registers the receiver, creates an
// organization over HTTP, and shows the signed delivery arriving. `demo up`
// stays in the foreground afterwards. Everything that it starts ends with it.
//
// It is also what a newcomer reads first, so it uses nothing that a user of the
// service could not use: the two programs, the REST API, SQL, and pkg/signature.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

func main() {
	runtime.LockOSThread() // children are told of the death of the thread that started them
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	dieWithParent()
	d := &demo{stayUp: len(os.Args) > 1 && os.Args[1] == "up", began: time.Now()}
	err := d.run(ctx)
	if ctx.Err() != nil {
		fmt.Println("\nstopping")
	} else if err != nil {
		fmt.Fprintln(os.Stderr, "\nThis did not work:", err)
		d.showLogs(os.Stderr)
		d.failed = true
	}
	closeErr := d.close()
	switch {
	case d.failed, ctx.Err() != nil && !d.stayUp:
		os.Exit(1)
	case closeErr != nil:
		fmt.Fprintln(os.Stderr, "\nIt did not end in order:", closeErr)
		os.Exit(1)
	case !d.stayUp:
		d.goodbye()
	}
}

// demo is one run; close undoes its steps in reverse order.
type demo struct {
	stayUp bool
	failed bool
	began  time.Time
	step   int

	undo []func() error
	lost context.CancelCauseFunc // ends the run when a child dies

	logs     string // directory of the children's logs
	children []*child

	database string // URL
	key      string // SONICUS_ENCRYPTION_KEYS
	api      string // base URL
	admin    [2]string
	token    string
	receiver *receiver
}

func (d *demo) run(ctx context.Context) error {
	ctx, d.lost = context.WithCancelCause(ctx)
	err := d.tell(ctx)
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause // says more than the step that it interrupted
	}
	return err
}

func (d *demo) tell(ctx context.Context) error {
	fmt.Println("Sonicus webhooks: one organization, one signed webhook.")
	for _, step := range []func(context.Context) error{
		d.startPostgres, d.startServices, d.startReceiver, d.registerEndpoint, d.createOrganization, d.showDelivery,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	if !d.stayUp {
		return nil
	}
	if err := d.registerOwnURL(ctx); err != nil {
		return err
	}
	d.invite()
	return d.stay(ctx)
}

// say prints a numbered step.
func (d *demo) say(format string, args ...any) {
	d.step++
	fmt.Printf("\n%2d. %s\n", d.step, fmt.Sprintf(format, args...))
}

func (d *demo) later(undo func() error) { d.undo = append(d.undo, undo) }

func (d *demo) close() error {
	var errs []error
	for i := len(d.undo) - 1; i >= 0; i-- {
		errs = append(errs, d.undo[i]())
	}
	d.undo = nil
	return errors.Join(errs...)
}
