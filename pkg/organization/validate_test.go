package organization

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/event"
)

func valid() New {
	return New{Name: "Example Corporation", Domain: "example.com", PrimaryContactEmail: "admin@example.com"}
}

// refusals lists every value that is refused, by field, with the code for it.
func refusals() map[string]map[string]string {
	text := func(limit int) map[string]string {
		return map[string]string{
			"   ": "blank", "\u00a0": "blank", "\u200b\u200b": "blank",
			" a": "surrounding_space", "a ": "surrounding_space", "a\u3000": "surrounding_space",
			"a\x00b": "control_character", "a\rb": "control_character", "a\nb": "control_character", "\x1b[31mred": "control_character",
			"a\tb": "control_character", "a\x7f": "control_character", "a\u0085b": "control_character",
			"a\xff": "invalid_utf8", "\xed\xa0\x80": "invalid_utf8", "a\ufffd": "invalid_utf8",
			strings.Repeat("é", limit+1): "too_long",
		}
	}
	with := func(more map[string]string, texts ...map[string]string) map[string]string {
		for _, t := range texts {
			for k, v := range t {
				more[k] = v
			}
		}
		return more
	}
	domain := map[string]string{"": "required", strings.Repeat("a.", 126) + "com": "too_long", "a\x00.com": "control_character", " example.com": "surrounding_space", "example.com\n": "control_character"}
	for _, d := range []string{
		"example", "localhost", ".", "example.com.", ".example.com", "example..com", "https://example.com", "http://example.com/", "example.com/path", "example.com:443",
		"user@example.com", "exa mple.com", "exa_mple.com", "-example.com", "example-.com", "*.example.com", "example.com?x=1", "exam%70le.com", "a\\b.com",
		"127.0.0.1", "1.2.3", "10.1", "0x7f.1", "1.2.3.0x4", "::1", "[::1]", "fe80::1%eth0", "2001:db8::1", "１２７.０.０.１", "127。0。0。1", "①.②.③.④",
		"example.1com", "example.123", strings.Repeat("a", 64) + ".com", strings.Repeat("bücher.", 20) + "example", "xn--a.com", "xn--.com", "ab--cd.com", "a\u200d.com", "א1a.com", "\u00ad.com", "example.com\u202e.net",
	} {
		domain[d] = "invalid_domain"
	}
	email := with(map[string]string{"": "required"}, text(254))
	for _, e := range []string{
		"admin", "admin@", "@example.com", "admin@localhost", "admin@[127.0.0.1]", "admin@127.0.0.1", "Admin <admin@example.com>", "<admin@example.com>", "admin@example.com (comment)",
		`"a b"@example.com`, "a b@example.com", "a@b@example.com", "a..b@example.com", ".a@example.com", "a@example.com, b@example.com", "a@example..com", "mailto:a@example.com", "admin@example.com.", "admin@exa_mple.com",
	} {
		email[e] = "invalid_email"
	}
	email[strings.Repeat("é", 125)+"@example.com"] = "too_long" // 137 characters, 262 bytes
	return map[string]map[string]string{
		"name":                  with(map[string]string{"": "required"}, text(200)),
		"display_name":          with(map[string]string{"": "blank"}, text(200)),
		"domain":                domain,
		"primary_contact_email": email,
		"subscription_tier": with(map[string]string{
			"": "blank", "Premium": "invalid_tier", "1tier": "invalid_tier", "-x": "invalid_tier", "a b": "invalid_tier", "prémium": "invalid_tier", "a.b": "invalid_tier",
		}, text(50)),
		"subscription_status": {"": "invalid_status", "Active": "invalid_status", "active ": "invalid_status", "cancelled": "invalid_status", "paid": "invalid_status", "active\x00": "invalid_status"},
		"industry":            with(map[string]string{"": "blank"}, text(100)),
		"company_size": with(map[string]string{
			"": "blank", "many": "invalid_range", "50 - 100": "invalid_range", "100-50": "invalid_range", "1,000+": "invalid_range", "50-": "invalid_range", "-50": "invalid_range",
			"50–100": "invalid_range", "050-100": "invalid_range", "1+2": "invalid_range", "1000++": "invalid_range", "5e3": "invalid_range", "9999999999": "invalid_range", "1-2-3": "invalid_range", "٣": "invalid_range",
		}, text(20)),
		"admin_user.email":     email,
		"admin_user.full_name": with(map[string]string{"": "required"}, text(200)),
	}
}

func TestRefusesBadTextsByField(t *testing.T) {
	t.Parallel()
	for field, values := range refusals() {
		t.Run(field, func(t *testing.T) {
			t.Parallel()
			for value, code := range values {
				found := checkWith(field, value)
				if len(found) != 1 || found[0].Field != field || found[0].Code != code || found[0].Detail == "" {
					t.Errorf("%q: got %+v, want %s", value, found, code)
				}
			}
		})
	}
}

// checkWith checks an onboarding that is good but for one field.
func checkWith(field, value string) []struct{ Field, Code, Detail string } {
	n, a := valid(), AdminUser{Email: "a@example.com", FullName: "A"}
	switch field {
	case "name":
		n.Name = value
	case "display_name":
		n.DisplayName = &value
	case "domain":
		n.Domain = value
	case "primary_contact_email":
		n.PrimaryContactEmail = value
	case "subscription_tier":
		n.SubscriptionTier = &value
	case "subscription_status":
		n.SubscriptionStatus = &value
	case "industry":
		n.Industry = &value
	case "company_size":
		n.CompanySize = &value
	case "admin_user.email":
		a.Email = value
	case "admin_user.full_name":
		a.FullName = value
	}
	_, found := n.check()
	var all []struct{ Field, Code, Detail string }
	for _, f := range append(found, a.check()...) {
		all = append(all, struct{ Field, Code, Detail string }(f))
	}
	return all
}

func TestAcceptsGoodTextsAsTheyAre(t *testing.T) {
	t.Parallel()
	good := map[string][]string{
		"name":                  {"A", strings.Repeat("😀", 200), "R&D <b>\"x\"</b> \\ '; DROP TABLE users; --", "e\u0301", "é", "\u05d0\u200f", "日本 株式会社", "a\u2028b"},
		"display_name":          {"Example Corporation Inc."},
		"primary_contact_email": {"admin@example.com", "a+b.c@sub.example.co.uk", "MiXed@Example.COM", "üser@bücher.example", "o'hara@example.com"},
		"subscription_tier":     {"premium", "a", "tier_2-eu", strings.Repeat("a", 50)},
		"subscription_status":   statuses,
		"industry":              {"Technology", strings.Repeat("x", 100)},
		"company_size":          {"1", "0", "50-100", "50-50", "1000+", "0-10", "999999999+"},
		"admin_user.email":      {"ada@example.com"},
		"admin_user.full_name":  {"Ada Lovelace", "Ó", "x"},
	}
	for field, values := range good {
		for _, value := range values {
			if found := checkWith(field, value); found != nil {
				t.Errorf("%s %q: refused: %+v", field, value, found)
			}
		}
	}
}

func TestDomainIsStoredAsALookUpFindsIt(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		"example.com": "example.com", "EXAMPLE.Com": "example.com", "a.b.example.co.uk": "a.b.example.co.uk", "xn--bcher-kva.example": "xn--bcher-kva.example",
		"Bücher.example": "xn--bcher-kva.example", "bu\u0308cher.example": "xn--bcher-kva.example", "日本。jp": "xn--wgv71a.jp", "ｅｘａｍｐｌｅ.com": "example.com",
		"faß.de": "xn--fa-hia.de", "1and1.com": "1and1.com", "пример.рф": "xn--e1afmkfd.xn--p1ai", "127.0.0.1.example.com": "127.0.0.1.example.com",
		strings.Repeat("a", 63) + ".com":  strings.Repeat("a", 63) + ".com",
		strings.Repeat("a.", 125) + "com": strings.Repeat("a.", 125) + "com",
	} {
		if got, found := CheckDomain(given); got != want || found != nil {
			t.Errorf("%q: got %q %+v, want %q", given, got, found, want)
		}
	}
}

func TestNumbersAndDatesHaveBounds(t *testing.T) {
	t.Parallel()
	at := func(s string) *time.Time {
		v, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			t.Fatal(err)
		}
		return &v
	}
	users := func(n int) New { v := valid(); v.MaxUsers = &n; return v }
	trial := func(d *time.Time) New { v := valid(); v.TrialEndDate = d; return v }
	for _, tt := range []struct {
		name, field string
		n           New
	}{
		{"no users", "max_users", users(0)},
		{"negative users", "max_users", users(-1)},
		{"too many users", "max_users", users(1_000_001)},
		{"as many users as an int holds", "max_users", users(math.MaxInt)},
		{"before year 1", "trial_end_date", trial(at("0000-12-31T23:59:59Z"))},
		{"before year 1 in UTC", "trial_end_date", trial(at("0001-01-01T00:00:00+01:00"))},
		{"after year 9999 in UTC", "trial_end_date", trial(at("9999-12-31T23:59:59-01:00"))},
		{"one user", "", users(1)},
		{"a million users", "", users(1_000_000)},
		{"first instant", "", trial(at("0001-01-01T00:00:00Z"))},
		{"last instant", "", trial(at("9999-12-31T23:59:59.999999999Z"))},
		{"past", "", trial(at("1999-01-01T00:00:00Z"))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, found := tt.n.check()
			if tt.field == "" && found == nil {
				return
			}
			if len(found) != 1 || found[0].Field != tt.field || found[0].Code != "out_of_range" {
				t.Errorf("got %+v, want out_of_range of %q", found, tt.field)
			}
		})
	}
}

func TestTrialEndIsUTCAndMicroseconds(t *testing.T) {
	t.Parallel()
	given := time.Date(2030, 1, 2, 3, 4, 5, 123456789, time.FixedZone("", 7200))
	n := valid()
	n.TrialEndDate = &given
	o, _ := n.check()
	want := time.Date(2030, 1, 2, 1, 4, 5, 123456000, time.UTC)
	if *o.TrialEndDate != want {
		t.Errorf("got %s, want %s", o.TrialEndDate, want)
	}
	if given.Nanosecond() != 123456789 {
		t.Error("the caller's value was changed")
	}
}

func TestLeftOutFieldsHaveDefaults(t *testing.T) {
	t.Parallel()
	got, found := valid().check()
	want := Organization{
		Name: "Example Corporation", DisplayName: "Example Corporation", Domain: "example.com", PrimaryContactEmail: "admin@example.com",
		SubscriptionTier: "starter", SubscriptionStatus: "active", MaxUsers: 10,
	}
	if diff := cmp.Diff(want, got); diff != "" || found != nil {
		t.Errorf("%s %+v", diff, found)
	}
}

func TestReportsEveryBadFieldAtOnce(t *testing.T) {
	t.Parallel()
	empty, none, late := "", 0, time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
	n := New{
		DisplayName: &empty, SubscriptionTier: &empty, SubscriptionStatus: &empty, MaxUsers: &none, Industry: &empty,
		CompanySize: &empty, TrialEndDate: &late,
	}
	_, found := n.check()
	var got []string
	for _, f := range append(found, AdminUser{}.check()...) {
		got = append(got, f.Field+" "+f.Code)
	}
	want := []string{
		"name required", "display_name blank", "domain required", "primary_contact_email required", "subscription_tier blank", "subscription_status invalid_status",
		"max_users out_of_range", "industry blank", "company_size blank", "trial_end_date out_of_range", "admin_user.email required", "admin_user.full_name required",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// Nothing that passes the checks can be too large to deliver, so creating an
// organization has no such failure to report.
func TestLargestOrganizationFitsIntoAnEvent(t *testing.T) {
	t.Parallel()
	name, industry, tier, users := strings.Repeat("x\u2028", 99)+"x", strings.Repeat("\U0010FFFFx", 50), strings.Repeat("a", 50), 1_000_000
	email := strings.Repeat("a", 64) + "@" + strings.Repeat("a.", 92) + "com"
	domain, size, status, end := strings.Repeat("a.", 125)+"com", "999999999-999999999", "suspended", time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
	o, found := New{
		Name: name, DisplayName: &name, Domain: domain, PrimaryContactEmail: email, SubscriptionTier: &tier, SubscriptionStatus: &status,
		MaxUsers: &users, Industry: &industry, CompanySize: &size, TrialEndDate: &end,
	}.check()
	if found != nil {
		t.Fatalf("refused: %+v", found)
	}
	ev, err := event.NewOrganizationCreated(uuid.Max, end, o.payload(), &event.User{Email: email, FullName: name})
	if err != nil || len(ev.Payload) > event.MaxPayload/10 {
		t.Errorf("%d bytes of %d: %v", len(ev.Payload), event.MaxPayload, err)
	}
}
