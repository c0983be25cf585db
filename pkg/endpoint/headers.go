package endpoint

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/problem"
	"github.com/sonicus/webhooks/pkg/secret"
	"github.com/sonicus/webhooks/pkg/webhook"
)

const columnHeaders = "headers"

// maxShown is how many bytes an error repeats of a name, which may be anything.
const maxShown = 64

// masked is what answers show in the place of a header's value.
const masked = webhook.Mask

// Headers are those that every request to an endpoint has beside the service's own,
// by their names. As a change of others, nil removes one. Values are secrets: they
// often let the request in at the receiver.
type Headers map[string]*secret.Value

// checkHeaders looks at what is given; names differ in more than their case.
func checkHeaders(h Headers) []problem.Field {
	if found := checkCount(h); len(found) > 0 {
		return found
	}
	var found []problem.Field
	seen := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(h)) {
		field, value := "headers."+name[:min(len(name), maxShown)], valueOr(h[name], "")
		switch {
		case seen[strings.ToLower(name)]:
			found = append(found, wrong(field, "duplicate", "give each header once, in one spelling")...)
		case value == masked:
			found = append(found, wrong(field, "masked_value", "give the value itself, or leave the header out to keep the one it has")...)
		default:
			found = append(found, webhook.CheckHeader(field, name, string(value))...)
		}
		seen[strings.ToLower(name)] = true
	}
	return found
}

func checkCount[V any](h map[string]V) []problem.Field {
	if len(h) > webhook.MaxHeaders {
		return wrong("headers", "too_many", fmt.Sprintf("use at most %d headers", webhook.MaxHeaders))
	}
	return nil
}

// onto applies a change; a name replaces the one that differs from it in case only.
func (h Headers) onto(current map[string]string) map[string]string {
	changed := maps.Clone(current)
	if changed == nil {
		changed = map[string]string{}
	}
	for name, value := range h {
		maps.DeleteFunc(changed, func(other, _ string) bool { return strings.EqualFold(other, name) })
		if value != nil {
			changed[name] = string(*value)
		}
	}
	return changed
}

// sealHeaders returns the values as the column headers holds them, and the names as
// header_names does; nil for none.
func (s *Store) sealHeaders(id uuid.UUID, h map[string]string) (sealed *string, names postgres.JSON, err error) {
	listed, err := json.Marshal(slices.AppendSeq([]string{}, slices.Values(slices.Sorted(maps.Keys(h)))))
	if err != nil {
		return nil, "", fmt.Errorf("encode header names: %w", err)
	}
	if len(h) == 0 {
		return nil, postgres.JSON(listed), nil
	}
	plain, err := json.Marshal(h)
	if err != nil {
		return nil, "", fmt.Errorf("encode headers: %w", err)
	}
	sealed, err = s.seal(id, columnHeaders, secret.Value(plain))
	return sealed, postgres.JSON(listed), err
}

// openHeaders is the other way round; an empty envelope has none.
func openHeaders(box *secret.Box, id uuid.UUID, envelope string) (map[string]string, error) {
	if envelope == "" {
		return nil, nil //nolint:nilnil // no headers
	}
	plain, err := box.Open(envelope, secret.AAD(id, columnHeaders))
	if err != nil {
		return nil, fmt.Errorf("headers of endpoint %s: %w", id, err)
	}
	var h map[string]string
	if json.Unmarshal(plain, &h) != nil { // its error could quote a value
		return nil, fmt.Errorf("headers of endpoint %s: %w", id, secret.ErrUnreadable)
	}
	return h, nil
}

// mask shows which headers there are.
func mask(names []string) map[string]string {
	shown := make(map[string]string, len(names))
	for _, name := range names {
		shown[name] = masked
	}
	return shown
}

// patchHeaders changes the headers of an endpoint whose row is locked, if they are to
// be changed.
func (s *Store) patchHeaders(ctx context.Context, tx *sqlx.Tx, now time.Time, id uuid.UUID, p Patch) error {
	change, reset := p.headers()
	if change == nil && !reset {
		return nil
	}
	var envelope string
	if err := tx.GetContext(ctx, &envelope, `SELECT coalesce(headers, '') FROM sonicus.endpoints WHERE id = $1`, id); err != nil {
		return fmt.Errorf("read headers: %w", err)
	}
	current, err := openHeaders(s.box, id, envelope)
	if err != nil && !reset {
		p := problem.Conflict("secret_unreadable", "headers", "The current headers cannot be decrypted, so they cannot be merged. Set headers to null first.")
		p.Err = err
		return p
	}
	kept := current
	if reset {
		kept = nil
	}
	changed := change.onto(kept)
	if found := checkCount(changed); len(found) > 0 {
		return problem.Invalid(found...)
	}
	if err == nil && maps.Equal(current, changed) {
		return nil
	}
	sealed, names, err := s.sealHeaders(id, changed)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `UPDATE sonicus.endpoints SET headers = $2, header_names = $3, updated_at = $4 WHERE id = $1`, id, sealed, names, now); err != nil {
		return fmt.Errorf("update headers: %w", err)
	}
	return nil
}
