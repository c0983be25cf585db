package organization_test

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/organization"
	"github.com/sonicus/webhooks/pkg/postgres/pgtest"
)

const wire = "2006-01-02T15:04:05.000000Z"

// documented is the published example of the payload, with the values that
// every creation makes anew put in their places, as it goes over the wire.
func documented(t *testing.T, file string, values ...string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, text); err != nil {
		t.Fatal(err)
	}
	return strings.NewReplacer(values...).Replace(compact.String())
}

func TestPayloadIsTheDocumentedOneByteForByte(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	o := f.create(t, organization.New{
		Name: "Example Corporation", DisplayName: ptr("Example Corporation Inc."), Domain: "example.com", PrimaryContactEmail: "admin@example.com",
		SubscriptionTier: ptr("premium"), SubscriptionStatus: ptr("active"), MaxUsers: ptr(250), Industry: ptr("Technology"), CompanySize: ptr("50-100"),
	})
	id, got := f.payload(t, o.ID)
	want := documented(t, "testdata/organization.created.json", "550e8400-e29b-41d4-a716-446655440000", id.String(),
		"123e4567-e89b-12d3-a456-426614174000", o.ID.String(), "2025-08-07T16:20:52.123456Z", o.CreatedAt.Format(wire))
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if o.CreatedAt.Location() != time.UTC || time.Since(o.CreatedAt).Abs() > time.Hour {
		t.Errorf("created at %s", o.CreatedAt)
	}
}

func TestOnboardingPayloadCarriesTheAdminUser(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	in := onboarding()
	in.Organization.TrialEndDate = ptr(time.Date(2030, 1, 2, 5, 4, 5, 600, time.FixedZone("", 7200)))
	done, err := f.organizations.Onboard(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	id, got := f.payload(t, done.Organization.ID)
	want := documented(t, "testdata/organization.onboarded.json", "EVENT", id.String(), "ORGANIZATION", done.Organization.ID.String(),
		"NOW", done.Organization.CreatedAt.Format(wire), "USER", done.AdminUser.ID.String())
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// What a row says and what receivers are told are the same texts and instants.
func TestHostileTextsReachTheReceiverAsTheyAre(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	for i, text := range []string{`'; DROP TABLE sonicus.users; --`, `"}],"x":{`, `\u0000 \\ \"`, "<script>&amp;</script>", "$1 %s {{.}}", "\u202eevil", "e\u0301 é 😀 \U0010FFFF", "a\u2028b"} {
		n := example()
		n.Name, n.Industry, n.Domain = text, &text, "d"+string(rune('a'+i))+".example"
		o := f.create(t, n)
		stored, err := f.organizations.Get(t.Context(), o.ID)
		if diff := cmp.Diff(o, stored); diff != "" || err != nil {
			t.Errorf("%q: %v %s", text, err, diff)
		}
		var told struct {
			Data struct {
				Organization struct{ Name, Industry string }
			}
		}
		_, payload := f.payload(t, o.ID)
		if err := json.Unmarshal([]byte(payload), &told); err != nil || told.Data.Organization.Name != text || told.Data.Organization.Industry != text {
			t.Errorf("%q: told %+v, %v", text, told, err)
		}
	}
}

func TestReadsBackAsItWasAnswered(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	full := example()
	full.TrialEndDate, full.MaxUsers, full.Industry, full.CompanySize = ptr(time.Date(2030, 1, 2, 5, 4, 5, 123456789, time.FixedZone("", 7200))), ptr(1_000_000), ptr("x"), ptr("1000+")
	least := example()
	least.Domain = "BÜCHER.example"
	for _, n := range []organization.New{full, least} {
		made := f.create(t, n)
		got, err := f.organizations.Get(t.Context(), made.ID)
		if diff := cmp.Diff(made, got); diff != "" || err != nil {
			t.Errorf("%v %s", err, diff)
		}
		if made.ID.Version() != 7 || made.CreatedAt != made.UpdatedAt {
			t.Errorf("got %+v", made)
		}
	}
}

func TestTimesAreUTCWhateverTheServersZone(t *testing.T) {
	t.Parallel()
	f := setUpOn(t, pgtest.Open(t, withOption(t, pgtest.NewURL(t), "timezone", "Asia/Tokyo")))
	n := example()
	n.TrialEndDate = ptr(time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC))
	made := f.create(t, n)
	got, err := f.organizations.Get(t.Context(), made.ID)
	if err != nil {
		t.Fatal(err)
	}
	list, err := f.organizations.List(t.Context(), organization.Filter{}, 1, uuid.Nil)
	if err != nil {
		t.Fatal(err)
	}
	endpoint, err := f.endpoints.Get(t.Context(), f.register(t, hook()))
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []time.Time{
		made.CreatedAt, made.UpdatedAt, *made.TrialEndDate, got.CreatedAt, got.UpdatedAt, *got.TrialEndDate,
		list[0].CreatedAt, list[0].UpdatedAt, *list[0].TrialEndDate, endpoint.CreatedAt, endpoint.UpdatedAt,
	} {
		if at.Location() != time.UTC {
			t.Errorf("got %s", at)
		}
	}
	if _, payload := f.payload(t, made.ID); !strings.Contains(payload, `"timestamp":"`+made.CreatedAt.Format(wire)) {
		t.Errorf("got %s", payload)
	}
}

func TestListPagesFromTheNewest(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	missing := map[uuid.UUID]bool{}
	for _, d := range []string{"a.example", "b.example", "c.example", "d.example", "e.example"} {
		n := example()
		n.Domain = d
		missing[f.create(t, n).ID] = true
	}
	before := uuid.Nil
	for range 3 {
		page, err := f.organizations.List(t.Context(), organization.Filter{}, 2, before)
		if err != nil || len(page) == 0 {
			t.Fatal(page, err)
		}
		for _, o := range page {
			if !missing[o.ID] || (before != uuid.Nil && o.ID.String() >= before.String()) {
				t.Errorf("%s is unknown, repeated or out of order", o.ID)
			}
			delete(missing, o.ID)
			before = o.ID
		}
	}
	if last, err := f.organizations.List(t.Context(), organization.Filter{}, 2, before); err != nil || len(last) != 0 || len(missing) != 0 {
		t.Errorf("%d after the last, %d not listed, %v", len(last), len(missing), err)
	}
}
