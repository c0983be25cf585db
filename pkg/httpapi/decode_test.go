package httpapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/sonicus/webhooks/pkg/organization"
	"github.com/sonicus/webhooks/pkg/problem"
)

// wanted says how a body is to be refused; fields are "path:code".
type wanted struct {
	status int
	code   string
	fields string
}

var accepted = wanted{status: 201}

func TestStrictDecoding(t *testing.T) {
	t.Parallel()
	deep := func(n int) string { return `{"name":` + strings.Repeat("[", n-1) + strings.Repeat("]", n-1) + `}` }
	tests := []struct {
		name, body string
		want       wanted
	}{
		// The body as a whole.
		{"empty", "", wanted{400, "invalid_json", ""}},
		{"white space", " \n\t ", wanted{400, "invalid_json", ""}},
		{"text", "hello", wanted{400, "invalid_json", ""}},
		{"cut off", `{"name":"A"`, wanted{400, "invalid_json", ""}},
		{"cut off in a string", `{"name":"A`, wanted{400, "invalid_json", ""}},
		{"cut off in an escape", `{"name":"\`, wanted{400, "invalid_json", ""}},
		{"trailing object", `{}{}`, wanted{400, "invalid_json", ""}},
		{"trailing text", `{} x`, wanted{400, "invalid_json", ""}},
		{"trailing bracket", `{}}`, wanted{400, "invalid_json", ""}},
		{"trailing comma", `{"name":"A",}`, wanted{400, "invalid_json", ""}},
		{"single quotes", `{'name':'A'}`, wanted{400, "invalid_json", ""}},
		{"bare key", `{name:"A"}`, wanted{400, "invalid_json", ""}},
		{"comment", `{/* x */"name":"A"}`, wanted{400, "invalid_json", ""}},
		{"byte order mark", "\ufeff{}", wanted{400, "invalid_json", ""}},
		{"NaN", `{"max_users":NaN}`, wanted{400, "invalid_json", ""}},
		{"hexadecimal", `{"max_users":0x10}`, wanted{400, "invalid_json", ""}},
		{"leading zero", `{"max_users":010}`, wanted{400, "invalid_json", ""}},
		{"plus sign", `{"max_users":+1}`, wanted{400, "invalid_json", ""}},
		{"raw line break in a string", "{\"name\":\"a\nb\"}", wanted{400, "invalid_json", ""}},
		{"raw NUL in a string", "{\"name\":\"a\x00b\"}", wanted{400, "invalid_json", ""}},
		{"unknown escape", `{"name":"\x41"}`, wanted{400, "invalid_json", ""}},
		{"broken UTF-8 outside a string", "{\xff}", wanted{400, "invalid_json", ""}},
		{"form", `name=A&domain=b`, wanted{400, "invalid_json", ""}},
		{"null", `null`, wanted{422, "wrong_type", ""}},
		{"array", `[{}]`, wanted{422, "wrong_type", ""}},
		{"string", `"{}"`, wanted{422, "wrong_type", ""}},
		{"number", `42`, wanted{422, "wrong_type", ""}},
		{"boolean", `true`, wanted{422, "wrong_type", ""}},
		{"empty object", `{}`, accepted},
		{"white space around", "\r\n\t {} \n", accepted},
		{"32 levels", deep(32), wanted{422, "wrong_type", "name:wrong_type"}},
		{"33 levels", deep(33), wanted{422, "too_deep", ""}},
		{"100,000 levels", strings.Repeat("[", 100_000), wanted{422, "too_deep", ""}},
		{"brackets in strings are no levels", `{"name":"` + strings.Repeat("[{", 50) + `\"` + strings.Repeat("[{", 50) + `"}`, accepted},

		// Names.
		{"unknown", `{"nam":"A"}`, wanted{422, "unknown_field", "nam:unknown_field"}},
		{"unknown, null", `{"nam":null}`, wanted{422, "unknown_field", "nam:unknown_field"}},
		{"other case", `{"Name":"A"}`, wanted{422, "unknown_field", "Name:unknown_field"}},
		{"empty name", `{"":1}`, wanted{422, "unknown_field", ":unknown_field"}},
		{"server's own field", `{"id":"x","created_at":"y"}`, wanted{422, "validation_failed", "id:unknown_field created_at:unknown_field"}},
		{"prototype", `{"__proto__":{"role":"super_admin"}}`, wanted{422, "unknown_field", "__proto__:unknown_field"}},
		{"unknown in an object", `{"admin_user":{"role":"x"}}`, wanted{422, "unknown_field", "admin_user.role:unknown_field"}},
		{"unknown in an array", `{"webhook_endpoints":[{},{"hdr":1}]}`, wanted{422, "unknown_field", "webhook_endpoints[1].hdr:unknown_field"}},
		{"broken UTF-8", "{\"na\xffme\":1}", wanted{422, "unknown_field", "na\ufffdme:unknown_field"}},
		{"long", `{"` + strings.Repeat("é", 500) + `":1}`, wanted{422, "unknown_field", strings.Repeat("é", 50) + "…:unknown_field"}},
		{"twice", `{"name":"A","name":"A"}`, wanted{422, "duplicate_key", "name:duplicate_key"}},
		{"twice, once escaped", `{"name":"A","n\u0061me":"B"}`, wanted{422, "duplicate_key", "name:duplicate_key"}},
		{"twice, once null", `{"name":null,"name":"B"}`, wanted{422, "duplicate_key", "name:duplicate_key"}},
		{"twice in an object", `{"admin_user":{"email":"a","email":"b"}}`, wanted{422, "duplicate_key", "admin_user.email:duplicate_key"}},
		{"twice in an array", `{"webhook_endpoints":[{"url":"a","url":"b"}]}`, wanted{422, "duplicate_key", "webhook_endpoints[0].url:duplicate_key"}},
		{"escaped once", `{"n\u0061me":"B"}`, accepted},

		// Types.
		{"number for text", `{"name":1}`, wanted{422, "wrong_type", "name:wrong_type"}},
		{"boolean for text", `{"domain":true}`, wanted{422, "wrong_type", "domain:wrong_type"}},
		{"object for text", `{"industry":{}}`, wanted{422, "wrong_type", "industry:wrong_type"}},
		{"array for text", `{"company_size":["1"]}`, wanted{422, "wrong_type", "company_size:wrong_type"}},
		{"text for a number", `{"max_users":"250"}`, wanted{422, "wrong_type", "max_users:wrong_type"}},
		{"boolean for a number", `{"max_users":false}`, wanted{422, "wrong_type", "max_users:wrong_type"}},
		{"fraction", `{"max_users":2.5}`, wanted{422, "wrong_type", "max_users:wrong_type"}},
		{"whole fraction", `{"max_users":2.0}`, wanted{422, "wrong_type", "max_users:wrong_type"}},
		{"exponent", `{"max_users":1e3}`, wanted{422, "wrong_type", "max_users:wrong_type"}},
		{"2^31", `{"max_users":2147483648}`, wanted{422, "out_of_range", "max_users:out_of_range"}},
		{"400 digits", `{"max_users":` + strings.Repeat("9", 400) + `}`, wanted{422, "out_of_range", "max_users:out_of_range"}},
		{"minus zero", `{"max_users":-0}`, accepted},
		{"text for an object", `{"admin_user":"a@example.com"}`, wanted{422, "wrong_type", "admin_user:wrong_type"}},
		{"array for an object", `{"admin_user":[]}`, wanted{422, "wrong_type", "admin_user:wrong_type"}},
		{"number in an object", `{"admin_user":{"email":1}}`, wanted{422, "wrong_type", "admin_user.email:wrong_type"}},
		{"object for an array", `{"webhook_endpoints":{}}`, wanted{422, "wrong_type", "webhook_endpoints:wrong_type"}},
		{"text in an array of objects", `{"webhook_endpoints":["x",{}]}`, wanted{422, "wrong_type", "webhook_endpoints[0]:wrong_type"}},
		{"null in an array of objects", `{"webhook_endpoints":[null]}`, wanted{422, "wrong_type", "webhook_endpoints[0]:wrong_type"}},
		{"text for an array", `{"webhook_endpoints":[{"events":"organization.created"}]}`, wanted{422, "wrong_type", "webhook_endpoints[0].events:wrong_type"}},
		{"number in an array", `{"webhook_endpoints":[{"events":["*",1]}]}`, wanted{422, "wrong_type", "webhook_endpoints[0].events[1]:wrong_type"}},
		{"null in an array", `{"webhook_endpoints":[{"events":[null]}]}`, wanted{422, "wrong_type", "webhook_endpoints[0].events[0]:wrong_type"}},
		{"text for a boolean", `{"webhook_endpoints":[{"generate_secret":"yes"}]}`, wanted{422, "wrong_type", "webhook_endpoints[0].generate_secret:wrong_type"}},
		{"number for a boolean", `{"webhook_endpoints":[{"generate_secret":1}]}`, wanted{422, "wrong_type", "webhook_endpoints[0].generate_secret:wrong_type"}},
		{"no UUID", `{"webhook_endpoints":[{"organization_id":"1"}]}`, wanted{422, "invalid_uuid", "webhook_endpoints[0].organization_id:invalid_uuid"}},
		{"UUID in braces", `{"webhook_endpoints":[{"organization_id":"{123e4567-e89b-12d3-a456-426614174000}"}]}`, wanted{422, "invalid_uuid", "webhook_endpoints[0].organization_id:invalid_uuid"}},
		{"number for a time", `{"trial_end_date":1754583652}`, wanted{422, "wrong_type", "trial_end_date:wrong_type"}},
		{"no time", `{"trial_end_date":"tomorrow"}`, wanted{422, "invalid_timestamp", "trial_end_date:invalid_timestamp"}},
		{"time without zone", `{"trial_end_date":"2025-08-07T16:20:52"}`, wanted{422, "invalid_timestamp", "trial_end_date:invalid_timestamp"}},
		{"day that does not exist", `{"trial_end_date":"2025-02-30T00:00:00Z"}`, wanted{422, "invalid_timestamp", "trial_end_date:invalid_timestamp"}},
		{"time", `{"trial_end_date":"2025-08-07T16:20:52.123456+02:00"}`, accepted},
		{"null is absent", `{"name":null,"max_users":null,"trial_end_date":null,"admin_user":null,"webhook_endpoints":null}`, accepted},
		{"null is absent, inside", `{"admin_user":{"email":null},"webhook_endpoints":[{"events":null,"organization_id":null,"generate_secret":null,"secret_key":null}]}`, accepted},

		// Text.
		{"broken UTF-8", "{\"name\":\"\xff\"}", wanted{422, "invalid_utf8", "name:invalid_utf8"}},
		{"overlong UTF-8", "{\"name\":\"\xc0\xaf\"}", wanted{422, "invalid_utf8", "name:invalid_utf8"}},
		{"surrogate in UTF-8", "{\"name\":\"\xed\xa0\x80\"}", wanted{422, "invalid_utf8", "name:invalid_utf8"}},
		{"lone high surrogate", `{"name":"\ud83d"}`, wanted{422, "invalid_utf8", "name:invalid_utf8"}},
		{"lone low surrogate", `{"name":"\ude00x"}`, wanted{422, "invalid_utf8", "name:invalid_utf8"}},
		{"surrogates the wrong way round", `{"name":"\ude00\ud83d"}`, wanted{422, "invalid_utf8", "name:invalid_utf8"}},
		{"lone surrogate in an array", `{"webhook_endpoints":[{"events":["\ud83d"]}]}`, wanted{422, "invalid_utf8", "webhook_endpoints[0].events[0]:invalid_utf8"}},
		{"pair of surrogates", `{"name":"\ud83d\ude00"}`, accepted},
		{"four bytes", `{"name":"😀"}`, accepted},
		{"right to left", `{"name":"שלום"}`, accepted},

		// All at once.
		{"several", `{"name":1,"x":2,"max_users":"3","admin_user":{"email":[],"y":0},"name":4}`, wanted{
			422, "validation_failed",
			"name:duplicate_key name:wrong_type max_users:wrong_type admin_user.email:wrong_type x:unknown_field admin_user.y:unknown_field",
		}},
	}
	if len(tests) < 60 {
		t.Errorf("only %d rows", len(tests))
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequestWithContext(t.Context(), "POST", "/", strings.NewReader(tt.body))
			r.Header.Set("Content-Type", "application/json")
			_, err := decode(httptest.NewRecorder(), r, onboardingFields)
			if diff := cmp.Diff(tt.want, outcome(err), cmp.AllowUnexported(wanted{})); diff != "" {
				t.Errorf("%v\n%s", err, diff)
			}
		})
	}
}

func outcome(err error) wanted {
	if err == nil {
		return accepted
	}
	p := problemOf(err)
	var fields []string
	for _, f := range p.Fields {
		fields = append(fields, f.Field+":"+f.Code)
	}
	return wanted{statusOf(p.Kind), p.Code, strings.Join(fields, " ")}
}

func TestOnlyUncompressedJSONIsRead(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	tests := []struct {
		contentType, encoding string
		status                int
	}{
		{"application/json", "", 422},
		{"application/json; charset=utf-8", "", 422},
		{"Application/JSON;charset=\"UTF-8\"", "", 422},
		{"", "", 415},
		{"text/plain", "", 415},
		{"application/x-www-form-urlencoded", "", 415},
		{"multipart/form-data; boundary=x", "", 415},
		{"application/problem+json", "", 415},
		{"application/json5", "", 415},
		{"application/json; charset=latin1", "", 415},
		{"application/json; charset=utf-8; x=y", "", 415},
		{"application/json; x=y", "", 415},
		{"application/json, text/plain", "", 415},
		{"application/json", "gzip", 415},
		{"application/json", "deflate", 415},
		{"application/json", "br", 415},
		{"application/json", "identity", 415},
	}
	for _, tt := range tests {
		t.Run(tt.contentType+" "+tt.encoding, func(t *testing.T) {
			t.Parallel()
			header := map[string]string{"Content-Type": tt.contentType}
			if tt.encoding != "" {
				header["Content-Encoding"] = tt.encoding
			}
			got := a.do(t, call{method: "POST", path: organizationsPath, key: bootstrapKey, body: "{}", header: header})
			if got.status != tt.status {
				t.Errorf("got %d: %s", got.status, got.body)
			}
			if tt.status == 415 {
				got.problem(t, 415, "unsupported_media_type")
			}
		})
	}
}

func TestTwoContentTypesAreNone(t *testing.T) {
	t.Parallel()
	r := &http.Request{Header: http.Header{"Content-Type": {"application/json", "application/json"}}}
	if checkMedia(r) == nil {
		t.Error("accepted")
	}
}

func TestBodyIsAtMostOneMebibyte(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	for _, size := range []int{1 << 20, 1<<20 + 1, 3 << 20} {
		for _, chunked := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d bytes, chunked %v", size, chunked), func(t *testing.T) {
				t.Parallel()
				var body io.Reader = strings.NewReader("{" + strings.Repeat(" ", size-2) + "}")
				if chunked {
					body = io.MultiReader(body) // hides the length from the client
				}
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, a.url+organizationsPath, body)
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Authorization", "Bearer "+bootstrapKey)
				req.Header.Set("Content-Type", "application/json")
				transport := new(http.Transport)
				defer transport.CloseIdleConnections()
				resp, err := transport.RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				text, err := io.ReadAll(resp.Body)
				if err != nil {
					t.Fatal(err)
				}
				got := answer{resp.StatusCode, resp.Header, string(text)}
				if size > 1<<20 {
					got.problem(t, 413, "too_large")
				} else {
					got.problem(t, 422, "validation_failed")
				}
			})
		}
	}
}

func TestBodyThatNeverEndsIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	broken := io.MultiReader(strings.NewReader(`{"name":`), failing{})
	r := httptest.NewRequestWithContext(t.Context(), "POST", "/", broken)
	r.Header.Set("Content-Type", "application/json")
	_, err := decode(httptest.NewRecorder(), r, organizationFields)
	if got := outcome(err); got.status != 400 || got.code != "incomplete_body" || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %+v, %v", got, err)
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestAnswerToManyErrorsIsBounded(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for i := range 50_000 {
		fmt.Fprintf(&b, `,"x%d":1`, i)
	}
	_, err := parseAll([]byte("{" + b.String()[1:] + "}"))
	p, ok := errors.AsType[*problem.Error](err)
	if !ok || len(p.Fields) != maxReported {
		t.Errorf("%d errors reported", len(p.Fields))
	}
}

// parseAll is decode without HTTP.
func parseAll(body []byte) (organization.Onboarding, error) {
	root, err := parseObject(body)
	if err != nil {
		return organization.Onboarding{}, err
	}
	in := onboardingFields(root)
	if wrong := root.finish(); len(wrong) > 0 {
		return organization.Onboarding{}, problem.Invalid(wrong...)
	}
	return in, nil
}

// FuzzDecode holds that every refusal is the caller's, and that what is accepted
// reads as encoding/json reads it.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		``, `{}`, `{"name":"A","domain":"a.b","max_users":3,"trial_end_date":"2025-08-07T16:20:52Z"}`, `{"name":"\ud83d\ude00"}`,
		`{"name":"\ud83d"}`, `{"admin_user":{"email":"a@b","full_name":"C"},"webhook_endpoints":[{"url":"https://x","events":["*"]}]}`,
		`{"a":1,"a":2}`, `[[[[]]]]`, `{"name":"\\\"["}`, "{\"name\":\"\xff\"}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		in, err := parseAll(body)
		if err != nil {
			if p := problemOf(err); p.Kind != problem.KindInvalid && p.Kind != problem.KindMalformed {
				t.Fatalf("%q: %v", body, err)
			}
			return
		}
		var plain struct {
			Name      string `json:"name"`
			MaxUsers  *int   `json:"max_users"`
			AdminUser struct {
				Email string `json:"email"`
			} `json:"admin_user"`
		}
		if err := json.Unmarshal(body, &plain); err != nil {
			t.Fatalf("accepted %q: %v", body, err)
		}
		got := []any{in.Organization.Name, in.Organization.MaxUsers, in.AdminUser.Email}
		if diff := cmp.Diff([]any{plain.Name, plain.MaxUsers, plain.AdminUser.Email}, got); diff != "" {
			t.Fatalf("%q: %s", body, diff)
		}
		if !utf8.ValidString(in.Organization.Name) || strings.ContainsRune(in.Organization.Name, utf8.RuneError) {
			t.Fatalf("accepted the broken text of %q", body)
		}
	})
}
