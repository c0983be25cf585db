package postgres

import (
	"time"

	"github.com/google/uuid"
)

// NewID makes a uuidv7 (RFC 9562 §5.7) of an instant, which is the database's
// and not the host's: tables are partitioned by the time in the id, and a host
// whose clock is wrong must not reach a day that has no partition.
func NewID(at time.Time) uuid.UUID {
	id := uuid.New()
	ms := at.UnixMilli()
	for i := 5; i >= 0; i-- {
		id[i] = byte(ms)
		ms >>= 8
	}
	id[6] = id[6]&0x0f | 0x70
	return id
}
