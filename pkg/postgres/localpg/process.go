package localpg

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// deadPID is above every system's highest process id.
const deadPID = "99999999"

// postmasterOf returns the id of the process that serves a data directory, or 0. A postmaster.pid that names a dead or
// zombie process, or one that has got the id since, counts as none.
func postmasterOf(data string) int {
	pid := recordedPID(data)
	if pid <= 0 {
		return 0
	}
	args := commandLine(pid)
	if len(args) < 3 || filepath.Base(args[0]) != "postgres" || args[1] != "-D" || args[2] != data {
		return 0
	}
	return pid
}

func recordedPID(data string) int {
	content, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(content), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil {
		return 0
	}
	return pid
}

// commandLine returns a process's arguments; none for a zombie. Linux answers from /proc, which works where ps is not
// installed; elsewhere ps splits at spaces, so a path with one reads as "not ours" and Postgres' own check decides.
func commandLine(pid int) []string {
	if _, err := os.Stat("/proc/self/cmdline"); err == nil {
		line, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
		return strings.Split(string(bytes.TrimRight(line, "\x00")), "\x00")
	}
	line, _ := exec.CommandContext(context.Background(), "ps", "-ww", "-o", "command=", "-p", strconv.Itoa(pid)).Output()
	return strings.Fields(string(line))
}

// forgetPostmaster makes a stale postmaster.pid harmless. Postgres would refuse to start if the recorded id belongs to
// any process now, a zombie included. The file is not removed: its other lines let Postgres see whether orphans of the
// old server still use the data directory.
func forgetPostmaster(data string) error {
	path := filepath.Join(data, "postmaster.pid")
	content, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	_, rest, found := strings.Cut(string(content), "\n")
	if !found {
		return os.Remove(path) // torn: nothing in it that Postgres could use
	}
	return os.WriteFile(path, []byte(deadPID+"\n"+rest), 0o600)
}
