package event

import (
	"slices"
	"strings"
)

// All is the pattern that matches every business event.
const All = "*"

// operational is the family of the events about the service itself.
const operational = "webhook"

// Operational says whether an event type tells of the service itself.
func Operational(eventType string) bool { return strings.HasPrefix(eventType, operational+".") }

// Patterns lists what an endpoint may have subscribed to in order to receive an
// event of eventType: the type itself, its family ("organization.*") and, unless
// the event is an operational one, "*".
func Patterns(eventType string) []string {
	family, _, _ := strings.Cut(eventType, ".")
	if Operational(eventType) {
		return []string{eventType, family + ".*"}
	}
	return []string{eventType, family + ".*", All}
}

// Known says whether pattern matches at least one event type that exists.
func Known(pattern string) bool {
	return slices.ContainsFunc(Types(), func(t string) bool { return slices.Contains(Patterns(t), pattern) })
}
