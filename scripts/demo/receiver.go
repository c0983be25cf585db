package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/sonicus/webhooks/pkg/event"
	"github.com/sonicus/webhooks/pkg/signature"
)

// receiver is what an integrator writes: it verifies before it believes.
type receiver struct {
	url  string
	got  chan delivery
	mu   sync.Mutex
	keys *signature.Verifier
}

// delivery is a request as it arrived, and what verifying it said.
type delivery struct {
	header         http.Header
	body           string
	hexErr, triple error
}

func (d *demo) startReceiver(ctx context.Context) error {
	d.say("receiver: verifies every signature with pkg/signature")
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	r := &receiver{url: "http://" + listener.Addr().String() + "/webhook/organization-created", got: make(chan delivery, 100)}
	server := &http.Server{Handler: r, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = server.Serve(listener) }()
	d.later(server.Close)
	d.receiver = r
	note("listens on %s", r.url)
	return nil
}

// trust sets the secret to verify with.
func (r *receiver) trust(secret string) error {
	v, err := signature.New(secret)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keys = v
	return nil
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, event.MaxPayload))
	if err != nil {
		http.Error(w, "body too large", http.StatusRequestEntityTooLarge)
		return
	}
	r.mu.Lock()
	v := r.keys
	r.mu.Unlock()
	d := delivery{header: req.Header, body: string(body), hexErr: v.VerifySonicus(req.Header, body), triple: v.VerifyStandard(req.Header, body)}
	if d.hexErr != nil || d.triple != nil {
		w.WriteHeader(http.StatusUnauthorized)
	} else {
		w.WriteHeader(http.StatusNoContent)
	}
	select {
	case r.got <- d:
	default: // nobody is looking any more
	}
}

// shown are the headers as they are spelled on the wire; Go's server, like most,
// folds their case.
var shown = []string{
	"Content-Type", "User-Agent", "X-Sonicus-Event", "X-Sonicus-Event-ID", "X-Sonicus-Timestamp", "X-Sonicus-Signature",
	"X-Sonicus-Delivery-ID", "X-Sonicus-Attempt", "webhook-id", "webhook-timestamp", "webhook-signature",
}

// show prints a delivery as it was on the wire.
func (d delivery) show() {
	for _, name := range shown {
		if values := d.header.Values(name); len(values) > 0 {
			note("  %s: %s", name, strings.Join(values, ", "))
		}
	}
	note("")
	note("  %s", d.body)
	note("")
	note("X-Sonicus-Signature: %s    webhook-signature: %s", verdict(d.hexErr), verdict(d.triple))
}

func verdict(err error) string {
	if err != nil {
		return fmt.Sprintf("NOT VALID (%v)", err)
	}
	return "valid"
}
