// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"time"
)

// DailySessions returns sessions for SetSessions that rise from low to high and fall again every day, with small waves
// on top and a missing value now and then. The name determines the time of the peak, the waves and the share of active
// sessions.
func DailySessions(name string, low, high float64) func(time.Time) (sessions, active float64, ok bool) {
	phase := hashed(name)
	peak := 12 + 4*phase // hour in UTC
	return func(at time.Time) (sessions, active float64, ok bool) {
		minutes := at.Unix() / 60
		turns := func(length float64) float64 { return float64(minutes) / length }
		day := wave(turns(24*60) - peak/24)
		waves := 0.7*wave(turns(53)+phase) + 0.3*wave(turns(7)+phase)
		sessions = math.Round(low + (high-low)*(0.9*day+0.1*waves))
		active = math.Round(sessions * (0.4 + 0.3*phase + 0.1*waves))
		return sessions, active, hashed(fmt.Sprint(name, minutes)) >= 0.02
	}
}

// wave returns a number from 0 to 1, which is 1 at whole turns.
func wave(turns float64) float64 { return 0.5 + 0.5*math.Cos(2*math.Pi*turns) }

// hashed returns a number from 0 to 1 that depends on the name only.
func hashed(name string) float64 {
	sum := sha256.Sum256([]byte(name))
	return float64(binary.BigEndian.Uint16(sum[:])) / (1 << 16)
}
