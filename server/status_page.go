// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // for the page
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"css_vpcep_exporter/css"
)

// clustersPerPage keeps the page light where there are very many.
const clustersPerPage = 500

//go:embed status.html
var statusHTML string

// statusPage makes the page for people of a view.
type statusPage struct {
	template *template.Template
	policy   string // Content-Security-Policy: the page's own style, and nothing else
}

func newStatusPage() (*statusPage, error) {
	_, style, _ := strings.Cut(statusHTML, "<style>")
	style, _, found := strings.Cut(style, "</style>")
	if !found {
		return nil, errors.New("status.html has no style")
	}
	hash := sha256.Sum256([]byte(style))
	t, err := template.New("status").Funcs(template.FuncMap{
		"text": printable, "counts": nonzero, "sentence": sentence,
	}).Parse(statusHTML)
	return &statusPage{
		template: t,
		policy: "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) + "'; " +
			"base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
	}, err
}

// statusData is what status.html shows.
type statusData struct {
	*statusView
	Title, Verdict string
	Tone           string // of the verdict: bad, warn, good or idle
	TelemetryPath  string
	Telemetry      string // the same as seen from the page, which may have been moved below another path
	Unread         bool   // there are clusters, and no scrape has asked for any
	Sorts, Shows   []link
	JSON, Self     string
	Page, Pages    int
	Matching       int    // clusters on all pages
	Previous, Next string // empty where there is none
}

// link is one of several ways to look at the page.
type link struct {
	Text, Address string
	Current       bool
}

// render makes the page that was asked for, or the last one if there are not so many.
func (p *statusPage) render(v *statusView, q statusQuery, telemetryPath string) (*bytes.Buffer, error) {
	matching := len(v.Clusters)
	pages := max((matching+clustersPerPage-1)/clustersPerPage, 1)
	q.page = min(q.page, pages)
	first := (q.page - 1) * clustersPerPage
	shown := *v
	shown.Clusters = v.Clusters[first:min(first+clustersPerPage, matching)]

	data := statusData{
		statusView: &shown, TelemetryPath: telemetryPath, Telemetry: "./" + strings.TrimPrefix(telemetryPath, "/"),
		Unread: v.Totals.Clusters > 0 && v.Totals.Unread() == v.Totals.Clusters,
		Self:   q.address(), JSON: q.with(func(q *statusQuery) { q.format, q.page = formatJSON, 1 }),
		Matching: matching, Page: q.page, Pages: pages,
	}
	data.Title, data.Verdict, data.Tone = verdict(v)
	for _, by := range []struct{ value, text string }{{sortTrouble, "Trouble first"}, {sortName, "By name"}} {
		data.Sorts = append(data.Sorts, link{
			by.text, q.with(func(q *statusQuery) { q.sort, q.page = by.value, 1 }), q.sort == by.value,
		})
	}
	for _, what := range []struct{ value, text string }{{showAll, "All"}, {showFailing, "Failing only"}} {
		data.Shows = append(data.Shows, link{
			what.text, q.with(func(q *statusQuery) { q.show, q.page = what.value, 1 }), q.show == what.value,
		})
	}
	if q.page > 1 {
		data.Previous = q.with(func(q *statusQuery) { q.page-- })
	}
	if q.page < pages {
		data.Next = q.with(func(q *statusQuery) { q.page++ })
	}
	body := new(bytes.Buffer)
	return body, p.template.Execute(body, data)
}

// with is the address of the page that is asked for with a change.
func (q statusQuery) with(change func(*statusQuery)) string {
	change(&q)
	return q.address()
}

// address leaves out what is meant anyway.
func (q statusQuery) address() string {
	values := url.Values{}
	if q.sort != sortTrouble {
		values.Set("sort", q.sort)
	}
	if q.show != showAll {
		values.Set("show", q.show)
	}
	if q.format != formatHTML {
		values.Set("format", q.format)
	}
	if q.page > 1 {
		values.Set("page", strconv.Itoa(q.page))
	}
	return strings.TrimSuffix("."+pathStatus+"?"+values.Encode(), "?")
}

// verdict says in a few words, and in a sentence or two, how everything is.
func verdict(v *statusView) (title, sentences, tone string) {
	short, long := troubles(v)
	tone = "warn"
	if v.Totals.FailingProjects+v.Totals.Failing() > 0 {
		tone = "bad"
	}
	if len(short) == 0 {
		tone = "idle"
	}
	switch {
	case !v.Ready && v.Totals.Clusters == 0:
		long = append(long, "The exporter is still looking for its clusters.")
	case v.Totals.Clusters == 0:
		long = append(long, "No cluster is known.")
	case v.Totals.Unread() == v.Totals.Clusters:
		long = append(long, "No cluster has been read yet.")
	}
	switch {
	case len(long) == 0:
		return "all well", "Every cluster that was read is well.", "good"
	case len(short) == 0:
		short = []string{strings.TrimSuffix(strings.ToLower(long[0]), ".")}
	}
	return strings.Join(short, ", "), strings.Join(long, " "), tone
}

// troubles lists what is wrong, the worst first, in a few words and in sentences.
func troubles(v *statusView) (short, long []string) {
	if n := v.Totals.FailingProjects; n > 0 {
		short = append(short, plural(n, "failing project", "failing projects"))
		long = append(long, plural(n, "project cannot be read.", "projects cannot be read."))
	}
	for _, of := range []struct {
		state     condition
		one, many string
	}{
		{failing, "cluster cannot be read.", "clusters cannot be read."},
		{rejected, "cluster has rejected or failed connections.", "clusters have rejected or failed connections."},
		{truncated, "list of connections is truncated.", "lists of connections are truncated."},
		{pending, "cluster has connections that wait to be accepted.", "clusters have connections that wait to be accepted."},
		{unlisted, "cluster has accepted accounts off its whitelist.", "clusters have accepted accounts off their whitelists."},
	} {
		if n := v.Totals.States[of.state]; n > 0 {
			short = append(short, fmt.Sprintf("%d %s", n, of.state))
			long = append(long, plural(n, of.one, of.many))
		}
	}
	if v.Config != nil && !v.Config.OK {
		short = append(short, "reload failed")
		long = append(long, "The last reload of the configuration failed; the one before it is in use.")
	}
	return short, long
}

// plural is a count with what it counts.
func plural(count int, one, many string) string {
	if count == 1 {
		return "1 " + one
	}
	return strconv.Itoa(count) + " " + many
}

// Badge says how the project is.
func (p projectStatus) Badge() string {
	if p.State == unread {
		return "still looking"
	}
	return string(p.State)
}

// Badges say how the cluster is, with the numbers that made it so.
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

// Note says what the cluster's condition means for who has to act; empty where that is plain.
func (c clusterStatus) Note() string {
	switch c.State {
	case rejected:
		return "Accept what is rejected or failed, or have the owners delete their endpoints."
	case truncated:
		return "The API lists fewer connections than it reports. The counts are of those that it lists."
	case pending:
		return "Accept or reject the connections that wait."
	case unlisted:
		return "Accounts that the whitelist does not name are connected. Add them, or reject their connections."
	case off:
		return "The cluster's VPC endpoint service is switched off."
	case unread:
		return "No scrape has asked for it yet. That is normal where another exporter reads it."
	}
	return ""
}

// count is a number of connections of one status.
type count struct {
	Number int
	Status css.Status
	Tone   string
}

// nonzero gives the counts that are not 0, in the order of the documentation.
func nonzero(byStatus map[css.Status]int) []count {
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

// Failing is how many clusters the last scrapes could not read.
func (t *totals) Failing() int { return t.States[failing] }

// Unread is how many clusters nobody has asked for.
func (t *totals) Unread() int { return t.States[unread] }

// Rejected is how many connections are rejected.
func (t *totals) Rejected() int { return t.Connections[css.StatusRejected] }

// Listing sums the cluster's last list up.
func (c clusterStatus) Listing() string {
	sum := 0
	for _, n := range c.Connections {
		sum += n
	}
	text := strconv.Itoa(sum) + " listed"
	if c.Reported != nil { // as the API sent it, which may be any number
		text += ", " + strconv.FormatFloat(*c.Reported, 'f', -1, 64) + " reported"
	}
	if c.Truncated != nil && *c.Truncated {
		text += ", truncated"
	}
	if c.Unlisted != nil && *c.Unlisted > 0 {
		text += fmt.Sprintf(", %d accepted though not on the whitelist", *c.Unlisted)
	}
	return text
}

// Tone is how a condition is coloured; its text says the same.
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

// ago is an age, short.
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

// moment is a time as the page shows it.
type moment struct{ At, Ago string }

// When makes a moment of t.
func (v *statusView) When(t time.Time) moment {
	return moment{At: t.UTC().Format(time.RFC3339), Ago: ago(v.Time.Sub(t))}
}

// sentence makes one of a hint.
func sentence(hint string) string {
	hint = printable(hint)
	first, size := utf8.DecodeRuneInString(hint)
	if size == 0 {
		return ""
	}
	return string(unicode.ToUpper(first)) + hint[size:] + "."
}

// printable makes a text from elsewhere fit for the page: what cannot be seen, or would turn the text around it, shows as
// its number, and a very long text ends.
func printable(s string) string {
	const most = 300 // bytes, which every hint has room in
	cut := css.Clean(s, most)
	var b strings.Builder
	for _, r := range cut {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		fmt.Fprintf(&b, "<%U>", r)
	}
	if len(s) > most {
		b.WriteString("…")
	}
	return b.String()
}
