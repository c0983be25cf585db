package webhook

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"github.com/sonicus/webhooks/pkg/problem"
)

// Codes of a refused target; see [Guard.CheckURL].
const (
	CodeInvalidURL     = "invalid_url"
	CodeHTTPSRequired  = "https_required"
	CodeBlockedAddress = "blocked_address"
	CodeBlockedPort    = "blocked_port"
)

// resolveLimit bounds one look-up of a host name.
const resolveLimit = 5 * time.Second

// refusedPorts are ports from 1024 up on which databases, brokers and control
// planes listen, not web servers. Below 1024 only 80 and 443 are allowed.
var refusedPorts = []uint16{
	1433, 1521, 2375, 2376, 2377, 2378, 2379, 2380, 3306, 3389, 5432, 5672, 5900, 6379, 6432,
	8500, 9092, 9200, 9300, 10250, 11211, 27017,
}

// Policy is what the operator allows beyond public https targets. The zero value
// is the strictest.
type Policy struct {
	// AllowCIDRs opens address ranges that are not public. It goes by address,
	// never by name, and cannot open the metadata addresses of clouds. When it is
	// not empty, names that can only be local (single labels, *.localhost, *.local,
	// *.internal, …) may be used, and are judged by what they resolve to.
	AllowCIDRs []netip.Prefix
	// AllowPorts opens ports that are refused otherwise.
	AllowPorts []int
	// AllowHTTP permits http:// targets. Default: https:// only.
	AllowHTTP bool
	// Own are the listeners of this service. They are refused even inside
	// AllowCIDRs. An unspecified address stands for every address of this machine.
	Own []netip.AddrPort
	// Resolver looks names up, when they are stored and when they are dialled.
	// Default: Go's own resolver, never cgo's.
	Resolver *net.Resolver
}

// Guard decides which targets webhooks may be sent to. The same rule about
// addresses is applied twice: to everything a name resolves to when a URL is
// stored, and to the one address a socket is about to connect to, so that a name
// which changes its mind in between gains nothing. It is safe for concurrent use.
type Guard struct {
	policy Policy
}

// NewGuard makes a Guard. p is not to be changed afterwards.
func NewGuard(p Policy) *Guard {
	if p.Resolver == nil {
		p.Resolver = &net.Resolver{PreferGo: true}
	}
	p.AllowCIDRs = slices.Clone(p.AllowCIDRs)
	for i, c := range p.AllowCIDRs {
		if c.Addr().Is4In6() && c.Bits() >= 96 {
			p.AllowCIDRs[i] = netip.PrefixFrom(c.Addr().Unmap(), c.Bits()-96)
		}
	}
	return &Guard{policy: p}
}

// CheckURL says whether raw may be stored as a target, and returns it in normal
// form: scheme and host in lower case, IDN as A-labels, no dot after the host.
// Every address of the host must be allowed. A host that does not resolve now is
// accepted, since it may get its DNS later and is checked again when dialled.
//
// A refusal is a *problem.Error of kind Invalid for field "url" with code
// invalid_url, https_required, blocked_address or blocked_port; it never shows a
// resolved address. The only other error is that of an ended ctx. It takes at most
// 5 s, for the look-up, which comes after what [Guard.Precheck] checks.
func (g *Guard) CheckURL(ctx context.Context, raw string) (normalized string, err error) {
	t, err := g.check(raw)
	if err != nil {
		return "", err
	}
	addrs, err := g.resolve(ctx, t)
	if err != nil {
		return "", err
	}
	for _, addr := range addrs {
		if err := g.CheckAddr(netip.AddrPortFrom(addr, t.port)); err != nil {
			return "", err
		}
	}
	return t.url.String(), nil
}

// Precheck is the part of [Guard.CheckURL] that looks nothing up, with the same
// errors: the spelling, the port, and a host that is an address.
func (g *Guard) Precheck(raw string) error {
	_, err := g.check(raw)
	return err
}

// resolve returns every address of the target, none when there is none yet.
func (g *Guard) resolve(ctx context.Context, t parsed) ([]netip.Addr, error) {
	if t.addr.IsValid() {
		return []netip.Addr{t.addr}, nil
	}
	limited, cancel := context.WithTimeout(ctx, resolveLimit)
	defer cancel()
	addrs, err := g.policy.Resolver.LookupNetIP(limited, "ip", t.host)
	if err != nil {
		return nil, ctx.Err() // nil unless the caller gave up
	}
	return addrs, nil
}

// check is what can be said of a URL without looking its host up.
func (g *Guard) check(raw string) (parsed, error) {
	t, err := g.parse(raw)
	if err != nil {
		return parsed{}, err
	}
	if t.addr.IsValid() {
		return t, g.CheckAddr(netip.AddrPortFrom(t.addr, t.port))
	}
	return t, g.checkPort(t.port)
}

// CheckAddr says whether a connection to ap is allowed. The error is the same as
// CheckURL's, with code blocked_address or blocked_port.
func (g *Guard) CheckAddr(ap netip.AddrPort) error {
	addr := canonical(ap.Addr())
	switch {
	case isNever(addr):
		return refuse(CodeBlockedAddress, "the host is not a public address")
	case !isPublic(addr) && !anyContains(g.policy.AllowCIDRs, addr):
		return refuse(CodeBlockedAddress, "the host is not a public address")
	case g.isOwn(addr, ap.Port()):
		return refuse(CodeBlockedAddress, "the host is this service itself")
	}
	return g.checkPort(ap.Port())
}

func (g *Guard) checkPort(port uint16) error {
	if slices.Contains(g.policy.AllowPorts, int(port)) {
		return nil
	}
	if port == 80 || port == 443 || (port >= 1024 && !slices.Contains(refusedPorts, port)) {
		return nil
	}
	return refuse(CodeBlockedPort, "the port is not allowed; use 443, 80 or one from 1024 up that no database or broker uses")
}

func (g *Guard) isOwn(addr netip.Addr, port uint16) bool {
	return slices.ContainsFunc(g.policy.Own, func(own netip.AddrPort) bool {
		listens := canonical(own.Addr())
		return own.Port() == port && (listens == addr || (listens.IsUnspecified() && isLocal(addr)))
	})
}

// isLocal reports whether addr belongs to this machine, also when that cannot be
// found out.
func isLocal(addr netip.Addr) bool {
	if addr.IsLoopback() {
		return true
	}
	locals, err := net.InterfaceAddrs()
	if err != nil {
		return true
	}
	return slices.ContainsFunc(locals, func(local net.Addr) bool {
		p, err := netip.ParsePrefix(local.String())
		return err != nil || canonical(p.Addr()) == addr
	})
}

// control is called with the address that a socket is about to connect to.
func (g *Guard) control(_ context.Context, network, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil || (network != "tcp4" && network != "tcp6") {
		return refuse(CodeBlockedAddress, "the host is not a public address")
	}
	return g.CheckAddr(ap)
}

func refuse(code, detail string) error {
	return problem.Invalid(problem.Field{Field: "url", Code: code, Detail: detail})
}
