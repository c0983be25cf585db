package access_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/sonicus/webhooks/pkg/access"
	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/postgres/pgtest"
	"github.com/sonicus/webhooks/pkg/problem"
)

const bootstrapKey = "bootstrap-key-of-at-least-32-characters"

func TestRoleAllowsNothingBeyondItself(t *testing.T) {
	t.Parallel()
	roles := []access.Role{access.SuperAdmin, access.Admin, access.Viewer, "root", ""}
	want := [][]bool{ // held × required
		{true, true, true, false, false},
		{false, true, true, false, false},
		{false, false, true, false, false},
		{false, false, false, false, false},
		{false, false, false, false, false},
	}
	for i, held := range roles {
		for j, required := range roles {
			if got := held.Allows(required); got != want[i][j] {
				t.Errorf("%q.Allows(%q) = %v", held, required, got)
			}
		}
	}
}

func TestKeyLetsItsHolderIn(t *testing.T) {
	t.Parallel()
	keys := access.NewKeys(pgtest.New(t), bootstrapKey)
	for _, role := range access.Roles() {
		t.Run(string(role), func(t *testing.T) {
			t.Parallel()
			key := create(t, keys, "for "+string(role), role, time.Hour)
			p, err := keys.Authenticate(t.Context(), key)
			keys.Wait()
			if err != nil || p.Name != "for "+string(role) || p.Role != role || p.KeyID.Version() != 7 {
				t.Errorf("got %+v, %v", p, err)
			}
		})
	}
}

func TestBootstrapKeyNeedsNoDatabase(t *testing.T) {
	t.Parallel()
	p, err := access.NewKeys(unreachable(t), bootstrapKey).Authenticate(t.Context(), bootstrapKey)
	if diff := cmp.Diff(access.Principal{Name: "bootstrap", Role: access.SuperAdmin}, p); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
}

func TestUnsetBootstrapKeyLetsNobodyIn(t *testing.T) {
	t.Parallel()
	keys := access.NewKeys(pgtest.New(t), "")
	for _, token := range []string{"", " ", bootstrapKey} {
		if p, err := keys.Authenticate(t.Context(), token); kindOf(err) != problem.KindUnauthenticated {
			t.Errorf("token %q: %+v, %v", token, p, err)
		}
	}
}

func TestEveryBadTokenIsRefusedAlike(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	keys := access.NewKeys(db, bootstrapKey)
	good := create(t, keys, "good", access.Admin, 0)
	expired, revoked := create(t, keys, "expired", access.Admin, time.Hour), create(t, keys, "revoked", access.SuperAdmin, 0)
	change(t, db, `UPDATE sonicus.api_keys SET expires_at = now() WHERE name = 'expired'`)
	change(t, db, `UPDATE sonicus.api_keys SET revoked_at = now() WHERE name = 'revoked'`)
	tests := map[string]struct {
		token  string
		reason error
	}{
		"absent":        {"", access.ErrUnknown},
		"unknown":       {"snk_" + strings.Repeat("A", 43), access.ErrUnknown},
		"malformed":     {"not a key", access.ErrUnknown},
		"NUL":           {"snk_\x00", access.ErrUnknown},
		"not UTF-8":     {"snk_\xff\xfe", access.ErrUnknown},
		"huge":          {strings.Repeat("A", 30_000), access.ErrUnknown},
		"SQL":           {"' OR true --", access.ErrUnknown},
		"cut short":     {good[:len(good)-1], access.ErrUnknown},
		"other case":    {strings.ToUpper(good), access.ErrUnknown},
		"white space":   {good + " ", access.ErrUnknown},
		"bootstrap cut": {bootstrapKey[1:], access.ErrUnknown},
		"expired":       {expired, access.ErrExpired},
		"revoked":       {revoked, access.ErrRevoked},
	}
	want := problem.Unauthenticated()
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			principal, err := keys.Authenticate(t.Context(), tt.token)
			p, ok := errors.AsType[*problem.Error](err)
			if !ok || principal != (access.Principal{}) || !errors.Is(err, tt.reason) {
				t.Fatalf("got %+v, %v", principal, err)
			}
			p.Err = nil
			if diff := cmp.Diff(want, p); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRefusalsAreCountedAndNothingElse(t *testing.T) {
	t.Parallel()
	keys := access.NewKeys(pgtest.New(t), bootstrapKey)
	good := create(t, keys, "crm", access.Admin, 0)
	for token, want := range map[string]int64{bootstrapKey: 0, good: 0, good + "x": 1, "": 1} {
		before := keys.Refused()
		_, _ = keys.Authenticate(t.Context(), token)
		if got := keys.Refused() - before; got != want {
			t.Errorf("%d refusals, want %d", got, want)
		}
	}
	keys.Wait()
}

func TestDatabaseAwayIsNotTheCallersFault(t *testing.T) {
	t.Parallel()
	keys := access.NewKeys(unreachable(t), bootstrapKey)
	_, err := keys.Authenticate(t.Context(), "snk_"+strings.Repeat("A", 43))
	if kindOf(err) != problem.KindUnavailable || keys.Refused() != 0 {
		t.Errorf("got %v, counted %d times", err, keys.Refused())
	}
}

func TestExhaustedPoolIsNotTheCallersFault(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	db.SetMaxOpenConns(1)
	only, err := db.Connx(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer only.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := access.NewKeys(db, "").Authenticate(ctx, "snk_"); kindOf(err) != problem.KindUnavailable {
		t.Errorf("got %v", err)
	}
}

func TestOnlyTheHashIsStored(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	key := create(t, access.NewKeys(db, ""), "for the test", access.Admin, 0)
	if !regexp.MustCompile(`^snk_[A-Za-z0-9_-]{43}$`).MatchString(key) {
		t.Errorf("key %q has another form", key)
	}
	var stored string
	if err := db.GetContext(t.Context(), &stored, `SELECT concat((SELECT json_agg(k) FROM sonicus.api_keys k), (SELECT json_agg(a) FROM sonicus.audit_log a))`); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(stored, key[4:24]) || strings.Contains(stored, key[24:]) {
		t.Errorf("stored: %s", stored)
	}
	if !strings.Contains(stored, `"key_last4":"`+key[len(key)-4:]+`"`) {
		t.Errorf("the last four characters are missing: %s", stored)
	}
}

func TestCreationIsInTheAuditTrail(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	key := create(t, access.NewKeys(db, ""), "crm", access.Admin, 24*time.Hour)
	var row struct {
		Actor, Action, Type string
		IsKey               bool `db:"is_key"`
		SameTime            bool `db:"same_time"`
		After               postgres.JSON
	}
	err := db.GetContext(t.Context(), &row, `
		SELECT actor, action, object_type AS type, a.after, k.id IS NOT NULL AS is_key,
		       a.at = k.created_at AND k.expires_at = k.created_at + interval '1 day' AS same_time
		FROM sonicus.audit_log a LEFT JOIN sonicus.api_keys k ON k.id::text = a.object_id`)
	if err != nil {
		t.Fatal(err)
	}
	if row.Actor != "command line" || row.Action != "api_key.create" || row.Type != "api_key" || !row.IsKey || !row.SameTime {
		t.Errorf("got %+v", row)
	}
	var after map[string]any
	if err := json.Unmarshal([]byte(row.After), &after); err != nil {
		t.Fatal(err)
	}
	if after["name"] != "crm" || after["role"] != "admin" || after["last4"] != key[len(key)-4:] {
		t.Errorf("got %v", after)
	}
}

func TestNoKeyWithoutItsAuditRow(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	change(t, db, `ALTER TABLE sonicus.audit_log ADD CONSTRAINT closed CHECK (false)`)
	if made, err := access.NewKeys(db, "").Create(t.Context(), access.NewKey{Name: "crm", Role: access.Admin}); err == nil || made.Plaintext != "" {
		t.Errorf("got %v, %v", made.ID, err)
	}
	var n int
	if err := db.GetContext(t.Context(), &n, `SELECT count(*) FROM sonicus.api_keys`); err != nil || n != 0 {
		t.Errorf("%d keys, %v", n, err)
	}
}

func TestCreateNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	keys := access.NewKeys(pgtest.New(t), "")
	hour, none, past := time.Hour, time.Duration(0), -time.Second
	tomorrow, yesterday := time.Now().Add(24*time.Hour), time.Now().Add(-24*time.Hour)
	tests := map[string]struct {
		access.NewKey
		want string
	}{
		"no name":       {access.NewKey{Name: "", Role: access.Admin}, "name"},
		"line break":    {access.NewKey{Name: "a\nb", Role: access.Admin}, "name"},
		"white space":   {access.NewKey{Name: " a", Role: access.Admin}, "name"},
		"not UTF-8":     {access.NewKey{Name: "\xff", Role: access.Admin}, "name"},
		"long name":     {access.NewKey{Name: strings.Repeat("ä", 201), Role: access.Admin}, "name"},
		"unknown role":  {access.NewKey{Name: "a", Role: "viewers"}, "role"},
		"no role":       {access.NewKey{Name: "a", Role: ""}, "role"},
		"no lifetime":   {access.NewKey{Name: "a", Role: access.Admin, Lifetime: &none}, "expires_in_seconds"},
		"in the past":   {access.NewKey{Name: "a", Role: access.Admin, Lifetime: &past}, "expires_in_seconds"},
		"yesterday":     {access.NewKey{Name: "a", Role: access.Admin, ExpiresAt: &yesterday}, "expires_at"},
		"two ends":      {access.NewKey{Name: "a", Role: access.Admin, Lifetime: &hour, ExpiresAt: &tomorrow}, "expires_at"},
		"all of it bad": {access.NewKey{Role: "root", Lifetime: &past}, "name role expires_in_seconds"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := keys.Create(t.Context(), tt.NewKey)
			p, ok := errors.AsType[*problem.Error](err)
			if !ok || p.Kind != problem.KindInvalid {
				t.Fatalf("got %v", err)
			}
			var fields []string
			for _, f := range p.Fields {
				fields = append(fields, f.Field)
			}
			if got := strings.Join(fields, " "); got != tt.want {
				t.Errorf("named %q, want %q", got, tt.want)
			}
		})
	}
}

func TestUseIsNotedAtMostOnceAMinute(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	keys := access.NewKeys(db, "")
	key := create(t, keys, "crm", access.Admin, 0)
	for _, tt := range []struct {
		name, before string
		noted        bool
	}{
		{"never used", "NULL", true},
		{"just used", "now() - interval '30 seconds'", false},
		{"used a while ago", "now() - interval '2 minutes'", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			change(t, db, `UPDATE sonicus.api_keys SET last_used_at = `+tt.before)
			if _, err := keys.Authenticate(t.Context(), key); err != nil {
				t.Fatal(err)
			}
			keys.Wait()
			var noted bool
			if err := db.GetContext(t.Context(), &noted, `SELECT coalesce(last_used_at > now() - interval '20 seconds', false) FROM sonicus.api_keys`); err != nil {
				t.Fatal(err)
			}
			if noted != tt.noted {
				t.Errorf("noted: %v", noted)
			}
		})
	}
}

func TestNotingAUseDelaysNoRequest(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	keys := access.NewKeys(db, "")
	key := create(t, keys, "crm", access.Admin, 0)
	locked, err := db.BeginTxx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := locked.ExecContext(t.Context(), `SELECT 1 FROM sonicus.api_keys FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(time.Minute)
	for waiting := false; !waiting; { // a caller that is let in while the note waits did not wait for it
		if _, err := keys.Authenticate(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		err := db.GetContext(t.Context(), &waiting, `SELECT EXISTS (SELECT FROM pg_stat_activity
			WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE 'UPDATE sonicus.api_keys%')`)
		if err != nil {
			t.Fatal(err)
		}
		if time.Now().After(deadline) {
			t.Fatal("no use was being noted beside a request")
		}
	}
	if err := locked.Rollback(); err != nil {
		t.Fatal(err)
	}
	keys.Wait()
}

func create(t *testing.T, keys *access.Keys, name string, role access.Role, lifetime time.Duration) string {
	t.Helper()
	n := access.NewKey{Name: name, Role: role}
	if lifetime != 0 {
		n.Lifetime = &lifetime
	}
	made, err := keys.Create(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	return string(made.Plaintext)
}

func change(t *testing.T, db *sqlx.DB, statement string) {
	t.Helper()
	err := postgres.InTx(t.Context(), db, func(tx *sqlx.Tx, _ time.Time) error {
		_, err := tx.ExecContext(t.Context(), statement)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func kindOf(err error) problem.Kind {
	if p, ok := errors.AsType[*problem.Error](err); ok {
		return p.Kind
	}
	return ""
}

// unreachable is a pool on a port where nobody listens.
func unreachable(t *testing.T) *sqlx.DB {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := postgres.Connect(context.Background(), "postgres://nobody@"+l.Addr().String()+"/none?sslmode=disable", postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func TestCallersAreNotTakenForOneAnother(t *testing.T) {
	t.Parallel()
	id := uuid.New()
	callers := []access.Principal{
		{KeyID: id, Name: "crm"}, {KeyID: uuid.New(), Name: "crm"}, {Name: "crm"}, {Name: "bootstrap"}, {Name: id.String()}, {Name: "key:" + id.String()},
	}
	seen := map[string]bool{}
	for _, p := range callers {
		seen[p.Caller()] = true
	}
	if len(seen) != len(callers) {
		t.Errorf("only %v", seen)
	}
	if renamed := (access.Principal{KeyID: id, Name: "erp", Role: access.Viewer}); renamed.Caller() != callers[0].Caller() {
		t.Error("a key with another name and role is another caller")
	}
}
