package webhook

import (
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/net/idna"
)

const (
	maxURL  = 2048 // bytes
	maxName = 253  // bytes of a host name, RFC 1035
)

// WithoutQuery keeps tokens that people put into query strings out of what is kept
// of a URL: the log and the audit trail. It shows that there was one.
func WithoutQuery(url string) string {
	base, _, found := strings.Cut(url, "?")
	if found {
		return base + "?…"
	}
	return base
}

// parsed is a URL that has passed the syntax check.
type parsed struct {
	url  *url.URL   // normal form
	host string     // name, or literal address without brackets
	addr netip.Addr // the literal address; not valid when host is a name
	port uint16
}

// parse checks the syntax of a URL and brings it into normal form. It looks
// nothing up and judges no address.
func (g *Guard) parse(raw string) (parsed, error) {
	if wrong := syntax(raw); wrong != "" {
		return parsed{}, refuse(CodeInvalidURL, wrong)
	}
	u, err := url.Parse(raw)
	if err != nil { // its text quotes the URL, which may hold a token
		return parsed{}, refuse(CodeInvalidURL, "is not a URL")
	}
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return parsed{}, refuse(CodeInvalidURL, "must begin with https://")
	case u.Opaque != "" || u.Host == "":
		return parsed{}, refuse(CodeInvalidURL, "has no host")
	case u.User != nil:
		return parsed{}, refuse(CodeInvalidURL, "must not hold a user name or password")
	case u.Scheme == "http" && !g.policy.AllowHTTP:
		return parsed{}, refuse(CodeHTTPSRequired, "must begin with https://")
	}
	return g.parseHost(u)
}

// syntax says what is wrong with the characters of a URL, before any parser that
// might be lenient sees them.
func syntax(raw string) string {
	switch {
	case raw == "":
		return "is required"
	case len(raw) > maxURL:
		return "is longer than 2048 bytes"
	case strings.ContainsFunc(raw, notInURL):
		return "must not contain spaces, control characters or backslashes"
	case strings.Contains(raw, "#"):
		return "must not have a fragment"
	}
	_, rest, _ := strings.Cut(raw, "//")
	if end := strings.IndexAny(rest, "/?"); end >= 0 {
		rest = rest[:end]
	}
	if strings.Contains(rest, "%") { // hides digits and dots, or is a zone
		return "must not have a percent sign in its host"
	}
	return ""
}

// notInURL also catches bytes that are not UTF-8: they are read as U+FFFD.
func notInURL(r rune) bool {
	return r == '\\' || r == unicode.ReplacementChar || unicode.IsControl(r) || unicode.IsSpace(r)
}

// parseHost completes the target with host and port.
func (g *Guard) parseHost(u *url.URL) (parsed, error) {
	t := parsed{url: u, port: 443}
	if u.Scheme == "http" {
		t.port = 80
	}
	suffix := ""
	if name, digits, ok := cutPort(u.Host); ok {
		port, err := strconv.ParseUint(digits, 10, 16)
		if err != nil || port == 0 || len(digits) > 5 {
			return parsed{}, refuse(CodeInvalidURL, "has a port that is not a number from 1 to 65535")
		}
		u.Host, t.port, suffix = name, uint16(port), ":"+strconv.FormatUint(port, 10)
	}
	if err := t.setHost(u.Host, len(g.policy.AllowCIDRs) > 0); err != nil {
		return parsed{}, err
	}
	u.Host = t.host + suffix
	if t.addr.Is6() {
		u.Host = "[" + t.host + "]" + suffix
	}
	if len(u.String()) > maxURL {
		return parsed{}, refuse(CodeInvalidURL, "is longer than 2048 bytes")
	}
	return t, nil
}

// cutPort splits "host:port", where host may be in brackets.
func cutPort(hostport string) (host, port string, ok bool) {
	i := strings.LastIndexByte(hostport, ':')
	if i < 0 || strings.HasSuffix(hostport, "]") {
		return hostport, "", false
	}
	return hostport[:i], hostport[i+1:], true
}

// setHost takes a literal address in its one usual spelling, or a host name.
func (t *parsed) setHost(raw string, localNames bool) error {
	if inner, ok := strings.CutPrefix(raw, "["); ok {
		addr, err := netip.ParseAddr(strings.TrimSuffix(inner, "]"))
		if err != nil || !addr.Is6() {
			return refuse(CodeInvalidURL, "has brackets around something that is not an IPv6 address")
		}
		t.addr = canonical(addr)
		t.host = t.addr.String()
		return nil
	}
	if addr, err := netip.ParseAddr(raw); err == nil && addr.Is4() {
		t.addr, t.host = addr, addr.String()
		return nil
	}
	name, ok := hostName(raw)
	switch {
	case !ok:
		return refuse(CodeInvalidURL, "has a host that is neither a name nor an address in its usual form")
	case !localNames && isLocalName(name):
		return refuse(CodeBlockedAddress, "the host is not a public address")
	}
	t.host = name
	return nil
}

// lookup maps names as UTS #46 wants it for looking them up. Hyphens in the third
// and fourth place are left alone, as browsers do: such names exist.
var lookup = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.StrictDomainName(true), idna.CheckHyphens(false))

// hostName returns raw as A-labels in lower case, without a final dot. It refuses
// names that some resolver may take for an address: those that end in a number
// once full-width digits and the like are mapped (1.2.3, 0x7f.1, ①.①).
func hostName(raw string) (string, bool) {
	name, err := lookup.ToASCII(raw)
	name = strings.TrimSuffix(name, ".")
	if err != nil || name == "" || len(name) > maxName {
		return "", false
	}
	last := ""
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return "", false
		}
		last = label
	}
	return name, !isNumber(last)
}

// isNumber reports whether inet_aton would read label as decimal, octal or hex.
func isNumber(label string) bool {
	digits, set := label, "0123456789"
	if hex, ok := strings.CutPrefix(label, "0x"); ok {
		digits, set = hex, "0123456789abcdef"
	}
	return strings.Trim(digits, set) == ""
}

// isLocalName reports whether name can only mean something on this network: it
// has one label, or ends in a name reserved for that (RFC 6761, 6762, 8375, and
// ICANN's reservation of .internal).
func isLocalName(name string) bool {
	if !strings.Contains(name, ".") {
		return true
	}
	for _, suffix := range []string{".localhost", ".localdomain", ".local", ".internal", ".home.arpa"} {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return false
}
