package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"time"
)

// rawClients is how many requests the plain client has in flight: as many as the
// dispatcher has for one endpoint by default.
const rawClients = 32

// runRaw is the client that the dispatcher is compared with: it POSTs the same
// number of bytes and reads the answers, and does nothing else. The sink counts.
func runRaw(ctx context.Context, urls []string, stdout io.Writer) error {
	if len(urls) == 0 {
		return fmt.Errorf("%w: raw needs a URL", errUsage)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		MaxIdleConns: rawClients, MaxIdleConnsPerHost: rawClients, DisableCompression: true,
	}}
	body := []byte(payload("00000000-0000-7000-8000-000000000000"))
	fmt.Fprintln(stdout, "posting")
	var clients sync.WaitGroup
	failed := make(chan error, rawClients)
	for i := range rawClients {
		clients.Go(func() {
			for ctx.Err() == nil {
				if err := post(ctx, client, urls[i%len(urls)], body); err != nil && ctx.Err() == nil {
					failed <- err
					return
				}
			}
		})
	}
	clients.Wait()
	close(failed)
	var errs []error
	for err := range failed {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func post(ctx context.Context, client *http.Client, url string, body []byte) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close() //nolint:errcheck // read to its end
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the sink answered %s", response.Status)
	}
	return nil
}

// payloadSize is that of an organization.created with all its fields filled.
const payloadSize = 700

// payload is a request body of payloadSize bytes.
func payload(eventID string) string {
	const head, middle, tail = `{"event_type":"organization.created","event_id":"`, `","data":{"organization":{"name":"`, `"}}}`
	filler := payloadSize - len(head) - len(eventID) - len(middle) - len(tail)
	return head + eventID + middle + strings.Repeat("x", filler) + tail
}
