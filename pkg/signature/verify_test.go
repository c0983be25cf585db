package signature

import (
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

func newAt(t testing.TB, now int64, secrets ...string) *Verifier {
	t.Helper()
	v, err := New(secrets...)
	if err != nil {
		t.Fatal(err)
	}
	v.now = func() time.Time { return time.Unix(now, 0) }
	return v
}

func TestVerifySonicus(t *testing.T) {
	t.Parallel()
	v := newAt(t, 0, githubSecret)
	digits := strings.TrimPrefix(githubSignature, "sha256=")
	tests := []struct {
		name, value string
		err         error
	}{
		{"vector", githubSignature, nil},
		{"upper-case hex is accepted", "sha256=" + strings.ToUpper(digits), nil},
		{"absent", "", ErrMissing},
		{"upper-case algorithm", "SHA256=" + digits, ErrMismatch},
		{"other algorithm", "sha1=" + digits, ErrMismatch},
		{"no algorithm", digits, ErrMismatch},
		{"no digits", "sha256=", ErrMismatch},
		{"not hex", "sha256=" + strings.Repeat("x", 64), ErrMismatch},
		{"cut short", githubSignature[:len(githubSignature)-2], ErrMismatch},
		{"one digit off", githubSignature[:len(githubSignature)-1] + "8", ErrMismatch},
		{"trailing space", githubSignature + " ", ErrMismatch},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := http.Header{}
			if tt.value != "" {
				h.Set(HeaderSonicus, tt.value)
			}
			if err := v.VerifySonicus(h, []byte(githubBody)); !errors.Is(err, tt.err) {
				t.Errorf("got %v, want %v", err, tt.err)
			}
		})
	}
}

func TestVerifyStandard(t *testing.T) {
	t.Parallel()
	const other = "v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	at := strconv.Itoa(standardTime)
	tests := []struct {
		name, id, timestamp, signatures string
		now                             int64
		err                             error
	}{
		{"vector", standardID, at, standardSignature, standardTime, nil},
		{"last of a list", standardID, at, other + " " + standardSignature, standardTime, nil},
		{"unknown versions are skipped", standardID, at, "v1a,xyz v2," + other[3:] + " " + standardSignature, standardTime, nil},
		{"only an unknown version", standardID, at, "v2," + standardSignature[3:], standardTime, ErrMismatch},
		{"no version", standardID, at, standardSignature[3:], standardTime, ErrMismatch},
		{"comma-separated list", standardID, at, other + "," + standardSignature, standardTime, ErrMismatch},
		{"other signature", standardID, at, other, standardTime, ErrMismatch},
		{"other id", "msg_2", at, standardSignature, standardTime, ErrMismatch},
		{"id with a full stop", "msg.1", at, standardSignature, standardTime, ErrMismatch},
		{"other timestamp", standardID, "1614265331", standardSignature, standardTime, ErrMismatch},
		{"same second spelled otherwise", standardID, "+1614265330", standardSignature, standardTime, ErrMismatch},
		{"timestamp not a number", standardID, "2021-02-25", standardSignature, standardTime, ErrMismatch},
		{"no id", "", at, standardSignature, standardTime, ErrMissing},
		{"no timestamp", standardID, "", standardSignature, standardTime, ErrMissing},
		{"no signature", standardID, at, "", standardTime, ErrMissing},
		{"300 s old", standardID, at, standardSignature, standardTime + 300, nil},
		{"301 s old", standardID, at, standardSignature, standardTime + 301, ErrTooOld},
		{"300 s ahead", standardID, at, standardSignature, standardTime - 300, nil},
		{"301 s ahead", standardID, at, standardSignature, standardTime - 301, ErrTooNew},
		{"old and forged", standardID, at, other, standardTime + 301, ErrMismatch},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := http.Header{}
			h.Set(HeaderID, tt.id)
			h.Set(HeaderTimestamp, tt.timestamp)
			h.Set(HeaderStandard, tt.signatures)
			err := newAt(t, tt.now, standardSecret).VerifyStandard(h, []byte(standardBody))
			if !errors.Is(err, tt.err) {
				t.Errorf("got %v, want %v", err, tt.err)
			}
		})
	}
}

func TestToleranceCanBeSet(t *testing.T) {
	t.Parallel()
	v := newAt(t, standardTime+11, standardSecret)
	v.Tolerance = 10 * time.Second
	h := triple(standardID, standardTime, standardSignature)
	if err := v.VerifyStandard(h, []byte(standardBody)); !errors.Is(err, ErrTooOld) {
		t.Errorf("got %v", err)
	}
}

func TestExtremeTimestampsDoNotOverflow(t *testing.T) {
	t.Parallel()
	v := newAt(t, standardTime, standardSecret)
	for seconds, want := range map[int64]error{math.MinInt64: ErrTooOld, math.MaxInt64: ErrTooNew, 0: ErrTooOld, -1: ErrTooOld} {
		signed := standard(v.keys[0], "id", strconv.FormatInt(seconds, 10), nil)
		if err := v.VerifyStandard(triple("id", seconds, signed), nil); !errors.Is(err, want) {
			t.Errorf("%d: got %v, want %v", seconds, err, want)
		}
	}
}

func TestRotationAcceptsEitherSecret(t *testing.T) {
	t.Parallel()
	now, body := time.Unix(standardTime, 0), []byte("body")
	oldKey, newKey := mustKey(t, githubSecret), mustKey(t, standardSecret)
	h := triple("id", standardTime, Standard(newKey, "id", now, body)+" "+Standard(oldKey, "id", now, body))
	tests := []struct {
		name    string
		secrets []string
		err     error
	}{
		{"receiver knows the old one", []string{githubSecret}, nil},
		{"receiver knows the new one", []string{standardSecret}, nil},
		{"receiver knows both", []string{githubSecret, standardSecret}, nil},
		{"receiver knows neither", []string{"something else altogether"}, ErrMismatch},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if err := newAt(t, standardTime, tt.secrets...).Verify(h, body); !errors.Is(err, tt.err) {
				t.Errorf("got %v, want %v", err, tt.err)
			}
		})
	}
}

func TestVerifyDemandsBothForms(t *testing.T) {
	t.Parallel()
	body := []byte(standardBody)
	key := mustKey(t, standardSecret)
	good := func() http.Header {
		h := triple(standardID, standardTime, standardSignature)
		h.Set(HeaderSonicus, Sonicus(key, body))
		return h
	}
	tests := []struct {
		name   string
		change func(http.Header)
		err    error
	}{
		{"both match", func(http.Header) {}, nil},
		{"without the Sonicus form", func(h http.Header) { h.Del(HeaderSonicus) }, nil},
		{"Sonicus form wrong", func(h http.Header) { h.Set(HeaderSonicus, githubSignature) }, ErrMismatch},
		{"Sonicus form empty", func(h http.Header) { h.Set(HeaderSonicus, "") }, ErrMissing},
		{"Sonicus form alone", func(h http.Header) { h.Del(HeaderStandard) }, ErrMissing},
		{"Sonicus form twice", func(h http.Header) { h.Add(HeaderSonicus, githubSignature) }, ErrMismatch},
		{"id twice", func(h http.Header) { h.Add(HeaderID, "x") }, ErrMismatch},
		{"nothing", func(h http.Header) { clear(h) }, ErrMissing},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := good()
			tt.change(h)
			if err := newAt(t, standardTime, standardSecret).Verify(h, body); !errors.Is(err, tt.err) {
				t.Errorf("got %v, want %v", err, tt.err)
			}
		})
	}
}

func TestNewRefusesNoKey(t *testing.T) {
	t.Parallel()
	for _, secrets := range [][]string{nil, {""}, {githubSecret, "whsec_"}} {
		if _, err := New(secrets...); !errors.Is(err, ErrMalformedSecret) {
			t.Errorf("%d secrets: got %v", len(secrets), err)
		}
	}
}

// FuzzVerify: what we sign is accepted by us and by the Standard Webhooks library;
// with any other header values we accept nothing that the library refuses.
func FuzzVerify(f *testing.F) {
	f.Add([]byte(standardBody), standardID, standardSignature, githubSignature)
	f.Add([]byte{}, "x", "v1, v1,", "sha256=")
	f.Add([]byte{0, 0xff}, "a.b", "v2,x  v1,g0h", "sha256=zz")
	oracle, err := standardwebhooks.NewWebhook(standardSecret)
	if err != nil {
		f.Fatal(err)
	}
	v, err := New(standardSecret)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte, id, signatures, sonicus string) {
		now := time.Now()
		h := triple(id, now.Unix(), signatures)
		if v.VerifyStandard(h, body) == nil && oracle.Verify(body, h) != nil {
			t.Fatalf("accepted %v, which the library refuses", h)
		}
		h.Set(HeaderSonicus, sonicus)
		if v.VerifySonicus(h, body) == nil && !strings.EqualFold(sonicus, Sonicus(v.keys[0], body)) {
			t.Fatalf("accepted %q", sonicus)
		}
		if id == "" || strings.Contains(id, ".") {
			return
		}
		h.Set(HeaderStandard, Standard(v.keys[0], id, now, body))
		h.Set(HeaderSonicus, Sonicus(v.keys[0], body))
		if err := v.Verify(h, body); err != nil {
			t.Fatalf("refused our own signature: %v", err)
		}
		if err := oracle.Verify(body, h); err != nil {
			t.Fatalf("the library refuses our signature: %v", err)
		}
	})
}
