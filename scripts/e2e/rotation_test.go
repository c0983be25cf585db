package e2e_test

import (
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// knowing is a receiver that knows one secret, verifies with the Standard Webhooks
// library and refuses what that does not.
type knowing struct {
	*receiver
	id  string
	key atomic.Pointer[standardwebhooks.Webhook]
}

func newKnowing(t *testing.T, svc *service) *knowing {
	t.Helper()
	k := &knowing{receiver: newReceiver(t, nil)}
	k.judge = func(a arrival) int {
		if k.key.Load().Verify([]byte(a.body), a.header) != nil {
			return http.StatusUnauthorized
		}
		return http.StatusNoContent
	}
	k.learn(t, secretKey)
	k.id = svc.endpoint(k.URL, map[string]any{"max_retries": 50, "breaker_failures": 0})
	return k
}

func (k *knowing) learn(t *testing.T, secret string) {
	t.Helper()
	key, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	k.key.Store(key)
}

// answered counts the requests that got this status.
func (k *knowing) answered(status int) (n int) {
	for _, a := range k.got() {
		if a.status == status {
			n++
		}
	}
	return n
}

// load publishes for as long as the test goes on, until it is stopped.
func (p *publisher) load(t *testing.T) (stop func()) {
	t.Helper()
	done := make(chan struct{})
	var ended sync.WaitGroup
	ended.Go(func() {
		for tick := time.NewTicker(20 * time.Millisecond); ; <-tick.C {
			select {
			case <-done:
				return
			default:
			}
			if err := p.publish(organizations(5)...); err != nil {
				t.Error(err)
				return
			}
		}
	})
	return sync.OnceFunc(func() { close(done); ended.Wait() })
}

// settled waits until whatever was claimed before now, or is just being claimed, has ended.
func (s *service) settled() {
	s.t.Helper()
	var now time.Time
	if err := s.db.Get(&now, `SELECT clock_timestamp()`); err != nil {
		s.t.Fatal(err)
	}
	eventually(s.t, "transactions to end", func() bool {
		return s.count(`pg_stat_activity WHERE datname = current_database() AND xact_start <= $1`, now) == 0
	})
	var leases []int64
	if err := s.db.Select(&leases, `SELECT lease_token FROM sonicus.queue WHERE lease_until > clock_timestamp()`); err != nil {
		s.t.Fatal(err)
	}
	eventually(s.t, "claims to end", func() bool {
		var left []int64
		return s.db.Select(&left, `SELECT lease_token FROM sonicus.queue WHERE lease_until > clock_timestamp()`) == nil &&
			!slices.ContainsFunc(left, func(token int64) bool { return slices.Contains(leases, token) })
	})
}

// One receiver never learns the new secret, another knows nothing but the new one
// as soon as what was claimed before has ended: neither refuses anything.
func TestReceiversOfEitherSecretRefuseNothingWithinTheOverlap(t *testing.T) {
	t.Parallel()
	const second, enough = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", 150
	svc := start(t, quick(nil))
	old, renewed := newKnowing(t, svc), newKnowing(t, svc)
	both := []*knowing{old, renewed}
	more := func(k *knowing) {
		t.Helper()
		want := k.answered(http.StatusNoContent) + enough
		eventually(t, "deliveries to be accepted", func() bool { return k.answered(http.StatusNoContent) >= want })
	}
	rotate := func(overlap int) {
		t.Helper()
		for _, k := range both {
			svc.manage(http.StatusOK, http.MethodPost, k.id+"/rotate-secret", map[string]any{"secret_key": second, "overlap_seconds": overlap})
		}
		svc.settled()
	}
	svc.dispatcher()
	svc.dispatcher()
	stop := newPublisher(svc).load(t)
	defer stop()
	more(old)
	more(renewed)
	rotate(3600)
	renewed.learn(t, second)
	more(old)
	more(renewed)
	for name, k := range map[string]*knowing{"old": old, "new": renewed} {
		if n := k.answered(http.StatusUnauthorized); n > 0 {
			t.Errorf("the receiver that knows only the %s secret refused %d", name, n)
		}
	}

	rotate(0) // the same new secret, and no old one any more
	eventually(t, "the old secret to be refused", func() bool { return old.answered(http.StatusUnauthorized) > 0 })
	more(renewed)
	if n := renewed.answered(http.StatusUnauthorized); n > 0 {
		t.Errorf("the receiver that knows only the new secret refused %d after the overlap", n)
	}
	stop()
	old.learn(t, second)
	svc.drained()
	if n := svc.count(`sonicus.webhook_deliveries WHERE status <> 'sent'`); n > 0 {
		t.Errorf("%d deliveries are not sent", n)
	}
	svc.verified()
}
