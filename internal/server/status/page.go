// SPDX-License-Identifier: Apache-2.0

package status

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // for status.html and style.css
	"encoding/base64"
	"fmt"
	"html/template"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"css_vpcep_exporter/internal/clean"
	"css_vpcep_exporter/internal/css"
)

const clustersPerPage = 500

//go:embed status.html
var statusHTML string

//go:embed style.css
var styleCSS string

type renderer struct {
	template *template.Template
	policy   string // Content-Security-Policy
}

func newRenderer() (*renderer, error) {
	hash := sha256.Sum256([]byte(styleCSS))
	t, err := template.New("status").Funcs(template.FuncMap{
		"text": escapeUnprintable, "counts": nonzeroCounts, "sentence": sentence,
		"style": func() template.CSS { return template.CSS(styleCSS) }, //nolint:gosec // embedded
	}).Parse(statusHTML)
	return &renderer{
		template: t,
		policy: "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) + "'; " +
			"base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
	}, err
}

type pageData struct {
	*view
	Title, Summary string
	Tone           string // of Summary: bad, warn, good or idle
	TelemetryPath  string
	Telemetry      string // relative, to work behind a path prefix
	Unread         bool   // there are clusters, but none has been read
	Sorts, Shows   []link
	JSON, Self     string
	Page, Pages    int
	Matching       int
	Previous, Next string
}

type link struct {
	Text, Address string
	Current       bool
}

// render renders page p.page, or the last page if there are fewer.
func (r *renderer) render(v *view, p parameters, telemetryPath string) (*bytes.Buffer, error) {
	matching := len(v.Clusters)
	pages := max((matching+clustersPerPage-1)/clustersPerPage, 1)
	p.page = min(p.page, pages)
	first := (p.page - 1) * clustersPerPage
	shown := *v
	shown.Clusters = v.Clusters[first:min(first+clustersPerPage, matching)]

	data := pageData{
		view: &shown, TelemetryPath: telemetryPath, Telemetry: "./" + strings.TrimPrefix(telemetryPath, "/"),
		Unread: v.Totals.Clusters > 0 && v.Totals.Unread() == v.Totals.Clusters,
		Self:   p.address(), JSON: p.with(func(p *parameters) { p.format, p.page = formatJSON, 1 }),
		Matching: matching, Page: p.page, Pages: pages,
	}
	data.Title, data.Summary, data.Tone = summarize(v)
	for _, by := range []struct{ value, text string }{{sortTrouble, "Trouble first"}, {sortName, "By name"}} {
		data.Sorts = append(data.Sorts, link{
			by.text, p.with(func(p *parameters) { p.sort, p.page = by.value, 1 }), p.sort == by.value,
		})
	}
	for _, what := range []struct{ value, text string }{{showAll, "All"}, {showFailing, "Failing only"}} {
		data.Shows = append(data.Shows, link{
			what.text, p.with(func(p *parameters) { p.show, p.page = what.value, 1 }), p.show == what.value,
		})
	}
	if p.page > 1 {
		data.Previous = p.with(func(p *parameters) { p.page-- })
	}
	if p.page < pages {
		data.Next = p.with(func(p *parameters) { p.page++ })
	}
	body := new(bytes.Buffer)
	return body, r.template.Execute(body, data)
}

// with returns the address of the page with changed parameters.
func (p parameters) with(change func(*parameters)) string {
	change(&p)
	return p.address()
}

// address returns a relative link to the page.
func (p parameters) address() string {
	values := url.Values{}
	if p.sort != sortTrouble {
		values.Set("sort", p.sort)
	}
	if p.show != showAll {
		values.Set("show", p.show)
	}
	if p.format != formatHTML {
		values.Set("format", p.format)
	}
	if p.page > 1 {
		values.Set("page", strconv.Itoa(p.page))
	}
	return strings.TrimSuffix("."+Path+"?"+values.Encode(), "?")
}

// summarize returns the title and the summary of the page.
func summarize(v *view) (title, summary, tone string) {
	short, long := problems(v)
	tone = "warn"
	if v.Totals.FailingProjects+v.Totals.Failing() > 0 {
		tone = "bad"
	}
	if len(short) == 0 {
		tone = "idle"
	}
	switch {
	case !v.Ready && v.Totals.Clusters == 0:
		long = append(long, "Discovery has not finished yet.")
	case v.Totals.Clusters == 0:
		long = append(long, "No clusters found.")
	case v.Totals.Unread() == v.Totals.Clusters:
		long = append(long, "No cluster has been read yet.")
	}
	switch {
	case len(long) == 0:
		return "no problems", "No problems in the clusters that were read.", "good"
	case len(short) == 0:
		short = []string{strings.TrimSuffix(strings.ToLower(long[0]), ".")}
	}
	return strings.Join(short, ", "), strings.Join(long, " "), tone
}

func problems(v *view) (short, long []string) {
	if n := v.Totals.FailingProjects; n > 0 {
		short = append(short, plural(n, "failing project", "failing projects"))
		long = append(long, plural(n, "project cannot be read.", "projects cannot be read."))
	}
	for _, kind := range []struct {
		state     condition
		one, many string
	}{
		{failing, "cluster cannot be read.", "clusters cannot be read."},
		{rejected, "cluster has rejected or failed connections.", "clusters have rejected or failed connections."},
		{truncated, "connection list is truncated.", "connection lists are truncated."},
		{pending, "cluster has connections pending acceptance.", "clusters have connections pending acceptance."},
		{
			unlisted, "cluster has accepted connections of accounts not in its allowlist.",
			"clusters have accepted connections of accounts not in their allowlists.",
		},
	} {
		if n := v.Totals.States[kind.state]; n > 0 {
			short = append(short, fmt.Sprintf("%d %s", n, kind.state))
			long = append(long, plural(n, kind.one, kind.many))
		}
	}
	if v.Config != nil && !v.Config.OK {
		short = append(short, "reload failed")
		long = append(long, "The last configuration reload failed; the previous configuration remains in use.")
	}
	return short, long
}

func plural(count int, one, many string) string {
	if count == 1 {
		return "1 " + one
	}
	return strconv.Itoa(count) + " " + many
}

func (p projectStatus) Badge() string {
	if p.State == unread {
		return "not refreshed yet"
	}
	return string(p.State)
}

func (c clusterStatus) Badges() []string {
	switch c.State {
	case rejected:
		var badges []string
		for _, status := range []css.Status{css.StatusRejected, css.StatusFailed} {
			if n := c.Connections[status]; n > 0 {
				badges = append(badges, fmt.Sprintf("%d %s", n, status))
			}
		}
		return badges
	case pending:
		return []string{strconv.Itoa(c.Connections[css.StatusPendingAcceptance]) + " pending"}
	case unlisted:
		return []string{strconv.Itoa(*c.Unlisted) + " unlisted"}
	case off:
		return []string{"service off"}
	case unread:
		return []string{"not read yet"}
	}
	return []string{string(c.State)}
}

// Note explains the state and how to fix it.
func (c clusterStatus) Note() string {
	switch c.State {
	case rejected:
		return "Accept the rejected or failed connections, or ask their owners to delete the endpoints."
	case truncated:
		return "The API lists fewer connections than it reports. The counts cover the listed ones only."
	case pending:
		return "Accept or reject the pending connections."
	case unlisted:
		return "Accepted connections belong to accounts not in the allowlist. Add the accounts, or reject the connections."
	case off:
		return "The cluster's VPC endpoint service is switched off."
	case unread:
		return "No scrape has read this cluster yet. This is normal if another exporter scrapes it."
	}
	return ""
}

type count struct {
	Number int
	Status css.Status
	Tone   string
}

func nonzeroCounts(byStatus map[css.Status]int) []count {
	var counts []count
	for _, status := range css.Statuses() {
		tone := "good"
		switch status {
		case css.StatusPendingAcceptance:
			tone = "warn"
		case css.StatusRejected, css.StatusFailed:
			tone = "bad"
		}
		if n := byStatus[status]; n > 0 {
			counts = append(counts, count{n, status, tone})
		}
	}
	return counts
}

func (t *totals) Failing() int { return t.States[failing] }

func (t *totals) Unread() int { return t.States[unread] }

func (t *totals) Rejected() int { return t.Connections[css.StatusRejected] }

func (c clusterStatus) Listing() string {
	sum := 0
	for _, n := range c.Connections {
		sum += n
	}
	text := strconv.Itoa(sum) + " listed"
	if c.Reported != nil { // the API may send a fraction
		text += ", " + strconv.FormatFloat(*c.Reported, 'f', -1, 64) + " reported"
	}
	if c.Truncated != nil && *c.Truncated {
		text += ", truncated"
	}
	if c.Unlisted != nil && *c.Unlisted > 0 {
		text += fmt.Sprintf(", %d accepted but not in the allowlist", *c.Unlisted)
	}
	return text
}

func (c condition) Tone() string {
	switch c {
	case failing, rejected:
		return "bad"
	case truncated, pending, unlisted:
		return "warn"
	case ok:
		return "good"
	}
	return "idle"
}

func ago(age time.Duration) string {
	switch {
	case age < time.Second:
		return "just now"
	case age < time.Minute:
		return fmt.Sprintf("%d s ago", age/time.Second)
	case age < time.Hour:
		return fmt.Sprintf("%d min ago", age/time.Minute)
	case age < 48*time.Hour:
		return fmt.Sprintf("%d h ago", age/time.Hour)
	}
	return fmt.Sprintf("%d d ago", age/(24*time.Hour))
}

type timestamp struct{ At, Ago string }

func (v *view) When(t time.Time) timestamp {
	return timestamp{At: t.UTC().Format(time.RFC3339), Ago: ago(v.Time.Sub(t))}
}

func sentence(hint string) string {
	hint = escapeUnprintable(hint)
	first, size := utf8.DecodeRuneInString(hint)
	if size == 0 {
		return ""
	}
	return string(unicode.ToUpper(first)) + hint[size:] + "."
}

// escapeUnprintable truncates untrusted text and replaces invisible characters by their code points.
func escapeUnprintable(s string) string {
	const maxBytes = 300 // more than the longest hint
	var b strings.Builder
	for _, r := range clean.Text(s, maxBytes) {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, "<%U>", r)
		}
	}
	if len(s) > maxBytes {
		b.WriteString("…")
	}
	return b.String()
}
