package secret_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/sonicus/webhooks/pkg/secret"
)

const canary secret.Value = "c4n4ry-c4n4ry-c4n4ry-c4n4ry-c4n4ry-c4n4ry"

type settings struct {
	Token  secret.Value
	Tokens []secret.Value
	Next   *secret.Value
	Named  map[string]secret.Value
}

func canarySettings() settings {
	v := canary
	return settings{Token: canary, Tokens: []secret.Value{canary}, Next: &v, Named: map[string]secret.Value{"a": canary}}
}

func leaks(s string) bool {
	return strings.Contains(s, "c4n4ry") || strings.Contains(strings.ToLower(s), fmt.Sprintf("%x", "c4n4ry"))
}

func TestValueIsRedactedByEveryVerb(t *testing.T) {
	t.Parallel()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%#q", "%x", "%X", "% x", "%d", "%t", "%c", "%U", "%20s", "%.3s", "%!"} {
		for _, arg := range []any{canary, canarySettings(), []secret.Value{canary}} {
			if got := fmt.Sprintf(verb, arg); leaks(got) {
				t.Errorf("%s of %T leaks: %s", verb, arg, got)
			}
		}
	}
	if got := fmt.Sprint(canary); got != "[redacted]" {
		t.Errorf("got %s", got)
	}
	if err := errors.New("bad token " + canary.String()); leaks(err.Error()) {
		t.Error(err)
	}
}

func TestValueStaysOutOfLogsAndDocuments(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).Info("start", "token", canary, "settings", canarySettings(), slog.Any("list", []secret.Value{canary}))
	}
	for _, v := range []any{canary, canarySettings()} {
		doc, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(doc)
	}
	doc, err := xml.Marshal(canary)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(doc)
	if leaks(out.String()) {
		t.Error(out.String())
	}
	if n := strings.Count(out.String(), "[redacted]"); n < 10 {
		t.Errorf("only %d redactions in %s", n, out.String())
	}
}

func TestValueCanBeReadFromJSON(t *testing.T) {
	t.Parallel()
	var s settings
	if err := json.Unmarshal([]byte(`{"Token":"t0ken"}`), &s); err != nil || string(s.Token) != "t0ken" {
		t.Errorf("got %q, %v", string(s.Token), err)
	}
}

func TestLast4TellsNothingOfShortSecrets(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"": "", "abc": "", "abcdefghijklmno": "", "abcdefghijklmnop": "mnop", "abcdefghijklmnoéüß€": "éüß€",
	} {
		if got := secret.Last4(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}
