//go:build unix

package main

import (
	"math"
	"syscall"
)

// openFileLimit is how many files and connections the system lets this process have open.
// Go has raised the soft limit to the hard one when the process began.
func openFileLimit() uint64 {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return math.MaxUint64 // nobody knows, so it is no reason to refuse
	}
	return uint64(limit.Cur) //nolint:unconvert // signed on FreeBSD
}
