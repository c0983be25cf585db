package organization_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/endpoint"
	"github.com/sonicus/webhooks/pkg/organization"
	"github.com/sonicus/webhooks/pkg/postgres/pgtest"
	"github.com/sonicus/webhooks/pkg/problem"
)

// A COMMIT without an answer is looked up: what happened is a success, and what
// cannot be found is said to be unknown, never a plain failure. The endpoints'
// store is here too, because it promises the same.
func TestCommitWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	create := map[string]func(*testing.T, *fixture) error{
		"organization": func(t *testing.T, f *fixture) error {
			_, err := f.organizations.Create(t.Context(), example())
			return err
		},
		"onboarding": func(t *testing.T, f *fixture) error {
			_, err := f.organizations.Onboard(t.Context(), onboarding(hook()))
			return err
		},
		"endpoint": func(t *testing.T, f *fixture) error { _, err := f.endpoints.Create(t.Context(), hook()); return err },
	}
	happened := map[string]books{
		"organization": {Organizations: 1, Events: 1},
		"onboarding":   {Organizations: 1, Users: 1, Endpoints: 1, Events: 1, Deliveries: 1, Queue: 1},
		"endpoint":     {Endpoints: 1},
	}
	for name, create := range create {
		t.Run(name+" lost before the server saw it", func(t *testing.T) {
			t.Parallel()
			f, cut := setUpBehindCutter(t, false)
			err := create(t, f)
			if p := problemOf(t, err); p.Kind != problem.KindUnavailable || p.Code != "commit_unknown" {
				t.Errorf("got %v", err)
			}
			if diff := cmp.Diff(books{}, f.books(t)); diff != "" || cut.Load() != 1 || f.hints.Load() != 0 {
				t.Errorf("%d cuts, %d hints; %s", cut.Load(), f.hints.Load(), diff)
			}
		})
		t.Run(name+" done but the answer lost", func(t *testing.T) {
			t.Parallel()
			f, cut := setUpBehindCutter(t, true)
			if err := create(t, f); err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff(happened[name], f.books(t)); diff != "" || cut.Load() != 1 {
				t.Errorf("%d cuts; %s", cut.Load(), diff)
			}
		})
	}
}

// The same holds for every change of an endpoint.
func TestChangeWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(context.Context, *endpoint.Store, uuid.UUID) error{
		"update": func(ctx context.Context, s *endpoint.Store, id uuid.UUID) error {
			_, err := s.Update(ctx, id, nil, endpoint.Patch{New: endpoint.New{Name: "ERP"}, Given: []string{"name"}})
			return err
		},
		"delete": func(ctx context.Context, s *endpoint.Store, id uuid.UUID) error { return s.Delete(ctx, id, nil) },
		"rotate_secret": func(ctx context.Context, s *endpoint.Store, id uuid.UUID) error {
			_, err := s.RotateSecret(ctx, id, endpoint.Rotation{})
			return err
		},
	} {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, done %v", name, after), func(t *testing.T) {
				t.Parallel()
				f, cut := setUpBehindCutter(t, after)
				id := uuid.New()
				if _, err := f.db.ExecContext(t.Context(), `INSERT INTO sonicus.endpoints (id, url, name, events, created_at, updated_at)
					VALUES ($1, 'http://127.0.0.1:1/', 'CRM', '["*"]', now(), now())`, id); err != nil {
					t.Fatal(err)
				}
				err := change(t.Context(), f.endpoints, id)
				if after && err != nil {
					t.Error(err)
				}
				if !after {
					if p := problemOf(t, err); p.Code != "commit_unknown" {
						t.Errorf("got %v", err)
					}
				}
				var recorded int
				err = f.db.GetContext(t.Context(), &recorded, `SELECT count(*) FROM sonicus.audit_log WHERE action = 'endpoint.' || $1`, name)
				if err != nil || cut.Load() != 1 || (recorded == 1) != after {
					t.Errorf("%d cuts, %d rows in the audit trail, %v", cut.Load(), recorded, err)
				}
			})
		}
	}
}

// setUpBehindCutter puts between the stores and their database a proxy that cuts
// the connection of the first COMMIT: before the server sees it, or after it has
// answered. cuts counts.
func setUpBehindCutter(t *testing.T, after bool) (f *fixture, cuts *atomic.Int64) {
	t.Helper()
	fate := pgtest.Lost
	if after {
		fate = pgtest.Unanswered
	}
	cuts = &atomic.Int64{}
	through := pgtest.NewCutter(t, pgtest.NewURL(t), func(int64) pgtest.Fate {
		if cuts.CompareAndSwap(0, 1) {
			return fate
		}
		return pgtest.Answered
	})
	return setUpOn(t, pgtest.Open(t, through)), cuts
}

// And for every change of an organization and its users.
func TestChangeOfAnOrganizationWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	for _, action := range []string{"organization.update", "subscription.change", "organization.delete", "user.create", "user.update", "user.delete"} {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, done %v", action, after), func(t *testing.T) {
				t.Parallel()
				f, cut := setUpBehindCutter(t, after)
				o, u := organization.Organization{ID: uuid.New()}, organization.User{ID: uuid.New()}
				f.stored(t, o.ID, u.ID)
				changes := f.changes(t, o, u)
				changes["user.create"] = func(endpoint.Versions) error {
					_, err := f.organizations.AddUser(t.Context(), o.ID, organization.NewUser{Email: "b@example.com", FullName: "B"})
					return err
				}
				err := changes[action](nil)
				if after && err != nil {
					t.Error(err)
				}
				if !after && problemOf(t, err).Code != "commit_unknown" {
					t.Errorf("got %v", err)
				}
				var recorded int
				err = f.db.GetContext(t.Context(), &recorded, `SELECT count(*) FROM sonicus.audit_log WHERE action = $1`, action)
				if err != nil || cut.Load() != 1 || (recorded == 1) != after {
					t.Errorf("%d cuts, %d rows in the audit trail, %v", cut.Load(), recorded, err)
				}
			})
		}
	}
}

// stored writes an organization and a user past the stores, in no transaction that the
// cutter could cut.
func (f *fixture) stored(t *testing.T, organization, user uuid.UUID) {
	t.Helper()
	for _, statement := range []string{
		`INSERT INTO sonicus.organizations (id, name, display_name, domain, primary_contact_email, subscription_tier, subscription_status, max_users, created_at, updated_at)
		 SELECT $1, 'A', 'A', 'example.com', 'a@example.com', 'starter', 'active', 10, now(), now() WHERE $2::uuid IS NOT NULL`,
		`INSERT INTO sonicus.users (id, organization_id, email, full_name, role, created_at, updated_at)
		 VALUES ($2, $1, 'ada@example.com', 'Ada Lovelace', 'member', now(), now())`,
	} {
		if _, err := f.db.ExecContext(t.Context(), statement, organization, user); err != nil {
			t.Fatal(err)
		}
	}
}
