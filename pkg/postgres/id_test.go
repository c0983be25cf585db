package postgres_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/postgres"
)

func TestIDsCarryTheirTimeAndSortByIt(t *testing.T) {
	t.Parallel()
	at := time.UnixMilli(0x017F22E279B0) // the example of RFC 9562, appendix A.6
	id := postgres.NewID(at)
	if id.Version() != 7 || id.Variant() != uuid.RFC4122 || id.String()[:13] != "017f22e2-79b0" {
		t.Errorf("%s is no uuidv7 of %s", id, at)
	}
	for _, after := range []time.Duration{time.Microsecond, 999 * time.Microsecond, time.Millisecond} {
		if later := postgres.NewID(at.Add(after)); bytes.Compare(id[:], later[:]) >= 0 {
			t.Errorf("%s does not sort before %s", id, later)
		}
	}
	if id == postgres.NewID(at) {
		t.Error("two ids of one instant are equal")
	}
}
