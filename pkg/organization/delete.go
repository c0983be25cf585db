package organization

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/endpoint"
	"github.com/sonicus/webhooks/pkg/event"
	"github.com/sonicus/webhooks/pkg/outbox"
	"github.com/sonicus/webhooks/pkg/postgres"
)

// forgetting keeps of an organization what its endpoints and the books need: that it
// was there, and when. The domain is free again.
var forgetting = outbox.With(`
UPDATE sonicus.organizations
SET name = '', display_name = '', domain = id::text, primary_contact_email = '', industry = NULL, company_size = NULL,
    deleted_at = $2, updated_at = $2
WHERE id = $1`)

// Delete deletes an organization that has one of the expected versions, and its users,
// and tells of it as organization.deleted, which carries the organization as it was. Of
// the row, all texts are erased; the event, as long as it is kept, and the audit trail
// still have them. Its own endpoints get that event, and nothing that is published afterwards;
// they stay until they are deleted, and none can be added. Problems: those of
// [Store.Update] without Invalid and Conflict.
func (s *Store) Delete(ctx context.Context, id uuid.UUID, expected endpoint.Versions) error {
	const action = "organization.delete"
	_, err := change(ctx, s, id, "organization", action, func(c *changing) (struct{}, error) {
		if err := expect(expected, c.org.Version()); err != nil {
			return struct{}{}, err
		}
		at := c.after(c.org.UpdatedAt)
		ev, err := event.NewOrganizationDeleted(postgres.NewID(at), at, c.org.payload())
		if err != nil {
			return struct{}{}, err
		}
		if _, err := c.tx.ExecContext(ctx, `DELETE FROM sonicus.users WHERE organization_id = $1`, id); err != nil {
			return struct{}{}, fmt.Errorf("delete users: %w", err)
		}
		return struct{}{}, c.publish(ctx, forgetting, ev, c.org.change(action, c.org.payload(), nil), id, at)
	})
	return err
}
