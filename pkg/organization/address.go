package organization

import (
	"net/mail"
	"net/netip"
	"strings"

	"golang.org/x/net/idna"

	"github.com/sonicus/webhooks/pkg/endpoint"
	"github.com/sonicus/webhooks/pkg/problem"
)

const (
	maxDomain = 253 // octets, RFC 1035 §2.3.4 without the root's
	maxEmail  = 254 // octets, RFC 5321 §4.5.3.1.3 without the brackets
)

// CheckDomain returns a domain as it is stored, lower case with A-labels, or what is
// wrong with it.
func CheckDomain(given string) (string, []problem.Field) {
	if found := endpoint.CheckText("domain", given, maxDomain); found != nil {
		return "", found
	}
	domain, ok := dnsName(given)
	if !ok {
		return "", wrong("domain", "invalid_domain", "give a DNS name alone, such as example.com, without scheme, port, path or final dot; no IP address")
	}
	return domain, nil
}

// dnsName converts a name as a resolver would look it up (UTS 46, RFC 5891 §5)
// and says whether a public host could have it. The last label begins with a
// letter in every one that can, and in no spelling of an IPv4 address.
func dnsName(name string) (string, bool) {
	lookup := idna.New(idna.MapForLookup(), idna.BidiRule(), idna.VerifyDNSLength(true))
	ascii, err := lookup.ToASCII(name)
	if err != nil || len(ascii) > maxDomain {
		return "", false
	}
	dot := strings.LastIndexByte(ascii, '.')
	if _, err := netip.ParseAddr(ascii); err == nil || dot < 0 {
		return "", false
	}
	top := ascii[dot+1:]
	return ascii, top != "" && top[0] >= 'a' && top[0] <= 'z'
}

// checkEmail accepts an address that parses as itself: without a display name,
// comment or quoting, at a DNS name.
func checkEmail(field, given string) []problem.Field {
	if found := endpoint.CheckText(field, given, maxEmail); found != nil {
		return found
	}
	if len(given) > maxEmail {
		return wrong(field, "too_long", "use at most 254 bytes")
	}
	parsed, err := mail.ParseAddress(given)
	if err == nil && parsed.Address == given {
		if _, ok := dnsName(given[strings.LastIndexByte(given, '@')+1:]); ok {
			return nil
		}
	}
	return wrong(field, "invalid_email", "give a bare address such as admin@example.com")
}
