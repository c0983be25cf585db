package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// profile takes a CPU profile of the program while it is
// being measured; the function that is returned waits for it and takes one of the
// heap. Without --profile, or for a program without such an address, neither does
// anything. What is measured first is profiled: the side that the row is about.
func (l *lab) profile(ctx context.Context, c *child) (finish func() error) {
	if l.options.profile == "" || c == nil || c.admin == "" || l.profiled {
		return func() error { return nil }
	}
	l.profiled = true
	seconds := max(1, int(min(l.pace.slice, profileLimit).Seconds()))
	done := make(chan error, 1)
	go func() {
		done <- download(ctx, fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", c.admin, seconds), filepath.Join(l.options.profile, "cpu.pprof"))
	}()
	return func() error {
		return errors.Join(<-done, download(ctx, "http://"+c.admin+"/debug/pprof/heap", filepath.Join(l.options.profile, "heap.pprof")))
	}
}

// download writes an answer to a file.
func download(ctx context.Context, url, file string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	defer response.Body.Close() //nolint:errcheck // read to its end
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("profile: %s answered %s", url, response.Status)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, content, 0o600)
}
