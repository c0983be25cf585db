package webhook

import (
	"net/http"
	"net/url"

	"github.com/sonicus/webhooks/pkg/signature"
)

// Target is an endpoint made ready for sending: its URL is parsed and checked, and
// its keys are prepared. Make one per version of an endpoint's configuration and
// use it for all attempts. It is safe for concurrent use, and holds nothing that has
// to be closed.
type Target struct {
	guard   *Guard
	refused error    // why nothing is sent there
	url     *url.URL // shared by all requests, which only read it
	signers []*signature.Signer
	custom  http.Header // likewise
	secrets secrets     // in custom
}

// Target prepares rawURL, as Guard.CheckURL returned it, and the signing keys, the
// current one first; without keys, requests are unsigned. It cannot fail: when the
// guard refuses the URL, every Send reports that, as it reports a refusal of the
// address that is dialled. A Target can only be used by the Sender that made it.
func (s *Sender) Target(rawURL string, keys [][]byte) *Target {
	t := &Target{guard: s.guard}
	checked, err := s.guard.check(rawURL)
	if err != nil {
		t.refused = err
		return t
	}
	t.url = checked.url
	for _, key := range keys {
		t.signers = append(t.signers, signature.NewSigner(key))
	}
	return t
}
