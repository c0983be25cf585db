package httpapi

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jmoiron/sqlx"

	"github.com/sonicus/webhooks/pkg/access"
	"github.com/sonicus/webhooks/pkg/idempotency"
	"github.com/sonicus/webhooks/pkg/postgres/pgtest"
)

const organizationBody = `{"name":"Acme","domain":"acme.example","primary_contact_email":"admin@acme.example"}`

// keyed is a POST by the bootstrap key.
func keyed(path, key, body string) call {
	return call{method: "POST", path: path, key: bootstrapKey, body: body, header: map[string]string{keyHeader: key}}
}

// rows is how many rows there are.
func (a *api) rows(t *testing.T, from string) (n int) {
	t.Helper()
	if err := a.db.GetContext(t.Context(), &n, `SELECT count(*) FROM `+from); err != nil {
		t.Fatal(err)
	}
	return n
}

// same compares what a caller gets to see of two answers, but for what belongs to
// each request alone.
func same(a, b answer) string {
	shown := func(a answer) map[string]any {
		return map[string]any{
			"status": a.status, "body": a.body, "Location": a.header.Values("Location"), "ETag": a.header.Values("ETag"),
			"Content-Type": a.header.Get("Content-Type"), "Content-Length": a.header.Get("Content-Length"),
		}
	}
	return cmp.Diff(shown(a), shown(b))
}

func TestEveryPostThatIsSentAgainIsDoneOnce(t *testing.T) {
	t.Parallel()
	for _, r := range new(Server).routes() {
		if _, exempt := notWriting[r.path]; r.method != http.MethodPost || exempt {
			continue
		}
		t.Run(r.path, func(t *testing.T) {
			t.Parallel()
			a := newAPI(t)
			item := described(t).Paths.Value(templateOf(r.path))
			if item == nil || item.Post == nil {
				t.Fatal("it is not described")
			}
			o := operation{item.Post, r.method, templateOf(r.path)}
			if !takesKey(o) {
				t.Error("the description does not mention " + keyHeader)
			}
			c := a.examples(t, o)[0]
			c.header = map[string]string{keyHeader: "once"}
			first := a.do(t, c)
			if first.status/100 != 2 || first.header.Get(replayedHeader) != "" {
				t.Fatalf("at first: %d %v %s", first.status, first.header, first.body)
			}
			done := a.rows(t, `sonicus.audit_log`)
			again := a.do(t, c)
			if diff := same(first, again); diff != "" || again.header.Get(replayedHeader) != "true" {
				t.Errorf("sent again: (-first +again)\n%s", diff)
			}
			if a.logs.line(t, again.header.Get("X-Request-Id"))["replayed"] != true {
				t.Error("the log does not tell that nothing was done")
			}
			c.body += " "
			a.do(t, c).problem(t, 422, "idempotency_key_reused")
			if now := a.rows(t, `sonicus.audit_log`); now != done || a.rows(t, `sonicus.idempotency_keys`) != 1 {
				t.Errorf("done again: the trail has %d entries, %d before", now, done)
			}
		})
	}
}

func TestPostsThatWriteNothingPromiseNothing(t *testing.T) {
	t.Parallel()
	exempt := maps.Clone(notWriting)
	for _, r := range new(Server).routes() {
		if _, listed := exempt[r.path]; !listed || r.method != http.MethodPost {
			continue
		}
		delete(exempt, r.path)
		if takesKey(operation{Operation: described(t).Paths.Value(templateOf(r.path)).Post}) {
			t.Errorf("%s: described with %s, which it ignores", r.path, keyHeader)
		}
	}
	if len(exempt) > 0 {
		t.Errorf("no POSTs: %v", exempt)
	}
}

// insist sends a call until the first one is done, as callers are told to.
func insist(t *testing.T, url string, c call) answer {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		got := do(t, url, c)
		if got.status != http.StatusConflict || time.Now().After(deadline) {
			return got
		}
		got.problem(t, 409, "in_progress")
		if got.header.Get("Retry-After") != "1" {
			t.Errorf("Retry-After %q", got.header.Get("Retry-After"))
		}
	}
}

func TestHundredAtOnceAreDoneOnce(t *testing.T) {
	t.Parallel()
	database := pgtest.NewURL(t)
	one, two := newAPIOn(t, pgtest.Open(t, database)), newAPIOn(t, pgtest.Open(t, database))
	for name, servers := range map[string][]*api{"one": {one}, "two": {one, two}} {
		t.Run(name+" servers", func(t *testing.T) {
			c := keyed(organizationsPath, name, strings.ReplaceAll(organizationBody, "acme", name))
			before := one.rows(t, `sonicus.organizations`)
			answers := make([]answer, 100)
			var wait sync.WaitGroup
			for i := range answers {
				wait.Go(func() { answers[i] = insist(t, servers[i%len(servers)].url, c) })
			}
			wait.Wait()
			replayed := 0
			for _, got := range answers {
				if diff := same(answers[0], got); diff != "" || got.status != http.StatusCreated {
					t.Fatalf("%d, other than the first: %s", got.status, diff)
				}
				if got.header.Get(replayedHeader) == "true" {
					replayed++
				}
			}
			if made := one.rows(t, `sonicus.organizations`) - before; made != 1 || replayed != 99 {
				t.Errorf("%d organizations, %d answers marked as replayed", made, replayed)
			}
		})
	}
	if n := one.rows(t, `sonicus.events`); n != 2 {
		t.Errorf("%d events of two organizations", n)
	}
}

func TestKeyOfAnotherCallerIsAnotherKey(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	callers := []string{bootstrapKey, a.createKey(t, "crm", access.Admin), a.createKey(t, "crm", access.Admin)}
	for i, caller := range callers {
		c := keyed(organizationsPath, "mine", strings.Replace(organizationBody, "acme.example", fmt.Sprintf("acme%d.example", i), 1))
		c.key = caller
		if got := a.do(t, c); got.status != http.StatusCreated || got.header.Get(replayedHeader) != "" {
			t.Errorf("caller %d: %d %s", i, got.status, got.body)
		}
		if got := a.do(t, c); got.status != http.StatusCreated || got.header.Get(replayedHeader) != "true" {
			t.Errorf("caller %d again: %d %s", i, got.status, got.body)
		}
	}
}

func TestKeyIsForOneMethodPathAndBody(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	first := a.do(t, keyed(organizationsPath, "k", organizationBody))
	if diff := same(first, a.do(t, keyed(organizationsPath+"/", "k", organizationBody))); diff != "" {
		t.Errorf("with the slash at the end it is the same path: %s", diff)
	}
	for name, c := range map[string]call{
		"another body":     keyed(organizationsPath, "k", strings.Replace(organizationBody, "Acme", "ACME", 1)),
		"a body more":      keyed(organizationsPath, "k", organizationBody+organizationBody),
		"not even JSON":    keyed(organizationsPath, "k", "{"),
		"another path":     keyed(base+"/super-admin/organizations", "k", organizationBody),
		"a query":          keyed(organizationsPath+"?x=1", "k", organizationBody),
		"no such endpoint": keyed(endpointsPath+"/x/enable", "k", ""),
	} {
		t.Run(name, func(t *testing.T) { a.do(t, c).problem(t, 422, "idempotency_key_reused") })
	}
}

func TestRefusedRequestLeavesItsKeyFree(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.post(t, organizationsPath, organizationBody).json(t, 201)
	a.do(t, keyed(organizationsPath, "k", organizationBody)).problem(t, 409, "domain_taken")
	a.do(t, keyed(organizationsPath, "k", "{}")).problem(t, 422, "validation_failed")
	if n := a.rows(t, `sonicus.idempotency_keys`); n != 0 {
		t.Errorf("%d keys of requests that were refused", n)
	}
	a.do(t, keyed(organizationsPath, "k", strings.ReplaceAll(organizationBody, "acme", "other"))).json(t, 201)
}

func TestAnswerOutlivesWhatItIsAbout(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	c := keyed(endpointsPath, "k", `{"url":"`+hook+`","events":["*"],"name":"A","generate_secret":true}`)
	first := a.do(t, c)
	gone := call{method: "DELETE", path: first.header.Get("Location"), key: bootstrapKey}
	if got := a.do(t, gone); got.status != http.StatusNoContent {
		t.Fatal(got.body)
	}
	if diff := same(first, a.do(t, c)); diff != "" {
		t.Error(diff)
	}
}

// The store does its work twice then, under one key.
func TestKeyIsForTheSecondTryOfAStoreToo(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.change(t, `DO $$ DECLARE part regclass; BEGIN
		FOR part IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'sonicus.events'::regclass LOOP EXECUTE 'DROP TABLE ' || part; END LOOP;
	END $$`)
	c := keyed(organizationsPath, "k", organizationBody)
	first := a.do(t, c)
	if diff := same(first, a.do(t, c)); diff != "" || first.status != http.StatusCreated {
		t.Errorf("%d %s: %s", first.status, first.body, diff)
	}
}

// While another transaction has the key nobody can tell what the answer will be.
func TestRequestInFlightIsNotDoneTwice(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	c := keyed(organizationsPath, "k", organizationBody)
	tx := a.db.MustBeginTx(t.Context(), nil)
	defer func() { _ = tx.Rollback() }()
	tx.MustExecContext(t.Context(), `INSERT INTO sonicus.idempotency_keys (caller, key, id, created_at) VALUES ('name:bootstrap', 'k', gen_random_uuid(), now())`)
	got := a.do(t, c)
	got.problem(t, 409, "in_progress")
	if got.header.Get("Retry-After") != "1" {
		t.Errorf("Retry-After %q", got.header.Get("Retry-After"))
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if got := a.do(t, c); got.status != http.StatusCreated || got.header.Get(replayedHeader) != "" {
		t.Errorf("once the other has failed: %d %s", got.status, got.body)
	}
}

func TestKeysAreKeptForADay(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	c := keyed(keysPath, "k", `{"name":"CRM","role":"viewer"}`)
	first := a.do(t, c)
	a.change(t, `UPDATE sonicus.idempotency_keys SET created_at = now() - interval '24 hours'`)
	if n, err := idempotency.Forget(t.Context(), a.db); n != 0 || err != nil {
		t.Errorf("forgotten within the day: %d, %v", n, err)
	}
	if diff := same(first, a.do(t, c)); diff != "" {
		t.Error(diff)
	}
	a.change(t, `UPDATE sonicus.idempotency_keys SET created_at = now() - interval '25 hours'`)
	if n, err := idempotency.Forget(t.Context(), a.db); n != 1 || err != nil {
		t.Errorf("forgotten: %d, %v", n, err)
	}
	if got := a.do(t, c); got.status != http.StatusCreated || got.header.Get(replayedHeader) != "" || same(first, got) == "" {
		t.Errorf("after a day: %d %v", got.status, got.header)
	}
}

func TestHostileKeysAreRefused(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	head := "POST " + organizationsPath + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer " + bootstrapKey +
		"\r\nContent-Type: application/json\r\nContent-Length: " + fmt.Sprint(len(organizationBody)) + "\r\n"
	for name, lines := range map[string]string{
		"empty": keyHeader + ": \r\n", "white space": keyHeader + ": \t \r\n", "two words": keyHeader + ": a b\r\n", "a tab": keyHeader + ": a\tb\r\n",
		"256 characters": keyHeader + ": " + strings.Repeat("k", 256) + "\r\n", "30 kB": keyHeader + ": " + strings.Repeat("k", 30_000) + "\r\n",
		"NUL": keyHeader + ": a\x00b\r\n", "DEL": keyHeader + ": a\x7fb\r\n", "escape": keyHeader + ": a\x1b[31m\r\n",
		"not ASCII": keyHeader + ": schlüssel\r\n", "latin-1": keyHeader + ": \xfc\r\n", "no-break space": keyHeader + ": \u00a0\r\n",
		"two headers": keyHeader + ": a\r\n" + keyHeader + ": b\r\n", "the same twice": keyHeader + ": a\r\nidempotency-key: a\r\n",
		"one of two empty": keyHeader + ": a\r\n" + keyHeader + ":\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			got := raw(t, a.url, head+lines+"\r\n"+organizationBody)
			if ours := strings.HasPrefix(got, "HTTP/1.1 422 ") && strings.Contains(got, `"code":"invalid_idempotency_key"`); !ours && !strings.HasPrefix(got, "HTTP/1.1 400 ") {
				t.Errorf("%.200q", got)
			}
		})
	}
	if n := a.rows(t, `sonicus.organizations`) + a.rows(t, `sonicus.idempotency_keys`); n != 0 {
		t.Errorf("%d rows written", n)
	}
}

func TestOddKeysAreTakenAsTheyAre(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	all := []string{"!", "~", `"`, `'; DROP TABLE sonicus.idempotency_keys; --`, `\`, "%00", "K", "k", strings.Repeat("k", 255), "a,b", "{}", "null"}
	for i, key := range all {
		key = strings.ReplaceAll(key, " ", "")
		c := keyed(keysPath, key, fmt.Sprintf(`{"name":"%d","role":"viewer"}`, i))
		first := a.do(t, c)
		if again := a.do(t, c); first.status != http.StatusCreated || again.header.Get(replayedHeader) != "true" || same(first, again) != "" {
			t.Errorf("%q: %d %s, then %d", key, first.status, first.body, again.status)
		}
	}
	if n := a.rows(t, `sonicus.idempotency_keys`); n != len(all) {
		t.Errorf("%d keys, want %d", n, len(all))
	}
}

// raw sends bytes and returns all that is answered.
func raw(t *testing.T, url, request string) string {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(conn)
	if err != nil && len(got) == 0 {
		t.Fatal(err)
	}
	return string(got)
}

func TestKeyDoesNotLetBadBodiesIn(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	for name, tt := range map[string]struct {
		body, mediaType, code string
		status                int
	}{
		"too large":       {strings.Repeat(" ", maxBody+1), "application/json", "too_large", 413},
		"not JSON":        {"{", "application/json", "invalid_json", 400},
		"other media":     {organizationBody, "text/plain", "unsupported_media_type", 415},
		"no fields":       {"{}", "application/json", "validation_failed", 422},
		"not an object":   {"[]", "application/json", "wrong_type", 422},
		"as without body": {"", "application/json", "invalid_json", 400},
	} {
		t.Run(name, func(t *testing.T) {
			c := keyed(organizationsPath, "k", tt.body)
			c.header["Content-Type"] = tt.mediaType
			a.do(t, c).problem(t, tt.status, tt.code)
		})
	}
	c := keyed(organizationsPath, "k", "{}")
	c.key = ""
	a.do(t, c).problem(t, 401, "unauthenticated")
	c.key = a.createKey(t, "viewer", access.Viewer)
	a.do(t, c).problem(t, 403, "forbidden")
	if n := a.rows(t, `sonicus.idempotency_keys`); n != 0 {
		t.Errorf("%d keys kept", n)
	}
}

func TestNothingSecretIsKeptInTheClear(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	const given = "hunter2-hunter2-hunter2-hunter2"
	made := a.do(t, keyed(endpointsPath, "generated", `{"url":"`+hook+`","events":["*"],"name":"A","generate_secret":true}`)).json(t, 201)
	rotated := a.do(t, keyed(endpointsPath+"/"+made["id"].(string)+"/rotate-secret", "rotated", "")).json(t, 200)
	key := a.do(t, keyed(keysPath, "key", `{"name":"CRM","role":"viewer"}`)).json(t, 201)
	body := `{"url":"` + hook + `","events":["*"],"name":"A","secret_key":"` + given + `","authentication":{"type":"bearer","token":"` + given + `"}}`
	a.do(t, keyed(endpointsPath, "given", body)).json(t, 201)
	var rows []string
	if err := a.db.SelectContext(t.Context(), &rows, `SELECT k::text FROM sonicus.idempotency_keys k`); err != nil || len(rows) != 4 {
		t.Fatal(len(rows), err)
	}
	all := strings.Join(rows, "\n") + a.logs.String()
	req, _ := http.NewRequest(http.MethodPost, endpointsPath, nil)
	sum := digest(req, []byte(body))
	for name, secret := range map[string]string{
		"generated secret": made["secret_key"].(string), "rotated secret": rotated["secret_key"].(string), "API key": key["key"].(string), "given secret": given,
		"digest": string(sum[:]),
	} {
		for _, form := range []string{secret, hex.EncodeToString([]byte(secret)), base64.StdEncoding.EncodeToString([]byte(secret)), base64.RawURLEncoding.EncodeToString([]byte(secret))} {
			if strings.Contains(all, form) {
				t.Errorf("the %s can be read", name)
			}
		}
	}
}

func TestAnswerOfAnotherRequestCannotBePlanted(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	body := `{"name":"CRM","role":"viewer"}`
	a.do(t, keyed(keysPath, "a", body)).json(t, 201)
	a.do(t, keyed(keysPath, "b", body)).json(t, 201)
	a.change(t, `UPDATE sonicus.idempotency_keys k SET answer = o.answer FROM sonicus.idempotency_keys o WHERE k.key = 'a' AND o.key = 'b'`)
	a.do(t, keyed(keysPath, "a", body)).problem(t, 409, "answer_unreadable")
	if n := a.rows(t, `sonicus.api_keys`); n != 2 {
		t.Errorf("%d API keys: it was done again", n)
	}
}

// What cannot be told is said, and a second request with the key finds out.
func TestCutCommitIsDoneOnceInTheEnd(t *testing.T) {
	t.Parallel()
	for name, body := range map[string][2]string{
		"organization": {organizationsPath, organizationBody},
		"endpoint":     {endpointsPath, `{"url":"` + hook + `","events":["*"],"name":"A","generate_secret":true}`},
		"API key":      {keysPath, `{"name":"CRM","role":"viewer"}`},
	} {
		for fate, kind := range map[pgtest.Fate]string{pgtest.Lost: "lost", pgtest.Unanswered: "unanswered"} {
			t.Run(name+" "+kind, func(t *testing.T) {
				t.Parallel()
				a := newAPIOn(t, pgtest.Open(t, pgtest.NewCutter(t, pgtest.NewURL(t), pgtest.Once(fate))))
				c := keyed(body[0], "k", body[1])
				first := a.do(t, c)
				again := a.do(t, c)
				if fate == pgtest.Lost {
					first.problem(t, 503, "commit_unknown")
					if again.status != http.StatusCreated || again.header.Get(replayedHeader) != "" {
						t.Errorf("again: %d %s", again.status, again.body)
					}
				} else if diff := same(first, again); diff != "" || first.status != http.StatusCreated || again.header.Get(replayedHeader) != "true" {
					t.Errorf("%d %s, again: %s", first.status, first.body, diff)
				}
				if n := a.rows(t, `sonicus.audit_log`); n != 1 {
					t.Errorf("done %d times", n)
				}
			})
		}
	}
}

// A turn that holds locks of other things must not be cut short by the limit that the
// key's own lock has.
func TestLimitOfTheKeysLockIsForNothingElse(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	ctx := a.answers.With(t.Context(), idempotency.Request{Caller: "name:x", Key: "k"})
	ctx = idempotency.Rendering(ctx, func(v string) (idempotency.Answer, error) { return render(200, "", v) })
	limit, err := idempotency.InTx(ctx, a.db, func(tx *sqlx.Tx, _ time.Time) (limit string, err error) {
		err = tx.GetContext(ctx, &limit, `SHOW lock_timeout`)
		return limit, err
	})
	if err != nil || limit != "0" {
		t.Errorf("%q, %v", limit, err)
	}
	var after string
	if err := a.db.GetContext(t.Context(), &after, `SHOW lock_timeout`); err != nil || after != "0" {
		t.Errorf("afterwards %q, %v", after, err)
	}
}
