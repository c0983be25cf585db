package problem_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonicus/webhooks/pkg/problem"
)

func TestInvalidNamesTheField(t *testing.T) {
	t.Parallel()
	url := problem.Field{Field: "url", Code: "https_required", Detail: "must begin with https://"}
	name := problem.Field{Field: "name", Code: "required", Detail: "is required"}
	tests := []struct {
		name         string
		err          *problem.Error
		code, detail string
	}{
		{"one field lends its code", problem.Invalid(url), "https_required", "url: must begin with https://"},
		{"several share one code", problem.Invalid(url, name), "validation_failed", "2 values are not valid; the first is url: must begin with https://"},
		{"none", problem.Invalid(), "validation_failed", "The request is not valid."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.err.Kind != problem.KindInvalid || tt.err.Code != tt.code || tt.err.Detail != tt.detail {
				t.Errorf("got %s %s %q", tt.err.Kind, tt.err.Code, tt.err.Detail)
			}
		})
	}
}

func TestErrorIsFoundByKindThroughWrapping(t *testing.T) {
	t.Parallel()
	err := fmt.Errorf("create: %w", problem.Unavailable("commit_unknown", "Try again.", io.ErrUnexpectedEOF))
	p, ok := errors.AsType[*problem.Error](err)
	if !ok || p.Kind != problem.KindUnavailable || p.RetryAfter != time.Second {
		t.Fatalf("got %+v, %v", p, ok)
	}
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error("the cause is lost")
	}
}

func TestInternalHidesTheCauseFromTheCaller(t *testing.T) {
	t.Parallel()
	p := problem.Internal(errors.New("pq: relation sonicus.x"))
	if strings.Contains(p.Detail, "pq") {
		t.Errorf("detail %q shows the cause", p.Detail)
	}
	if !strings.Contains(p.Error(), "pq: relation") {
		t.Errorf("log text %q lacks the cause", p.Error())
	}
}

func TestEveryConstructorHasItsKind(t *testing.T) {
	t.Parallel()
	got := []problem.Error{}
	for _, p := range []*problem.Error{
		problem.Malformed("invalid_json", "Not JSON."), problem.Unauthenticated(), problem.Forbidden("Super admins only."),
		problem.NotFound("endpoint"), problem.MethodNotAllowed(), problem.Conflict("domain_taken", "domain", "is taken"),
		problem.Conflict("in_progress", "", "is running"), problem.PreconditionFailed("Read it again."), problem.TooLarge("Over 1 MiB."), problem.UnsupportedMedia("Send JSON."),
		problem.TooMany(2*time.Second, "Slow down."),
	} {
		got = append(got, *p)
	}
	want := []problem.Error{
		{Kind: problem.KindMalformed, Code: "invalid_json", Detail: "Not JSON."},
		{Kind: problem.KindUnauthenticated, Code: "unauthenticated", Detail: "A valid bearer token is required."},
		{Kind: problem.KindForbidden, Code: "forbidden", Detail: "Super admins only."},
		{Kind: problem.KindNotFound, Code: "not_found", Detail: "There is no such endpoint."},
		{Kind: problem.KindMethodNotAllowed, Code: "method_not_allowed", Detail: "This method is not allowed here."},
		{Kind: problem.KindConflict, Code: "domain_taken", Detail: "is taken", Fields: []problem.Field{{Field: "domain", Code: "domain_taken", Detail: "is taken"}}},
		{Kind: problem.KindConflict, Code: "in_progress", Detail: "is running"},
		{Kind: problem.KindPreconditionFailed, Code: "precondition_failed", Detail: "Read it again."},
		{Kind: problem.KindTooLarge, Code: "too_large", Detail: "Over 1 MiB."},
		{Kind: problem.KindUnsupportedMedia, Code: "unsupported_media_type", Detail: "Send JSON."},
		{Kind: problem.KindTooMany, Code: "rate_limited", Detail: "Slow down.", RetryAfter: 2 * time.Second},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
