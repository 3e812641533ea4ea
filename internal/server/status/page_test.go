// SPDX-License-Identifier: Apache-2.0

package status

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/discovery"

	"github.com/google/go-cmp/cmp"
)

// firstPage returns the default parameters.
func firstPage() parameters {
	return parameters{sort: sortTrouble, show: showAll, format: formatHTML, page: 1}
}

// rendered returns the page of a view, after checking that it is well-formed and that its policy allows only its style.
func rendered(t *testing.T, v *view, p parameters) string {
	t.Helper()
	r, err := newRenderer("/metrics")
	if err != nil {
		t.Fatal(err)
	}
	var body bytes.Buffer
	render := r.list
	if p.cluster != "" {
		render = r.clusters
	}
	if err := render(&body, v, p); err != nil {
		t.Fatal(err)
	}
	text := body.String()
	checkWellFormed(t, text)
	style := regexp.MustCompile(`(?s)<style>(.*)</style>`).FindStringSubmatch(text)
	hash := sha256.Sum256([]byte(style[1]))
	want := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) +
		"'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
	if r.policy != want {
		t.Errorf("got policy %s, want %s", r.policy, want)
	}
	return text
}

// checkWellFormed parses the page as XML, which is strict, and reports elements and attributes that the policy forbids.
func checkWellFormed(t *testing.T, page string) {
	t.Helper()
	ids, labels := make(map[string]bool), []string(nil)
	d := xml.NewDecoder(strings.NewReader(withoutFormValues(page)))
	d.Entity = xml.HTMLEntity
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err, page)
		}
		element, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		switch element.Name.Local {
		case "script", "img", "link", "iframe", "object":
			t.Errorf("forbidden element <%s>", element.Name.Local)
		case "th":
			if !strings.Contains(fmt.Sprint(element.Attr), "scope") {
				t.Error("<th> without scope")
			}
		}
		for _, a := range element.Attr {
			switch name := a.Name.Local; {
			case name == "id":
				if ids[a.Value] {
					t.Errorf("duplicate id %s", a.Value)
				}
				ids[a.Value] = true
			case name == "aria-labelledby":
				labels = append(labels, a.Value)
			case name == "method" && a.Value != "get":
				t.Errorf("got a form with the method %s, want get", a.Value)
			case name == "style", strings.HasPrefix(name, "on"):
				t.Errorf("forbidden attribute <%s %s>", element.Name.Local, name)
			case (name == "href" || name == "action") && !strings.HasPrefix(a.Value, "./"):
				t.Errorf("got a link to %s, want a relative one", a.Value)
			}
		}
	}
	for _, label := range labels {
		if !ids[label] {
			t.Errorf("no element has the id %s", label)
		}
	}
}

// withoutFormValues removes the names that a form sends. A browser does not show them, and they are not escaped beyond
// what HTML needs.
func withoutFormValues(page string) string {
	return regexp.MustCompile(`(<(?:option|input type="hidden" name="\w+")) value="[^"]*"`).ReplaceAllString(page, "$1")
}

// textOf returns the text of the page without tags.
func textOf(page string) string {
	_, page, _ = strings.Cut(page, "<body>")
	const blocks = "td|th|tr|p|div|li|h1|h2|dt|dd|br|nav|select|option|label|span|summary|footer"
	page = regexp.MustCompile(`<(/?)(`+blocks+`)[^>]*>`).ReplaceAllString(page, " ")
	return strings.Join(strings.Fields(regexp.MustCompile(`<[^>]*>`).ReplaceAllString(page, "")), " ")
}

// hostile returns texts that would do harm if they were not escaped.
func hostile() []string {
	return []string{
		`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `javascript:alert(1)`, `{{.}}`, `&lt;b&gt;`,
		strings.Repeat("x", 1000), "abc\u202edef\u2066\u200b", "\x00\x01\x1b[31m\x7f\u0085", "\xff\xfe", "a\nb\tc",
		"--><!--", "]]>",
	}
}

// hostileList returns a list whose texts are all the same.
func hostileList(text string) *css.ConnectionList {
	l := permitting(list(css.StatusAccepted), text)
	l.ServiceName = text
	l.Permissions.Value[0].ID, l.Permissions.Value[0].Type = text, text
	l.Connections[0] = css.Connection{
		ID: text, Status: css.StatusAccepted, DomainID: text, IP: text, IPv6: text, DNSName: text, SpecificationName: text,
	}
	return l
}

func TestHostileTextChangesNoTagAndIsPrintable(t *testing.T) {
	var plainTags [2][]string
	for i, text := range append([]string{"plain"}, hostile()...) {
		newFailure := func() *failure {
			return &failure{
				Reason: cloud.Reason(text), HTTPStatus: 400, Code: text, RequestID: text, Message: text, Hint: text,
				Since: noon(), Last: noon(),
			}
		}
		v := emptyView()
		v.Build, v.Ready = Build{Version: text, Revision: text, GoVersion: text}, true
		v.Projects = []projectStatus{{Name: text, Region: text, ID: text, State: failing, Error: newFailure()}}
		v.Projects[0].Sessions = &sessionsStatus{State: failing, Error: newFailure()}
		v.projectNames = []string{text, "other"}
		c := clusterStatus{
			Project: text, Region: text, ProjectID: text, ID: text, Name: text, Engine: text, EngineVersion: text,
			Conditions: []condition{failing}, Error: newFailure(), list: hostileList(text),
			usage: &usage{status: v.Projects[0].Sessions, missing: "no value"},
		}
		c.addList(c.list)
		c.Details = newDetails(c.list, c.usage, "")
		c.Details.Changes = []changeStatus{{
			Kind: css.PermissionAdded, ConnectionID: text, DomainID: text, IP: text, Permission: text,
		}}
		v.Clusters = []clusterStatus{c}
		p := firstPage()
		p.text, p.project = searchText(text), text
		ofCluster := p
		ofCluster.cluster = text
		for j, page := range []string{rendered(t, v, p), rendered(t, v, ofCluster)} {
			if tags := regexp.MustCompile(`<[a-z/!][^ >]*`).FindAllString(page, -1); i == 0 {
				plainTags[j] = tags
			} else if diff := cmp.Diff(plainTags[j], tags); diff != "" {
				t.Errorf("%.40q: tags: -want +got\n%s", text, diff)
			}
			for _, r := range withoutFormValues(page) {
				if !unicode.IsPrint(r) && r != '\n' {
					t.Errorf("%.40q: got unprintable %U", text, r)
				}
			}
		}
	}
}

func TestEscapeUnprintable(t *testing.T) {
	for in, want := range map[string]string{
		"":                         "",
		"søk-\u4e2d\u05d0":         "søk-\u4e2d\u05d0",
		"a\u202eb\u200b":           "a<U+202E>b<U+200B>",
		"a\x00b\n":                 "a�b<U+000A>",
		strings.Repeat("x", 300):   strings.Repeat("x", 300),
		strings.Repeat("x", 1_000): strings.Repeat("x", 300) + "…",
	} {
		if got := escapeUnprintable(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestAgo(t *testing.T) {
	for age, want := range map[time.Duration]string{
		-time.Hour:               "in the future",
		-time.Minute:             "just now",
		999 * time.Millisecond:   "just now",
		time.Second:              "1 s ago",
		59999 * time.Millisecond: "59 s ago",
		time.Minute:              "1 min ago",
		time.Hour - 1:            "59 min ago",
		time.Hour:                "1 h ago",
		47 * time.Hour:           "47 h ago",
		48 * time.Hour:           "2 d ago",
		1000 * 24 * time.Hour:    "1000 d ago",
	} {
		if got := ago(age); got != want {
			t.Errorf("%s: got %s, want %s", age, got, want)
		}
	}
}

func TestFindings(t *testing.T) {
	type states = map[condition]int
	for _, tc := range []struct {
		totals totals
		ready  bool
		config *configStatus
		want   string
	}{
		{totals{}, false, nil, "idle: Discovery has not finished yet"},
		{totals{}, true, nil, "idle: No clusters found"},
		{totals{Projects: 1, FailingProjects: 1}, true, nil, "bad: 1 project cannot be read, idle: No clusters found"},
		{totals{Clusters: 2, States: states{unread: 2}}, true, nil, "idle: No cluster has been read yet"},
		{
			totals{Clusters: 3, States: states{unread: 1, ok: 1, off: 1}}, true, &configStatus{OK: true},
			"good: No problems in the clusters that were read, idle: 1 cluster has its VPC endpoint service switched off, " +
				"idle: 1 cluster has not been read yet",
		},
		{
			totals{Clusters: 1, States: states{ok: 1}}, true, &configStatus{},
			"warn: The last configuration reload failed",
		},
		{
			totals{Clusters: 1, States: states{failing: 1, rejected: 1, pending: 1, unlisted: 1}}, true, nil,
			"bad: 1 cluster cannot be read, " +
				"bad: 1 cluster has accepted connections of accounts that are not in the allowlist, " +
				"bad: 1 cluster has rejected connections, warn: 1 cluster has connections pending acceptance",
		},
		{
			totals{FailingSessions: 2, Clusters: 2, States: states{failing: 1, almostFull: 1, filling: 1}}, true, &configStatus{},
			"bad: 1 cluster cannot be read, bad: 1 cluster has connections above 95 % of their sessions, " +
				"warn: 1 cluster has connections above 80 % of their sessions, warn: 2 projects' sessions cannot be read, " +
				"warn: The last configuration reload failed",
		},
		{
			totals{FailingProjects: 2, Clusters: 12, States: states{
				failing: 2, failed: 3, unlisted: 2, rejected: 4, truncated: 2, pending: 2, stale: 2, ok: 2, open: 2,
			}}, true, nil,
			"bad: 2 projects cannot be read, bad: 2 clusters cannot be read, bad: 3 clusters have failed connections, " +
				"bad: 2 clusters have accepted connections of accounts that are not in the allowlist, " +
				"bad: 4 clusters have rejected connections, warn: 2 connection lists are truncated, " +
				"warn: 2 clusters have connections pending acceptance, " +
				"warn: 2 clusters were last read more than 15 minutes ago, idle: 2 clusters let every account connect",
		},
	} {
		v := &view{Totals: tc.totals, Ready: tc.ready, Config: tc.config}
		var got []string
		for _, f := range v.findings(firstPage()) {
			got = append(got, f.Tone+": "+f.Text)
		}
		if got := strings.Join(got, ", "); got != tc.want {
			t.Errorf("\n got %s\nwant %s", got, tc.want)
		}
	}
}

func TestFindingsLinkToTheirClusters(t *testing.T) {
	v := emptyView()
	v.Totals.Clusters, v.Totals.States[failing], v.Totals.States[rejected] = 2, 1, 1
	p := firstPage()
	p.sort, p.project, p.text, p.page = sortName, "production", "search", 3
	page := rendered(t, v, p)
	for _, want := range []string{
		`<a href="./status?show=failing&amp;sort=name">1 cluster cannot be read</a>`,
		`<a href="./status?show=rejected&amp;sort=name">1 cluster has rejected connections</a>`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("missing: %s", want)
		}
	}
}

func TestLinksToOtherPagesKeepTheOrderAndTheFilter(t *testing.T) {
	v := emptyView()
	for i := range 1001 {
		id := fmt.Sprintf("id%04d", i)
		v.Clusters = append(v.Clusters, clusterStatus{ID: id, Name: "search", Conditions: []condition{unread}})
	}
	rows := regexp.MustCompile(`<code class="copy">(id\d+)</code>`)
	links := regexp.MustCompile(`<a href="([^"]*)"(?: rel="\w+")?>(Previous|Next) page</a>`)
	current := regexp.MustCompile(`<option value="([^"]*)" selected="selected">`)
	const kept = "q=search&amp;show=failing&amp;sort=name"
	const toFirst, toSecond, toThird = "./status?" + kept, "./status?page=2&amp;" + kept, "./status?page=3&amp;" + kept
	for _, tc := range []struct {
		page        int
		first, last string
		rows        int
		links, bar  string
	}{
		{1, "id0000", "id0499", 500, "[" + toSecond + " Next]", "Page 1 of 3"},
		{2, "id0500", "id0999", 500, "[" + toFirst + " Previous] [" + toThird + " Next]", "Page 2 of 3"},
		{3, "id1000", "id1000", 1, "[" + toSecond + " Previous]", "Page 3 of 3"},
		{1 << 62, "id1000", "id1000", 1, "[" + toSecond + " Previous]", "Page 3 of 3"},
	} {
		page := rendered(t, v, parameters{
			sort: sortName, show: string(failing), format: formatHTML, text: "search", page: tc.page,
		})
		shown := rows.FindAllStringSubmatch(page, -1)
		if len(shown) != tc.rows || shown[0][1] != tc.first || shown[len(shown)-1][1] != tc.last {
			t.Errorf("page %d: got %d clusters from %s, want %d from %s to %s",
				tc.page, len(shown), shown[0][1], tc.rows, tc.first, tc.last)
		}
		var found []string
		for _, l := range links.FindAllStringSubmatch(page, -1) {
			found = append(found, fmt.Sprint(l[1:]))
		}
		if got := strings.Join(found, " "); got != tc.links || !strings.Contains(page, tc.bar) {
			t.Errorf("page %d: got links %s, want %s and %q", tc.page, got, tc.links, tc.bar)
		}
		chosen := current.FindAllStringSubmatch(page, -1)
		if len(chosen) != 2 || chosen[0][1] != "failing" || chosen[1][1] != "name" {
			t.Errorf("page %d: got %q selected, want failing and name", tc.page, chosen)
		}
	}
}

func TestLinksAndOptionsOfFilteredPages(t *testing.T) {
	r := newRig(t, nil, discovery.Listed{ID: "healthy"})
	for query, want := range map[string][]string{
		"": {
			`<a href="./status">Refresh</a>`, `<a href="./status?format=json">JSON</a>`,
			`<option value="failing">unreadable (0)</option>`, `<option value="attention">needs attention (0)</option>`, `<option value="unread">not read yet (1)</option>`,
		},
		"show=rejected&sort=name": {
			`<a href="./status?show=rejected&amp;sort=name">Refresh</a>`, `<a href="./status">Clear</a>`,
			"0 of 1 clusters match.",
			`<option value="rejected" selected="selected">rejected (0)</option>`, "No cluster matches.",
		},
		"project=production": {`<a href="./status">Clear</a>`, "1 of 1 clusters match."},
		"q=heal":             {`<a href="./status">Clear</a>`, "1 of 1 clusters match.", `name="q" value="heal"`},
		"cluster=healthy&project=production&q=x&page=2": {
			`<a href="./status">All clusters</a>`,
			`<a href="./status?cluster=healthy&amp;format=json&amp;project=production&amp;q=x">JSON</a>`,
			`<a href="./status?cluster=healthy&amp;project=production">Clear</a>`, `name="q" value="x"`,
			`<input type="hidden" name="cluster" value="healthy"/>`, `<input type="hidden" name="project" value="production"/>`,
			"No connection matches.", `<a href="./probe?target=healthy&amp;project=production">Probe</a>`,
		},
	} {
		page := r.html(t, query)
		for _, want := range want {
			if !strings.Contains(page, want) {
				t.Errorf("%s: missing: %s", query, want)
			}
		}
		if filtered := query != ""; strings.Contains(page, ">Clear<") != filtered {
			t.Errorf("%s: got a link to clear filters: %t, want %t", query, !filtered, filtered)
		}
	}
}

func TestSinglePageHasNoLinksToOtherPages(t *testing.T) {
	p := firstPage()
	p.page = 7
	if page := rendered(t, emptyView(), p); strings.Contains(page, `aria-label="Pages"`) {
		t.Errorf("got links to other pages in:\n%s", page)
	}
}

func TestTopAndBottomOfThePage(t *testing.T) {
	allUnread := func() *view {
		v := emptyView()
		v.Ready, v.Build = true, Build{Version: "1.2.3", Revision: "abc", GoVersion: "go1.26"}
		v.Totals.Clusters, v.Totals.States[unread] = 1, 1
		return v
	}
	reloaded := allUnread()
	reloaded.Config = &configStatus{OK: true, LastSuccess: noon().Add(-time.Hour)}
	reloadFailed := allUnread()
	reloadFailed.Config = &configStatus{LastSuccess: noon().Add(-time.Hour)}
	neverLoaded := allUnread()
	neverLoaded.Config = &configStatus{}
	demo := allUnread()
	demo.Demo = true
	starting := emptyView()
	withoutClusters := emptyView()
	withoutClusters.Ready = true
	const top = "CSS VPC endpoints Refresh JSON Metrics Start page "
	for _, tc := range []struct {
		view *view
		want string
	}{
		{
			allUnread(), top + "No cluster has been read yet Configure Prometheus to scrape this exporter. " +
				"This page shows the results of scrapes and sends no request to the API. Projects 0 Clusters 1",
		},
		{allUnread(), "Exporter ready Version 1.2.3 Revision abc Go go1.26 To check each project step by step css_vpcep_exporter --diagnose Page generated 2026-11-23T12:00:00Z"},
		{demo, "Demo: these projects and clusters are simulated. Nothing on this page is real. " + top},
		{starting, "Discovery has not finished yet Refresh this page in a few seconds. "},
		{starting, "Exporter not ready"},
		{withoutClusters, "No clusters found Check clusters and discovery in the configuration file."},
		{reloaded, "Configuration loaded 1 h ago 2026-11-23T11:00:00Z Exporter"},
		{reloadFailed, "Configuration last reload failed loaded 1 h ago 2026-11-23T11:00:00Z Exporter"},
		{neverLoaded, "Configuration last reload failed Exporter"},
	} {
		got := textOf(rendered(t, tc.view, firstPage()))
		if !strings.Contains(got, tc.want) {
			t.Errorf("want %s\ngot  %s", tc.want, got)
		}
		if !tc.view.Demo && strings.Contains(got, "simulated") {
			t.Errorf("got the banner of the demo in %s", got)
		}
	}
}

func TestManyHealthyProjectsNeedAClick(t *testing.T) {
	v := emptyView()
	v.Projects = []projectStatus{{Name: "lost", State: failing}, {Name: "a", State: ok}, {Name: "b", State: unread}}
	for _, tc := range []struct {
		more int
		want []string
	}{
		{1, []string{`<details open="open"> 1 failing project`, `<details open="open"> 3 projects without problems`}},
		{2, []string{`<details open="open"> 1 failing project`, `<details> 4 projects without problems`}},
	} {
		shown := *v
		for range tc.more {
			shown.Projects = append(slices.Clip(shown.Projects), projectStatus{Name: "c", State: ok})
		}
		page := rendered(t, &shown, firstPage())
		var got []string
		for _, m := range regexp.MustCompile(`(<details[^>]*>)\n<summary><h2>([^<]*)`).FindAllStringSubmatch(page, -1) {
			got = append(got, m[1]+" "+m[2])
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
		before, after, _ := strings.Cut(page, `id="clusters"`)
		if !strings.Contains(before, "failing project<") || !strings.Contains(after, "projects without problems<") {
			t.Error("the clusters are not between the failing projects and the others")
		}
	}
}
