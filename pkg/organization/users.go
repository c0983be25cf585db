package organization

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/endpoint"
	"github.com/sonicus/webhooks/pkg/event"
	"github.com/sonicus/webhooks/pkg/outbox"
	"github.com/sonicus/webhooks/pkg/postgres"
	"github.com/sonicus/webhooks/pkg/problem"
)

// UserPatch is to a user what [Patch] is to an organization.
type UserPatch struct {
	NewUser
	Given []string
}

const insertUser = `INSERT INTO sonicus.users (id, organization_id, email, full_name, role, created_at, updated_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7)`

// Each writes a user and publishes an event in one statement.
var (
	adding   = outbox.With(insertUser)
	revising = outbox.With(`UPDATE sonicus.users SET email = $2, full_name = $3, role = $4, updated_at = $5 WHERE id = $1`)
	removing = outbox.With(`DELETE FROM sonicus.users WHERE id = $1`)
)

func (u User) values() []any {
	return []any{u.ID, u.OrganizationID, u.Email, u.FullName, u.Role, u.CreatedAt, u.UpdatedAt}
}

// AddUser adds a user to an organization and tells of it as user.created. Problems:
// Invalid for bad values; NotFound for the organization; Conflict when it has a user
// with this address (email_taken), or max_users of them (seats_used_up); and
// Unavailable as for [Store.Create].
func (s *Store) AddUser(ctx context.Context, organization uuid.UUID, n NewUser) (User, error) {
	if found := n.check(); len(found) > 0 {
		return User{}, problem.Invalid(found...)
	}
	const action = "user.create"
	return change(ctx, s, organization, "organization", action, func(c *changing) (User, error) {
		if err := c.seat(ctx); err != nil {
			return User{}, err
		}
		u := User{
			ID: postgres.NewID(c.now), OrganizationID: organization, Email: n.Email, FullName: n.FullName, Role: valueOr(n.Role, roleMember),
			CreatedAt: c.now, UpdatedAt: c.now,
		}
		ev, err := event.NewUserCreated(postgres.NewID(c.now), c.now, c.org.payload(), u.payload())
		if err != nil {
			return User{}, err
		}
		return u, c.publish(ctx, adding, ev, u.change(action, nil, u.payload()), u.values()...)
	})
}

// seat looks whether there is room for one more user.
func (c *changing) seat(ctx context.Context) error {
	var users int
	err := c.tx.GetContext(ctx, &users, `SELECT count(*) FROM (SELECT FROM sonicus.users WHERE organization_id = $1 LIMIT $2) AS used`, c.org.ID, c.org.MaxUsers)
	if err != nil {
		return fmt.Errorf("count users: %w", err)
	}
	if users >= c.org.MaxUsers {
		return problem.Conflict("seats_used_up", "", fmt.Sprintf("The organization has all of its %d users. Raise max_users of its subscription, or delete a user.", c.org.MaxUsers))
	}
	return nil
}

// UpdateUser changes a user who has one of the expected versions. What changes is told
// as user.updated; nothing, when nothing does. Problems: those of [Store.Update], with
// email_taken as the conflict; NotFound also for a user of another organization.
func (s *Store) UpdateUser(ctx context.Context, organization, id uuid.UUID, expected endpoint.Versions, p UserPatch) (User, error) {
	if found := given(p.check(), p.Given); len(found) > 0 {
		return User{}, problem.Invalid(found...)
	}
	const action = "user.update"
	return change(ctx, s, organization, "user", action, func(c *changing) (User, error) {
		before, err := c.user(ctx, id, expected)
		if err != nil {
			return User{}, err
		}
		after := p.onto(before)
		previous := formerUser(before, after)
		if previous == (event.FormerMember{}) {
			return before, nil
		}
		after.UpdatedAt = c.after(before.UpdatedAt)
		ev, err := event.NewUserUpdated(postgres.NewID(after.UpdatedAt), after.UpdatedAt, c.org.payload(), after.payload(), previous)
		if err != nil {
			return User{}, err
		}
		return after, c.publish(ctx, revising, ev, after.change(action, before.payload(), after.payload()), id, after.Email, after.FullName, after.Role, after.UpdatedAt)
	})
}

func (p UserPatch) onto(u User) User {
	if slices.Contains(p.Given, "email") {
		u.Email = p.Email
	}
	if slices.Contains(p.Given, "full_name") {
		u.FullName = p.FullName
	}
	if slices.Contains(p.Given, "role") {
		u.Role = valueOr(p.Role, roleMember)
	}
	return u
}

// DeleteUser deletes a user who has one of the expected versions, and tells of it as
// user.deleted. Problems: those of [Store.UpdateUser] without Invalid and Conflict.
func (s *Store) DeleteUser(ctx context.Context, organization, id uuid.UUID, expected endpoint.Versions) error {
	const action = "user.delete"
	_, err := change(ctx, s, organization, "user", action, func(c *changing) (struct{}, error) {
		u, err := c.user(ctx, id, expected)
		if err != nil {
			return struct{}{}, err
		}
		at := c.after(u.UpdatedAt)
		ev, err := event.NewUserDeleted(postgres.NewID(at), at, c.org.payload(), u.payload())
		if err != nil {
			return struct{}{}, err
		}
		return struct{}{}, c.publish(ctx, removing, ev, u.change(action, u.payload(), nil), id)
	})
	return err
}

// user reads one of the organization's users to change.
func (c *changing) user(ctx context.Context, id uuid.UUID, expected endpoint.Versions) (User, error) {
	var u User
	err := c.tx.GetContext(ctx, &u, oneUser, c.org.ID, id)
	if errors.Is(err, postgres.ErrNotFound) {
		return User{}, problem.NotFound("user")
	}
	if err != nil {
		return User{}, fmt.Errorf("read user: %w", err)
	}
	u = u.inUTC()
	return u, expect(expected, u.Version())
}
