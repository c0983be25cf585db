package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/sonicus/webhooks/pkg/postgres"
)

const arrivalLimit = 20 * time.Second

func (d *demo) registerEndpoint(ctx context.Context) error {
	d.say("register the receiver: POST /api/v1/webhooks/endpoints")
	answer := struct {
		SecretKey string `json:"secret_key"`
	}{}
	err := d.post(ctx, "/api/v1/webhooks/endpoints", map[string]any{
		"url": d.receiver.url, "events": []string{"organization.created"}, "name": "Demo receiver", "generate_secret": true,
	}, &answer)
	if err != nil {
		return err
	}
	note("the answer holds the signing secret, this once")
	return d.receiver.trust(answer.SecretKey)
}

func (d *demo) createOrganization(ctx context.Context) error {
	d.say("create an organization: POST /api/v1/organizations/")
	answer := struct {
		ID string `json:"id"`
	}{}
	began := time.Now()
	if err := d.post(ctx, "/api/v1/organizations/", example("Demo Corporation", "demo.example"), &answer); err != nil {
		return err
	}
	note("201, id %s: the organization and its delivery are committed together", answer.ID)
	d.say("the webhook arrives")
	select {
	case got := <-d.receiver.got:
		note("%d ms after the request to create began:", time.Since(began).Milliseconds())
		got.show()
		return errors.Join(got.hexErr, got.triple)
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(arrivalLimit):
		return fmt.Errorf("nothing arrived within %s", arrivalLimit)
	}
}

func example(name, domain string) map[string]any {
	return map[string]any{
		"name": name, "display_name": name + " Inc.", "domain": domain, "primary_contact_email": "admin@" + domain,
		"subscription_tier": "premium", "subscription_status": "active", "max_users": 250, "industry": "Technology", "company_size": "50-100",
	}
}

// showDelivery reads what anyone may read who has the database.
func (d *demo) showDelivery(ctx context.Context) error {
	d.say("SELECT status, http_status_code, attempt_count FROM sonicus.webhook_deliveries")
	db, err := postgres.Connect(ctx, d.database, postgres.Options{MaxOpen: 1})
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	var row struct {
		Status   string `db:"status"`
		Code     *int   `db:"http_status_code"`
		Attempts int    `db:"attempt_count"`
	}
	for limit := time.Now().Add(arrivalLimit); ; time.Sleep(10 * time.Millisecond) {
		if err := db.GetContext(ctx, &row, `SELECT status, http_status_code, attempt_count FROM sonicus.webhook_deliveries`); err != nil {
			return err
		}
		if row.Status == "sent" {
			break
		}
		if time.Now().After(limit) {
			return fmt.Errorf("the delivery is still %s", row.Status)
		}
	}
	note("%s | %d | %d", row.Status, *row.Code, row.Attempts)
	return nil
}

// post calls the API as the super admin and decodes what it answers.
func (d *demo) post(ctx context.Context, path string, body, answer any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.api+path, bytes.NewReader(b))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+d.token)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusCreated {
		return fmt.Errorf("POST %s answered %d: %s", path, res.StatusCode, got)
	}
	return json.Unmarshal(got, answer)
}

// registerOwnURL registers WEBHOOK_URL, if there is one.
func (d *demo) registerOwnURL(ctx context.Context) error {
	url := os.Getenv("WEBHOOK_URL")
	if url == "" {
		return nil
	}
	d.say("register WEBHOOK_URL %s", url)
	answer := struct {
		ID        string `json:"id"`
		SecretKey string `json:"secret_key"`
	}{}
	if err := d.post(ctx, "/api/v1/webhooks/endpoints", map[string]any{
		"url": url, "events": []string{"*"}, "name": "WEBHOOK_URL", "generate_secret": true,
	}, &answer); err != nil {
		return err
	}
	note("endpoint %s, signing secret %s", answer.ID, answer.SecretKey)
	return nil
}

// stay prints what the receiver gets until the user has had enough.
func (d *demo) stay(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case got := <-d.receiver.got:
			fmt.Printf("\n%s the receiver got\n", time.Now().Format(time.TimeOnly))
			got.show()
		}
	}
}

func (d *demo) invite() {
	fmt.Printf(`
It is up; Ctrl-C stops it and throws the data away.

    API         %s
    docs        %s/docs
    health      %s/readyz  %s/readyz
    logs        %s
    SQL         %s

In another terminal:

    export TOKEN=%s
`, d.api, d.api, d.admin[0], d.admin[1], d.logs, d.shownDatabase(), d.token)
	fmt.Println(commands(d.api))
	fmt.Printf(`
To run bin/api and bin/dispatcher against it by hand:

    . %s     # then for example
    bin/api key create --role super_admin --name me
    SONICUS_ADMIN_ADDR=127.0.0.1:0 bin/dispatcher   # a second one
`, d.envFile())
}

// shownDatabase keeps the password of a database that is not ours off the screen.
func (d *demo) shownDatabase() string {
	if !d.ownServer() {
		return "the server of SONICUS_DATABASE_URL, database " + d.database[strings.LastIndex(d.database, "/")+1:]
	}
	return "psql '" + d.database + "'"
}

func (d *demo) goodbye() {
	fmt.Printf("\nDone in %.1f s; nothing is left running. By hand: run `make up`, export the TOKEN that it prints, then\n", time.Since(d.began).Seconds())
	fmt.Println(commands("http://127.0.0.1:18100"))
}

// commands is the way by hand.
func commands(api string) string {
	return `
    curl -X POST "` + api + `/api/v1/webhooks/endpoints" \
      -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" \
      -d '{"url": "https://your-webhook-endpoint.com/webhook", "events": ["organization.created"], "name": "CRM", "generate_secret": true}'

    curl -X POST "` + api + `/api/v1/organizations/" \
      -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" \
      -d '{"name": "Acme", "domain": "acme.example", "primary_contact_email": "admin@acme.example"}'

    curl -H "Authorization: Bearer $TOKEN" "` + api + `/api/v1/organizations"`
}
