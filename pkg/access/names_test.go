package access_test

import (
	"errors"
	"testing"

	"github.com/sonicus/webhooks/pkg/access"
	"github.com/sonicus/webhooks/pkg/postgres/pgtest"
	"github.com/sonicus/webhooks/pkg/problem"
)

// The trail names those who act: no key may be taken for the bootstrap key or for
// somebody at a terminal.
func TestKeysImpersonateNobody(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	keys := access.NewKeys(db, "")
	for _, name := range []string{
		"bootstrap", "Bootstrap", "BOOTSTRAP", "bootſtrap", "boot\u200bstrap", "\u2060bootstrap",
		"command line", "Command Line", "COMMAND LINE", "command  line", "command\u00a0line",
	} {
		_, err := keys.Create(t.Context(), access.NewKey{Name: name, Role: access.Viewer})
		if p, ok := errors.AsType[*problem.Error](err); !ok || p.Kind != problem.KindInvalid || len(p.Fields) != 1 || p.Fields[0].Field != "name" || p.Fields[0].Code != "reserved_name" {
			t.Errorf("%q: %v", name, err)
		}
	}
	if trail := trail(t, db); len(trail) != 0 {
		t.Errorf("the trail tells of %+v", trail)
	}
	for _, name := range []string{"bootstrap 2", "the bootstrap", "commandline", "command", "CRM"} {
		if _, err := keys.Create(t.Context(), access.NewKey{Name: name, Role: access.Viewer}); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}
