package httpapi

import (
	"strings"
	"testing"
)

func TestReplaysThatAreNotMeantAreRefused(t *testing.T) {
	t.Parallel()
	const since = `,"since":"2025-08-07T00:00:00Z"`
	a := newAPI(t)
	for name, tt := range map[string]struct{ body, field, code string }{
		"no mode":                      {`{"since":"2025-08-07T00:00:00Z"}`, "mode", "required"},
		"other mode":                   {`{"mode":"some"` + since + `}`, "mode", "invalid_mode"},
		"no begin":                     {`{"mode":"all"}`, "since", "required"},
		"begin in the future":          {`{"mode":"all","since":"2999-08-07T00:00:00Z"}`, "since", "invalid_range"},
		"end at the begin":             {`{"mode":"all"` + since + `,"until":"2025-08-07T00:00:00Z"}`, "since", "invalid_range"},
		"missing of nobody":            {`{"mode":"missing"` + since + `}`, "endpoint_id", "required"},
		"missing with a status":        {`{"mode":"missing"` + since + `,"endpoint_id":"6f2c1b4e-0f57-4c53-9d3c-3a5f1f6f0c11","statuses":["sent"]}`, "statuses", "not_allowed"},
		"unknown endpoint":             {`{"mode":"all"` + since + `,"endpoint_id":"6f2c1b4e-0f57-4c53-9d3c-3a5f1f6f0c11"}`, "endpoint_id", "unknown_endpoint"},
		"what is on its way":           {`{"mode":"all"` + since + `,"statuses":["pending"]}`, "statuses[0]", "invalid_status"},
		"what was sent, as failed":     {`{"mode":"failed"` + since + `,"statuses":["failed","sent"]}`, "statuses[1]", "not_allowed"},
		"statuses, but none":           {`{"mode":"all"` + since + `,"statuses":[]}`, "statuses", "required"},
		"types, but none":              {`{"mode":"all"` + since + `,"event_types":[]}`, "event_types", "required"},
		"unknown type":                 {`{"mode":"all"` + since + `,"event_types":["organization.*"]}`, "event_types[0]", "unknown_event_type"},
		"more types than there can be": {`{"mode":"all"` + since + `,"event_types":["x"` + strings.Repeat(`,"x"`, 50) + `]}`, "event_types", "too_many"},
		"no rate":                      {`{"mode":"all"` + since + `,"rate_limit":0}`, "rate_limit", "out_of_range"},
	} {
		t.Run(name, func(t *testing.T) {
			if d := a.post(t, replaysPath, tt.body).problem(t, 422, tt.code); d.fieldNames() != tt.field {
				t.Errorf("named %q, want %q", d.fieldNames(), tt.field)
			}
		})
	}
	if got := a.get(t, replaysPath).json(t, 200)["data"].([]any); len(got) > 0 {
		t.Errorf("written all the same: %v", got)
	}
}
