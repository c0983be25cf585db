package secret_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sonicus/webhooks/pkg/secret"
)

func encoded(n int, fill byte) string {
	return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{fill}, n))
}

func TestParseKeysReadsAListInOrder(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, in string }{
		{"plain", "new:" + encoded(32, 2) + ",old:" + encoded(32, 1)},
		{"from a file", "new:" + encoded(32, 2) + ",\n old:" + encoded(32, 1) + "\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := secret.ParseKeys(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != 2 || got[0].ID != "new" || got[1].ID != "old" ||
				!bytes.Equal(got[0].Bytes, newKey("", 2).Bytes) || !bytes.Equal(got[1].Bytes, newKey("", 1).Bytes) {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestParseKeysSaysWhatIsWrongWithoutTheKey(t *testing.T) {
	t.Parallel()
	const canary = "CANARYcanary"
	good := "k:" + encoded(32, 1)
	tests := []struct{ name, in, want string }{
		{"empty", "", "no encryption key is given"},
		{"blank", " \n", "no encryption key is given"},
		{"no id", canary, "encryption key 1: want id:base64"},
		{"empty entry", good + ",", "encryption key 2: want id:base64"},
		{"empty id", ":" + encoded(32, 1), "encryption key 1: the id must be 1 to 32 letters, digits, hyphens or underscores"},
		{"bad id", canary + ".:" + encoded(32, 1), "encryption key 1: the id must be 1 to 32 letters, digits, hyphens or underscores"},
		{"not base64", good + ",j:" + canary + "!", "encryption key 2: what follows the id is not padded standard base64"},
		{"passphrase", "k:" + base64.StdEncoding.EncodeToString([]byte(canary)), "encryption key 1: the key must be exactly 32 bytes, it has 12"},
		{"33 bytes", "k:" + encoded(33, 1), "encryption key 1: the key must be exactly 32 bytes, it has 33"},
		{"id twice", good + "," + good, "encryption key 2: the id is used twice"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := secret.ParseKeys(tt.in)
			if err == nil || err.Error() != tt.want {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestKeysStayOutOfLogsAndJSON(t *testing.T) {
	t.Parallel()
	k := newKey("k1", 'C')
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("keys", "key", k, "keys", []secret.Key{k})
	doc, err := json.Marshal(k)
	if err != nil {
		t.Fatal(err)
	}
	if out := log.String() + string(doc); strings.Contains(out, "CCC") || strings.Contains(out, "Q0ND") || strings.Contains(out, "67 67") {
		t.Error(out)
	}
	if diff := cmp.Diff(`"k1:[redacted]"`, string(doc)); diff != "" {
		t.Error(diff)
	}
}
