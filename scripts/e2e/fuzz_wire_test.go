package e2e_test

import (
	"bufio"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"time"
)

// wires are requests that no HTTP client would send. HOST and KEY are replaced.
var wires = []string{
	"GET /api/v1/organizations HTTP/1.1\r\n\r\n",
	"GET /api/v1/organizations HTTP/1.0\r\n\r\n",
	"GET /api/v1/organizations HTTP/2.0\r\nHost: HOST\r\n\r\n",
	"GET /api/v1/organizations HTTP/1.1\r\nHost: HOST\r\nHost: other\r\n\r\n",
	"GET http://other.example/api/v1/organizations HTTP/1.1\r\nHost: HOST\r\nAuthorization: KEY\r\n\r\n",
	"GET //api/v1/organizations HTTP/1.1\r\nHost: HOST\r\nAuthorization: KEY\r\n\r\n",
	"GET /api/v1/organizations?limit=1#x HTTP/1.1\r\nHost: HOST\r\nAuthorization: KEY\r\n\r\n",
	"GET /api/v1/organizations\x00 HTTP/1.1\r\nHost: HOST\r\n\r\n",
	"GET /api/v1/organizations/\xff\xfe HTTP/1.1\r\nHost: HOST\r\nAuthorization: KEY\r\n\r\n",
	"GET /api/v1/organizations/\"'<> HTTP/1.1\r\nHost: HOST\r\nAuthorization: KEY\r\n\r\n",
	"GET /api/v1/organizations HTTP/1.1\r\nHost: HOST\r\nAuthorization: KEY\r\nX-Request-Id: a\r\n\tfolded\r\n\r\n",
	"GET /api/v1/organizations HTTP/1.1\r\nHost: HOST\r\nAuthorization: KEY\r\nX-Request-Id: a\x1b[31m\r\n\r\n",
	"GET /api/v1/organizations HTTP/1.1\r\nHost: HOST\r\nAuthorization: KEY\r\nAuthorization: KEY\r\n\r\n",
	"GET /api/v1/organizations HTTP/1.1\r\nHost: HOST\r\nno colon\r\n\r\n",
	"GET /api/v1/organizations HTTP/1.1\r\nHost: HOST\r\nX : y\r\n\r\n",
	"GET /api/v1/organizations HTTP/1.1\nHost: HOST\nAuthorization: KEY\n\n",
	"POST /api/v1/organizations HTTP/1.1\r\nHost: HOST\r\nAuthorization: KEY\r\nContent-Type: application/json\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n{}{}{}",
	"POST /api/v1/organizations HTTP/1.1\r\nHost: HOST\r\nAuthorization: KEY\r\nContent-Type: application/json\r\nContent-Length: -1\r\n\r\n{}",
	"POST /api/v1/organizations HTTP/1.1\r\nHost: HOST\r\nAuthorization: KEY\r\nContent-Type: application/json\r\nContent-Length: 99999999999999999999\r\n\r\n{}",
	"POST /api/v1/organizations HTTP/1.1\r\nHost: HOST\r\nAuthorization: KEY\r\nContent-Type: application/json\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"POST /api/v1/organizations HTTP/1.1\r\nHost: HOST\r\nAuthorization: KEY\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
	"POST /api/v1/organizations HTTP/1.1\r\nHost: HOST\r\nAuthorization: KEY\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-Trailer: y\r\n\r\n",
	"POST /api/v1/organizations HTTP/1.1\r\nHost: HOST\r\nAuthorization: KEY\r\nContent-Type: application/json\r\nTransfer-Encoding: gzip\r\n\r\n{}",
	"POST /api/v1/organizations HTTP/1.1\r\nHost: HOST\r\nAuthorization: KEY\r\nContent-Type: application/json\r\nContent-Length: 200\r\n\r\n{",
	"POST /api/v1/organizations HTTP/1.1\r\nHost: HOST\r\nAuthorization: KEY\r\nContent-Type: application/json\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}",
	"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	"OPTIONS * HTTP/1.1\r\nHost: HOST\r\n\r\n",
	"CONNECT 127.0.0.1:5432 HTTP/1.1\r\nHost: HOST\r\nAuthorization: KEY\r\n\r\n",
	"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
	"\r\n\r\nGET /docs HTTP/1.1\r\nHost: HOST\r\n\r\n",
	"GET\r\n\r\n",
	"\x00\x00\x00\x00",
}

// knock sends one of them over a connection of its own, says no more, and checks
// what comes back, if anything does.
func (f *fuzzer) knock(r *rand.Rand) {
	text := pick(r, wires)
	if r.IntN(4) == 0 {
		text = string(spoilBytes(r, []byte(text)))
	}
	text = text[:min(len(text), 1<<16)]
	got, err := f.exchange(strings.NewReplacer("HOST", strings.TrimPrefix(f.svc.base, "http://"), "KEY", "Bearer "+f.svc.token).Replace(text))
	if err == nil {
		err = f.wellBehaved(got)
	}
	f.note(question{method: "raw", path: text}, got, err)
}

// wellBehaved: what is not HTTP is answered by net/http, which says 501 and 505 too.
func (f *fuzzer) wellBehaved(got reply) error {
	switch {
	case got.status == 0:
		return nil // it hung up without a word, or the request never ended
	case got.header.Get("X-Request-Id") != "" && got.status >= http.StatusInternalServerError:
		return errors.New("an internal error")
	}
	return nil
}

func (f *fuzzer) exchange(text string) (reply, error) {
	conn, err := net.Dial("tcp", strings.TrimPrefix(f.svc.base, "http://"))
	if err != nil {
		return reply{}, err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(300 * time.Millisecond)) // many of these never end
	if _, err := io.WriteString(conn, text); err != nil {
		return reply{}, nil // it hung up early
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return reply{}, nil // it hung up without a word
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return reply{}, nil // an answer to HEAD, or cut off
	}
	return reply{res.StatusCode, res.Header, body}, nil
}
