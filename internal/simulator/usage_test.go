// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"math"
	"testing"
	"time"
)

func TestDailySessions(t *testing.T) {
	const low, high = 100, 900
	at, again, other := DailySessions("a", low, high), DailySessions("a", low, high), DailySessions("b", low, high)
	least, most, gaps, gap, longest, differences := math.Inf(1), math.Inf(-1), 0, 0, 0, 0
	for minute := range 24 * 60 {
		now := testNow().Add(time.Duration(minute) * time.Minute)
		sessions, active, ok := at(now)
		if s, a, o := again(now); s != sessions || a != active || o != ok {
			t.Errorf("minute %d: got %g, %g, %t and then %g, %g, %t", minute, sessions, active, ok, s, a, o)
		}
		if sessions < low || sessions > high || active < 0 || active > sessions || sessions != math.Trunc(sessions) {
			t.Errorf("minute %d: got %g sessions, %g active", minute, sessions, active)
		}
		if s, _, _ := other(now); s != sessions {
			differences++
		}
		least, most = min(least, sessions), max(most, sessions)
		gap++
		if ok {
			gap = 0
		} else {
			gaps++
		}
		longest = max(longest, gap)
	}
	if least > 200 || most < 800 {
		t.Errorf("got %g to %g sessions in a day, want them to come near %d and %d", least, most, low, high)
	}
	if gaps < 5 || gaps > 100 || longest > 5 {
		t.Errorf("got %d minutes without a value, %d in a row; want 5 to 100, at most 5", gaps, longest)
	}
	if differences < 1000 {
		t.Errorf("got only %d minutes in which two connections differ", differences)
	}
}
