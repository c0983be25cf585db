// Package model has no code: its test holds pkg/outbox to a specification.
//
// model_test.go says in plain Go, without a database, what publishing, claiming,
// settling and so on mean. machine_test.go does the same things to a real Postgres,
// in an order that rapid draws, and compares. A failure prints the shortest
// sequence that rapid could find.
//
// A step is one change of one thing that both sides made: a delivery published,
// leased, settled, given back, made due, retried or canceled by hand, a lease ended, an endpoint or a breaker
// switched; a claim that rightly takes nothing is one step, too. `make test` makes
// 100,000 of them, and SONICUS_MODEL_STEPS=1000000 a million:
//
//	SONICUS_MODEL_STEPS=1000000 go test -timeout 60m -v ./pkg/outbox/model
//
// Nothing sleeps. Retries become due, leases end and breakers let a probe through
// by UPDATEs that move their times. Calls come one after another: what happens when
// they overlap is for the other tests of pkg/outbox.
package model
