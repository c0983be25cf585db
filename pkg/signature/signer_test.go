package signature

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestSignerMatchesThePublishedVectors(t *testing.T) {
	t.Parallel()
	github, standard := NewSigner(mustKey(t, githubSecret)), NewSigner(mustKey(t, standardSecret))
	for range 3 { // the first use and those of a kept state
		if got := github.AppendSonicus([]byte("x "), []byte(githubBody)); string(got) != "x "+githubSignature {
			t.Errorf("AppendSonicus: got %s", got)
		}
		got := standard.AppendStandard([]byte("x "), standardID, time.Unix(standardTime, 999), []byte(standardBody))
		if string(got) != "x "+standardSignature {
			t.Errorf("AppendStandard: got %s", got)
		}
	}
}

// Nothing of one message may be left for the next, whoever signs at the same time.
func TestSignerIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	key := bytes.Repeat([]byte{7}, 100) // longer than a block of the hash
	given := bytes.Clone(key)
	signer := NewSigner(given)
	clear(given) // the signer has a copy
	var running sync.WaitGroup
	for worker := range 8 {
		running.Go(func() {
			for i := range 200 {
				id, at := strings.Repeat("i", 1+worker), time.Unix(int64(i-100), 0)
				body := bytes.Repeat([]byte{byte(worker)}, i)
				if got, want := string(signer.AppendSonicus(nil, body)), Sonicus(key, body); got != want {
					t.Errorf("got %s, want %s", got, want)
				}
				if got, want := string(signer.AppendStandard(nil, id, at, body)), Standard(key, id, at, body); got != want {
					t.Errorf("got %s, want %s", got, want)
				}
			}
		})
	}
	running.Wait()
}

func BenchmarkSigner(b *testing.B) {
	signer, body, at := NewSigner(bytes.Repeat([]byte{7}, 32)), bytes.Repeat([]byte("x"), 700), time.Unix(standardTime, 0)
	b.ReportAllocs()
	buf := make([]byte, 0, 256)
	for b.Loop() {
		buf = signer.AppendStandard(signer.AppendSonicus(buf[:0], body), standardID, at, body)
	}
}
