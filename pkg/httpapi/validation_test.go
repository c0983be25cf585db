package httpapi

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// bad holds values that each documented field refuses, beside those of another
// type; nil: the field has no values but true and false to refuse.
var badOrganization = map[string][]any{
	"name":                  {"", " ", " a", strings.Repeat("a", 201), "a\nb", "a\x00b"},
	"display_name":          {"", strings.Repeat("a", 201), "a\x00b"},
	"domain":                {"", "localhost", "a b.com", "http://example.com", "example.com/x", "-a.com", strings.Repeat("a.", 200) + "com"},
	"primary_contact_email": {"", "a", "a@", "@b.com", "a@b@c.com", "A <a@b.com>", "a\r\nBcc: x@y.com", strings.Repeat("a", 300) + "@b.com"},
	"subscription_tier":     {"", "Premium Plus", strings.Repeat("a", 51)},
	"subscription_status":   {"", "unknown", "ACTIVE"},
	"max_users":             {0, -1, 1_000_001},
	"industry":              {"", strings.Repeat("a", 101), "\x1b[31m"},
	"company_size":          {"", "many", "100-50", "1-2-3"},
	"trial_end_date":        {"", "soon", "0000-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"},
}

var badEndpoint = map[string][]any{
	"url":             {"", "x", "ftp://a.com", "http://user:pw@127.0.0.1/", "http://127.0.0.1/#x", "http://10.0.0.1/", "http://127.0.0.1:6379/", "http://127.0.0.1:99999/", "http://127.0.0.1/" + strings.Repeat("a", 2048)},
	"events":          {[]any{}, []any{"organization.merged"}, []any{"*", "*"}, []any{""}},
	"name":            {"", " ", strings.Repeat("a", 201)},
	"description":     {strings.Repeat("a", 2001), "a\x00b"},
	"organization_id": {"", "1", "00000000-0000-7000-8000-000000000000"},
	"secret_key":      {"", "short", strings.Repeat("a", 65), "whsec_!!!"},
	"generate_secret": nil,
	"timeout_seconds": {0, 31, -1},
	"max_retries":     {-1, 51},
	"uid":             {"", " ", "a b", "a/b", "ü", "a\x00", "a\n", strings.Repeat("a", 101)},
	"retry_schedule":  {[]any{0}, []any{60, -1}, []any{86_401}, []any{1 << 40}, []any{1.5}, []any{"1"}, []any{nil}, 60, "60", make([]int, 51), slices.Repeat([]int{1}, 51)},
	"rate_limit":      {0, -1, 10_001, 1 << 31},
	"max_concurrency": {0, -1, 1001},
	"ordering":        {"", "Organization", "strict"},

	"metadata": {
		[]any{},
		"{}",
		map[string]any{"a": "\x00"},
		map[string]any{"a\x00": 1},
		map[string]any{"a": []any{map[string]any{"b": json.Number("1e400")}}},
		map[string]any{"a": json.Number("1e-400")},
		map[string]any{"a": strings.Repeat("a", 16<<10)},
	},
	"headers": {
		[]any{},
		map[string]any{"Host": "x"},
		map[string]any{"x-sonicus-event": "x"},
		map[string]any{"a b": "x"},
		map[string]any{"X-A": "b\r\nX-C: d"},
		map[string]any{"X-A": "\x00"},
		map[string]any{"X-A": 1},
		map[string]any{"X-A": "x", "x-a": "y"},
		map[string]any{"X-A": "********"},
		map[string]any{strings.Repeat("a", 65): "x"},
		manyHeaders(21),
	},
	"authentication": {
		[]any{},
		"Bearer x",
		map[string]any{},
		map[string]any{"type": "digest"},
		map[string]any{"type": "basic", "username": "a"},
		map[string]any{"type": "bearer"},
		map[string]any{"type": "basic", "username": "a:b", "password": "c"},
		map[string]any{"type": "basic", "username": "a", "password": "c\r\n"},
		map[string]any{"type": "basic", "username": "a", "password": "c", "token": "d"},
		map[string]any{"type": "bearer", "token": "a b"},
		map[string]any{"type": "bearer", "token": ""},
		map[string]any{"type": "bearer", "token": "a\r\nX-B: c"},
		map[string]any{"type": "bearer", "token": strings.Repeat("a", 4090)},
		map[string]any{"type": "bearer", "token": "a", "x": 1},
	},

	"breaker_failures":         {-1, 1001},
	"breaker_max_open_seconds": {0, -1, 86_401},
}

var badAdmin = map[string][]any{"email": {"", "a", "a@"}, "full_name": {"", strings.Repeat("a", 201)}}

func manyHeaders(n int) map[string]any {
	all := map[string]any{}
	for i := range n {
		all[fmt.Sprintf("X-%d", i)] = "x"
	}
	return all
}

func goodOrganization() map[string]any {
	return map[string]any{"name": "A", "domain": "a.example.com", "primary_contact_email": "a@example.com"}
}

func goodEndpoint() map[string]any {
	return map[string]any{"url": hook, "events": []any{"*"}, "name": "CRM"}
}

func goodOnboarding() map[string]any {
	o := goodOrganization()
	o["admin_user"] = map[string]any{"email": "b@example.com", "full_name": "B"}
	return o
}

func TestEveryFieldIsValidatedUnderItsName(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	subjects := []struct {
		name, path, prefix string
		bad                map[string][]any
		with               func(field string, value any) map[string]any
	}{
		{"organization", organizationsPath, "", badOrganization, func(f string, v any) map[string]any { return with(goodOrganization(), f, v) }},
		{"super-admin", "/api/v1/super-admin/organizations/", "", badOrganization, func(f string, v any) map[string]any { return with(goodOrganization(), f, v) }},
		{"onboarding", "/api/v1/organization-crud/organizations/", "", badOrganization, func(f string, v any) map[string]any { return with(goodOnboarding(), f, v) }},
		{"endpoint", endpointsPath, "", badEndpoint, func(f string, v any) map[string]any { return with(goodEndpoint(), f, v) }},
		{"admin_user", "/api/v1/organization-crud/organizations", "admin_user.", badAdmin, func(f string, v any) map[string]any {
			return with(goodOnboarding(), "admin_user", with(map[string]any{"email": "b@example.com", "full_name": "B"}, f, v))
		}},
		{"webhook_endpoints", "/api/v1/organization-crud/organizations", "webhook_endpoints[1].", badEndpoint, func(f string, v any) map[string]any {
			return with(goodOnboarding(), "webhook_endpoints", []any{goodEndpoint(), with(goodEndpoint(), f, v)})
		}},
	}
	for _, s := range subjects {
		for _, field := range slices.Sorted(maps.Keys(s.bad)) {
			for _, value := range append(slices.Clone(s.bad[field]), []any{[]any{}}) {
				body, err := json.Marshal(s.with(field, value))
				if err != nil {
					t.Fatal(err)
				}
				t.Run(s.name+" "+field+" "+shorten(string(body)), func(t *testing.T) {
					t.Parallel()
					got := a.post(t, s.path, string(body))
					if got.status != 422 {
						t.Fatalf("%s: got %d: %s", body, got.status, got.body)
					}
					var d document
					if err := json.Unmarshal([]byte(got.body), &d); err != nil {
						t.Fatal(err)
					}
					if len(d.Errors) == 0 || !strings.HasPrefix(d.Errors[0].Field, s.prefix+field) || d.Errors[0].Detail == "" || d.Errors[0].Code != d.Code {
						t.Errorf("%s: %s", body, got.body)
					}
				})
			}
		}
	}
}

func with(object map[string]any, field string, value any) map[string]any {
	object[field] = value
	return object
}

func TestMissingFieldsAreNamedAllAtOnce(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	for path, want := range map[string]string{
		organizationsPath:                         "name domain primary_contact_email",
		"/api/v1/organization-crud/organizations": "name domain primary_contact_email admin_user.email admin_user.full_name",
		endpointsPath:                             "url events name",
	} {
		if d := a.post(t, path, `{}`).problem(t, 422, "validation_failed"); d.fieldNames() != want {
			t.Errorf("%s: %s", path, d.fieldNames())
		}
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	const far = 1 << 40 // beyond what Postgres could store
	for name, tt := range map[string]struct {
		path       string
		body       map[string]any
		code, says string
	}{
		"far too many users":      {organizationsPath, with(goodOrganization(), "max_users", far), "out_of_range", "max_users: use a whole number from 1 to 1000000"},
		"far too long a timeout":  {endpointsPath, with(goodEndpoint(), "timeout_seconds", far), "out_of_range", "timeout_seconds: use a whole number from 1 to 30"},
		"far too many retries":    {endpointsPath, with(goodEndpoint(), "max_retries", -far), "out_of_range", "max_retries: use a whole number from 0 to 50"},
		"far too high a rate":     {endpointsPath, with(goodEndpoint(), "rate_limit", far), "out_of_range", "rate_limit: use a whole number from 1 to 10000"},
		"a rate of none":          {endpointsPath, with(goodEndpoint(), "rate_limit", 0), "out_of_range", "rate_limit: use a whole number from 1 to 10000"},
		"many at once":            {endpointsPath, with(goodEndpoint(), "max_concurrency", far), "out_of_range", "max_concurrency: use a whole number from 1 to 1000"},
		"many failures":           {endpointsPath, with(goodEndpoint(), "breaker_failures", far), "out_of_range", "breaker_failures: use a whole number from 0 to 1000"},
		"a breaker open for ever": {endpointsPath, with(goodEndpoint(), "breaker_max_open_seconds", far), "out_of_range", "breaker_max_open_seconds: use a whole number from 1 to 86400"},
		"an unknown order":        {endpointsPath, with(goodEndpoint(), "ordering", "fifo"), "invalid_ordering", "ordering: use none, or organization"},
		"no URL":                  {endpointsPath, without(goodEndpoint(), "url"), "required", "url: give a value"},
		"no URL, but null":        {endpointsPath, with(goodEndpoint(), "url", nil), "required", "url: give a value"},
		"an empty URL":            {endpointsPath, with(goodEndpoint(), "url", ""), "required", "url: give a value"},
		"bad base64":              {endpointsPath, with(goodEndpoint(), "secret_key", "whsec_"+strings.Repeat("!", 44)), "invalid_secret", "secret_key: what follows whsec_ must be base64"},
		"base64 for URLs":         {endpointsPath, with(goodEndpoint(), "secret_key", "whsec_"+strings.Repeat("-", 44)), "invalid_secret", "secret_key: what follows whsec_ must be base64"},
		"no base64 at all":        {endpointsPath, with(goodEndpoint(), "secret_key", "whsec_"), "invalid_secret", "secret_key: what follows whsec_ must be base64"},
		"too short base64":        {endpointsPath, with(goodEndpoint(), "secret_key", "whsec_AAAA"), "weak_secret", "secret_key: use 24 to 64 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body, err := json.Marshal(tt.body)
			if err != nil {
				t.Fatal(err)
			}
			if d := a.post(t, tt.path, string(body)).problem(t, 422, tt.code); !strings.HasPrefix(d.Detail, tt.says) {
				t.Errorf("got %q, want %q", d.Detail, tt.says)
			}
		})
	}
}

func without(object map[string]any, field string) map[string]any {
	delete(object, field)
	return object
}

func TestHostileTextIsStoredAsItIsOrRefused(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	for _, text := range []string{
		"'; DROP TABLE sonicus.organizations; --", `" OR ""="`, "$1", "%s%n", "{{7*7}}", "${jndi:ldap://x}", "<script>alert(1)</script>", "../../etc/passwd",
		"a\x00b", "a\u202eb", "e\u0301", "é", "😀", "\u200b", "\ufeffA", "\u2028", "NULL", "\\u0000", "pg_sleep(10)", "\x7f", "\u0085", "\U0010ffff",
	} {
		body, err := json.Marshal(with(goodEndpoint(), "name", text))
		if err != nil {
			t.Fatal(err)
		}
		switch got := a.post(t, endpointsPath, string(body)); got.status {
		case 201:
			if found := a.get(t, got.header.Get("Location")).json(t, 200); found["name"] != text {
				t.Errorf("%q became %q", text, found["name"])
			}
		case 422:
		default:
			t.Errorf("%q: %d %s", text, got.status, got.body)
		}
	}
}
