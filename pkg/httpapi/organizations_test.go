package httpapi

import (
	"net/url"
	"strings"
	"testing"
)

// Whoever does not know whether a creation was committed looks for the domain that was
// sent, as it was sent.
func TestOrganizationIsFoundByItsDomain(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	const sent = "Bücher.Example.COM"
	made := a.post(t, organizationsPath, `{"name":"B","domain":"`+sent+`","primary_contact_email":"b@example.com"}`).json(t, 201)
	a.post(t, organizationsPath, `{"name":"A","domain":"a.example.com","primary_contact_email":"a@example.com"}`).json(t, 201)
	found := func(domain string) string {
		var ids []string
		for _, o := range a.get(t, organizationsPath+"?domain="+url.QueryEscape(domain)).json(t, 200)["data"].([]any) {
			ids = append(ids, o.(map[string]any)["id"].(string))
		}
		return strings.Join(ids, " ")
	}
	id := made["id"].(string)
	for domain, want := range map[string]string{
		sent: id, "bücher.example.com": id, made["domain"].(string): id, "BÜCHER.example.com": id, "example.com": "", "www.bücher.example.com": "", "bucher.example.com": "",
	} {
		if got := found(domain); got != want {
			t.Errorf("%s: found %q, want %q", domain, got, want)
		}
	}
	for _, domain := range []string{
		"", "localhost", "https://example.com", "*.example.com", " example.com", id, "a\x00.example.com", "\xff.example.com", strings.Repeat("a", 300), strings.Repeat("a", 2000),
	} {
		if d := a.get(t, organizationsPath+"?domain="+url.QueryEscape(domain)).problem(t, 422, "invalid_value"); d.fieldNames() != "domain" {
			t.Errorf("%s: %s", domain, d.fieldNames())
		}
	}
	if gone := a.do(t, call{method: "DELETE", path: organizationsPath + "/" + id, key: bootstrapKey}); gone.status != 204 {
		t.Fatal(gone.body)
	}
	if got := found(sent); got != "" {
		t.Errorf("found %s, which is deleted", got)
	}
}
