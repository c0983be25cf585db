package webhook_test

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sonicus/webhooks/pkg/webhook"
)

func TestOwnAddressesUnderstandsListenerSettings(t *testing.T) {
	t.Parallel()
	var got []string
	for _, ap := range webhook.OwnAddresses("127.0.0.1:18100", ":18101", "[::1]:18102", "0.0.0.0:18103", "localhost:18104", "", "junk") {
		got = append(got, ap.String())
	}
	want := []string{"127.0.0.1:18100", "[::]:18101", "[::1]:18102", "0.0.0.0:18103"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	guard := webhook.NewGuard(webhook.Policy{AllowCIDRs: loopback().AllowCIDRs, Own: webhook.OwnAddresses(":18101")})
	if err := guard.CheckAddr(netip.MustParseAddrPort("127.0.0.1:18101")); code(t, err) != webhook.CodeBlockedAddress {
		t.Errorf("got %v", err)
	}
}
