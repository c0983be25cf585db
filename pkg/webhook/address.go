package webhook

import (
	"net/netip"
	"slices"
)

// Ranges that are not the public internet, from the IANA special-purpose
// registries, and Azure's platform address, which is public by number only.
var notPublic4 = prefixes(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
	"192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15",
	"198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4", "168.63.129.16/32",
)

// For IPv6 the rule is turned round: only global unicast is public, less the
// protocol assignments (Teredo among them), documentation and 6to4. NAT64, mapped,
// translated, unique local, link local and multicast addresses lie outside.
var (
	public6    = netip.MustParsePrefix("2000::/3")
	notPublic6 = prefixes("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
)

// never holds what no allow-list opens: where clouds hand out credentials to
// whoever can connect.
var never = []netip.Addr{
	netip.MustParseAddr("169.254.169.254"), // AWS, Google, Azure, DigitalOcean, OpenStack …
	netip.MustParseAddr("fd00:ec2::254"),   // AWS over IPv6
	netip.MustParseAddr("fd20:ce::254"),    // Google over IPv6
	netip.MustParseAddr("169.254.170.2"),   // AWS ECS tasks
	netip.MustParseAddr("169.254.170.23"),  // AWS EKS pods
	netip.MustParseAddr("fd00:ec2::23"),    // AWS EKS pods over IPv6
	netip.MustParseAddr("100.100.100.200"), // Alibaba
	netip.MustParseAddr("168.63.129.16"),   // Azure's platform
}

// isPublic is the one rule about addresses. Anything that it does not know is not
// public. addr is in canonical form.
func isPublic(addr netip.Addr) bool {
	if addr.Is4() {
		return !anyContains(notPublic4, addr)
	}
	return addr.Is6() && public6.Contains(addr) && !anyContains(notPublic6, addr)
}

// isNever also looks at the IPv4 address that the last 32 bits of an IPv6 address
// would be to a NAT64 gateway, whatever prefix it uses (RFC 6052).
func isNever(addr netip.Addr) bool {
	if addr.IsUnspecified() || slices.Contains(never, addr) {
		return true // the unspecified address connects to this machine
	}
	return addr.Is6() && slices.Contains(never, last32(addr))
}

func last32(addr netip.Addr) netip.Addr {
	b := addr.As16()
	return netip.AddrFrom4([4]byte(b[12:]))
}

// canonical undoes the two ways of writing an address that would slip past a
// comparison: IPv4 in IPv6, and a zone.
func canonical(addr netip.Addr) netip.Addr { return addr.Unmap().WithZone("") }

func anyContains(list []netip.Prefix, addr netip.Addr) bool {
	return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(addr) })
}

func prefixes(list ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}
