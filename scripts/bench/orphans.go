package main

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// logsPrefix is followed by the bench's process id.
const logsPrefix = "sonicus-bench-"

// removeOrphans removes the logs of runs that were killed; localpg does the same
// with their servers' data. What it cannot remove is left for the next run.
func removeOrphans() {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), logsPrefix+"*")) // the pattern is well-formed
	for _, dir := range dirs {
		digits, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), logsPrefix), "-")
		pid, err := strconv.Atoi(digits)
		if err == nil && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			_ = os.RemoveAll(dir)
		}
	}
}
