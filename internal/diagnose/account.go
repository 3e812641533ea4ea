// SPDX-License-Identifier: Apache-2.0

package diagnose

import (
	"context"
	"fmt"
	"strings"

	"css_vpcep_exporter/internal/diagnose/report"
)

// MaxFound is the number of an account's projects that are diagnosed.
const MaxFound = 3

// Account is an entry of the configuration whose projects IAM lists.
type Account struct {
	Project // without Endpoint, ID and Listed
	List    func(ctx context.Context) (Found, error)
}

// Found is what a listing has found. It may come with an error.
type Found struct {
	Projects []Project // the first MaxFound
	Wanted   int
	LeftOut  []string // names of projects that are not wanted
	Hint     string   // for the error, unless it has one
}

// runAccount takes the steps up to the projects of an account, and returns them.
func (d *diagnosis) runAccount(ctx context.Context, a *Account) []Project {
	s := newSession(d, &a.Project)
	s.Line("")
	s.Heading("Account of the entry " + report.Label(a.Name))
	s.approach(ctx)
	var found Found
	s.step(ctx, "account", func(ctx context.Context) report.Finding {
		switch {
		case s.noCredentials != "":
			return report.Skippedf("%s", s.noCredentials)
		case !s.reached[s.iam()]:
			return report.Skippedf("IAM cannot be reached")
		}
		err := s.call(ctx, func(ctx context.Context) (err error) {
			found, err = a.List(ctx)
			return err
		})
		return s.judgeAccount(&found, err)
	})
	return found.Projects
}

func (s *session) judgeAccount(found *Found, err error) report.Finding {
	listed := found.Wanted + len(found.LeftOut)
	text := fmt.Sprintf("IAM lists %s, %d of them to be read", report.Count(listed, "project", "projects"), found.Wanted)
	if found.Wanted > len(found.Projects) {
		text += fmt.Sprintf("; the first %d are diagnosed", len(found.Projects))
	}
	if n := len(found.LeftOut); n > 0 {
		const maxNamed = 5
		names := make([]string, min(n, maxNamed))
		for i := range names {
			names[i] = report.Label(found.LeftOut[i])
		}
		text += "; left out: " + strings.Join(names, ", ")
		if n > maxNamed {
			text += fmt.Sprintf(" and %d more", n-maxNamed)
		}
	}
	switch {
	case err != nil:
		f := s.stop(err)
		if f.Advice == "" {
			f.Advice = found.Hint
		}
		return f
	case found.Wanted == 0:
		return report.Failure(text, "check regions and subprojects of the entry")
	}
	return report.OKf("%s", text)
}
