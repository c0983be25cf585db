package httpapi

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/sonicus/webhooks/pkg/endpoint"
)

// etag is the entity tag of a version (RFC 9110 §8.8.3).
func etag(version int64) string { return `"` + strconv.FormatInt(version, 36) + `"` }

// ifMatch reads the versions that a caller has seen and wants to change; nil: any.
// Weak tags, and those of nothing that this service has shown, match none (§13.1.1).
func ifMatch(h http.Header) endpoint.Versions {
	given := strings.Join(h.Values("If-Match"), ",")
	if given == "" || strings.TrimSpace(given) == "*" {
		return nil
	}
	versions := endpoint.Versions{}
	for tag := range strings.SplitSeq(given, ",") {
		tag = strings.TrimSpace(tag)
		version, err := strconv.ParseInt(strings.Trim(tag, `"`), 36, 64)
		if err == nil && tag == etag(version) {
			versions = append(versions, version)
		}
	}
	return versions
}
