// SPDX-License-Identifier: Apache-2.0

// Package hangup keeps SIGHUP from ending the process: importing it is enough. It imports so little that Go initializes
// it before almost all other packages, whose initialization takes long if the process has little CPU time.
package hangup

import (
	"os"
	"os/signal"
	"syscall"
)

var _ = catch()

// catch does not use signal.Ignore, because a later signal.Stop would restore the default.
func catch() chan<- os.Signal {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGHUP)
	return c
}
