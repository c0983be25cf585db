package webhook

import (
	"encoding/base64"
	"encoding/json"
	"html"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

func TestSecretsAreTheValuesAndWhatIsWithinThem(t *testing.T) {
	t.Parallel()
	basic := base64.StdEncoding.EncodeToString([]byte("someone:pass:word"))
	for name, tt := range map[string]struct {
		header, value string
		want          secrets
	}{
		"a value":                      {"X-Api-Key", "k3y-of-mine", secrets{"k3y-of-mine"}},
		"as it is sent":                {"X-Api-Key", "\t k3y-of-mine ", secrets{"k3y-of-mine"}},
		"a bearer token":               {"authorization", "Bearer t0k3n.x", secrets{"Bearer t0k3n.x", "t0k3n.x"}},
		"another scheme":               {"X-Own", "Token t0k3n.x", secrets{"Token t0k3n.x", "t0k3n.x"}},
		"basic authentication":         {"Authorization", "Basic " + basic, secrets{"Basic " + basic, basic, strings.TrimRight(basic, "="), "someone:pass:word", "pass:word"}},
		"basic authentication, broken": {"Authorization", "Basic !!!!!!", secrets{"Basic !!!!!!", "!!!!!!"}},
		"a short value":                {"X-Version", "v1.23", nil},
		"the shortest":                 {"X-Version", "v1.234", secrets{"v1.234"}},
		"what answers are wanted":      {"ACCEPT", "application/json", nil},
		"no value":                     {"X-Own", "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := secretsOf(http.Header{tt.header: {tt.value}}); !slices.Equal(got, tt.want) {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestEchoedSecretsAreMasked(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ secret, text, want string }{
		"as it is":                    {"k3y-of-mine", "got k3y-of-mine.", "got ********."},
		"twice":                       {"k3y-of-mine", "k3y-of-mine,k3y-of-mine", "********,********"},
		"overlapping itself":          {"abcdefabc", "abcdefabcdefabc", "********"},
		"not there":                   {"k3y-of-mine", "k3y-of-yours & 100% \\", "k3y-of-yours & 100% \\"},
		"JSON":                        {`a"b\c/d<e`, `{"v":"a\"b\\c/d<e","w":1}`, `{"v":"********","w":1}`},
		"JSON with escaped slashes":   {`a"b\c/d<e`, `{"v":"a\"b\\c\/d<e"}`, `{"v":"********"}`},
		"JSON for HTML":               {`a"b\c/d<e`, `{"v":"a\"b\\c/d\u003Ce"}`, `{"v":"********"}`},
		"JSON of other alphabets":     {"pässw😀rd", `{"v":"p\u00e4ssw\ud83d\ude00rd"}`, `{"v":"********"}`},
		"JSON with tabs":              {"one\ttwo", `{"v":"one\ttwo"}`, `{"v":"********"}`},
		"single quotes":               {`it's it`, `'it\'s it'`, `'********'`},
		"HTML":                        {`a&b<c>"'d`, `<p>a&amp;b&lt;c&gt;&quot;&#39;d</p>`, `<p>********</p>`},
		"HTML in hexadecimal":         {`abc=de+f`, `abc&#x3D;de&#43;f & more`, `******** & more`},
		"a query string":              {"a b/c+d=e", "v=a+b%2Fc%2bd%3De&w=1", "v=********&w=1"},
		"a query string with %20":     {"a b/c+d=e", "v=a%20b%2Fc%2Bd%3De", "v=********"},
		"control characters about it": {"k3y-of-mine", "\x00k3y-of-mine\x1b", "\x00********\x1b"},
		"its beginning, uncut":        {"k3y-of-mine", "k3y-of-m", "k3y-of-m"},
		"no text":                     {"k3y-of-mine", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := (secrets{"another one", tt.secret}).mask(tt.text, false); got != tt.want {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestASecretWithinAnotherLeavesNothingOfIt(t *testing.T) {
	t.Parallel()
	for _, s := range []secrets{{"middle", "the middle of it"}, {"the middle of it", "middle"}, {"middle of it", "the middle"}} {
		if got := s.mask("<the middle of it>", false); got != "<********>" {
			t.Errorf("%q: %q", s, got)
		}
	}
}

// Wherever the text ends, nothing is left of a secret that goes on beyond.
func TestNoPartOfASecretRemainsAtTheCut(t *testing.T) {
	t.Parallel()
	const secret = `k3y "of/mine" & \yours`
	asJSON, _ := json.Marshal(secret) // with \u0026
	for _, written := range []string{secret, string(asJSON[1 : len(asJSON)-1]), html.EscapeString(secret), url.QueryEscape(secret)} {
		for end := 1; end <= len(written); end++ {
			if got := (secrets{secret}).mask("<>"+written[:end], true); got != "<>"+Mask {
				t.Errorf("%q became %q", written[:end], got)
			}
		}
	}
}

func TestNoPartOfASecretRemainsAtTheCutOfAHeader(t *testing.T) {
	t.Parallel()
	for before := maxHeaderValue - 20; before <= maxHeaderValue; before++ {
		h := http.Header{"Server": {strings.Repeat("x", before) + "k3y-of-mine-and-yours"}}
		if got := storedHeaders(h, secrets{"k3y-of-mine-and-yours"})["Server"]; strings.Contains(got, "k") || len(got) > maxHeaderValue {
			t.Errorf("after %d: %q", before, got[before-1:])
		}
	}
}

func FuzzMask(f *testing.F) {
	f.Add(`a"b\c/d`, `x\`, "&", true)
	f.Fuzz(func(t *testing.T, secret, before, after string, cut bool) {
		if len(secret) < leastSecret || strings.Contains(Mask, secret[:1]) {
			return
		}
		asJSON, _ := json.Marshal(secret)
		for _, written := range []string{secret, string(asJSON[1 : len(asJSON)-1]), html.EscapeString(secret), url.QueryEscape(secret)} {
			got := (secrets{secret}).mask(before+" "+written+" "+after, cut)
			if strings.Contains(got, secret) {
				t.Errorf("%q remains in %q", secret, got)
			}
		}
	})
}
