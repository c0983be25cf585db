package webhook_test

import (
	"strings"
	"testing"

	"github.com/sonicus/webhooks/pkg/webhook"
)

const (
	invalid     = webhook.CodeInvalidURL
	blocked     = webhook.CodeBlockedAddress
	blockedPort = webhook.CodeBlockedPort
	needsTLS    = webhook.CodeHTTPSRequired
)

// refusedSpellings: every name in them resolves to a public address in the test, so
// that it is the spelling which is refused.
var refusedSpellings = []struct{ url, code string }{
	// Loopback, in the usual spelling and the others that inet_aton knows.
	{"https://127.0.0.1/", blocked},
	{"https://127.0.0.1:8443/", blocked},
	{"https://127.255.255.254/", blocked},
	{"https://2130706433/", invalid},
	{"https://0x7f000001/", invalid},
	{"https://0X7F000001/", invalid},
	{"https://017700000001/", invalid},
	{"https://0177.0.0.1/", invalid},
	{"https://0177.0.0.01/", invalid},
	{"https://127.0.0.01/", invalid},
	{"https://00000177.0.0.1/", invalid},
	{"https://0x7f.0.0.1/", invalid},
	{"https://0x7f.0x0.0x0.0x1/", invalid},
	{"https://127.0.0.0x1/", invalid},
	{"https://127.0x000001/", invalid},
	{"https://127.1/", invalid},
	{"https://127.0.1/", invalid},
	{"https://127.65535/", invalid},
	{"https://0/", invalid},
	{"https://0.0.0.0/", blocked},
	{"https://0x0/", invalid},
	{"https://0x/", invalid},
	{"https://127.0.0.1./", invalid},
	{"https://127.0.0.1../", invalid},
	{"https://2130706433./", invalid},
	{"https://.127.0.0.1/", invalid},
	{"https://127..0.1/", invalid},
	{"https://256.256.256.256/", invalid},
	{"https://1.2.3.4.5/", invalid},
	{"https://4294967296/", invalid},
	{"https://hooks.example.1/", invalid},
	{"https://hooks.example.0x1f/", invalid},
	// Characters that are mapped to digits and dots.
	{"https://１２７.０.０.１/", invalid},
	{"https://①②⑦.⓪.⓪.①/", invalid},
	{"https://127。0。0。1/", invalid},
	{"https://127．0．0．1/", invalid},
	{"https://127｡0｡0｡1/", invalid},
	{"https://１２７。０。０。１/", invalid},
	{"https://𝟏𝟐𝟕.𝟎.𝟎.𝟏/", invalid},
	{"https://¹²⁷.⁰.⁰.¹/", invalid},
	{"https://₁₂₇.₀.₀.₁/", invalid},
	{"https://0ｘ7f000001/", invalid},
	{"https://127\u00ad.0.0.1/", invalid},
	{"https://127\u200b.0.0.1/", invalid},
	{"https://%31%32%37.0.0.1/", invalid},
	{"https://127%2e0%2e0%2e1/", invalid},
	{"https://%EF%BC%91%EF%BC%92%EF%BC%97.0.0.1/", invalid},
	{"https://127%E3%80%820%E3%80%820%E3%80%821/", invalid},
	// IPv6.
	{"https://[::1]/", blocked},
	{"https://[::]/", blocked},
	{"https://[0:0:0:0:0:0:0:1]/", blocked},
	{"https://[0000::0001]:8443/", blocked},
	{"https://[::127.0.0.1]/", blocked},
	{"https://[::ffff:127.0.0.1]/", blocked},
	{"https://[::ffff:7f00:1]/", blocked},
	{"https://[::FFFF:A9FE:A9FE]/", blocked},
	{"https://[::ffff:0:127.0.0.1]/", blocked},
	{"https://[64:ff9b::127.0.0.1]/", blocked},
	{"https://[64:ff9b::a9fe:a9fe]/", blocked},
	{"https://[64:ff9b:1::7f00:1]/", blocked},
	{"https://[2002:7f00:1::]/", blocked},
	{"https://[2001:0:7f00:1::]/", blocked},
	{"https://[fe80::1]/", blocked},
	{"https://[fe80::1%25eth0]/", invalid},
	{"https://[fe80::1%eth0]/", invalid},
	{"https://[2606:4700::1111%25lo]/", invalid},
	{"https://[fd00:ec2::254]/", blocked},
	{"https://[fec0::1]/", blocked},
	{"https://[ff02::1]/", blocked},
	{"https://[127.0.0.1]/", invalid},
	{"https://[8.8.8.8]/", invalid},
	{"https://[::1/", invalid},
	{"https://::1/", invalid},
	{"https://[hooks.example.com]/", invalid},
	{"https://[]/", invalid},
	{"https://[::1].example.com/", invalid},
	// Private, metadata and special ranges.
	{"https://10.0.0.1/", blocked},
	{"https://172.16.0.1/", blocked},
	{"https://192.168.1.1/", blocked},
	{"https://100.64.0.1/", blocked},
	{"https://169.254.169.254/latest/meta-data/", blocked},
	{"https://2852039166/", invalid},
	{"https://0xa9fea9fe/", invalid},
	{"https://169.254.43518/", invalid},
	{"https://168.63.129.16/", blocked},
	{"https://198.18.0.1/", blocked},
	{"https://224.0.0.1/", blocked},
	{"https://240.0.0.1/", blocked},
	{"https://255.255.255.255/", blocked},
	// Names that are local.
	{"https://localhost/", blocked},
	{"https://LOCALHOST/", blocked},
	{"https://localhost./", blocked},
	{"https://ｌｏｃａｌｈｏｓｔ/", blocked},
	{"https://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/", blocked},
	{"https://ﬂocalhost/", blocked},
	{"https://foo.localhost/", blocked},
	{"https://foo.LocalHost./", blocked},
	{"https://localhost.localdomain/", blocked},
	{"https://localhost6/", blocked},
	{"https://ip6-localhost/", blocked},
	{"https://postgres/", blocked},
	{"https://kubernetes/", blocked},
	{"https://metadata/", blocked},
	{"https://metadata.google.internal/", blocked},
	{"https://printer.local/", blocked},
	{"https://nas.home.arpa/", blocked},
	{"https://com/", blocked},
	// Not the form of a target.
	{"", invalid},
	{"hooks.example.com", invalid},
	{"//hooks.example.com/", invalid},
	{"https:", invalid},
	{"https:hooks.example.com", invalid},
	{"https:/hooks.example.com", invalid},
	{"https:///hooks.example.com", invalid},
	{"https://", invalid},
	{"https:///", invalid},
	{"https://?x", invalid},
	{"https://./", invalid},
	{"https://../", invalid},
	{"ftp://hooks.example.com/", invalid},
	{"file:///etc/passwd", invalid},
	{"gopher://hooks.example.com/", invalid},
	{"javascript:alert(1)", invalid},
	{"unix:///var/run/docker.sock", invalid},
	{"http+unix://hooks.example.com/", invalid},
	{"http://hooks.example.com/", needsTLS},
	{"HTTP://hooks.example.com/", needsTLS},
	{"http://hooks.example.com:443/", needsTLS},
	{"https://user@hooks.example.com/", invalid},
	{"https://user:pass@hooks.example.com/", invalid},
	{"https://@hooks.example.com/", invalid},
	{"https://:@hooks.example.com/", invalid},
	{"https://hooks.example.com@127.0.0.1/", invalid},
	{"https://hooks.example.com:443@127.0.0.1/", invalid},
	{"https://127.0.0.1\\@hooks.example.com/", invalid},
	{"https:\\\\hooks.example.com/", invalid},
	{"https://hooks.example.com\\.evil.example/", invalid},
	{"https://hooks.example.com/#x", invalid},
	{"https://hooks.example.com/#", invalid},
	{"https://hooks.example.com#@127.0.0.1/", invalid},
	{"https://hooks.example.com /", invalid},
	{" https://hooks.example.com/", invalid},
	{"https://hooks.example.com/ ", invalid},
	{"https://hooks.example.com/a b", invalid},
	{"https://hooks.example.com/\u00a0", invalid},
	{"https://hooks.example.com/\r\nX-Evil: 1", invalid},
	{"https://hooks.example.com/\t", invalid},
	{"https://hooks.example.com/\x00", invalid},
	{"https://hooks.example.com/\x7f", invalid},
	{"https://hooks.example.com/\xff", invalid},
	{"https://hooks.example.com%00/", invalid},
	{"https://hooks.example.com%2f@127.0.0.1/", invalid},
	{"https://hooks_1.example.com/", invalid},
	{"https://-hooks.example.com/", invalid},
	{"https://hooks-.example.com/", invalid},
	{"https://hooks..example.com/", invalid},
	{"https://.example.com/", invalid},
	{"https://*.example.com/", invalid},
	{"https://xn--a.example.com/", invalid},
	{"https://" + strings.Repeat("a", 64) + ".example.com/", invalid},
	{"https://" + strings.Repeat("a.", 127) + "com/", invalid},
	{"https://hooks.example.com/" + strings.Repeat("a", 2048), invalid},
	{"https://hooks.example.com/" + strings.Repeat("é", 1000), invalid}, // longer once escaped
	// Ports.
	{"https://hooks.example.com:/", invalid},
	{"https://hooks.example.com:0/", invalid},
	{"https://hooks.example.com:65536/", invalid},
	{"https://hooks.example.com:99999999999999999999/", invalid},
	{"https://hooks.example.com:-1/", invalid},
	{"https://hooks.example.com:+443/", invalid},
	{"https://hooks.example.com:4 43/", invalid},
	{"https://hooks.example.com:https/", invalid},
	{"https://hooks.example.com:443:443/", invalid},
	{"https://hooks.example.com:０/", invalid},
	{"https://hooks.example.com:22/", blockedPort},
	{"https://hooks.example.com:6379/", blockedPort},
	{"https://8.8.8.8:5432/", blockedPort},
	{"https://[2606:4700::1111]:25/", blockedPort},
}

var acceptedSpellings = []struct{ url, stored string }{
	{"https://hooks.example.com/in", "https://hooks.example.com/in"},
	{"https://hooks.example.com", "https://hooks.example.com"},
	{"https://hooks.example.com?token=a%20b&x=1", "https://hooks.example.com?token=a%20b&x=1"},
	{"https://hooks.example.com/a%2Fb/../c;d?e=f+g", "https://hooks.example.com/a%2Fb/../c;d?e=f+g"},
	{"HTTPS://Hooks.Example.COM/In", "https://hooks.example.com/In"},
	{"https://hooks.example.com./in", "https://hooks.example.com/in"},
	{"https://hooks.example.com:443/", "https://hooks.example.com:443/"},
	{"https://hooks.example.com:08443/", "https://hooks.example.com:8443/"},
	{"https://r3---sn-abc.example.com/", "https://r3---sn-abc.example.com/"},
	{"https://1.example.com/", "https://1.example.com/"},
	{"https://127.0.0.1.example.com/", "https://127.0.0.1.example.com/"},
	{"https://0x7f.example/", "https://0x7f.example/"},
	{"https://localhost.example.com/", "https://localhost.example.com/"},
	{"https://bücher.example/", "https://xn--bcher-kva.example/"},
	{"https://BÜCHER.example/größe", "https://xn--bcher-kva.example/gr%C3%B6%C3%9Fe"},
	{"https://straße.example/", "https://xn--strae-oqa.example/"},
	{"https://例え。テスト/", "https://xn--r8jz45g.xn--zckzah/"},
	{"https://xn--bcher-kva.example/", "https://xn--bcher-kva.example/"},
	{"https://ｅxample。com/", "https://example.com/"},
	{"https://8.8.8.8/", "https://8.8.8.8/"},
	{"https://8.8.8.8:8443/", "https://8.8.8.8:8443/"},
	{"https://[2606:4700:0:0::1111]/", "https://[2606:4700::1111]/"},
	{"https://[2606:4700::1111]:8443/in", "https://[2606:4700::1111]:8443/in"},
	{"https://[::ffff:8.8.8.8]/", "https://8.8.8.8/"},
	{"https://hooks.example.com/" + strings.Repeat("a", 2048-26), "https://hooks.example.com/" + strings.Repeat("a", 2048-26)},
}

func TestRefusesEverySpellingOfAPrivateTarget(t *testing.T) {
	t.Parallel()
	_, resolver := newNameServer(t, "93.184.216.34")
	guard := webhook.NewGuard(webhook.Policy{Resolver: resolver})
	sender := newSender(t, webhook.Options{Guard: guard})
	for _, tt := range refusedSpellings {
		stored, err := guard.CheckURL(t.Context(), tt.url)
		if got := code(t, err); got != tt.code || stored != "" {
			t.Errorf("%.80q: got %q (%q), want %q", tt.url, got, stored, tt.code)
		}
		// The same at the moment of sending, should such a URL be stored already.
		if r := sender.Send(t.Context(), request(tt.url)); r.Reason != webhook.BlockedAddress || r.Sent {
			t.Errorf("%.80q: sent: %+v", tt.url, r)
		}
	}
}

func TestPrecheckLooksNothingUp(t *testing.T) {
	t.Parallel()
	server, resolver := newNameServer(t, "10.0.0.1")
	guard := webhook.NewGuard(webhook.Policy{Resolver: resolver})
	for _, tt := range refusedSpellings {
		if got := code(t, guard.Precheck(tt.url)); got != tt.code {
			t.Errorf("%.80q: got %q, want %q", tt.url, got, tt.code)
		}
	}
	for _, tt := range acceptedSpellings {
		if err := guard.Precheck(tt.url); err != nil {
			t.Errorf("%.80q: %v", tt.url, err)
		}
	}
	if n := server.queries.Load(); n != 0 {
		t.Errorf("%d queries", n)
	}
}

func TestAcceptsAndNormalizesPublicTargets(t *testing.T) {
	t.Parallel()
	_, resolver := newNameServer(t, "93.184.216.34")
	guard := webhook.NewGuard(webhook.Policy{Resolver: resolver})
	for _, tt := range acceptedSpellings {
		stored, err := guard.CheckURL(t.Context(), tt.url)
		if err != nil || stored != tt.stored {
			t.Errorf("%.80q: got %.80q, %v; want %.80q", tt.url, stored, err, tt.stored)
		}
		if again, err := guard.CheckURL(t.Context(), stored); err != nil || again != stored {
			t.Errorf("%.80q is not stable: got %.80q, %v", stored, again, err)
		}
	}
}

func TestLocalNamesAreJudgedByAddressUnderAnAllowList(t *testing.T) {
	t.Parallel()
	server, resolver := newNameServer(t)
	p := loopback()
	p.Resolver = resolver
	guard := webhook.NewGuard(p)
	for _, tt := range []struct{ addr, url, code string }{
		{"127.0.0.1", "http://receiver:9000/", ""},
		{"127.0.0.1", "http://receiver.test.internal:9000/", ""},
		{"10.0.0.1", "http://receiver:9000/", blocked},
		{"169.254.169.254", "http://metadata.google.internal/", blocked},
		{"127.0.0.1", "http://2130706433/", invalid},
	} {
		server.set(tt.addr)
		if _, err := guard.CheckURL(t.Context(), tt.url); code(t, err) != tt.code {
			t.Errorf("%s at %s: got %v, want %q", tt.url, tt.addr, err, tt.code)
		}
	}
}
