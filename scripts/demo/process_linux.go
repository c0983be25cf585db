package main

import "syscall"

// dieWithParent ends a child whose parent was killed, and keeps the terminal's
// Ctrl-C for the parent, which stops its children in order.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
}
