package e2e_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const tokenSecret = "a-secret-of-at-least-32-bytes-for-tests"

// jwtFor makes a token that lasts for an hour.
func jwtFor(subject, role string) string {
	b64 := base64.RawURLEncoding.EncodeToString
	claims := fmt.Sprintf(`{"sub":%q,"role":%q,"aud":"sonicus","exp":%d}`, subject, role, time.Now().Unix()+3600)
	signed := b64([]byte(`{"alg":"HS256"}`)) + "." + b64([]byte(claims))
	mac := hmac.New(sha256.New, []byte(tokenSecret))
	mac.Write([]byte(signed))
	return signed + "." + b64(mac.Sum(nil))
}

// as makes a request with another key or token.
func (s *service) as(token, method, path string, body any) (status int, answer map[string]any) {
	s.t.Helper()
	other := *s
	other.token = token
	status, answer, err := other.call(method, path, body)
	if err != nil {
		s.t.Fatal(err)
	}
	return status, answer
}

func TestTokensAndKeysLetInByTheirRoleAndAreCounted(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(tokenSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	svc := start(t, settings{"SONICUS_JWT_ALG": "HS256", "SONICUS_JWT_SECRET_FILE": file, "SONICUS_JWT_AUDIENCE": "sonicus"})
	code, viewer, stderr := svc.run("api", "key", "create", "--role", "viewer", "--name", "a viewer")
	if code != 0 {
		t.Fatalf("exit code %d, %q", code, stderr)
	}
	ada, eve := jwtFor("ada", "super_admin"), strings.TrimSpace(viewer)
	if status, answer := svc.as(ada, http.MethodPost, "/api/v1/api-keys", map[string]any{"name": "crm", "role": "admin"}); status != http.StatusCreated {
		t.Errorf("a super admin's token: %d %v", status, answer)
	}
	for _, tt := range []struct {
		token, method, path string
		status              int
	}{
		{eve, http.MethodGet, "/api/v1/webhooks/endpoints", http.StatusOK},
		{eve, http.MethodPost, "/api/v1/organizations", http.StatusForbidden},
		{eve, http.MethodGet, "/api/v1/audit-log", http.StatusForbidden},
		{ada + "x", http.MethodGet, "/api/v1/audit-log", http.StatusUnauthorized},
		{eve + "x", http.MethodGet, "/api/v1/audit-log", http.StatusUnauthorized},
	} {
		if status, answer := svc.as(tt.token, tt.method, tt.path, map[string]any{}); status != tt.status {
			t.Errorf("%s %s: %d %v, want %d", tt.method, tt.path, status, answer, tt.status)
		}
	}
	if n := svc.count(`sonicus.audit_log WHERE actor = 'ada' AND action = 'api_key.create' AND request_id IS NOT NULL`); n != 1 {
		t.Errorf("%d entries of ada's in the audit trail", n)
	}
	if n := svc.api.metric("sonicus_auth_failures_total"); n != 2 {
		t.Errorf("%d refusals are counted, want 2", n)
	}
}

func TestAShortTokenSecretKeepsTheAPIFromStarting(t *testing.T) {
	t.Parallel()
	svc := empty(t, settings{"SONICUS_JWT_ALG": "HS256", "SONICUS_JWT_SECRET": tokenSecret[:31]})
	code, _, stderr := svc.run("api")
	if code != 1 || !strings.Contains(stderr, "SONICUS_JWT_SECRET has 31 bytes") || strings.Contains(stderr, tokenSecret[:31]) {
		t.Errorf("exit code %d, %q", code, stderr)
	}
}

func TestHastyCallersAreSlowedDown(t *testing.T) {
	t.Parallel()
	svc := start(t, settings{"SONICUS_API_RATE_LIMIT": "1"})
	eventually(t, "a request too many", func() bool {
		status, _ := svc.as(svc.token, http.MethodGet, "/api/v1/organizations", map[string]any{})
		return status == http.StatusTooManyRequests
	})
}
