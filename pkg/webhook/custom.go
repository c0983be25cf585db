package webhook

import (
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/sonicus/webhooks/pkg/problem"
)

// Bounds of the headers that an endpoint may have of its own.
const (
	MaxHeaders     = 20
	maxCustomName  = 64
	maxCustomValue = 4096
)

// reserved names, in lower case, are set by this service or by the transport, steer
// connections and proxies, or mean something to the infrastructure between. One that
// ends in * stands for all that begin so.
var reserved = []string{
	"host", "content-length", "content-type", "content-encoding", "transfer-encoding", "connection", "keep-alive", "te", "trailer", "upgrade", "expect",
	"cookie", "user-agent", "accept-encoding", "idempotency-key", "x-idempotency-key",
	"forwarded", "via", "x-real-ip",
	"proxy-*", "x-sonicus-*", "webhook-*", "svix-*", "x-forwarded-*", "x-amz-*", "x-goog-*", "metadata*",
}

// CheckHeader returns what is wrong with a header that an endpoint wants to have of
// its own, or nil; field is its name in the request.
func CheckHeader(field, name, value string) []problem.Field {
	switch {
	case len(name) > maxCustomName || !httpguts.ValidHeaderFieldName(name):
		return []problem.Field{{Field: field, Code: "invalid_header_name", Detail: "use 1 to 64 letters, digits and !#$%&'*+-.^_`|~ for the name"}}
	case isReserved(strings.ToLower(name)):
		return []problem.Field{{Field: field, Code: "reserved_header", Detail: "choose another name: this header is reserved"}}
	case len(value) > maxCustomValue || strings.ContainsFunc(value, func(r rune) bool { return r != '\t' && (r < ' ' || r > '~') }):
		return []problem.Field{{Field: field, Code: "invalid_header_value", Detail: "use at most 4096 bytes of visible ASCII, spaces and tabs"}}
	default:
		return nil
	}
}

func isReserved(name string) bool {
	return slices.ContainsFunc(reserved, func(r string) bool {
		prefix, family := strings.CutSuffix(r, "*")
		return name == r || (family && strings.HasPrefix(name, prefix))
	})
}

// WithHeaders returns the target with headers of its own, all of which have passed
// [CheckHeader]. They are sent under the names as they are given, and their values are
// masked in what is kept of answers.
func (t *Target) WithHeaders(custom map[string]string) *Target {
	with := *t
	with.custom = make(http.Header, len(custom))
	for name, value := range custom {
		with.custom[name] = []string{value}
	}
	with.secrets = secretsOf(with.custom)
	return &with
}
