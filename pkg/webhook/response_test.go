package webhook

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestStoredTextIsHarmless(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, raw, want string
		limit           int
		cut             bool
	}{
		{"plain", `{"ok": true, "s": "a\nb"}`, `{"ok": true, "s": "a\nb"}`, 100, false},
		{"other alphabets", "größe 日本 🎉", "größe 日本 🎉", 100, false},
		{"NUL", "a\x00b", `a\x00b`, 100, false},
		{"line ends", "a\r\nb\tc", `a\r\nb\tc`, 100, false},
		{"terminal escapes", "\x1b[31m\a\x7f\u009b", `\x1b[31m\a\x7f\u009b`, 100, false},
		{"direction marks", "a\u202eb\u2028\ufeff", `a\u202eb\u2028\ufeff`, 100, false},
		{"not UTF-8", "a\xff\xc3(\xed\xa0\x80", `a\xff\xc3(\xed\xa0\x80`, 100, false},
		{"a real replacement character", "\ufffd", "\ufffd", 100, false},
		{"quotes and backslashes stay", `'"\`, `'"\`, 100, false},
		{"exactly the limit", "abcd", "abcd", 4, false},
		{"over the limit", "abcde", "abcd", 4, true},
		{"never half a character", "abcü", "abc", 4, true},
		{"never half an escape", "abc\x00", "abc", 4, true},
		{"empty", "", "", 4, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got, cut := clean([]byte(tt.raw), tt.limit); got != tt.want || cut != tt.cut {
				t.Errorf("got %q, %v", got, cut)
			}
		})
	}
}

func FuzzClean(f *testing.F) {
	f.Add([]byte("a\x00\xff\u202e"), 10)
	f.Fuzz(func(t *testing.T, raw []byte, limit int) {
		got, cut := clean(raw, limit)
		if len(got) > max(limit, 0) || !utf8.ValidString(got) || strings.ContainsFunc(got, unicode.IsControl) {
			t.Errorf("got %q for limit %d", got, limit)
		}
		if !cut && len(got) < len(raw) {
			t.Errorf("%q lost something of %q", got, raw)
		}
	})
}

func TestReadsAtMost64KiBOfABody(t *testing.T) {
	t.Parallel()
	const all = 1 << 20
	rest := strings.NewReader(strings.Repeat("x", all))
	text, truncated := readBody(&http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(rest)}, nil)
	if read := all - rest.Len(); read != maxReadBody || len(text) != maxStoredBody || !truncated {
		t.Errorf("read %d, kept %d, truncated %v", read, len(text), truncated)
	}
}

func TestProgressOnlyMovesForward(t *testing.T) {
	t.Parallel()
	var p progress
	p.reach(waiting)
	p.reach(connecting) // a dial that lost against an idle connection
	if p.reached() != waiting {
		t.Errorf("fell back to %s", p.reached())
	}
}

func TestStoredHeadersAreFewAndSmall(t *testing.T) {
	t.Parallel()
	h := http.Header{"Set-Cookie": {"a=b"}, "X-Api-Key": {"k"}, "Location": {"https://a/\x1b[0m"}, "Via": {"1.1 a", "1.1 b"}}
	got := storedHeaders(h, nil)
	if len(got) != 2 || got["Location"] != `https://a/\x1b[0m` || got["Via"] != "1.1 a, 1.1 b" {
		t.Errorf("got %v", got)
	}
	for _, name := range storedNames {
		if name != http.CanonicalHeaderKey(name) {
			t.Errorf("%s would never be found", name)
		}
		h.Set(name, strings.Repeat("\x00", 64<<10))
	}
	size := 0
	for name, value := range storedHeaders(h, nil) {
		size += len(name) + len(value)
	}
	if size > 8<<10 {
		t.Errorf("%d bytes", size)
	}
}

// A Sender that was never made by NewSender has no transport: a defect like any other.
func TestPanicBecomesAResult(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	s := &Sender{log: slog.New(slog.NewTextHandler(&log, nil))}
	target := &Target{url: &url.URL{Scheme: "https", Host: "hooks.example.com", RawQuery: "token=c4n4ry"}}
	got := s.Send(t.Context(), Request{Target: target, Body: []byte("c4n4ry")})
	if got.Reason != Internal || got.Error == "" || got.Sent || got.Took <= 0 {
		t.Errorf("got %+v", got)
	}
	if !strings.Contains(log.String(), "webhook send panicked") || strings.Contains(log.String(), "c4n4ry") {
		t.Errorf("logged %s", log.String())
	}
}
