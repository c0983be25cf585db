package endpoint

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// Delete marks an endpoint deleted and erases its secrets. From then on nothing is
// published to it and nothing claimed for it; the dispatchers end what is queued,
// however much it is, as failed with the reason endpoint_deleted. Problems: those of
// [Store.Update] without Invalid.
func (s *Store) Delete(ctx context.Context, id uuid.UUID, expected Versions) error {
	_, err := s.write(ctx, id, "delete", expected, func(tx *sqlx.Tx, now time.Time, _ Endpoint) error {
		_, err := tx.ExecContext(ctx, `
			UPDATE sonicus.endpoints
			SET deleted_at = $2, updated_at = $2, secret = NULL, secret_last4 = NULL, previous_secret = NULL,
			    previous_secret_expires_at = NULL, headers = NULL, header_names = '[]'
			WHERE id = $1`, id, now)
		if err != nil {
			return fmt.Errorf("mark deleted: %w", err)
		}
		return nil
	})
	return err
}
