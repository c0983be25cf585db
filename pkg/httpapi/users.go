package httpapi

import (
	"context"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/event"
	"github.com/sonicus/webhooks/pkg/organization"
)

type userAnswer struct {
	ID             uuid.UUID       `json:"id"`
	OrganizationID uuid.UUID       `json:"organization_id"`
	Email          string          `json:"email"`
	FullName       string          `json:"full_name"`
	Role           string          `json:"role"`
	CreatedAt      event.Timestamp `json:"created_at"`
	UpdatedAt      event.Timestamp `json:"updated_at"`
}

func (a userAnswer) etag() string { return versionOf(a.UpdatedAt) }

func userFields(f *fields) organization.NewUser {
	return organization.NewUser{Email: f.text("email"), FullName: f.text("full_name"), Role: f.optionalText("role")}
}

func userPatch(f *fields) organization.UserPatch {
	f.refuseNull("email")
	f.refuseNull("full_name")
	given := f.given()
	return organization.UserPatch{NewUser: userFields(f), Given: given}
}

func (s *Server) addUser(ctx context.Context, of subject, n organization.NewUser) (organization.User, error) {
	return s.organizations.AddUser(ctx, of.id, n)
}

func (s *Server) updateUser(ctx context.Context, of subject, p organization.UserPatch) (organization.User, error) {
	return s.organizations.UpdateUser(ctx, of.id, of.user, of.versions, p)
}

func (s *Server) deleteUser(ctx context.Context, of subject) error {
	return s.organizations.DeleteUser(ctx, of.id, of.user, of.versions)
}

func (s *Server) listUsers(ctx context.Context, of uuid.UUID, _ struct{}, limit int, before uuid.UUID) ([]organization.User, error) {
	return s.organizations.ListUsers(ctx, of, limit, before)
}

func showNewUser(u organization.User) created {
	return created{location: organizationsPath + "/" + u.OrganizationID.String() + "/users/" + u.ID.String(), body: showUser(u)}
}

func userItem(u organization.User) (uuid.UUID, any) { return u.ID, showUser(u) }

func showUser(u organization.User) userAnswer {
	return userAnswer{
		ID: u.ID, OrganizationID: u.OrganizationID, Email: u.Email, FullName: u.FullName, Role: u.Role,
		CreatedAt: event.Timestamp(u.CreatedAt), UpdatedAt: event.Timestamp(u.UpdatedAt),
	}
}
