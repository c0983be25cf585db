package httpapi

import "strconv"

// etag is the entity tag of a version (RFC 9110 §8.8.3).
func etag(version int64) string { return `"` + strconv.FormatInt(version, 36) + `"` }
