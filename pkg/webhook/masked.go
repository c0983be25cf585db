package webhook

import (
	"net/http"
	"time"

	"github.com/sonicus/webhooks/pkg/signature"
)

// Mask stands for what people may not see.
const Mask = "********"

// Masked is what the headers of a request were that was made at that time, for
// people to see: the values of the custom ones, whose names are given, and of the
// signatures, if it was signed, are masked. r needs no Target.
func Masked(r Request, at time.Time, custom []string, signed bool) http.Header {
	r.Target = &Target{custom: make(http.Header, len(custom))}
	for _, name := range custom {
		r.Target.custom[name] = []string{Mask}
	}
	h := headers(r, at, new(headerValues))
	if signed {
		h[signature.HeaderSonicus] = []string{"sha256=" + Mask}
		h[signature.HeaderStandard] = []string{"v1," + Mask}
	}
	return h
}
