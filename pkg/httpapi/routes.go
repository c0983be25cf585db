package httpapi

import (
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/sonicus/webhooks/pkg/access"
)

const (
	base              = "/api/v1"
	organizationsPath = base + "/organizations"
	usersPath         = organizationsPath + "/:id/users"
	endpointsPath     = base + "/webhooks/endpoints"
	testPath          = base + "/webhooks/test"
	eventsPath        = base + "/webhooks/events"
	deliveriesPath    = base + "/webhooks/deliveries"
	replaysPath       = base + "/webhooks/replays"
	triggerPath       = base + "/webhooks/trigger-test"
	eventTypesPath    = base + "/webhooks/event-types"
	egressPath        = base + "/webhooks/egress"
	statsPath         = base + "/webhooks/stats"
	filterTestPath    = base + "/webhooks/filters/test"
	keysPath          = base + "/api-keys"
	trailPath         = base + "/audit-log"
)

// route is one line of the API's table of contents.
type route struct {
	method string
	path   string      // a path that ends in a slash is also served without it
	role   access.Role // the least that a caller must have
	handle echo.HandlerFunc
}

func (s *Server) routes() []route {
	create := taking(organizationFields, s.organizations.Create, showNewOrganization)
	return []route{
		{http.MethodPost, organizationsPath + "/", access.Admin, create},
		{http.MethodPost, base + "/super-admin/organizations/", access.SuperAdmin, create},
		{http.MethodPost, base + "/organization-crud/organizations/", access.Admin, taking(onboardingFields, s.organizations.Onboard, showOnboarded)},
		{http.MethodGet, organizationsPath + "/", access.Viewer, filtered("organizations", organizationFilter, s.organizations.List, organizationItem)},
		{http.MethodGet, organizationsPath + "/:id", access.Viewer, byID(s.organizations.Get, showOrganization)},
		{http.MethodPatch, organizationsPath + "/:id", access.Admin, changing(organizationPatch, s.updateOrganization, showOrganization)},
		{http.MethodDelete, organizationsPath + "/:id", access.SuperAdmin, deleting(s.organizations.Delete)},
		{http.MethodPatch, organizationsPath + "/:id/subscription", access.Admin, changing(subscriptionPatch, s.changeSubscription, showOrganization)},
		{http.MethodPost, usersPath, access.Admin, putting(userFields, s.addUser, showNewUser)},
		{http.MethodGet, usersPath, access.Viewer, about("users", unfiltered, s.listUsers, userItem)},
		{http.MethodGet, usersPath + "/:user_id", access.Viewer, within(s.organizations.GetUser, showUser)},
		{http.MethodPatch, usersPath + "/:user_id", access.Admin, changing(userPatch, s.updateUser, showUser)},
		{http.MethodDelete, usersPath + "/:user_id", access.Admin, deletingOf(s.deleteUser)},

		{http.MethodPost, endpointsPath, access.SuperAdmin, putting(endpointFields, s.putEndpoint, showPut)},
		{http.MethodGet, endpointsPath, access.Viewer, filtered("endpoints", endpointFilter, s.endpoints.List, endpointItem)},
		{http.MethodGet, endpointsPath + "/:id", access.Viewer, byID(s.endpoints.Get, showEndpoint)},
		{http.MethodPatch, endpointsPath + "/:id", access.SuperAdmin, changing(endpointPatch, s.updateEndpoint, showEndpoint)},
		{http.MethodDelete, endpointsPath + "/:id", access.SuperAdmin, deleting(s.endpoints.Delete)},
		{http.MethodPost, endpointsPath + "/:id/enable", access.SuperAdmin, byID(s.endpoints.Enable, showEndpoint)},
		{http.MethodPost, endpointsPath + "/:id/disable", access.SuperAdmin, byID(s.endpoints.Disable, showEndpoint)},
		{http.MethodPost, endpointsPath + "/:id/pause", access.SuperAdmin, byID(s.endpoints.Pause, showEndpoint)},
		{http.MethodPost, endpointsPath + "/:id/resume", access.SuperAdmin, byID(s.endpoints.Resume, showEndpoint)},
		{http.MethodPost, endpointsPath + "/:id/rotate-secret", access.SuperAdmin, optional(changing(rotationFields, s.rotateSecret, showCreated))},
		{http.MethodPost, endpointsPath + "/:id/test", access.SuperAdmin, s.testLimits.enforce(optional(trying(endpointTestFields, s.testEndpoint)))},
		{http.MethodPost, filterTestPath, access.Viewer, changing(trialFields, s.tryFilter, showTried)},
		{http.MethodPost, testPath, access.SuperAdmin, s.testLimits.enforce(trying(testFields, s.testURL))},
		{http.MethodPost, triggerPath, access.SuperAdmin, s.testLimits.enforce(s.triggerTest)},
		{http.MethodGet, eventTypesPath, access.Viewer, s.listEventTypes},
		{http.MethodGet, egressPath, access.Viewer, s.getEgress},
		{http.MethodGet, statsPath, access.Viewer, asking(statsParams, s.getStats, showStats)},
		{http.MethodGet, statsPath + "/endpoints", access.Viewer, filtered("stats", windowParam, s.stats.List, statsItem)},

		{http.MethodGet, eventsPath, access.Viewer, searched("events", eventFilter, s.events.List, eventItem)},
		{http.MethodGet, eventsPath + "/:id", access.Viewer, byID(s.events.Get, showWholeEvent)},
		{http.MethodGet, eventsPath + "/:id/explain", access.Viewer, about("explain", fateFilter, s.deliveries.Explain, fateItem)},

		{http.MethodGet, deliveriesPath, access.Viewer, searched("deliveries", deliveryFilter, s.deliveries.List, deliveryItem)},
		{http.MethodGet, deliveriesPath + "/:id", access.Viewer, byID(s.deliveries.Get, showShown)},
		{http.MethodGet, deliveriesPath + "/:id/attempts", access.Viewer, byID(s.deliveries.Attempts, showAttempts)},
		{http.MethodPost, deliveriesPath + "/:id/retry", access.SuperAdmin, accepting(s.deliveries.Retry, showShown)},
		{http.MethodPost, deliveriesPath + "/:id/cancel", access.SuperAdmin, byID(s.deliveries.Cancel, showShown)},
		{http.MethodPost, replaysPath, access.SuperAdmin, taking(replayFields, s.replays.Create, showNewReplay)},
		{http.MethodGet, replaysPath, access.Viewer, listing("replays", s.replays.List, replayItem)},
		{http.MethodGet, replaysPath + "/:id", access.Viewer, byID(s.replays.Get, showReplay)},
		{http.MethodPost, replaysPath + "/:id/pause", access.SuperAdmin, byID(s.replays.Pause, showReplay)},
		{http.MethodPost, replaysPath + "/:id/resume", access.SuperAdmin, byID(s.replays.Resume, showReplay)},
		{http.MethodPost, replaysPath + "/:id/cancel", access.SuperAdmin, byID(s.replays.Cancel, showReplay)},

		{http.MethodPost, keysPath, access.SuperAdmin, taking(keyFields, s.keys.Create, showNewKey)},
		{http.MethodGet, keysPath, access.SuperAdmin, listing("api-keys", s.keys.List, keyItem)},
		{http.MethodGet, keysPath + "/:id", access.SuperAdmin, byID(s.keys.Get, showKey)},
		{http.MethodDelete, keysPath + "/:id", access.SuperAdmin, removing(s.keys.Revoke)},

		{http.MethodGet, trailPath, access.SuperAdmin, filtered("audit-log", trailFilter, s.trail.List, trailItem)},
	}
}

// notWriting are the POSTs that keep nothing, and why: there is nothing in them that an
// Idempotency-Key could let happen once, and they ignore it. All others must heed it.
var notWriting = map[string]string{
	testPath:                    "sends one request, and keeps nothing of it",
	endpointsPath + "/:id/test": "sends one request, and keeps nothing of it",
	filterTestPath:              "only answers a question",
}

// mount registers the routes; what can be had with GET can be asked for with HEAD, and
// a POST that writes can be sent again.
func (s *Server) mount(routes []route) {
	for _, r := range routes {
		methods, paths := []string{r.method}, []string{r.path}
		switch r.method {
		case http.MethodGet:
			methods = append(methods, http.MethodHead)
		case http.MethodPost:
			if _, exempt := notWriting[r.path]; !exempt {
				r.handle = s.once(r.handle)
			}
		}
		if bare, ok := strings.CutSuffix(r.path, "/"); ok {
			paths = append(paths, bare)
		}
		for _, path := range paths {
			s.echo.Match(methods, path, require(r.role, r.handle))
		}
	}
}
