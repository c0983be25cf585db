package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/sonicus/webhooks/pkg/endpoint"
	"github.com/sonicus/webhooks/pkg/event"
	"github.com/sonicus/webhooks/pkg/idempotency"
	"github.com/sonicus/webhooks/pkg/secret"
)

// Tests go to where the caller wants: each caller may send a few a minute, so that
// the service is of no use for asking others often.
const (
	testsAtOnce = 10
	testsPer    = time.Minute
)

// tooManyTests names the limit: who sends the fourth test in vain may have spent the
// others on requests that were refused.
var tooManyTests = fmt.Sprintf("Too many tests. Each caller may ask each api process for %d a minute; a request that was refused counts too. Try again later.", testsAtOnce)

// testTimeout bounds a test: the look-up of a host or an endpoint, and then the
// longest time that a receiver may have.
const testTimeout = workTimeout + 30*time.Second

// testAnswer has the documented keys of a test, and no others.
type testAnswer struct {
	Success        bool    `json:"success"`
	StatusCode     *int    `json:"status_code"`
	ResponseTimeMS float64 `json:"response_time_ms"`
	ErrorMessage   *string `json:"error_message"`
}

// trying is the handler of a test: read the body strictly, send, and answer what
// became of it, which is 200 whatever the receiver did.
func trying[T any](shape func(*fields) T, do func(context.Context, subject, T) (endpoint.Tested, error)) echo.HandlerFunc {
	return func(c echo.Context) error {
		in, err := decode(c.Response().Writer, c.Request(), shape)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(c.Request().Context(), testTimeout)
		defer cancel()
		tested, err := do(ctx, subjectOf(c), in)
		if err != nil {
			return err
		}
		return sendJSON(c, testAnswer{
			Success: tested.Error == nil, StatusCode: tested.StatusCode,
			ResponseTimeMS: float64(tested.Took.Microseconds()) / 1000, ErrorMessage: tested.Error,
		})
	}
}

func testFields(f *fields) endpoint.Test {
	return endpoint.Test{URL: f.text("url"), SecretKey: (*secret.Value)(f.optionalText("secret_key")), Data: f.document("test_data")}
}

func (s *Server) testURL(ctx context.Context, _ subject, test endpoint.Test) (endpoint.Tested, error) {
	return s.tester.URL(ctx, test)
}

func endpointTestFields(f *fields) *string { return f.optionalText("event_type") }

func (s *Server) testEndpoint(ctx context.Context, of subject, eventType *string) (endpoint.Tested, error) {
	return s.tester.Endpoint(ctx, of.id, eventType)
}

// triggerAnswer begins with the two documented keys.
type triggerAnswer struct {
	Message            string    `json:"message"`
	TestOrganizationID string    `json:"test_organization_id"`
	EventID            uuid.UUID `json:"event_id"`
	Deliveries         int       `json:"deliveries"`
}

// triggerTest answers 202: the deliveries are stored, and the dispatchers' to make.
func (s *Server) triggerTest(c echo.Context) error {
	return perform(c, s.tester.Trigger, func(made endpoint.Triggered) (idempotency.Answer, error) {
		return render(http.StatusAccepted, "", triggerAnswer{
			Message: "Test webhook triggered successfully", TestOrganizationID: event.TestOrganizationID,
			EventID: made.EventID, Deliveries: made.Deliveries,
		})
	})
}
