package postgres

import (
	"time"

	"github.com/google/uuid"
)

// NewID makes a uuidv7 (RFC 9562 §5.7) of an instant, which is the database's
// and not the host's: tables are partitioned by the time in the id, and a host
// whose clock is wrong must not reach a day that has no partition. The fraction of
// the millisecond is in it too (§6.2, method 3), so that lists, which go by the id,
// show what was made within one in its order.
func NewID(at time.Time) uuid.UUID {
	id := uuid.New()
	ms := at.UnixMilli()
	for i := 5; i >= 0; i-- {
		id[i] = byte(ms)
		ms >>= 8
	}
	fraction := at.Nanosecond() % 1e6 * 4096 / 1e6
	id[6], id[7] = 0x70|byte(fraction>>8), byte(fraction&0xff)
	return id
}
