package webhook_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/sonicus/webhooks/pkg/signature"
	"github.com/sonicus/webhooks/pkg/webhook"
)

// capture sends r to a peer that keeps the request's bytes.
func capture(t *testing.T, r attempt) (wire, url string) {
	t.Helper()
	var raw bytes.Buffer
	done := make(chan struct{})
	p := newPeer(t, func(c net.Conn) {
		defer close(done)
		if readRequest(bufio.NewReader(io.TeeReader(c, &raw))) == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
		}
	})
	r.URL = p.url + "?a=1"
	wantReason(t, newSender(t, webhook.Options{}).Send(t.Context(), r), "")
	<-done
	return raw.String(), p.addr.String()
}

func TestRequestOnTheWireByteForByte(t *testing.T) {
	t.Parallel()
	oldKey, newKey := []byte("the-secret-before-rotation"), []byte("the-secret-after-rotation!")
	tests := []struct {
		name   string
		keys   [][]byte
		signed func(at time.Time, id string) []string // the lines that depend on the keys
	}{
		{"unsigned", nil, func(time.Time, string) []string { return nil }},
		{"one key", [][]byte{newKey}, func(at time.Time, id string) []string {
			return []string{signature.Sonicus(newKey, []byte(body)), signature.Standard(newKey, id, at, []byte(body))}
		}},
		{"rotation", [][]byte{newKey, oldKey}, func(at time.Time, id string) []string {
			return []string{
				signature.Sonicus(newKey, []byte(body)),
				signature.Standard(newKey, id, at, []byte(body)) + " " + signature.Standard(oldKey, id, at, []byte(body)),
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := request("")
			r.Keys = tt.keys
			before := time.Now().Unix()
			wire, host := capture(t, r)
			at := sentAt(t, wire)
			if at.Unix() < before || at.Unix() > time.Now().Unix() {
				t.Errorf("webhook-timestamp is not the time of the attempt: %v", at)
			}
			want := documented(host, at, tt.signed(at, r.EventID.String()))
			if diff := cmp.Diff(want, wire); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func sentAt(t *testing.T, wire string) time.Time {
	t.Helper()
	found := regexp.MustCompile(`\r\nwebhook-timestamp: (\d+)\r\n`).FindStringSubmatch(wire)
	if found == nil {
		t.Fatalf("no webhook-timestamp in %s", wire)
	}
	seconds, err := strconv.ParseInt(found[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return time.Unix(seconds, 0)
}

// documented is the request as the documentation has it.
func documented(host string, at time.Time, signatures []string) string {
	lines := []string{
		"POST /hook?a=1 HTTP/1.1",
		"Host: " + host,
		"User-Agent: Sonicus-Webhooks/1.0",
		"Content-Length: " + strconv.Itoa(len(body)),
		"Accept-Encoding: identity",
		"Content-Type: application/json",
		"X-Sonicus-Attempt: 3",
		"X-Sonicus-Delivery-ID: 0198b5a4-7d1c-7f5e-9a55-1c0ffee00001",
		"X-Sonicus-Event: organization.created",
		"X-Sonicus-Event-ID: 550e8400-e29b-41d4-a716-446655440000",
	}
	if signatures != nil {
		lines = append(lines, "X-Sonicus-Signature: "+signatures[0])
	}
	lines = append(lines, "X-Sonicus-Timestamp: 2025-08-07T16:20:52.123456Z", "webhook-id: 550e8400-e29b-41d4-a716-446655440000")
	if signatures != nil {
		lines = append(lines, "webhook-signature: "+signatures[1])
	}
	lines = append(lines, fmt.Sprintf("webhook-timestamp: %d", at.Unix()), "", body)
	return strings.Join(lines, "\r\n")
}

func TestBothLibrariesAcceptTheRequest(t *testing.T) {
	t.Parallel()
	const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	key, err := signature.DecodeSecret(secret)
	if err != nil {
		t.Fatal(err)
	}
	r := request("")
	r.Keys = [][]byte{key}
	wire, _ := capture(t, r)
	req, err := http.ReadRequest(bufio.NewReader(strings.NewReader(wire)))
	if err != nil {
		t.Fatal(err)
	}
	ours, err := signature.New(secret)
	if err != nil {
		t.Fatal(err)
	}
	if err := ours.Verify(req.Header, []byte(body)); err != nil {
		t.Error(err)
	}
	theirs, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	if err := theirs.Verify([]byte(body), req.Header); err != nil {
		t.Error(err)
	}
}

func TestHeaderValuesCannotInjectLines(t *testing.T) {
	t.Parallel()
	p := newPeer(t, answer("HTTP/1.1 204 No Content\r\n\r\n"))
	for _, value := range []string{"a\r\nX-Evil: 1", "a\nb", "a\rb", "a\x00b"} {
		r := request(p.url)
		r.EventType = value
		got := newSender(t, webhook.Options{}).Send(t.Context(), r)
		if got.Reason == "" || got.Sent || strings.Contains(got.Error, "Evil") {
			t.Errorf("%q: got %+v", value, got)
		}
	}
	if n := p.accepted.Load(); n != 0 {
		t.Errorf("%d connections", n)
	}
}
