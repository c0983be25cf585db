package webhook

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/sonicus/webhooks/pkg/signature"
)

const userAgent = "Sonicus-Webhooks/1.0"

// headers builds what goes out. The map is filled directly: Header.Set would
// write X-Sonicus-Event-Id where X-Sonicus-Event-ID is documented, and put the
// Standard Webhooks names into capitals.
func headers(r Request, now time.Time) http.Header {
	id := r.EventID.String()
	h := http.Header{
		"Content-Type":          {"application/json"},
		"User-Agent":            {userAgent},
		"Accept-Encoding":       {"identity"},
		"X-Sonicus-Event":       {r.EventType},
		"X-Sonicus-Event-ID":    {id},
		"X-Sonicus-Timestamp":   {r.EventTime},
		"X-Sonicus-Delivery-ID": {r.DeliveryID.String()},
		"X-Sonicus-Attempt":     {strconv.Itoa(r.Attempt)},
		signature.HeaderID:      {id},
		// Of this attempt, by this host's clock: receivers compare it with theirs.
		signature.HeaderTimestamp: {strconv.FormatInt(now.Unix(), 10)},
	}
	if len(r.Keys) == 0 {
		return h
	}
	h[signature.HeaderSonicus] = []string{signature.Sonicus(r.Keys[0], r.Body)} // single-valued: the current key
	all := make([]string, len(r.Keys))
	for i, key := range r.Keys {
		all[i] = signature.Standard(key, id, now, r.Body)
	}
	h[signature.HeaderStandard] = []string{strings.Join(all, " ")}
	return h
}
