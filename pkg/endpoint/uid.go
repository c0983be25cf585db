package endpoint

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/problem"
	"github.com/sonicus/webhooks/pkg/secret"
)

// codeTaken is the code of a UID that another endpoint has.
const codeTaken = "uid_taken"

// putTries is how often a UID is looked up: one that was free, or taken, is otherwise
// a moment later only when others register and delete endpoints under it all the time.
const putTries = 5

var validUID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,100}$`)

func checkUID(uid *string) []problem.Field {
	if uid == nil || validUID.MatchString(*uid) {
		return nil
	}
	return wrong("uid", "invalid_uid", "use 1 to 100 letters, digits and ._- for a name of your own, or leave it out")
}

// Put registers an endpoint, as [Store.Create] does, unless there is one with its UID:
// that becomes what n says, with the default for all that n leaves out, and Existed is
// set. Only who it belongs to cannot change, and its secret stays unless n gives
// another one, after which both sign for a day. Where it is all of that already,
// nothing is written.
//
// Problems are those of [Store.Create] and [Store.Update], and Conflict: for another
// organization than it has (organization_mismatch), for a secret that cannot go on
// signing because it cannot be decrypted (secret_unreadable), and for a UID that
// others write at the same time without end (uid_taken). With versions expected, one
// that is not there is PreconditionFailed.
func (s *Store) Put(ctx context.Context, n New, expected Versions) (Created, error) {
	if n.UID == nil {
		return s.Create(ctx, n)
	}
	checked, err := s.Check(ctx, n, "")
	if err != nil {
		return Created{}, err
	}
	var put Created
	for range putTries {
		put, err = s.put(ctx, n, checked, expected)
		if p, known := errors.AsType[*problem.Error](err); !known || (p.Code != codeTaken && p.Kind != problem.KindNotFound) {
			break
		}
		err = problem.Conflict(codeTaken, "uid", "Others write endpoints with this uid at the same time. Try again.")
	}
	return put, err
}

// put does what the UID, as it is found now, asks for. Others may be faster: then the
// UID is taken, or its endpoint is not found.
func (s *Store) put(ctx context.Context, n New, checked Checked, expected Versions) (Created, error) {
	var id uuid.UUID
	err := s.db.GetContext(ctx, &id, `SELECT e.id FROM sonicus.endpoints e WHERE e.uid = $1 AND e.deleted_at IS NULL`, *n.UID)
	switch {
	case err == nil:
		return s.replace(ctx, id, n, checked, expected)
	case !errors.Is(err, postgres.ErrNotFound):
		return Created{}, explain("find endpoint by uid", "", err)
	case expected != nil:
		return Created{}, problem.PreconditionFailed("There is no endpoint with this uid. Leave If-Match out to register it.")
	}
	return s.register(ctx, checked)
}

// replace makes an endpoint what n says.
func (s *Store) replace(ctx context.Context, id uuid.UUID, n New, checked Checked, expected Versions) (Created, error) {
	all := Patch{New: n, Given: slices.Collect(maps.Keys(patchable)), whole: true}
	var shown secret.Value
	return written(ctx, s, id, "update", expected, func(tx *sqlx.Tx, now time.Time, before Endpoint) error {
		if valueOr(before.OrganizationID, uuid.Nil) != valueOr(n.OrganizationID, uuid.Nil) {
			return problem.Conflict("organization_mismatch", "organization_id",
				"The endpoint with this uid belongs to another organization, or to none. Use another uid, or delete that endpoint first.")
		}
		if err := s.apply(ctx, tx, now, before, all, checked); err != nil {
			return err
		}
		set, err := s.adopt(ctx, tx, now, before, checked)
		if set && checked.generated {
			shown = checked.SecretKey
		}
		return err
	}, func(after Endpoint) Created { return Created{Endpoint: after, Existed: true, SecretKey: shown} })
}

// adopt gives an endpoint the secret that is wanted, and says whether it was another
// one: whoever wants any, is content with the one that there is.
func (s *Store) adopt(ctx context.Context, tx *sqlx.Tx, now time.Time, before Endpoint, wanted Checked) (bool, error) {
	if wanted.SecretKey == "" || (wanted.generated && before.SecretSet) {
		return false, nil
	}
	current, err := s.currentSecret(ctx, tx, before.ID)
	if err != nil {
		return false, fmt.Errorf("compare secrets: %w", err)
	}
	if subtle.ConstantTimeCompare([]byte(current), []byte(wanted.SecretKey)) == 1 {
		return false, nil
	}
	return true, s.setSecret(ctx, tx, now, before.ID, wanted.SecretKey, defaultOverlap*time.Second)
}
