//go:build !unix

package main

import "math"

// openFileLimit is no limit: only Unix has one.
func openFileLimit() uint64 { return math.MaxUint64 }
