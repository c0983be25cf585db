package httpapi

import (
	"bytes"
	"compress/gzip"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

// documentation is the API without a database, which its documents do not need.
func documentation(t *testing.T) string {
	t.Helper()
	web := httptest.NewServer(New(Options{Log: slog.New(slog.DiscardHandler)}).Handler())
	t.Cleanup(web.Close)
	return web.URL
}

func TestDocumentsAreReadWithoutAKey(t *testing.T) {
	t.Parallel()
	url := documentation(t)
	for _, f := range documents {
		got := do(t, url, call{method: "GET", path: f.path})
		if got.status != 200 || got.body == "" || got.header.Get("Content-Type") != f.mediaType || got.header.Get("Content-Security-Policy") != docsPolicy {
			t.Errorf("%s: %d %v", f.path, got.status, got.header)
		}
		if got.header.Get("X-Content-Type-Options") != "nosniff" || got.header.Get("Cache-Control") != "no-cache" {
			t.Errorf("%s: %v", f.path, got.header)
		}
		head := do(t, url, call{method: "HEAD", path: f.path})
		if head.status != 200 || head.body != "" || head.header.Get("Content-Length") != got.header.Get("Content-Length") {
			t.Errorf("HEAD %s: %d %v", f.path, head.status, head.header)
		}
	}
	if got := do(t, url, call{method: "GET", path: "/openapi.yaml"}); got.body != OpenAPI() {
		t.Errorf("/openapi.yaml is another text than api openapi prints: %.100s", got.body)
	}
}

func TestCompressedAssetsReachEveryClient(t *testing.T) {
	t.Parallel()
	url := documentation(t)
	for accept, compressed := range map[string]bool{
		"": false, "gzip": true, "br, GZIP;q=0.5": true, "deflate, gzip; q=1.0": true, "gzip;q=0": false, "gzip;q=x": false, "br": false, "xgzip": false,
	} {
		got := do(t, url, call{method: "GET", path: "/docs/swagger-ui.css", header: map[string]string{"Accept-Encoding": accept}})
		if (got.header.Get("Content-Encoding") == "gzip") != compressed || got.header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%q: %v", accept, got.header)
		}
		body := got.body
		if compressed {
			body = inflate(t, body)
		}
		if !strings.HasPrefix(body, ".swagger-ui") {
			t.Errorf("%q: %.50q", accept, body)
		}
	}
}

func inflate(t *testing.T, s string) string {
	t.Helper()
	z, err := gzip.NewReader(strings.NewReader(s))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestUnchangedDocumentsAreNotSentAgain(t *testing.T) {
	t.Parallel()
	url := documentation(t)
	for _, f := range documents {
		for match, status := range map[string]int{f.etag: 304, `"x", ` + f.etag: 304, `"x"`: 200, "": 200} {
			got := do(t, url, call{method: "GET", path: f.path, header: map[string]string{"If-None-Match": match}})
			if got.status != status || got.header.Get("ETag") != f.etag || (status == 304) != (got.body == "") {
				t.Errorf("%s with %q: %d %v", f.path, match, got.status, got.header)
			}
		}
	}
}

// The policy would stop it, and the page would stay empty.
func TestPageHasNothingInlineAndNothingFromElsewhere(t *testing.T) {
	t.Parallel()
	if found := regexp.MustCompile(`(?i)<style|\son\w+=|style=|javascript:|https?://|<script>`).FindString(string(docsIndex)); found != "" {
		t.Errorf("docs/index.html has %q", found)
	}
	if !bytes.Contains(docsIndex, []byte("<title>Sonicus webhooks</title>")) {
		t.Error("the page has another title")
	}
	url := documentation(t)
	for _, m := range regexp.MustCompile(`(?:src|href)="([^"]*)"`).FindAllSubmatch(docsIndex, -1) {
		if got := do(t, url, call{method: http.MethodGet, path: string(m[1])}); got.status != 200 {
			t.Errorf("%s: %d", m[1], got.status)
		}
	}
}
