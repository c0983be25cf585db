//go:build !linux

package main

import "syscall"

// dieWithParent does nothing: only Linux tells a process of its parent's death.
func dieWithParent() {}

// endedWithUs keeps the terminal's Ctrl-C for the parent, which stops its
// children in order.
func endedWithUs() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
