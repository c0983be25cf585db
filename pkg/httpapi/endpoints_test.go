package httpapi

import (
	"testing"
)

// register creates an endpoint and returns its path and its ETag.
func (a *api) register(t *testing.T, more string) (path, etag string) {
	t.Helper()
	made := a.post(t, endpointsPath, `{"url":"`+hook+`","events":["*"],"name":"CRM"`+more+`}`)
	made.json(t, 201)
	return made.header.Get("Location"), made.header.Get("ETag")
}

func TestETagFollowsTheSettingsAndNotTheHealth(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	path, made := a.register(t, "")
	read := func() string {
		got := a.get(t, path)
		got.json(t, 200)
		return got.header.Get("ETag")
	}
	if made == "" || made != read() {
		t.Errorf("registered under %s, read under %s", made, read())
	}
	a.change(t, `UPDATE sonicus.lanes SET failures = 3, failing_since = now(), last_failure_at = now()`)
	if got := read(); got != made {
		t.Errorf("a failed attempt changed it from %s to %s", made, got)
	}
	a.change(t, `UPDATE sonicus.endpoints SET name = 'ERP'`)
	if got := read(); got == made {
		t.Error("another name has the same ETag")
	}
	if got := a.get(t, endpointsPath).header.Get("ETag"); got != "" {
		t.Errorf("a list has the ETag %s", got)
	}
}
