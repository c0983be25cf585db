package httpapi

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
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

func TestAllThatIsWrongWithAReplayIsReportedTogether(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	for body, want := range map[string]string{
		`{"mode":"x","since":"bad","rate_limit":-5,"statuses":["zz"]}`:                         "since mode rate_limit statuses[0]",
		`{"mode":7,"since":"2025-08-07T00:00:00Z","event_types":["x"]}`:                        "mode event_types[0]",
		`{"mode":"missing","endpoint_id":"x","rate_limit":"fast"}`:                             "endpoint_id rate_limit since",
		`{"mode":"all","statuses":[7,"zz"],"rate_limit":99999999999,"event_types":["x"]}`:      "statuses[0] rate_limit since event_types[0]",
		`{"mode":"all","since":"2025-08-07T00:00:00Z","until":"2025-08-07T00:00:00Z","to":""}`: "since to",
	} {
		if d := a.post(t, replaysPath, body).problem(t, 422, "validation_failed"); d.fieldNames() != want {
			t.Errorf("%s: named %s, want %s", body, d.fieldNames(), want)
		}
	}
}

// The audit trail tells of a replay what the API does.
func TestReplayIsKeptInTheAuditTrailAsItIsAnswered(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	made := a.post(t, replaysPath, `{"mode":"all","since":"2025-08-07T00:00:00.123456789Z"}`).json(t, 202)
	if made["since"] != "2025-08-07T00:00:00.123456Z" || made["reached_at"] == nil {
		t.Errorf("answered %v", made)
	}
	kept := a.get(t, trailPath+"?action=replay.create").json(t, 200)["data"].([]any)[0].(map[string]any)["after"]
	if diff := cmp.Diff(any(made), kept); diff != "" {
		t.Errorf("(-answered +kept)\n%s", diff)
	}
	if again := a.get(t, replaysPath+"/"+made["id"].(string)).json(t, 200); again["since"] != made["since"] {
		t.Errorf("since %v, later %v", made["since"], again["since"])
	}
}
