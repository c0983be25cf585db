package house_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sonicus/webhooks/pkg/config"
)

const deployDir = root + "/deploy"

// deployFiles returns the files of deploy/ by name.
func deployFiles(t *testing.T) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(deployDir)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, entry := range entries {
		if entry.IsDir() { // secrets/, made by whoever tried compose.yaml
			continue
		}
		content, err := os.ReadFile(filepath.Join(deployDir, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[entry.Name()] = string(content)
	}
	return files
}

// matches returns the first group of every match, without repetitions.
func matches(pattern, text string) []string {
	var found []string
	for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		if !slices.Contains(found, match[1]) {
			found = append(found, match[1])
		}
	}
	return found
}

func TestDeployFilesNameOnlyRealSettings(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for _, d := range config.Describe() {
		known[d.Name] = true
		known[d.Name+"_FILE"] = d.Secret
	}
	for name, content := range deployFiles(t) {
		for _, setting := range matches(`\b(SONICUS_[A-Z_]+)`, content) {
			if !known[setting] {
				t.Errorf("%s names %s, which no program reads", name, setting)
			}
		}
	}
}

func TestDeployReadmeExplainsEveryLine(t *testing.T) {
	t.Parallel()
	const unitKey, composeKey, instruction = `(?m)^([A-Z][A-Za-z]+)=`, `(?m)^\s*([A-Za-z_-]+):`, `(?m)^([A-Z]+) `
	files := deployFiles(t)
	for name, pattern := range map[string]string{
		"sonicus-api.service": unitKey, "sonicus-dispatcher@.service": unitKey,
		"compose.yaml": composeKey, "Dockerfile": instruction,
	} {
		keys := matches(pattern, files[name])
		if len(keys) < 8 {
			t.Errorf("%s: found only %v", name, keys)
		}
		for _, key := range keys {
			if !regexp.MustCompile("`"+regexp.QuoteMeta(key)+"[`= :]").MatchString(files["README.md"]) && !isOwnName(key) {
				t.Errorf("deploy/README.md does not explain %s of %s", key, name)
			}
		}
	}
}

// isOwnName tells the names given in compose.yaml to networks and secrets, which
// the README shows in commands, from keys of the format.
func isOwnName(key string) bool {
	return slices.Contains([]string{"database", "outside", "postgres_password", "database_url", "encryption_keys", "bootstrap_api_key"}, key)
}

func TestOrchestratorsWaitLongerThanTheGracePeriod(t *testing.T) {
	t.Parallel()
	files := deployFiles(t)
	for name, limit := range map[string]string{
		"sonicus-api.service":         `TimeoutStopSec=(\S+)`,
		"sonicus-dispatcher@.service": `TimeoutStopSec=(\S+)`,
		"compose.yaml":                `(?s)x-program.*?stop_grace_period: (\S+)`,
	} {
		grace := duration(t, name, matches(`SONICUS_SHUTDOWN_GRACE[=:] ?(\S+)`, files[name]))
		if stop := duration(t, name, matches(limit, files[name])); stop < grace+10*time.Second {
			t.Errorf("%s: killed %v after SIGTERM, with a grace period of %v", name, stop, grace)
		}
	}
}

func duration(t *testing.T, file string, found []string) time.Duration {
	t.Helper()
	if len(found) != 1 {
		t.Fatalf("%s: want one duration, found %v", file, found)
	}
	d, err := time.ParseDuration(found[0])
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return d
}

func TestEverySecretFileIsProvided(t *testing.T) {
	t.Parallel()
	files := deployFiles(t)
	for _, name := range []string{"sonicus-api.service", "sonicus-dispatcher@.service"} {
		provided := matches(`LoadCredential=(\w+):`, files[name])
		if used := matches(`%d/(\w+)`, files[name]); len(used) == 0 || !slices.Equal(provided, used) {
			t.Errorf("%s: loads %v, reads %v", name, provided, used)
		}
	}
	for _, secret := range matches(`/run/secrets/(\w+)`, files["compose.yaml"]) {
		if !strings.Contains(files["compose.yaml"], "file: ./secrets/"+secret+"\n") ||
			!strings.Contains(files["README.md"], "> secrets/"+secret+"\n") {
			t.Errorf("the secret %s has no file in compose.yaml, or README.md does not make it", secret)
		}
	}
}

func TestImageIsBuiltWithTheModulesGo(t *testing.T) {
	t.Parallel()
	gomod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	want := matches(`(?m)^go (\d+\.\d+)`, string(gomod))
	files := deployFiles(t)
	for _, name := range []string{"Dockerfile", "README.md"} {
		if got := matches(`golang:(\d+\.\d+)`, files[name]); !slices.Equal(got, want) {
			t.Errorf("deploy/%s builds with Go %v, go.mod wants %v", name, got, want)
		}
	}
}
