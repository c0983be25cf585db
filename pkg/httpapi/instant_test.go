package httpapi

import (
	"fmt"
	"net/http"
	"net/url"
	"testing"
)

// A zone can move an instant out of the years that RFC 3339 can write.
func TestInstantsThatCannotBeWrittenAgainAreRefused(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	asked := func(at string) map[string]call {
		query := url.QueryEscape(at)
		return map[string]call{
			"expiry of a key":      {method: http.MethodPost, path: keysPath, body: fmt.Sprintf(`{"name":"x","role":"viewer","expires_at":%q}`, at)},
			"end of a trial":       {method: http.MethodPost, path: organizationsPath, body: fmt.Sprintf(`{"name":"1","domain":"a.example.com","primary_contact_email":"a@example.com","trial_end_date":%q}`, at)},
			"begin of a replay":    {method: http.MethodPost, path: replaysPath, body: fmt.Sprintf(`{"mode":"all","since":%q}`, at)},
			"end of a replay":      {method: http.MethodPost, path: replaysPath, body: fmt.Sprintf(`{"mode":"all","since":"2025-08-07T00:00:00Z","until":%q}`, at)},
			"begin of deliveries":  {method: http.MethodGet, path: deliveriesPath + "?since=" + query},
			"end of deliveries":    {method: http.MethodGet, path: deliveriesPath + "?until=" + query},
			"begin of audit trail": {method: http.MethodGet, path: trailPath + "?since=" + query},
			"end of audit trail":   {method: http.MethodGet, path: trailPath + "?until=" + query},
		}
	}
	for _, at := range []string{"9999-12-31T23:59:59-00:01", "0001-01-01T00:00:00+00:01", "0000-12-31T23:59:59Z"} {
		for name, c := range asked(at) {
			t.Run(name+" "+at, func(t *testing.T) {
				t.Parallel()
				c.key = bootstrapKey
				a.do(t, c).problem(t, 422, "out_of_range")
			})
		}
	}
	for _, at := range []string{"9999-12-31T23:59:59.999999999Z", "0001-01-01T00:00:00Z"} {
		for name, c := range asked(at) {
			t.Run(name+" "+at, func(t *testing.T) {
				t.Parallel()
				c.key = bootstrapKey
				if got := a.do(t, c); got.status >= 500 {
					t.Errorf("%d %s", got.status, got.body)
				}
			})
		}
	}
}
