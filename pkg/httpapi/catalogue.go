package httpapi

import (
	"encoding/json"

	"github.com/labstack/echo/v4"

	"github.com/sonicus/webhooks/pkg/event"
)

// Egress is what receivers can know requests by that are ours.
type Egress struct {
	Addresses []string `json:"ip_addresses"` // and ranges
	UserAgent string   `json:"user_agent"`
}

type eventTypeAnswer struct {
	Name        string          `json:"name"`
	Description string          `json:"description"`
	Schema      *event.Schema   `json:"schema"`
	Sample      json.RawMessage `json:"sample"`
}

// catalogueAnswer has the form of a list, which is too short for pages.
type catalogueAnswer struct {
	Data []eventTypeAnswer `json:"data"`
}

func (*Server) listEventTypes(c echo.Context) error {
	var all catalogueAnswer
	for _, d := range event.Catalogue() {
		sample, err := d.Sample()
		if err != nil {
			return err
		}
		all.Data = append(all.Data, eventTypeAnswer{d.Type, d.Description, d.Schema(), sample})
	}
	return sendJSON(c, all)
}

func (s *Server) getEgress(c echo.Context) error {
	shown := s.egress
	if shown.Addresses == nil {
		shown.Addresses = []string{}
	}
	return sendJSON(c, shown)
}
