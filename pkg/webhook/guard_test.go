package webhook_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/sonicus/webhooks/pkg/problem"
	"github.com/sonicus/webhooks/pkg/webhook"
)

// code returns the code of a refusal, or "" for none.
func code(t testing.TB, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	p, ok := errors.AsType[*problem.Error](err)
	if !ok || p.Kind != problem.KindInvalid || len(p.Fields) != 1 || p.Fields[0].Field != "url" || p.Fields[0].Code != p.Code {
		t.Fatalf("not a problem of field url: %v", err)
	}
	return p.Code
}

func TestOnlyPublicAddressesAreAllowed(t *testing.T) {
	t.Parallel()
	refused := `
		0.0.0.0 0.255.255.255 10.0.0.0 10.255.255.255 100.64.0.0 100.127.255.255 127.0.0.1 127.255.255.255
		169.254.0.0 169.254.169.254 169.254.255.255 172.16.0.0 172.31.255.255 192.0.0.0 192.0.0.255 192.0.2.0 192.0.2.255
		192.88.99.0 192.88.99.255 192.168.0.0 192.168.255.255 198.18.0.0 198.19.255.255 198.51.100.0 198.51.100.255
		203.0.113.0 203.0.113.255 224.0.0.0 239.255.255.255 240.0.0.0 255.255.255.255 168.63.129.16
		:: ::1 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 ::ffff:0:8.8.8.8 64:ff9b::7f00:1 64:ff9b::808:808
		64:ff9b:1::1 100::1 100:0:0:1::1 1fff:ffff::1 2001::1 2001:1ff:ffff::1 2001:db8::1 2001:db8:ffff::1 2002::1 2002:7f00:1::1 3fff::1
		3fff:fff:ffff::1 4000::1 5f00::1 fc00::1 fd00:ec2::254 fdff:ffff::1 fe80::1 fe80::1%eth0 febf::1 fec0::1 ff02::1 ff0e::1
		2600:1f00::a9fe:a9fe`
	allowed := `
		1.0.0.0 1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 169.253.255.255 169.255.0.0
		172.15.255.255 172.32.0.0 192.0.1.0 192.0.3.0 192.88.98.255 192.88.100.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0
		198.51.99.255 198.51.101.0 203.0.112.255 203.0.114.0 223.255.255.255 168.63.129.15 168.63.129.17 ::ffff:8.8.8.8
		2000::1 2001:200::1 2001:4860:4860::8888 2001:db7::1 2001:db9::1 2003::1 2606:4700::1111 3ffe:ffff::1 3fff:1000::1`
	guard := webhook.NewGuard(webhook.Policy{})
	for want, list := range map[string]string{webhook.CodeBlockedAddress: refused, "": allowed} {
		for addr := range strings.FieldsSeq(list) {
			if got := code(t, guard.CheckAddr(netip.AddrPortFrom(netip.MustParseAddr(addr), 443))); got != want {
				t.Errorf("%s: got %q, want %q", addr, got, want)
			}
		}
	}
	if got := code(t, guard.CheckAddr(netip.AddrPort{})); got != webhook.CodeBlockedAddress {
		t.Errorf("no address at all: got %q", got)
	}
}

func TestPortsOfDatabasesAndControlPlanesAreRefused(t *testing.T) {
	t.Parallel()
	refused := []uint16{
		0, 1, 21, 22, 23, 25, 53, 79, 81, 110, 442, 444, 445, 1023, 1433, 1521, 2375, 2376, 2377, 2378, 2379, 2380, 3306, 3389, 5432,
		5672, 5900, 6379, 6432, 8500, 9092, 9200, 9300, 10250, 11211, 27017,
	}
	strict := webhook.NewGuard(webhook.Policy{})
	open := webhook.NewGuard(webhook.Policy{AllowPorts: []int{25, 5432}})
	at := func(port uint16) netip.AddrPort { return netip.AddrPortFrom(netip.MustParseAddr("8.8.8.8"), port) }
	for _, port := range refused {
		if got := code(t, strict.CheckAddr(at(port))); got != webhook.CodeBlockedPort {
			t.Errorf("%d: got %q", port, got)
		}
	}
	for _, port := range []uint16{80, 443, 1024, 2374, 2381, 8080, 8443, 65535} {
		if got := code(t, strict.CheckAddr(at(port))); got != "" {
			t.Errorf("%d: got %q", port, got)
		}
	}
	for port, want := range map[uint16]string{25: "", 5432: "", 26: webhook.CodeBlockedPort, 6379: webhook.CodeBlockedPort} {
		if got := code(t, open.CheckAddr(at(port))); got != want {
			t.Errorf("with an allow-list, %d: got %q", port, got)
		}
	}
}

func TestAllowListOpensRangesButNeverMetadata(t *testing.T) {
	t.Parallel()
	var everything []netip.Prefix
	for _, c := range []string{"0.0.0.0/0", "::/0"} {
		everything = append(everything, netip.MustParsePrefix(c))
	}
	some := []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("::ffff:10.2.0.0/112"), netip.MustParsePrefix("fd00:1::/32")}
	tests := []struct {
		name  string
		allow []netip.Prefix
		addr  string
		want  string
	}{
		{"inside", some, "10.1.2.3", ""},
		{"inside, mapped address", some, "::ffff:10.1.2.3", ""},
		{"inside, mapped range", some, "10.2.0.9", ""},
		{"inside, IPv6", some, "fd00:1::5", ""},
		{"outside", some, "10.3.0.1", webhook.CodeBlockedAddress},
		{"public stays open", some, "8.8.8.8", ""},
		{"everything opens loopback", everything, "127.0.0.1", ""},
		{"metadata", everything, "169.254.169.254", webhook.CodeBlockedAddress},
		{"metadata, mapped", everything, "::ffff:169.254.169.254", webhook.CodeBlockedAddress},
		{"metadata behind NAT64", everything, "64:ff9b::a9fe:a9fe", webhook.CodeBlockedAddress},
		{"metadata, IPv4-compatible", everything, "::169.254.169.254", webhook.CodeBlockedAddress},
		{"metadata over IPv6", everything, "fd00:ec2::254", webhook.CodeBlockedAddress},
		{"metadata over IPv6 with a zone", everything, "fd00:ec2::254%eth0", webhook.CodeBlockedAddress},
		{"unspecified", everything, "0.0.0.0", webhook.CodeBlockedAddress},
		{"unspecified IPv6", everything, "::", webhook.CodeBlockedAddress},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			guard := webhook.NewGuard(webhook.Policy{AllowCIDRs: tt.allow})
			if got := code(t, guard.CheckAddr(netip.AddrPortFrom(netip.MustParseAddr(tt.addr), 443))); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestOwnListenersAreRefusedInsideTheAllowList(t *testing.T) {
	t.Parallel()
	guard := func(own string) *webhook.Guard {
		p := loopback()
		p.Own = []netip.AddrPort{netip.MustParseAddrPort(own)}
		return webhook.NewGuard(p)
	}
	tests := []struct{ name, own, target, want string }{
		{"itself", "127.0.0.1:18100", "127.0.0.1:18100", webhook.CodeBlockedAddress},
		{"itself, mapped", "127.0.0.1:18100", "[::ffff:127.0.0.1]:18100", webhook.CodeBlockedAddress},
		{"other port", "127.0.0.1:18100", "127.0.0.1:18101", ""},
		{"other loopback address", "127.0.0.1:18100", "127.0.0.2:18100", ""},
		{"all addresses", "0.0.0.0:18100", "127.0.0.2:18100", webhook.CodeBlockedAddress},
		{"all addresses, IPv6", "[::]:18100", "127.0.0.1:18100", webhook.CodeBlockedAddress},
		{"all addresses of this machine only", "0.0.0.0:18100", "8.8.8.8:18100", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := code(t, guard(tt.own).CheckAddr(netip.MustParseAddrPort(tt.target))); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestEveryResolvedAddressMustBeAllowed(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		addrs []string
		want  string
	}{
		{"public", []string{"93.184.216.34", "2606:4700::1111"}, ""},
		{"private", []string{"10.0.0.1"}, webhook.CodeBlockedAddress},
		{"private IPv6 only", []string{"fd00::1"}, webhook.CodeBlockedAddress},
		{"one private among public", []string{"93.184.216.34", "8.8.8.8", "127.0.0.1"}, webhook.CodeBlockedAddress},
		{"public IPv4, private IPv6", []string{"93.184.216.34", "::1"}, webhook.CodeBlockedAddress},
		{"mapped", []string{"::ffff:169.254.169.254"}, webhook.CodeBlockedAddress},
		{"no addresses yet", nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, resolver := newNameServer(t, tt.addrs...)
			_, err := webhook.NewGuard(webhook.Policy{Resolver: resolver}).CheckURL(t.Context(), "https://hooks.example.com/")
			if got := code(t, err); got != tt.want {
				t.Fatalf("got %q, want %q", got, tt.want)
			}
			for _, addr := range tt.addrs {
				if err != nil && strings.Contains(err.Error(), addr) {
					t.Errorf("the error shows the resolved address: %v", err)
				}
			}
		})
	}
}

func TestNamesWithoutDNSAreAcceptedButNotTheirBadPorts(t *testing.T) {
	t.Parallel()
	server, resolver := newNameServer(t)
	guard := webhook.NewGuard(webhook.Policy{Resolver: resolver})
	for _, rcode := range []dnsmessage.RCode{dnsmessage.RCodeNameError, dnsmessage.RCodeServerFailure} {
		server.fail(rcode)
		for url, want := range map[string]string{"https://later.example.com/": "", "https://later.example.com:6379/": webhook.CodeBlockedPort} {
			if _, err := guard.CheckURL(t.Context(), url); code(t, err) != want {
				t.Errorf("%v %s: got %v", rcode, url, err)
			}
		}
	}
}

func TestCheckURLEndsWithItsContext(t *testing.T) {
	t.Parallel()
	server, resolver := newNameServer(t)
	server.silence()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := webhook.NewGuard(webhook.Policy{Resolver: resolver}).CheckURL(ctx, "https://hooks.example.com/")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}
