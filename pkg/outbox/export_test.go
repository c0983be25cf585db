package outbox

import (
	"context"
	"time"

	"github.com/jmoiron/sqlx"
)

// ClaimIn is Claim in a transaction of the test.
func ClaimIn(ctx context.Context, tx *sqlx.Tx, asks ...Ask) ([]Claimed, error) {
	var rows []claimRow
	endpoints, retries, since, most := askColumns(asks)
	if err := tx.SelectContext(ctx, &rows, claim, endpoints, retries, since, most, 1, LeaseMargin.Seconds(), paceAhead); err != nil {
		return nil, err
	}
	claimed := leases(rows, 1, time.Now())
	return claimed, loadInto(ctx, tx, claimed)
}
