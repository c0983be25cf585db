package webhook

import "net/netip"

// OwnAddresses turns the host:port settings of the service's listeners into
// addresses for [Policy]. One that listens on every interface stands for that
// port on any of this machine's; a host that is a name is left out, because it
// says nothing certain.
func OwnAddresses(hostPorts ...string) []netip.AddrPort {
	var own []netip.AddrPort
	for _, hp := range hostPorts {
		if hp != "" && hp[0] == ':' {
			hp = "[::]" + hp
		}
		if ap, err := netip.ParseAddrPort(hp); err == nil {
			own = append(own, ap)
		}
	}
	return own
}
