// SPDX-License-Identifier: Apache-2.0

package apifacts

import (
	"errors"
	"fmt"
	"time"

	"css_vpcep_exporter/internal/cloud"
)

// Sessions are facts about Cloud Eye. They hold nothing that names anybody.
type Sessions struct {
	Result       string        // of the request
	BatchSize    int           // metrics in a call, by the configuration; 0 if sessions are not read
	Asked, Found int           // connections, and those with a value
	Age          time.Duration // of the newest value
}

// Skip records why no request was sent.
func (s *Sessions) Skip(why string) { s.Result = unknown("%s", why) }

// Fail records the error of the request.
func (s *Sessions) Fail(err error) {
	e, isError := errors.AsType[*cloud.Error](err)
	switch {
	case errors.Is(err, ErrLimit):
		s.Skip(ErrLimit.Error())
	case isError && e.Status != 0 && e.Reason != cloud.ReasonDecode:
		s.Result = statusAndCode(e)
	default:
		s.Skip("a request failed: " + string(cloud.ReasonOf(err)))
	}
}

// Lines returns the facts.
func (s *Sessions) Lines() []string {
	lines := []string{"sessions: " + s.Result}
	if s.BatchSize == 0 {
		return lines
	}
	lines = append(lines, fmt.Sprintf("sessions_batch_size: %d", s.BatchSize))
	if s.Asked == 0 {
		return lines
	}
	how := "some"
	switch s.Found {
	case 0:
		how = "none"
	case s.Asked:
		how = "all"
	}
	lines = append(lines, fmt.Sprintf("sessions_values: %s (%d of %d connections)", how, s.Found, s.Asked))
	if s.Found > 0 {
		lines = append(lines, fmt.Sprintf("sessions_newest_age: %d s", int64(s.Age.Round(time.Second)/time.Second)))
	}
	return lines
}
