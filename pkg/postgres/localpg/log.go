package localpg

import (
	"errors"
	"os"
	"strings"
)

// errPortTaken says that the server could not listen: somebody was faster, or an earlier server is not quite gone.
var errPortTaken = errors.New("the port or the shared memory is still taken")

// errDamaged says that the server found its data unusable.
var errDamaged = errors.New("the data directory is damaged")

// reasonIn recognises in the server's log what a further attempt can cure.
func reasonIn(log string) error {
	has := func(parts ...string) bool {
		for _, p := range parts {
			if strings.Contains(log, p) {
				return true
			}
		}
		return false
	}
	switch {
	case has("could not create any TCP/IP sockets", "pre-existing shared memory block"):
		return errPortTaken
	case has("No space left on device"):
		return nil
	case has("PANIC:", "due to startup process failure", "is not a valid data directory", "incompatible with server", "could not open file", "could not read file",
		"could not locate a valid checkpoint", "invalid checkpoint", "incorrect checksum in control file", "has wrong ownership"):
		return errDamaged
	}
	return nil
}

func fileSize(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

func (c *cluster) logSince(offset int64) string {
	content, err := os.ReadFile(c.logFile())
	if err != nil || int64(len(content)) < offset {
		return ""
	}
	return string(content[offset:])
}

// lastLines makes one line of the end of a program's output.
func lastLines(out string) string {
	lines := strings.Split(strings.TrimSpace(out), "\n")
	return strings.Join(lines[max(0, len(lines)-6):], " | ")
}
