package e2e_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/sonicus/webhooks/pkg/postgres/pgtest"
)

// In transaction mode a client meets another connection to the server with every
// transaction: nothing that it leaves behind in one is there in the next, and hints
// never come.
func TestEverythingIsDeliveredBehindAPooler(t *testing.T) {
	t.Parallel()
	const organizations, connections = 150, 3 // the pooler's own limit
	svc := startOn(t, pgtest.NewPooler(t, pgtest.NewURL(t)), quick(nil))
	r := newReceiver(t, func(n int, _ *http.Request) int {
		if n%7 == 0 {
			return http.StatusServiceUnavailable
		}
		return http.StatusNoContent
	})
	svc.endpoint(r.URL, map[string]any{"max_retries": 50})
	ordered := newReceiver(t, nil)
	svc.endpoint(ordered.URL, map[string]any{"ordering": "organization", "rate_limit": 10_000})
	programs := []*process{svc.api, svc.dispatcher()}
	svc.env = append(svc.env, "SONICUS_DATABASE_DIRECT_URL="+svc.url+"&application_name=not-so-direct")
	programs = append(programs, svc.dispatcher())

	acks := svc.load(organizations, 4)
	if len(acks) != organizations {
		t.Errorf("%d of %d organizations were created", len(acks), organizations)
	}
	svc.drained()
	if repeated := svc.accounted(acks, r, ordered); len(repeated) != 0 {
		t.Errorf("%d deliveries arrived more than once", len(repeated))
	}
	if n := svc.count(`pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'`); n > connections {
		t.Errorf("%d connections to the server: some do not lead through the pooler", n)
	}
	for _, statement := range []string{"WITH asked AS", "FROM unnest(deliveries) WITH ORDINALITY", "WITH result AS"} {
		eventually(t, "a connection that has kept the plan of "+statement, func() bool { // each look may meet another one
			return svc.count(`pg_backend_memory_contexts WHERE name = 'CachedPlan' AND ident LIKE '%' || $1 || '%'`, statement) > 0
		})
	}
	for _, p := range programs {
		checkNoErrors(t, p)
	}
	svc.verified()
}

// checkNoErrors lets a program have logged nothing worse than attempts that a
// receiver refused.
func checkNoErrors(t *testing.T, p *process) {
	t.Helper()
	for line := range strings.Lines(p.log()) {
		if strings.Contains(line, "prepared statement") ||
			strings.Contains(line, `"level":"ERROR"`) && !strings.Contains(line, `"msg":"delivery attempted"`) {
			t.Errorf("logged: %s", line)
		}
	}
}
