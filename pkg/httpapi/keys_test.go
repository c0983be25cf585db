package httpapi

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/access"
)

var keyKeys = []string{"id", "name", "role", "last4", "created_at", "expires_at", "last_used_at", "revoked_at"}

func TestKeyIsShownOnceAndLetsItsHolderIn(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	got := a.post(t, keysPath, `{"name":"crm","role":"viewer"}`)
	made := got.json(t, 201)
	if diff := cmp.Diff(slices.Insert(slices.Clone(keyKeys), 1, "key"), keysOf(t, got.body)); diff != "" {
		t.Error(diff)
	}
	key, ok := made["key"].(string)
	if !ok || !regexp.MustCompile(`^snk_[A-Za-z0-9_-]{43}$`).MatchString(key) || made["last4"] != key[len(key)-4:] {
		t.Fatalf("got %s", got.body)
	}
	if a.do(t, call{method: "GET", path: organizationsPath, key: key}).status != 200 {
		t.Error("the key lets nobody in")
	}
	location := got.header.Get("Location")
	if location != keysPath+"/"+made["id"].(string) {
		t.Fatalf("Location %q", location)
	}
	hash := sha256.Sum256([]byte(key))
	for _, path := range []string{location, keysPath} {
		shown := a.get(t, path).body
		if strings.Contains(shown, key[4:]) || strings.Contains(shown, hex.EncodeToString(hash[:4])) || strings.Contains(shown, "hash") {
			t.Errorf("%s: %s", path, shown)
		}
	}
	if diff := cmp.Diff(keyKeys, keysOf(t, a.get(t, location).body)); diff != "" {
		t.Error(diff)
	}
	if strings.Contains(a.logs.String(), key[4:]) {
		t.Error("the key is in the log")
	}
}

func TestKeyEndsWhenItWasTold(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	for name, tt := range map[string]struct{ given, want string }{
		"at a time":       {`"expires_at":"2999-01-02T03:04:05+01:00"`, "2999-01-02T02:04:05.000000Z"},
		"never":           {`"expires_at":null,"expires_in_seconds":null`, ""},
		"after a century": {`"expires_at":"2126-01-01T00:00:00Z"`, "2126-01-01T00:00:00.000000Z"},
	} {
		made := a.post(t, keysPath, `{"name":"crm","role":"admin",`+tt.given+`}`).json(t, 201)
		if got, _ := made["expires_at"].(string); got != tt.want {
			t.Errorf("%s: %q", name, got)
		}
	}
	made := a.post(t, keysPath, `{"name":"short","role":"admin","expires_in_seconds":3600}`).json(t, 201)
	var lifetime float64
	if err := a.db.GetContext(t.Context(), &lifetime, `SELECT extract(epoch FROM expires_at - created_at) FROM sonicus.api_keys WHERE id = $1`, made["id"]); err != nil || lifetime != 3600 {
		t.Errorf("%v seconds, %v", lifetime, err)
	}
}

func TestBadKeyRequestsNameTheField(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	for name, tt := range map[string]struct{ body, code, fields string }{
		"nothing":          {`{}`, "validation_failed", "name role"},
		"unknown role":     {`{"name":"a","role":"root"}`, "invalid_role", "role"},
		"role of a number": {`{"name":"a","role":1}`, "wrong_type", "role"},
		"control letters":  {`{"name":"a\u0000","role":"admin"}`, "invalid_name", "name"},
		"another's name":   {`{"name":"Bootstrap","role":"admin"}`, "reserved_name", "name"},
		"no lifetime":      {`{"name":"a","role":"admin","expires_in_seconds":0}`, "out_of_range", "expires_in_seconds"},
		"huge lifetime":    {`{"name":"a","role":"admin","expires_in_seconds":99999999999}`, "out_of_range", "expires_in_seconds"},
		"fraction":         {`{"name":"a","role":"admin","expires_in_seconds":1.5}`, "wrong_type", "expires_in_seconds"},
		"in the past":      {`{"name":"a","role":"admin","expires_at":"2001-01-01T00:00:00Z"}`, "out_of_range", "expires_at"},
		"no time":          {`{"name":"a","role":"admin","expires_at":"tomorrow"}`, "invalid_timestamp", "expires_at"},
		"two ends":         {`{"name":"a","role":"admin","expires_at":"2999-01-01T00:00:00Z","expires_in_seconds":1}`, "exclusive", "expires_at"},
		"a key of its own": {`{"name":"a","role":"admin","key":"snk_"}`, "unknown_field", "key"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if d := a.post(t, keysPath, tt.body).problem(t, 422, tt.code); d.fieldNames() != tt.fields {
				t.Errorf("named %q", d.fieldNames())
			}
		})
	}
}

func TestRevokedKeyIsShownAndRefused(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	got := a.post(t, keysPath, `{"name":"crm","role":"super_admin"}`)
	key, path := got.json(t, 201)["key"].(string), got.header.Get("Location")
	if got := a.do(t, call{method: "DELETE", path: path, key: key}); got.status != 204 || got.body != "" {
		t.Fatalf("a key that revokes itself: %d %s", got.status, got.body)
	}
	a.do(t, call{method: "GET", path: path, key: key}).problem(t, 401, "unauthenticated")
	first := a.get(t, path).json(t, 200)["revoked_at"]
	if at, ok := first.(string); !ok || !timestamp.MatchString(at) {
		t.Errorf("revoked_at is %v", first)
	}
	if got := a.do(t, call{method: "DELETE", path: path, key: bootstrapKey}); got.status != 204 {
		t.Errorf("a second time: %d %s", got.status, got.body)
	}
	if again := a.get(t, path).json(t, 200)["revoked_at"]; again != first {
		t.Errorf("revoked at %v, then at %v", first, again)
	}
}

func TestTheTrailNamesTheCallersKeyAndRequest(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	boss, id := a.createKey(t, "boss", access.SuperAdmin), uuid.NewString()
	made := a.do(t, call{method: "POST", path: keysPath, key: boss, body: `{"name":"crm","role":"admin"}`, header: map[string]string{"X-Request-Id": id}})
	a.do(t, call{method: "DELETE", path: made.header.Get("Location"), key: boss, header: map[string]string{"X-Request-Id": id}})
	var actions []string
	if err := a.db.SelectContext(t.Context(), &actions, `
		SELECT action FROM sonicus.audit_log l JOIN sonicus.api_keys k ON k.id = l.api_key_id
		WHERE l.actor = 'boss' AND k.name = 'boss' AND l.request_id = $1 AND l.object_id = $2 ORDER BY l.at`, id, made.json(t, 201)["id"]); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"api_key.create", "api_key.revoke"}, actions); diff != "" {
		t.Error(diff)
	}
}
