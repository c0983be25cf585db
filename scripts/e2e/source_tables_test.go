package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"
)

func schemaExists(t *testing.T, d *document) {
	if n := d.svc.on(t).count(`pg_namespace WHERE nspname = 'sonicus'`); n != 1 {
		t.Error("it does not")
	}
}

// relations: they can be read by these names.
func relations(names ...string) func(*testing.T, *document) {
	return func(t *testing.T, d *document) {
		for _, name := range names {
			if n := d.svc.on(t).count(`sonicus.` + name); n == 0 {
				t.Errorf("%s is empty", name)
			}
		}
	}
}

func tablesAppeared(t *testing.T, d *document) {
	after := d.svc.on(t).count(`pg_class WHERE relnamespace = 'sonicus'::regnamespace AND relname IN ('webhook_endpoints', 'webhook_deliveries')`)
	if d.tablesBefore != 0 || after != 2 {
		t.Errorf("%d before the first start, %d after it", d.tablesBefore, after)
	}
}

// column: it has this name and type, a comment, and for the documented endpoint the
// value that was given.
func column(table, name, kind string) func(*testing.T, *document) {
	return func(t *testing.T, d *document) {
		n := d.svc.on(t).count(`information_schema.columns WHERE table_schema = 'sonicus' AND table_name = $1 AND column_name = $2 AND data_type = $3
			AND col_description(('sonicus.' || $1)::regclass, ordinal_position) <> ''`, table, name, kind)
		if n != 1 {
			t.Errorf("no column %s of type %s with a comment", name, kind)
		}
		if table == "webhook_deliveries" {
			if v := d.delivery(t, d.signed)[name]; v == nil {
				t.Error("a delivery has no value")
			}
			return
		}
		got := d.row(t, `SELECT * FROM sonicus.webhook_endpoints WHERE id = $1`, d.signed.id)[name]
		want, asked := d.asked[name]
		if kind == "jsonb" {
			var v any
			if err := json.Unmarshal([]byte(got.(string)), &v); err != nil {
				t.Fatal(err)
			}
			got = v
		}
		if asked && fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%v, want %v", got, want)
		}
	}
}

func times(table string, names ...string) func(*testing.T, *document) {
	return func(t *testing.T, d *document) {
		for _, name := range names {
			column(table, name, "timestamp with time zone")(t, d)
		}
		row := d.row(t, `SELECT * FROM sonicus.`+table+` WHERE $1 IN (id, (to_jsonb(`+table+`) ->> 'endpoint_id')::uuid) LIMIT 1`, d.signed.id)
		var before time.Time
		for _, name := range names {
			at, ok := row[name].(time.Time)
			if !ok || at.Before(before) {
				t.Errorf("%s is %v, before it %s", name, row[name], before)
			}
			before = at
		}
	}
}

func secretColumnIsMasked(t *testing.T, d *document) {
	column("webhook_endpoints", "organization_id", "uuid")(t, d)
	const query = `SELECT secret_key FROM sonicus.webhook_endpoints WHERE id = $1`
	if with := d.row(t, query, d.signed.id)["secret_key"]; with != "********"+secretKey[len(secretKey)-4:] {
		t.Errorf("with a secret: %v", with)
	}
	if without := d.row(t, query, d.unsigned.id)["secret_key"]; without != nil {
		t.Errorf("without: %v", without)
	}
}

func lastResultsAreShown(t *testing.T, d *document) {
	for _, name := range []string{"last_success_at", "last_failure_at"} {
		n := d.svc.on(t).count(`information_schema.columns WHERE table_schema = 'sonicus' AND table_name = 'webhook_endpoints' AND column_name = $1`, name)
		if n != 1 {
			t.Errorf("no column %s", name)
		}
	}
	eventually(t, "the last results to be shown", func() bool {
		good := d.row(t, `SELECT * FROM sonicus.webhook_endpoints WHERE id = $1`, d.signed.id)
		bad := d.row(t, `SELECT * FROM sonicus.webhook_endpoints WHERE id = $1`, d.failing.id)
		return good["last_success_at"] != nil && good["last_failure_at"] == nil && bad["last_success_at"] == nil && bad["last_failure_at"] != nil
	})
}

func deliveriesNameTheirEndpoint(t *testing.T, d *document) {
	column("webhook_deliveries", "endpoint_id", "uuid")(t, d)
	lost := d.svc.on(t).count(`sonicus.webhook_deliveries d WHERE NOT EXISTS (SELECT FROM sonicus.endpoints e WHERE e.id = d.endpoint_id)`)
	if lost > 0 {
		t.Errorf("%d deliveries are of no endpoint", lost)
	}
}

func payloadIsStored(t *testing.T, d *document) {
	if got := d.delivery(t, d.signed)["payload"]; got != d.arrived(t, d.signed).body {
		t.Errorf("stored %v", got)
	}
	column("webhook_deliveries", "payload", "json")(t, d)
}

func answersAreStored(t *testing.T, d *document) {
	row := d.delivery(t, d.signed)
	if row["http_status_code"] != int64(http.StatusOK) || row["response_headers"] == nil {
		t.Errorf("stored %v", row)
	}
	for _, name := range []string{"response_body", "response_headers"} {
		if n := d.svc.on(t).count(`information_schema.columns WHERE table_schema = 'sonicus' AND table_name = 'webhook_deliveries' AND column_name = $1`, name); n != 1 {
			t.Errorf("no column %s", name)
		}
	}
}

func errorIsStored(t *testing.T, d *document) {
	if good, bad := d.delivery(t, d.signed)["error_message"], d.delivery(t, d.failing)["error_message"]; good != nil || bad == nil || bad == "" {
		t.Errorf("after a success %v, after a failure %v", good, bad)
	}
}

func everyStatusIsSeen(t *testing.T, d *document) {
	for status, at := range map[string]*heard{"pending": d.paused, "sent": d.signed, "failed": d.failing, "retrying": d.stubborn} {
		if got := d.delivery(t, at)["status"]; got != status {
			t.Errorf("%v, want %s", got, status)
		}
	}
	if n := d.svc.on(t).count(`sonicus.webhook_deliveries WHERE status NOT IN ('pending', 'sent', 'failed', 'retrying')`); n > 0 {
		t.Errorf("%d have another status", n)
	}
}

func attemptsAreStored(t *testing.T, d *document) {
	for _, at := range []*heard{d.signed, d.unsigned, d.flaky, d.failing} {
		id := d.delivery(t, at)["id"]
		requests := 0
		for _, a := range at.got() {
			if a.header.Get("X-Sonicus-Delivery-ID") == id {
				requests++
			}
		}
		if n := d.svc.on(t).count(`sonicus.attempts WHERE delivery_id = $1`, id); n != requests || n == 0 {
			t.Errorf("%d requests, %d rows", requests, n)
		}
	}
}

func attemptsAreConfigured(t *testing.T, d *document) {
	for at, want := range map[*heard][2]int64{d.signed: {1, 4}, d.flaky: {3, 6}, d.failing: {2, 2}} { // attempt_count, max_attempts
		if row := d.delivery(t, at); row["attempt_count"] != want[0] || row["max_attempts"] != want[1] {
			t.Errorf("%v of %v, want %v", row["attempt_count"], row["max_attempts"], want)
		}
	}
}

func deadLettersAreKept(t *testing.T, d *document) {
	row := d.delivery(t, d.failing)
	if row["status"] != "failed" || row["failure_reason"] != "exhausted" || row["payload"] == nil || row["next_attempt_at"] != nil {
		t.Errorf("stored %v", row)
	}
	answer := d.svc.on(t).expects(http.StatusOK, d.svc.token, http.MethodGet, webhooksPath+"deliveries?status=failed&endpoint_id="+d.failing.id, nil)
	if all, _ := answer["data"].([]any); len(all) == 0 {
		t.Errorf("answered %v", answer)
	}
}

func failuresCanBeMonitored(t *testing.T, d *document) {
	if n := d.svc.on(t).count(`sonicus.webhook_deliveries WHERE status = 'failed' AND http_status_code = 502 AND error_message <> '' AND created_at > now() - interval '1 day'`); n == 0 {
		t.Error("a failure is not seen")
	}
}

func indexesExist(t *testing.T, d *document) {
	for _, table := range []string{"endpoints", "events", "deliveries", "attempts", "queue"} {
		if n := d.svc.on(t).count(`pg_index WHERE indrelid = ('sonicus.' || $1)::regclass AND indisvalid`, table); n == 0 {
			t.Errorf("%s has none", table)
		}
	}
	if n := d.svc.on(t).count(`pg_index WHERE indrelid = 'sonicus.queue'::regclass AND indisvalid AND pg_get_indexdef(indexrelid) LIKE '%due_at%'`); n == 0 {
		t.Error("what is due is found by none")
	}
}

// oldDaysCanGo: a day's rows are tables of their own, which can be taken out.
func oldDaysCanGo(t *testing.T, d *document) {
	for _, table := range []string{"attempts", "deliveries", "events"} {
		day := d.row(t, `SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = ('sonicus.' || $1)::regclass ORDER BY 1 DESC LIMIT 1`, table)["name"]
		for _, statement := range []string{`ALTER TABLE sonicus.` + table + ` DETACH PARTITION ` + day.(string), `DROP TABLE ` + day.(string), `SELECT sonicus.ensure_partitions()`} {
			if _, err := d.svc.db.Exec(statement); err != nil {
				t.Errorf("%s: %v", statement, err)
			}
		}
	}
}
