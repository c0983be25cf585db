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
	endpointsPath     = base + "/webhooks/endpoints"
	testPath          = base + "/webhooks/test"
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
	create := taking(organizationFields, s.createOrganization)
	return []route{
		{http.MethodPost, organizationsPath + "/", access.Admin, create},
		{http.MethodPost, base + "/super-admin/organizations/", access.SuperAdmin, create},
		{http.MethodPost, base + "/organization-crud/organizations/", access.Admin, taking(onboardingFields, s.onboard)},
		{http.MethodGet, organizationsPath + "/", access.Viewer, listing("organizations", s.organizations.List, organizationItem)},
		{http.MethodGet, organizationsPath + "/:id", access.Viewer, byID(s.getOrganization)},

		{http.MethodPost, endpointsPath, access.SuperAdmin, putting(endpointFields, s.putEndpoint)},
		{http.MethodGet, endpointsPath, access.Viewer, filtered("endpoints", endpointFilter, s.endpoints.List, endpointItem)},
		{http.MethodGet, endpointsPath + "/:id", access.Viewer, byID(showing(s.endpoints.Get))},
		{http.MethodPatch, endpointsPath + "/:id", access.SuperAdmin, changing(endpointPatch, s.updateEndpoint)},
		{http.MethodDelete, endpointsPath + "/:id", access.SuperAdmin, deleting(s.endpoints.Delete)},
		{http.MethodPost, endpointsPath + "/:id/enable", access.SuperAdmin, byID(showing(s.endpoints.Enable))},
		{http.MethodPost, endpointsPath + "/:id/disable", access.SuperAdmin, byID(showing(s.endpoints.Disable))},
		{http.MethodPost, endpointsPath + "/:id/pause", access.SuperAdmin, byID(showing(s.endpoints.Pause))},
		{http.MethodPost, endpointsPath + "/:id/resume", access.SuperAdmin, byID(showing(s.endpoints.Resume))},
		{http.MethodPost, endpointsPath + "/:id/rotate-secret", access.SuperAdmin, optional(changing(rotationFields, s.rotateSecret))},
		{http.MethodPost, endpointsPath + "/:id/test", access.SuperAdmin, s.testLimits.enforce(optional(trying(endpointTestFields, s.testEndpoint)))},
		{http.MethodPost, testPath, access.SuperAdmin, s.testLimits.enforce(trying(testFields, s.testURL))},

		{http.MethodPost, keysPath, access.SuperAdmin, taking(keyFields, s.createKey)},
		{http.MethodGet, keysPath, access.SuperAdmin, listing("api-keys", s.keys.List, keyItem)},
		{http.MethodGet, keysPath + "/:id", access.SuperAdmin, byID(s.getKey)},
		{http.MethodDelete, keysPath + "/:id", access.SuperAdmin, removing(s.keys.Revoke)},

		{http.MethodGet, trailPath, access.SuperAdmin, filtered("audit-log", trailFilter, s.trail.List, trailItem)},
	}
}

// mount registers the routes; what can be had with GET can be asked for with HEAD.
func (s *Server) mount(routes []route) {
	for _, r := range routes {
		methods, paths := []string{r.method}, []string{r.path}
		if r.method == http.MethodGet {
			methods = append(methods, http.MethodHead)
		}
		if bare, ok := strings.CutSuffix(r.path, "/"); ok {
			paths = append(paths, bare)
		}
		for _, path := range paths {
			s.echo.Match(methods, path, require(r.role, r.handle))
		}
	}
}
