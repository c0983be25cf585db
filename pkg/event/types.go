package event

import (
	"slices"
	"strings"
)

// All is the pattern that matches every event type.
const All = "*"

// Types lists the event types that exist, in alphabetical order.
func Types() []string { return []string{OrganizationCreated} }

// Patterns lists what an endpoint may have subscribed to in order to receive an
// event of eventType: the type itself, its family ("organization.*") and "*".
func Patterns(eventType string) []string {
	family, _, _ := strings.Cut(eventType, ".")
	return []string{eventType, family + ".*", All}
}

// Known says whether pattern matches at least one event type that exists.
func Known(pattern string) bool {
	return slices.ContainsFunc(Types(), func(t string) bool { return slices.Contains(Patterns(t), pattern) })
}
