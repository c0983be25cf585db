package httpapi

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/endpoint"
	"github.com/sonicus/webhooks/pkg/event"
	"github.com/sonicus/webhooks/pkg/secret"
)

// endpointAnswer begins with the three documented keys of a registration.
type endpointAnswer struct {
	ID             uuid.UUID         `json:"id"`
	URL            string            `json:"url"`
	Message        string            `json:"message,omitempty"`    // only on registration, and when that changes one
	SecretKey      string            `json:"secret_key,omitempty"` // only on registration, when it was generated, and on rotation
	UID            *string           `json:"uid"`
	Name           string            `json:"name"`
	Description    string            `json:"description"`
	Events         []string          `json:"events"`
	IsActive       bool              `json:"is_active"`
	OrganizationID *uuid.UUID        `json:"organization_id"`
	TimeoutSeconds int               `json:"timeout_seconds"`
	MaxRetries     int               `json:"max_retries"`
	RetrySchedule  []int             `json:"retry_schedule"`
	RateLimit      *int              `json:"rate_limit"`
	MaxConcurrency *int              `json:"max_concurrency"`
	Ordering       string            `json:"ordering"`
	Filter         json.RawMessage   `json:"filter"`
	Metadata       json.RawMessage   `json:"metadata"`
	Headers        map[string]string `json:"headers"` // values are masked
	SecretSet      bool              `json:"secret_set"`
	SecretLast4    *string           `json:"secret_last4"`
	CreatedAt      event.Timestamp   `json:"created_at"`
	UpdatedAt      event.Timestamp   `json:"updated_at"`
	DisabledReason *string           `json:"disabled_reason"`
	DisabledAt     *event.Timestamp  `json:"disabled_at"`
	PausedAt       *event.Timestamp  `json:"paused_at"`

	PreviousSecretExpiresAt *event.Timestamp `json:"previous_secret_expires_at"`

	BreakerFailures       *int             `json:"breaker_failures"`
	BreakerMaxOpenSeconds *int             `json:"breaker_max_open_seconds"`
	BreakerState          string           `json:"breaker_state"`
	BreakerUntil          *event.Timestamp `json:"breaker_until"`
	FailingSince          *event.Timestamp `json:"failing_since"`
	LastSuccessAt         *event.Timestamp `json:"last_success_at"`
	LastFailureAt         *event.Timestamp `json:"last_failure_at"`

	version int64
}

// etag is strong: while it stays the same, so does everything that can be changed.
// How sending goes is not part of it.
func (a endpointAnswer) etag() string { return etag(a.version) }

func endpointFields(f *fields) endpoint.New {
	return endpoint.New{
		UID:            f.optionalText("uid"),
		URL:            f.text("url"),
		Events:         f.texts("events"),
		Name:           f.text("name"),
		Description:    f.text("description"),
		OrganizationID: f.id("organization_id"),
		SecretKey:      (*secret.Value)(f.optionalText("secret_key")),
		GenerateSecret: f.flag("generate_secret"),
		TimeoutSeconds: f.integer("timeout_seconds", endpoint.TimeoutSeconds),
		MaxRetries:     f.integer("max_retries", endpoint.MaxRetries),
		RetrySchedule:  f.integers("retry_schedule", endpoint.RetryWait),
		RateLimit:      f.integer("rate_limit", endpoint.RateLimit),
		MaxConcurrency: f.integer("max_concurrency", endpoint.MaxConcurrency),
		Ordering:       f.optionalText("ordering"),
		Filter:         f.document("filter"),
		Metadata:       f.document("metadata"),
		Headers:        f.secrets("headers"),
		Authentication: authenticationFields(f.optionalObject("authentication")),

		BreakerFailures:       f.integer("breaker_failures", endpoint.BreakerFailures),
		BreakerMaxOpenSeconds: f.integer("breaker_max_open_seconds", endpoint.BreakerMaxOpenSeconds),
	}
}

func authenticationFields(f *fields) *endpoint.Authentication {
	if f == nil {
		return nil
	}
	return &endpoint.Authentication{
		Type: f.text("type"), Username: f.text("username"),
		Password: (*secret.Value)(f.optionalText("password")), Token: (*secret.Value)(f.optionalText("token")),
	}
}

// elsewhere says how to change what cannot be patched.
var elsewhere = []struct{ field, advice string }{
	{"uid", "cannot be changed: register another endpoint under the other uid"},
	{"organization_id", "cannot be changed: register another endpoint for the other organization"},
	{"is_active", "cannot be patched: POST to …/enable or …/disable"},
	{"secret_key", "cannot be patched: POST to …/rotate-secret"},
	{"generate_secret", "cannot be patched: POST to …/rotate-secret"},
}

func endpointPatch(f *fields) endpoint.Patch {
	for _, e := range elsewhere {
		f.refuse(e.field, "not_patchable", e.advice)
	}
	for _, required := range []string{"url", "events", "name"} {
		f.refuseNull(required)
	}
	given := f.given()
	return endpoint.Patch{New: endpointFields(f), Given: given}
}

func (s *Server) putEndpoint(ctx context.Context, of subject, in endpoint.New) (endpoint.Created, error) {
	return s.endpoints.Put(ctx, in, of.versions)
}

func showPut(put endpoint.Created) created {
	body := showCreated(put)
	body.Message = "Webhook endpoint created successfully"
	if put.Existed {
		body.Message = "Webhook endpoint updated successfully"
	}
	code := http.StatusCreated
	if put.Existed {
		code = http.StatusOK
	}
	return created{location: endpointsPath + "/" + put.ID.String(), body: body, code: code}
}

func (s *Server) updateEndpoint(ctx context.Context, of subject, p endpoint.Patch) (endpoint.Endpoint, error) {
	return s.endpoints.Update(ctx, of.id, of.versions, p)
}

func rotationFields(f *fields) endpoint.Rotation {
	return endpoint.Rotation{
		SecretKey:      (*secret.Value)(f.optionalText("secret_key")),
		OverlapSeconds: f.integer("overlap_seconds", endpoint.OverlapSeconds),
	}
}

func (s *Server) rotateSecret(ctx context.Context, of subject, r endpoint.Rotation) (endpoint.Created, error) {
	return s.endpoints.RotateSecret(ctx, of.id, r)
}

func endpointFilter(p *params) endpoint.Filter {
	f := endpoint.Filter{
		Active: p.flag("active"), OrganizationID: p.id("organization_id"),
		EventType: p.oneOf("event", event.Types()...), Health: p.oneOf("health", endpoint.Healths()...),
	}
	if uid := p.text("uid"); uid != nil {
		f.UID = *uid
	}
	if sought := p.text("q"); sought != nil {
		f.Text = *sought
	}
	return f
}

func endpointItem(e endpoint.Endpoint) (uuid.UUID, any) { return e.ID, showEndpoint(e) }

// showCreated is the one place where a secret leaves the service.
func showCreated(c endpoint.Created) endpointAnswer {
	a := showEndpoint(c.Endpoint)
	a.SecretKey = string(c.SecretKey)
	return a
}

func showEndpoint(e endpoint.Endpoint) endpointAnswer {
	return endpointAnswer{
		version: e.Version, ID: e.ID, URL: e.URL, UID: e.UID, Name: e.Name, Description: e.Description, Events: e.Events, IsActive: e.IsActive,
		OrganizationID: e.OrganizationID, TimeoutSeconds: e.TimeoutSeconds, MaxRetries: e.MaxRetries, RetrySchedule: e.RetrySchedule,
		RateLimit: e.RateLimit, MaxConcurrency: e.MaxConcurrency, Ordering: e.Ordering, Filter: e.Filter, Metadata: e.Metadata, Headers: e.Headers,
		SecretSet: e.SecretSet, SecretLast4: e.SecretLast4,
		PreviousSecretExpiresAt: (*event.Timestamp)(e.PreviousSecretExpiresAt),
		CreatedAt:               event.Timestamp(e.CreatedAt), UpdatedAt: event.Timestamp(e.UpdatedAt),
		DisabledReason: e.DisabledReason, DisabledAt: (*event.Timestamp)(e.DisabledAt), PausedAt: (*event.Timestamp)(e.PausedAt),
		BreakerFailures: e.BreakerFailures, BreakerMaxOpenSeconds: e.BreakerMaxOpenSeconds,
		BreakerState: e.BreakerState, BreakerUntil: (*event.Timestamp)(e.BreakerUntil), FailingSince: (*event.Timestamp)(e.FailingSince),
		LastSuccessAt: (*event.Timestamp)(e.LastSuccessAt), LastFailureAt: (*event.Timestamp)(e.LastFailureAt),
	}
}
