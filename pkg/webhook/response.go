package webhook

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	maxRetryAfter  = 24 * time.Hour
	maxHeaderValue = 512 // bytes of one stored header
)

// storedNames are the response headers worth keeping, none of which is a secret.
// 14 names with at most 512 bytes each stay under 8 KiB.
var storedNames = []string{
	"Allow", "Cf-Ray", "Content-Encoding", "Content-Length", "Content-Type", "Date", "Location", "Retry-After",
	"Server", "Traceparent", "Via", "X-Amzn-Trace-Id", "X-Correlation-Id", "X-Request-Id",
}

func storedHeaders(h http.Header, s secrets) map[string]string {
	var kept map[string]string
	for _, name := range storedNames {
		if values := h[name]; len(values) > 0 {
			if kept == nil {
				kept = make(map[string]string)
			}
			value := strings.Join(values, ", ")
			cut := len(value) > maxHeaderValue
			if cut { // as of a body, so that there is no more to be looked through
				value = value[:maxHeaderValue+1]
			}
			kept[name], _ = clean(s.mask(value, cut), maxHeaderValue)
		}
	}
	return kept
}

// heads are buffers for the beginning of a response body, used again and again.
var heads = sync.Pool{New: func() any { return new([maxStoredBody + 1]byte) }}

// readBody reads at most 64 KiB and keeps the beginning as text. No error matters
// here: the status has decided already, and the caller closes the connection unless
// the body was read to its end. Secrets are masked before anything is cut away; one
// that is read only in part is known by its beginning.
func readBody(resp *http.Response, s secrets) (text string, truncated bool) {
	if resp.StatusCode == http.StatusSwitchingProtocols || resp.Body == http.NoBody {
		return "", false // the connection itself is not a body
	}
	buf, _ := heads.Get().(*[maxStoredBody + 1]byte) // the pool holds nothing else
	defer heads.Put(buf)
	n, err := readFull(resp.Body, buf[:])
	if err == nil && n > maxStoredBody { // the rest, so that the connection can be used again
		_, _ = io.CopyN(io.Discard, resp.Body, maxReadBody-int64(n))
	}
	truncated = n > maxStoredBody || err != nil
	text, cut := clean(s.mask(string(buf[:n]), truncated), maxStoredBody)
	return text, truncated || cut
}

// readFull reads until buf is full or the body ends. The error is nil unless the
// body ended badly: io.ReadFull could not tell that from a body that is cut.
func readFull(body io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var got int
		got, err = body.Read(buf[n:])
		n += got
	}
	if err == io.EOF {
		err = nil
	}
	return n, err
}

// clean makes text that can be stored and shown anywhere: valid UTF-8 of at most
// limit bytes, with bytes that are not UTF-8 as \xNN and control and format
// characters escaped as in Go (\n, \x00, \u202e). Postgres refuses NUL in a text, and
// terminals obey the others. cut says that not everything fitted.
func clean[T string | []byte](raw T, limit int) (text string, cut bool) {
	text = string(raw)
	if len(text) <= limit && isHarmless(text) {
		return text, false
	}
	var b strings.Builder
	b.Grow(min(max(limit, 0), len(text)))
	for len(text) > 0 {
		r, size := utf8.DecodeRuneInString(text)
		piece := text[:size]
		switch {
		case r == utf8.RuneError && size == 1:
			piece = fmt.Sprintf(`\x%02x`, text[0])
		case !unicode.IsPrint(r):
			piece = strings.Trim(strconv.QuoteRune(r), "'")
		}
		if b.Len()+len(piece) > limit {
			return b.String(), true
		}
		b.WriteString(piece)
		text = text[size:]
	}
	return b.String(), false
}

// isHarmless reports whether clean has nothing to escape.
func isHarmless(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })
}

// retryAfter reads Retry-After: whole seconds, or an HTTP date, which is compared
// with the Date of the same answer, so that the two clocks need not agree, or with
// now when there is none. The past, negative numbers and junk are 0.
func retryAfter(h http.Header, now time.Time) time.Duration {
	value := h.Get("Retry-After")
	if value == "" {
		return 0
	}
	if strings.Trim(value, "0123456789") == "" {
		seconds, err := strconv.ParseInt(value, 10, 64)
		if err != nil || seconds > int64(maxRetryAfter/time.Second) { // too large to read is more than a day
			return maxRetryAfter
		}
		return time.Duration(seconds) * time.Second
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date
	}
	return min(max(at.Sub(now), 0), maxRetryAfter)
}
