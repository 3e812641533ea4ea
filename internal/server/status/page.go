// SPDX-License-Identifier: Apache-2.0

package status

import (
	"cmp"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"css_vpcep_exporter/internal/clean"
	"css_vpcep_exporter/internal/css"
)

const (
	rowsPerPage    = 500
	openProjects   = 3  // projects without problems that are shown without a click
	changesAtFirst = 10 // the others need a click
)

//go:embed *.html
var templates embed.FS

//go:embed style.css
var styleCSS string

type renderer struct {
	template      *template.Template
	policy        string // Content-Security-Policy
	telemetryPath string
}

func newRenderer(telemetryPath string) (*renderer, error) {
	hash := sha256.Sum256([]byte(styleCSS))
	t, err := template.New("status").Funcs(template.FuncMap{
		"text": escapeUnprintable, "counts": nonzeroCounts, "sentence": sentence, "number": number,
		"style": func() template.CSS { return template.CSS(styleCSS) }, //nolint:gosec // embedded
	}).ParseFS(templates, "*.html")
	return &renderer{
		template: t, telemetryPath: telemetryPath,
		policy: "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) + "'; " +
			"base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
	}, err
}

// common is the data of both pages.
type common struct {
	*view
	Title          string
	Telemetry      string // relative, to work behind a path prefix
	Self, JSON     string
	Cluster        string
	Project        string
	Text           string
	Clear          string // address without filters, if there are any
	Page, Pages    int
	Matching       int // rows on all pages
	Previous, Next string
}

// newCommon returns the data for page p.page of the rows, or the last page if there are fewer, and which rows it shows.
func (r *renderer) newCommon(v *view, p parameters, rows int) (c common, first, end int) {
	pages := max((rows+rowsPerPage-1)/rowsPerPage, 1)
	p.page = min(p.page, pages)
	c = common{
		view: v, Telemetry: "./" + strings.TrimPrefix(r.telemetryPath, "/"), Self: p.address(),
		JSON:    p.with(func(p *parameters) { p.format, p.page = formatJSON, 1 }),
		Cluster: p.cluster, Project: p.project, Text: p.text, Page: p.page, Pages: pages, Matching: rows,
	}
	if p.page > 1 {
		c.Previous = p.with(func(p *parameters) { p.page-- })
	}
	if p.page < pages {
		c.Next = p.with(func(p *parameters) { p.page++ })
	}
	first = (p.page - 1) * rowsPerPage
	return c, first, min(first+rowsPerPage, rows)
}

type option struct {
	Value, Text string
	Current     bool
}

func (r *renderer) list(to io.Writer, v *view, p parameters) error {
	c, first, end := r.newCommon(v, p, len(v.Clusters))
	data := struct {
		common
		Findings                          []finding
		Failing, FailingSessions, Healthy *projectGroup
		Shown                             []clusterStatus
		Shows, Sorts                      []option
		ProjectsToChoose                  []option
	}{common: c, Findings: v.findings(p), Shown: v.Clusters[first:end]}
	data.Title = data.Findings[0].Text
	if p.show != showAll || p.project != "" || p.text != "" {
		data.Clear = "." + Path
	}
	data.Failing, data.FailingSessions, data.Healthy = groupProjects(v)
	data.Shows = append(data.Shows, option{showAll, fmt.Sprintf("all (%d)", v.Totals.Clusters), p.show == showAll},
		option{showAttention, fmt.Sprintf("needs attention (%d)", v.Totals.Attention), p.show == showAttention})
	all := kinds()
	for _, what := range worstFirst() {
		if n, chosen := v.Totals.States[what], p.show == string(what); n > 0 || chosen || what == failing {
			data.Shows = append(data.Shows, option{string(what), fmt.Sprintf("%s (%d)", all[what].label, n), chosen})
		}
	}
	for _, by := range []option{{Value: sortTrouble, Text: "trouble first"}, {Value: sortName, Text: "by name"}} {
		by.Current = p.sort == by.Value
		data.Sorts = append(data.Sorts, by)
	}
	if len(v.projectNames) > 1 {
		data.ProjectsToChoose = append(data.ProjectsToChoose, option{Text: "all"})
		for _, name := range v.projectNames {
			data.ProjectsToChoose = append(data.ProjectsToChoose, option{name, escapeUnprintable(name), p.project == name})
		}
	}
	return r.template.ExecuteTemplate(to, "list.html", data)
}

type projectGroup struct {
	*view
	Title    string
	Open     bool
	Projects []projectStatus
}

// groupProjects separates failing projects and those whose sessions cannot be read from the others. Empty groups are nil.
func groupProjects(v *view) (bad, sessionsFail, others *projectGroup) {
	add := func(to **projectGroup, p projectStatus) {
		if *to == nil {
			*to = &projectGroup{view: v}
		}
		(*to).Projects = append((*to).Projects, p)
	}
	for _, p := range v.Projects {
		switch {
		case p.State == failing:
			add(&bad, p)
		case p.Sessions.Fail():
			add(&sessionsFail, p)
		default:
			add(&others, p)
		}
	}
	if bad != nil {
		bad.Title, bad.Open = plural(len(bad.Projects), "failing project", "failing projects"), true
	}
	if sessionsFail != nil {
		n := len(sessionsFail.Projects)
		sessionsFail.Title, sessionsFail.Open = plural(n, "project whose sessions cannot be read",
			"projects whose sessions cannot be read"), true
	}
	if others != nil {
		n := len(others.Projects)
		others.Title = plural(n, "project without problems", "projects without problems")
		others.Open = n <= openProjects
	}
	return bad, sessionsFail, others
}

type change struct {
	changeStatus
	When timestamp
}

func (c change) Title() string {
	text := strings.ReplaceAll(string(c.Kind), "_", " ")
	return strings.ToUpper(text[:1]) + text[1:]
}

// clusters renders the clusters of an ID, usually one.
func (r *renderer) clusters(to io.Writer, v *view, p parameters) error {
	most := 0
	for i := range v.Clusters {
		d := v.Clusters[i].Details
		most = max(most, len(d.Connections), len(d.Permissions))
	}
	c, first, end := r.newCommon(v, p, most)
	type section struct {
		*clusterStatus
		Shown           []connectionStatus
		Permitted       []permissionStatus
		Recent, Earlier []change
	}
	data := struct {
		common
		Sections []section
	}{common: c}
	data.Title = v.Clusters[0].Findings()[0].Text + ", " + cmp.Or(v.Clusters[0].Name, v.Clusters[0].ID)
	if p.text != "" {
		data.Clear = p.with(func(p *parameters) { p.text, p.page = "", 1 })
	}
	for i := range v.Clusters {
		s := section{clusterStatus: &v.Clusters[i]}
		d := s.Details
		s.Shown = d.Connections[min(first, len(d.Connections)):min(end, len(d.Connections))]
		s.Permitted = d.Permissions[min(first, len(d.Permissions)):min(end, len(d.Permissions))]
		for i, c := range d.Changes {
			if row := (change{c, v.When(c.Time)}); i < changesAtFirst {
				s.Recent = append(s.Recent, row)
			} else {
				s.Earlier = append(s.Earlier, row)
			}
		}
		data.Sections = append(data.Sections, s)
	}
	return r.template.ExecuteTemplate(to, "cluster.html", data)
}

// Page returns the address of the cluster's page.
func (c *clusterStatus) Page() string {
	p := parameters{sort: sortTrouble, show: showAll, format: formatHTML, cluster: c.ID, project: c.Project, page: 1}
	return p.address()
}

func (p projectStatus) Badge() string {
	if p.State == unread {
		return "not refreshed yet"
	}
	return string(p.State)
}

type count struct {
	Number int
	Status css.Status
	Tone   string
}

func nonzeroCounts(byStatus map[css.Status]int) []count {
	var counts []count
	for _, status := range css.Statuses() {
		if n := byStatus[status]; n > 0 {
			counts = append(counts, count{n, status, statusTone(status)})
		}
	}
	return counts
}

func statusTone(status css.Status) string {
	switch status {
	case css.StatusRejected, css.StatusFailed:
		return "bad"
	case css.StatusPendingAcceptance, css.StatusUnknown:
		return "warn"
	case css.StatusAccepted:
		return "good"
	}
	return "idle"
}

func (c *connectionStatus) Tone() string { return statusTone(c.Status) }

// Listed says whether the owner is in the allowlist.
func (c *connectionStatus) Listed() string {
	switch {
	case c.Allowed == nil:
		return "unknown"
	case *c.Allowed:
		return "yes"
	}
	return "no"
}

// Unlisted reports whether the connection is accepted although its owner is not in the allowlist.
func (c *connectionStatus) Unlisted() bool { return c.unlisted() }

func (c *clusterStatus) Listing() string {
	sum := 0
	for _, n := range c.Connections {
		sum += n
	}
	text := strconv.Itoa(sum) + " listed"
	if c.Reported != nil { // the API may send a fraction
		text += ", " + strconv.FormatFloat(*c.Reported, 'f', -1, 64) + " reported"
	}
	if c.Permissions != nil {
		text += ", " + plural(*c.Permissions, "permission", "permissions")
	}
	return text
}

// ChangesNote says what the recent changes cover.
func (c *clusterStatus) ChangesNote() string {
	switch {
	case c.Connections != nil && !c.list.Comparable():
		return "Changes are not recorded while the list is truncated, or something in it has no ID."
	case c.Details.ChangesSince.IsZero():
		return "No list has been read since the exporter started."
	case len(c.Details.Changes) == 0:
		return "None since the exporter started."
	}
	return "The last 50 at most, since the exporter started."
}

// AllowlistNote explains an allowlist that cannot be judged.
func (c *clusterStatus) AllowlistNote() string {
	switch {
	case c.Permissions == nil:
		return "The API has sent no allowlist."
	case *c.Permissions == 0:
		return "The allowlist is empty. The vendor's pages contradict each other about what that means."
	case *c.Wildcard:
		return "A permission is a wildcard: every account may connect."
	case c.Unlisted == nil:
		return "The accounts of some connections cannot be judged: not every permission and connection names an account."
	}
	return ""
}

func ago(age time.Duration) string {
	switch {
	case age < -time.Minute:
		return "in the future"
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
	escaped := clean.Escape(clean.Text(s, maxBytes))
	if len(s) > maxBytes {
		escaped += "…"
	}
	return escaped
}
