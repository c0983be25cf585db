package dispatch

import (
	"testing"
	"time"

	"github.com/sonicus/webhooks/pkg/outbox"
	"github.com/sonicus/webhooks/pkg/webhook"
)

func TestOnlyTwoHundredsAreSuccess(t *testing.T) {
	t.Parallel()
	for status := 100; status <= 599; status++ {
		r := webhook.Result{StatusCode: status, Reason: "unexpected_status"}
		if status/100 == 2 {
			r.Reason = ""
		}
		got := decide(r, 1, 3, time.Second)
		want := outcome{status: outbox.Retrying, retryIn: time.Second}
		switch {
		case status/100 == 2:
			want = outcome{status: outbox.Sent}
		case status == 410:
			want = outcome{status: outbox.Failed, failureReason: "gone", gone: true}
		}
		if got != want {
			t.Errorf("%d: %+v, want %+v", status, got, want)
		}
	}
}

func TestEveryFailureRetriesUntilExhausted(t *testing.T) {
	t.Parallel()
	for _, reason := range []webhook.Reason{
		"timeout", "connection_refused", "connection_reset", "dns", "redirect", "unexpected_status", "tls_expired", "tls_hostname",
		"tls_untrusted", "tls_protocol", "tls", "response_headers_too_large", "invalid_response", "network", "blocked_address", "a new one",
	} {
		r := webhook.Result{Reason: reason}
		for number := 1; number < 4; number++ {
			if got := decide(r, number, 4, time.Minute); got != (outcome{status: outbox.Retrying, retryIn: time.Minute}) {
				t.Errorf("%s, attempt %d of 4: %+v", reason, number, got)
			}
		}
		want := outcome{status: outbox.Failed, failureReason: "exhausted"}
		if reason == "blocked_address" {
			want.failureReason = "blocked_address"
		}
		if got := decide(r, 4, 4, time.Minute); got != want {
			t.Errorf("%s, last attempt: %+v, want %+v", reason, got, want)
		}
	}
}

func TestGoneEndsAtOnceWhateverIsLeft(t *testing.T) {
	t.Parallel()
	for _, number := range []int{1, 2, 10} {
		if got := decide(webhook.Result{StatusCode: 410, Reason: "gone"}, number, 10, 0); got.status != outbox.Failed || !got.gone {
			t.Errorf("attempt %d: %+v", number, got)
		}
	}
}

func TestRetryAfterDelaysAndNeverAdvances(t *testing.T) {
	t.Parallel()
	own := Schedule{Initial: time.Second, Multiplier: 1, Max: time.Second}.with([]time.Duration{time.Minute, 2 * time.Minute})
	for _, c := range []struct {
		status             int
		asked, delay, want time.Duration
	}{
		{503, 90 * time.Second, own.Delay(1), 90 * time.Second},
		{503, 90 * time.Second, own.Delay(2), 2 * time.Minute},
		{429, 60 * time.Second, 10 * time.Second, 60 * time.Second},
		{503, 60 * time.Second, 10 * time.Second, 60 * time.Second},
		{503, 5 * time.Second, 10 * time.Second, 10 * time.Second},
		{503, 0, 10 * time.Second, 10 * time.Second},
		{503, -time.Hour, 10 * time.Second, 10 * time.Second},
		{429, 87600 * time.Hour, 10 * time.Second, 24 * time.Hour},
		{500, 60 * time.Second, 10 * time.Second, 10 * time.Second},
		{302, 60 * time.Second, 10 * time.Second, 10 * time.Second},
	} {
		got := decide(webhook.Result{StatusCode: c.status, Reason: "unexpected_status", RetryAfter: c.asked}, 1, 2, c.delay)
		if decided := c.want > c.delay; decided != (got.asked == c.want) || !decided && got.asked != 0 {
			t.Errorf("%d with Retry-After %s and a schedule of %s: told as asked for: %s", c.status, c.asked, c.delay, got.asked)
		}
		if got.retryIn != c.want {
			t.Errorf("%d with Retry-After %s and a schedule of %s: %s, want %s", c.status, c.asked, c.delay, got.retryIn, c.want)
		}
	}
}
