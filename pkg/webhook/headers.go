package webhook

import (
	"maps"
	"net/http"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/signature"
)

// UserAgent is who every request says that it is from.
const UserAgent = "Sonicus-Webhooks/1.0"

// What every request says. The slices are shared by all of them: net/http only
// reads the headers of a request.
var (
	contentType    = []string{"application/json"}
	userAgent      = []string{UserAgent}
	acceptEncoding = []string{"identity"}
)

// headerCount is how many headers a signed request has.
const headerCount = 12

// headerValues is where the values of one request's own headers are.
type headerValues struct {
	list [8]string
	used int
}

// add makes the one value of a header.
func (v *headerValues) add(value string) []string {
	v.list[v.used] = value
	v.used++
	return v.list[v.used-1 : v.used : v.used]
}

// headers builds what goes out. The map is filled directly: Header.Set would
// write X-Sonicus-Event-Id where X-Sonicus-Event-ID is documented, and put the
// Standard Webhooks names into capitals.
func headers(r Request, now time.Time, v *headerValues) http.Header {
	var room [2*36 + 20 + 20]byte
	texts := appendUUID(room[:0], r.EventID)
	texts = appendUUID(texts, r.DeliveryID)
	texts = strconv.AppendInt(texts, int64(r.Attempt), 10)
	attemptEnd := len(texts)
	all := string(strconv.AppendInt(texts, now.Unix(), 10))
	event := v.add(all[:36])

	h := make(http.Header, headerCount+len(r.Target.custom))
	maps.Copy(h, r.Target.custom)
	h["Content-Type"] = contentType
	h["User-Agent"] = userAgent
	h["Accept-Encoding"] = acceptEncoding
	h["X-Sonicus-Event"] = v.add(r.EventType)
	h["X-Sonicus-Event-ID"] = event
	h["X-Sonicus-Timestamp"] = v.add(r.EventTime)
	h["X-Sonicus-Delivery-ID"] = v.add(all[36:72])
	h["X-Sonicus-Attempt"] = v.add(all[72:attemptEnd])
	h[signature.HeaderID] = event
	// Of this attempt, by this host's clock: receivers compare it with theirs.
	h[signature.HeaderTimestamp] = v.add(all[attemptEnd:])
	sign(h, v, r, event[0], now)
	return h
}

// sign adds the signatures, if there are keys.
func sign(h http.Header, v *headerValues, r Request, id string, now time.Time) {
	signers := r.Target.signers
	if len(signers) == 0 {
		return
	}
	var room [192]byte                                  // enough for two keys
	texts := signers[0].AppendSonicus(room[:0], r.Body) // single-valued: the current key
	sonicusEnd := len(texts)
	for i, s := range signers {
		if i > 0 {
			texts = append(texts, ' ')
		}
		texts = s.AppendStandard(texts, id, now, r.Body)
	}
	all := string(texts)
	h[signature.HeaderSonicus] = v.add(all[:sonicusEnd])
	h[signature.HeaderStandard] = v.add(all[sonicusEnd:])
}

// appendUUID appends the 36 characters of id.
func appendUUID(dst []byte, id uuid.UUID) []byte {
	text, _ := id.MarshalText() // never fails
	return append(dst, text...)
}
