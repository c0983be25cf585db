package endpoint

import (
	"encoding/base64"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/sonicus/webhooks/pkg/problem"
	"github.com/sonicus/webhooks/pkg/secret"
	"github.com/sonicus/webhooks/pkg/webhook"
)

// authorization is the header that an authentication becomes; it is kept and shown
// as every other.
const authorization = "Authorization"

// Authentication is how requests are let in at the receiver.
type Authentication struct {
	Type     string        // basic (RFC 7617) or bearer (RFC 6750)
	Username string        // basic
	Password *secret.Value // basic
	Token    *secret.Value // bearer
}

// token68 is the syntax of a bearer token (RFC 6750 §2.1).
var token68 = regexp.MustCompile(`^[A-Za-z0-9._~+/-]+=*$`)

// value is that of the header.
func (a Authentication) value() secret.Value {
	if a.Type == "bearer" {
		return "Bearer " + valueOr(a.Token, "")
	}
	pair := a.Username + ":" + string(valueOr(a.Password, ""))
	return secret.Value("Basic " + base64.StdEncoding.EncodeToString([]byte(pair)))
}

// checkAuthentication takes one that may be left out: nil passes.
func checkAuthentication(a *Authentication, h Headers) []problem.Field {
	if a == nil {
		return nil
	}
	var found []problem.Field
	switch {
	case a.Type == "basic" && a.Token == nil:
		found = a.checkBasic()
	case a.Type == "bearer" && a.Username == "" && a.Password == nil:
		found = a.checkBearer()
	default:
		return wrong("authentication", "invalid_authentication",
			`give {"type": "basic", "username": …, "password": …} or {"type": "bearer", "token": …}`)
	}
	for name := range h {
		if strings.EqualFold(name, authorization) {
			found = append(found, wrong("authentication", "exclusive", "give authentication or the header Authorization, not both")...)
		}
	}
	if len(found) > 0 {
		return found
	}
	return webhook.CheckHeader("authentication", authorization, string(a.value()))
}

func (a Authentication) checkBasic() (found []problem.Field) {
	switch {
	case a.Username == "":
		found = wrong("authentication.username", "required", "give a value")
	case strings.Contains(a.Username, ":") || strings.ContainsFunc(a.Username, unicode.IsControl):
		found = wrong("authentication.username", "invalid_username", "remove colons and control characters")
	}
	switch {
	case a.Password == nil:
		found = append(found, wrong("authentication.password", "required", "give a value")...)
	case strings.ContainsFunc(string(*a.Password), unicode.IsControl):
		found = append(found, wrong("authentication.password", "control_character", "remove control characters")...)
	}
	return found
}

func (a Authentication) checkBearer() []problem.Field {
	switch {
	case a.Token == nil:
		return wrong("authentication.token", "required", "give a value")
	case !token68.MatchString(string(*a.Token)):
		return wrong("authentication.token", "invalid_token", "use letters, digits and -._~+/ for a bearer token, and = only at its end")
	default:
		return nil
	}
}

// headers are those that n asks for, with its authentication among them.
func (n New) headers() Headers {
	if n.Authentication == nil {
		return n.Headers
	}
	all, value := maps.Clone(n.Headers), n.Authentication.value()
	if all == nil {
		all = Headers{}
	}
	all[authorization] = &value
	return all
}

// headers are the changes of headers that p asks for; reset: all others go.
func (p Patch) headers() (change Headers, reset bool) {
	change = p.New.headers()
	if p.Authentication == nil && slices.Contains(p.Given, "authentication") {
		change = maps.Clone(change)
		if change == nil {
			change = Headers{}
		}
		change[authorization] = nil
	}
	return change, p.whole || (p.Headers == nil && slices.Contains(p.Given, "headers"))
}
