package main

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/sonicus/webhooks/pkg/httpapi"
)

func TestKeyNeedsANameAndARole(t *testing.T) {
	t.Parallel()
	for missing, args := range map[string][]string{
		"--role": {"key", "create", "--name", "ops"},
		"--name": {"key", "create", "--role", "admin"},
	} {
		err := run(t.Context(), args, func(string) string { return "" }, io.Discard, io.Discard)
		if !errors.Is(err, errUsage) || !strings.Contains(err.Error(), missing+" is required") {
			t.Errorf("%v: got %v", args, err)
		}
	}
}

func TestDescriptionOfTheAPIIsPrintedAsServed(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	if err := run(t.Context(), []string{"openapi"}, func(string) string { return "" }, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	if out.String() != httpapi.OpenAPI() || !strings.HasPrefix(out.String(), "openapi: 3.1") {
		t.Errorf("printed %.100q", out.String())
	}
}
