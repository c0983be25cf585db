//go:build !linux

package main

import "syscall"

// dieWithParent keeps the terminal's Ctrl-C for the parent, which stops its
// children in order. Only Linux can tell a child that its parent was killed.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
