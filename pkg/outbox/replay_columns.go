package outbox

import (
	"github.com/google/uuid"
	"github.com/lib/pq"
)

// remadeColumns are deliveries as one array per column.
type remadeColumns struct {
	sources, ids, events, endpoints []uuid.UUID
	types                           pq.StringArray
	generations, attempts           pq.Int64Array
	streams                         []uuid.NullUUID
}

func columnsOf(all []remade) remadeColumns {
	var c remadeColumns
	for _, d := range all {
		c.sources, c.ids = append(c.sources, d.Source), append(c.ids, d.ID)
		c.events, c.endpoints = append(c.events, d.EventID), append(c.endpoints, d.EndpointID)
		c.types = append(c.types, d.EventType)
		c.generations, c.attempts = append(c.generations, int64(d.Generation)), append(c.attempts, int64(d.MaxAttempts))
		var organization uuid.NullUUID
		if d.OrganizationID != nil {
			organization = uuid.NullUUID{UUID: *d.OrganizationID, Valid: true}
		}
		c.streams = append(c.streams, organization)
	}
	return c
}

// streams are the organizations of those that go one after another.
func streams(all []remade) (organizations []uuid.UUID) {
	for _, d := range all {
		if d.OrganizationID != nil {
			organizations = append(organizations, *d.OrganizationID)
		}
	}
	return organizations
}

// among keeps those with one of the ids.
func among(all []remade, ids []uuid.UUID) []remade {
	there := make(map[uuid.UUID]bool, len(ids))
	for _, id := range ids {
		there[id] = true
	}
	kept := make([]remade, 0, len(ids))
	for _, d := range all {
		if there[d.ID] {
			kept = append(kept, d)
		}
	}
	return kept
}
