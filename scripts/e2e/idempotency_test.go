package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/sonicus/webhooks/pkg/postgres/pgtest"
)

// answered is what a client has in the end, and all statuses on the way there.
type answered struct {
	status   int
	location string
	body     string
	on       []int
}

// insist sends a request with its Idempotency-Key, to one API after another, until
// there is an answer.
func (s *service) insist(bases []string, path, key string, body any) (a answered, err error) {
	deadline := time.Now().Add(patience)
	for try := 0; time.Now().Before(deadline); try++ {
		res, got, err := s.send(bases[try%len(bases)], http.MethodPost, path, body, http.Header{"Idempotency-Key": {key}})
		if err != nil {
			return a, err
		}
		a.status, a.location, a.body = res.StatusCode, res.Header.Get("Location"), string(got)
		var p struct{ Code string }
		switch _ = json.Unmarshal(got, &p); {
		case a.status == http.StatusConflict && p.Code == "in_progress", a.status == http.StatusServiceUnavailable:
			a.on = append(a.on, a.status)
			<-time.After(20 * time.Millisecond) // the client's own pause
		default:
			return a, nil
		}
	}
	return a, fmt.Errorf("no answer, the last one: %d %s", a.status, a.body)
}

// second starts one more api on the same database.
func (s *service) second() (base string) {
	s.t.Helper()
	return "http://" + s.process("api").field("api ready", "address")
}

// everyone sends n organizations, each by several clients at the same time, over
// several APIs, and wants the clients to be answered alike. It returns how often a
// request had to be sent again.
func (s *service) everyone(bases []string, name string, n, clients int) (repeats int) {
	s.t.Helper()
	answers := make([][]answered, n)
	var wait sync.WaitGroup
	for i := range n {
		answers[i] = make([]answered, clients)
		for c := range clients {
			wait.Go(func() {
				start := c % len(bases)
				order := append(append([]string{}, bases[start:]...), bases[:start]...)
				got, err := s.insist(order, "/api/v1/organizations/", fmt.Sprintf("%s-%d", name, i), newOrganization(fmt.Sprintf("%s%d.example", name, i)))
				if err != nil {
					s.t.Errorf("organization %d, client %d: %v", i, c, err)
				}
				answers[i][c] = got
			})
		}
	}
	wait.Wait()
	for i, all := range answers {
		for _, a := range all {
			if a.status != http.StatusCreated || a.body != all[0].body || a.location != all[0].location {
				s.t.Errorf("organization %d: %d %s %s, another client got %s", i, a.status, a.location, a.body, all[0].body)
			}
			repeats += len(a.on)
		}
	}
	return repeats
}

func TestHundredClientsOfTwoProcessesMakeNothingTwice(t *testing.T) {
	t.Parallel()
	svc := start(t, quick(nil))
	repeats := svc.everyone([]string{svc.base, svc.second()}, "hundred", 1, 100)
	t.Logf("%d requests sent again", repeats)
	svc.madeOnce(1)
}

// Every third COMMIT of the apis is cut, before the server sees it or after it is done.
func TestCutCommitsMakeNothingTwice(t *testing.T) {
	t.Parallel()
	const n = 20
	database := pgtest.NewURL(t)
	var cuts [3]int
	var mu sync.Mutex
	armed := false
	svc := prepare(t, database, quick(settings{"SONICUS_DATABASE_URL": pgtest.NewCutter(t, database, func(commit int64) pgtest.Fate {
		mu.Lock()
		defer mu.Unlock()
		if !armed || commit%3 != 0 {
			return pgtest.Answered
		}
		fate := []pgtest.Fate{pgtest.Lost, pgtest.Unanswered}[commit/3%2]
		cuts[fate]++
		return fate
	}), "SONICUS_DATABASE_DIRECT_URL": database}))
	svc.startAPI()
	bases := []string{svc.base, svc.second()}
	r := newReceiver(t, nil)
	svc.endpoint(r.URL, nil)
	mu.Lock()
	armed = true
	mu.Unlock()
	repeats := svc.everyone(bases, "contested", n, 3)
	alone := svc.everyone(bases, "alone", n, 1)
	mu.Lock()
	armed = false
	t.Logf("%d commits lost, %d unanswered, %d and %d requests sent again", cuts[pgtest.Lost], cuts[pgtest.Unanswered], repeats, alone)
	if cuts[pgtest.Lost] == 0 || cuts[pgtest.Unanswered] == 0 || alone == 0 {
		t.Error("the test has cut too little to show anything")
	}
	mu.Unlock()
	svc.madeOnce(2 * n)
	svc.dispatcher()
	svc.drained()
	if got := len(r.got()); got != 2*n {
		t.Errorf("%d webhooks of %d organizations", got, 2*n)
	}
}

func TestPostgresCrashMakesNothingTwice(t *testing.T) {
	t.Parallel()
	const n = 150
	server := pgtest.NewServer(t)
	if err := server.CreateDatabase(t.Context(), "once", ""); err != nil {
		t.Fatal(err)
	}
	svc := startOn(t, server.URL("once"), quick(nil))
	bases := []string{svc.base, svc.second()}
	done := make(chan int)
	go func() { done <- svc.everyone(bases, "crash", n, 2) }()
	for crash := range 2 {
		eventually(t, "organizations to be made", func() bool {
			var made int
			return svc.db.Get(&made, `SELECT count(*) FROM sonicus.organizations`) == nil && made > crash*20
		})
		if err := server.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d requests sent again", <-done)
	svc.madeOnce(n)
}

// madeOnce compares what there is with what was asked for.
func (s *service) madeOnce(n int) {
	s.t.Helper()
	for _, table := range []string{"organizations", "events", `audit_log WHERE action = 'organization.create'`, `idempotency_keys WHERE answer IS NOT NULL`} {
		if got := s.count(`sonicus.` + table); got != n {
			s.t.Errorf("%d rows of %s, want %d", got, table, n)
		}
	}
	s.booksAgree()
}
