package main

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// dieWithParent stops this process, in order, when the make that started it is
// killed.
func dieWithParent() {
	_ = unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(syscall.SIGTERM), 0, 0, 0) // without it only a kill of make leaves it running
}

// endedWithUs ends a child whose parent was killed, and keeps the terminal's
// Ctrl-C for the parent, which stops its children in order.
func endedWithUs() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
}
