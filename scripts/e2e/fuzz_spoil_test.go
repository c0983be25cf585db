package e2e_test

import (
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// spoil breaks a request in one of many ways.
func (f *fuzzer) spoil(r *rand.Rand, q *question) {
	choice := r.IntN(20)
	if len(q.body) > 0 && choice < 12 {
		f.spoilBody(r, q)
		return
	}
	switch choice % 5 {
	case 0, 1:
		spoilHeader(r, q)
	case 2:
		spoilQuery(r, q)
	case 3:
		spoilID(r, q)
	case 4:
		f.spoilTarget(r, q)
	}
}

func (f *fuzzer) spoilBody(r *rand.Rand, q *question) {
	var tree any
	if r.IntN(3) == 0 || json.Unmarshal(q.body, &tree) != nil {
		q.body = spoilBytes(r, q.body)
		return
	}
	q.body = encoded(spoilValue(r, tree))
}

var hostileHeaders = [][2]string{
	{"Content-Type", "text/plain"},
	{"Content-Type", "application/json; charset=utf-16"},
	{"Content-Type", "application/json;"},
	{"Content-Type", "multipart/form-data; boundary=x"},
	{"Content-Type", ""},
	{"Content-Type", "application/merge-patch+json"},
	{"Content-Type", "APPLICATION/JSON; CHARSET=UTF-8"},
	{"Content-Type", "application/json, text/plain"},
	{"Content-Encoding", "gzip"},
	{"Content-Encoding", "identity"},
	{"X-Request-Id", "x"},
	{"X-Request-Id", "a\tb"},
	{"X-Request-Id", "6f2c1b4e0f574c539d3c3a5f1f6f0c11"},
	{"X-Request-Id", strings.Repeat("9", 20000)},
	{"Accept", "text/html"},
	{"Accept", "*/*;q=0"},
	{"Expect", "100-continue"},
	{"If-Match", "*"},
	{"If-Match", `W/"x"`},
	{"If-Match", `"` + strings.Repeat("z", 5000) + `"`},
	{"If-Match", `"zzzzzzzzzzzzzz", ,"`},
	{"If-None-Match", "*"},
	{"If-Match", "\xff\xfe"},
	{"Idempotency-Key", ""},
	{"Idempotency-Key", " "},
	{"Idempotency-Key", "a b"},
	{"Idempotency-Key", "\xe9"},
	{"Idempotency-Key", strings.Repeat("k", 255)},
	{"Idempotency-Key", strings.Repeat("k", 256)},
	{"Idempotency-Key", "one"},
	{"X-Forwarded-For", "1.2.3.4\", \"forged"},
	{"X-HTTP-Method-Override", "DELETE"},
	{"Range", "bytes=0-"},
	{"Cookie", marker},
	{"X-Padding", strings.Repeat("p", 40000)},
	{"Origin", "http://127.0.0.1"},
	{"Upgrade", "h2c"},
	{"Accept-Encoding", "gzip"},
	{"Te", "trailers"},
	{"Authorization", "Bearer " + marker},
	{"Authorization", "Bearer \x80"},
	{"User-Agent", "a\tb\x7f"[:3]},
}

func spoilHeader(r *rand.Rand, q *question) {
	h := pick(r, hostileHeaders)
	if r.IntN(8) == 0 {
		q.header[h[0]] = append(q.header[h[0]], h[1])
		return
	}
	q.header[h[0]] = []string{h[1]}
	q.chunked = r.IntN(4) == 0
}

func spoilQuery(r *rand.Rand, q *question) {
	path, query, _ := strings.Cut(q.path, "?")
	value := url.QueryEscape(unquoted(hostile(r)))
	name := pick(r, []string{"limit", "cursor", "nick", "q", "since", "until", "", "%00", "limit%00", "Limit", "organization_id", "event", "status"})
	if q.op != nil && len(q.op.Parameters) > 0 && r.IntN(3) > 0 {
		name = pick(r, q.op.Parameters).Value.Name
	}
	q.path = path + "?" + pick(r, []string{
		name + "=" + value, name + "=" + value, name + "=" + value, query + "&" + name + "=" + value, query + "&" + query, name, "%", "%zz=1", ";", "&&&=", "token=" + marker, "limit=0", "limit=201", "limit=1e2", "limit=-1",
		"limit=%31", "limit=99999999999999999999", "cursor=" + value, strings.Repeat("a=b&", 500), name + "=" + strings.Repeat("x", 1<<r.IntN(14)),
	})
}

var hostileIDs = []string{
	"1", "x", "%00", "%0a", "%0d%0a", "%27%20OR%201=1", "%F0%9F%92%A9", "%ff", "%c0%af", "..%2f..", "%2e%2e", "*", "-1", "null", "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff",
	"%7B6f2c1b4e-0f57-4c53-9d3c-3a5f1f6f0c11%7D", "urn:uuid:6f2c1b4e-0f57-4c53-9d3c-3a5f1f6f0c11", "6f2c1b4e0f574c539d3c3a5f1f6f0c11", ":id", "%3Aid", "{id}", "%20", "%09", "%1b[31m", "%25", "%252e", "+", "~", "%E2%80%AE",
}

// spoilID puts another thing into the place of an id.
func spoilID(r *rand.Rand, q *question) {
	path, query, _ := strings.Cut(q.path, "?")
	if q.op == nil || !strings.Contains(q.op.path, "{") {
		return
	}
	parts := strings.Split(path, "/")
	for i, part := range segments(q.op.path) {
		if isParameter(part) && r.IntN(2) == 0 {
			parts[i] = pick(r, append(slices.Clone(hostileIDs), uuid.NewString(), strings.ToUpper(parts[i]), parts[i][:len(parts[i])-1]+"0", strings.Repeat("9", 1<<r.IntN(13))))
		}
	}
	q.path = strings.Join(parts, "/")
	if query != "" {
		q.path += "?" + query
	}
}

// spoilTarget asks by another method, or of a path that is not described.
func (f *fuzzer) spoilTarget(r *rand.Rand, q *question) {
	switch r.IntN(5) {
	case 0, 1:
		q.method = pick(r, []string{"HEAD", "GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "get", "X-1"})
	case 2:
		q.path = pick(r, []string{
			"/", "/api", "/api/v1", "/api/v1/", "/api/v1/nothing", "/api/v2/organizations", "/API/v1/organizations", "/api/v1//organizations", "/api/v1/../v1/organizations", "/api/v1/webhooks", "/docs",
			"/docs/", "/docs/../api/v1", "/docs/x", "/openapi.yaml", "/docs/init.js", "/metrics", "/healthz", "/debug/pprof/", "/api%2Fv1/organizations", "/%61pi/v1/organizations", "/api/v1/organizations%00", "/favicon.ico",
		})
	case 3:
		path, query, _ := strings.Cut(q.path, "?")
		q.path = path + pick(r, []string{"/x", "//", "/%2f", "/.", "/..", ";a=b", "%00", "/" + uuid.NewString()}) + "?" + query
	case 4:
		q.path = "/" + strings.Replace(q.path[1:], "/", pick(r, []string{"//", "/./", "/%2e/", "/x/../"}), 1+r.IntN(2))
	}
	q.op = nil
	path, _, _ := strings.Cut(q.path, "?")
	for i := range f.operations {
		if o := &f.operations[i]; o.method == strings.Replace(q.method, http.MethodHead, http.MethodGet, 1) && reaches(o.path, path) {
			q.op = o
		}
	}
}
