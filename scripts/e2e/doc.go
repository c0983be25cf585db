// Package e2e holds the tests that run the built programs as operators run
// them: real processes, a real Postgres, real HTTP receivers, signals and kills.
// It has no code of its own.
package e2e
