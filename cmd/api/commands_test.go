package main

import (
	"errors"
	"io"
	"strings"
	"testing"
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
