// SPDX-License-Identifier: Apache-2.0

package status

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"

	"css_vpcep_exporter/internal/cloud"

	"github.com/google/go-cmp/cmp"
)

// firstPage returns the default parameters.
func firstPage() parameters {
	return parameters{sort: sortTrouble, show: showAll, format: formatHTML, page: 1}
}

// rendered returns the page of a view, after checking that it is well-formed and that its policy allows only its style.
func rendered(t *testing.T, v *view, p parameters) string {
	t.Helper()
	r, err := newRenderer()
	if err != nil {
		t.Fatal(err)
	}
	body, err := r.render(v, p, "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	text := body.String()
	checkWellFormed(t, text)
	style := regexp.MustCompile(`(?s)<style>(.*)</style>`).FindStringSubmatch(text)
	hash := sha256.Sum256([]byte(style[1]))
	want := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) +
		"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	if r.policy != want {
		t.Errorf("got policy %s, want %s", r.policy, want)
	}
	return text
}

// checkWellFormed parses the page as XML, which is strict, and reports elements and attributes that the policy forbids.
func checkWellFormed(t *testing.T, page string) {
	t.Helper()
	ids, labels := make(map[string]bool), []string(nil)
	d := xml.NewDecoder(strings.NewReader(page))
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
		case "script", "img", "link", "iframe", "form", "object":
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
			case name == "style", strings.HasPrefix(name, "on"):
				t.Errorf("forbidden attribute <%s %s>", element.Name.Local, name)
			case name == "href" && !strings.HasPrefix(a.Value, "./"):
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

// textOf returns the text of the page without tags.
func textOf(page string) string {
	_, page, _ = strings.Cut(page, "<body>")
	page = regexp.MustCompile(`<(/?)(td|th|tr|p|div|li|h1|h2|dt|dd|br|nav)[^>]*>`).ReplaceAllString(page, " ")
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

func TestHostileTextChangesNoTagAndIsPrintable(t *testing.T) {
	var plainTags []string
	for i, text := range append([]string{"plain"}, hostile()...) {
		newFailure := func() *failure {
			return &failure{
				Reason: cloud.Reason(text), HTTPStatus: 400, Code: text, RequestID: text, Message: text, Hint: text,
				Since: noon(), Last: noon(),
			}
		}
		v := newView(nil, nil, nil, noon())
		v.Version, v.Ready = text, true
		v.Projects = []projectStatus{{Name: text, Region: text, ID: text, State: failing, Error: newFailure()}}
		v.Clusters = []clusterStatus{{
			Project: text, Region: text, ProjectID: text, ID: text, Name: text, Engine: text, EngineVersion: text,
			State: failing, Error: newFailure(),
		}}
		page := rendered(t, v, firstPage())
		if tags := regexp.MustCompile(`<[a-z/!][^ >]*`).FindAllString(page, -1); i == 0 {
			plainTags = tags
		} else if diff := cmp.Diff(plainTags, tags); diff != "" {
			t.Errorf("%.40q: tags: -want +got\n%s", text, diff)
		}
		for _, r := range page {
			if !unicode.IsPrint(r) && r != '\n' {
				t.Errorf("%.40q: got unprintable %U", text, r)
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
		-time.Hour:               "just now",
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

func TestSummary(t *testing.T) {
	type states = map[condition]int
	for _, tc := range []struct {
		totals               totals
		ready                bool
		config               *configStatus
		tone, title, summary string
	}{
		{
			totals{}, false, nil,
			"idle", "discovery has not finished yet", "Discovery has not finished yet.",
		},
		{
			totals{}, true, nil,
			"idle", "no clusters found", "No clusters found.",
		},
		{
			totals{Projects: 1, FailingProjects: 1}, true, nil,
			"bad", "1 failing project", "1 project cannot be read. No clusters found.",
		},
		{
			totals{Clusters: 2, States: states{unread: 2}}, true, nil,
			"idle", "no cluster has been read yet", "No cluster has been read yet.",
		},
		{
			totals{Clusters: 3, States: states{unread: 1, ok: 1, off: 1}}, true, &configStatus{OK: true},
			"good", "no problems", "No problems in the clusters that were read.",
		},
		{
			totals{Clusters: 1, States: states{ok: 1}}, true, &configStatus{},
			"warn", "reload failed",
			"The last configuration reload failed; the previous configuration remains in use.",
		},
		{
			totals{Clusters: 1, States: states{rejected: 1}}, true, nil,
			"warn", "1 rejected", "1 cluster has rejected or failed connections.",
		},
		{
			totals{FailingProjects: 2, Clusters: 12, States: states{
				failing: 2, rejected: 2, truncated: 2, pending: 2, unlisted: 2, ok: 2,
			}}, true, nil,
			"bad", "2 failing projects, 2 failing, 2 rejected, 2 truncated, 2 pending, 2 unlisted",
			"2 projects cannot be read. 2 clusters cannot be read. " +
				"2 clusters have rejected or failed connections. 2 connection lists are truncated. " +
				"2 clusters have connections pending acceptance. " +
				"2 clusters have accepted connections of accounts not in their allowlists.",
		},
	} {
		title, summary, tone := summarize(&view{Totals: tc.totals, Ready: tc.ready, Config: tc.config})
		if title != tc.title || summary != tc.summary || tone != tc.tone {
			t.Errorf("got  %s, %s: %s\nwant %s, %s: %s", tone, title, summary, tc.tone, tc.title, tc.summary)
		}
	}
}

func TestLinksToOtherPagesKeepTheOrderAndTheFilter(t *testing.T) {
	v := newView(nil, nil, nil, noon())
	for i := range 1001 {
		v.Clusters = append(v.Clusters, clusterStatus{ID: fmt.Sprintf("id%04d", i), State: unread})
	}
	rows := regexp.MustCompile(`<code class="copy">(id\d+)</code>`)
	links := regexp.MustCompile(`<a href="([^"]*)"(?: rel="\w+")?>(Previous|Next) page</a>`)
	current := regexp.MustCompile(`<a href="[^"]*" aria-current="true">([^<]*)</a>`)
	const kept = "show=failing&amp;sort=name"
	const toFirst, toSecond, toThird = "./status?" + kept, "./status?page=2&amp;" + kept, "./status?page=3&amp;" + kept
	for _, tc := range []struct {
		page        int
		first, last string
		rows        int
		links, bar  string
	}{
		{1, "id0000", "id0499", 500, "[" + toSecond + " Next]", "Page 1 of 3, 1001 clusters"},
		{2, "id0500", "id0999", 500, "[" + toFirst + " Previous] [" + toThird + " Next]", "Page 2 of 3, 1001 clusters"},
		{3, "id1000", "id1000", 1, "[" + toSecond + " Previous]", "Page 3 of 3, 1001 clusters"},
		{1 << 62, "id1000", "id1000", 1, "[" + toSecond + " Previous]", "Page 3 of 3, 1001 clusters"},
	} {
		page := rendered(t, v, parameters{sort: sortName, show: showFailing, format: formatHTML, page: tc.page})
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
		if len(chosen) != 2 || chosen[0][1] != "By name" || chosen[1][1] != "Failing only" {
			t.Errorf("page %d: got current links %q, want By name and Failing only", tc.page, chosen)
		}
	}
}

func TestSinglePageHasNoLinksToOtherPages(t *testing.T) {
	p := firstPage()
	p.page = 7
	if page := rendered(t, newView(nil, nil, nil, noon()), p); strings.Contains(page, `aria-label="Pages"`) {
		t.Errorf("got links to other pages in:\n%s", page)
	}
}

func TestTopOfThePage(t *testing.T) {
	allUnread := func() *view {
		v := newView(nil, nil, nil, noon())
		v.Ready, v.Version = true, "1.2.3"
		v.Totals.Clusters, v.Totals.States[unread] = 1, 1
		return v
	}
	reloaded := allUnread()
	reloaded.Config = &configStatus{OK: true, LastSuccess: noon().Add(-time.Hour)}
	reloadFailed := allUnread()
	reloadFailed.Config = &configStatus{LastSuccess: noon().Add(-time.Hour)}
	neverLoaded := allUnread()
	neverLoaded.Config = &configStatus{}
	starting := newView(nil, nil, nil, noon())
	withoutClusters := newView(nil, nil, nil, noon())
	withoutClusters.Ready = true
	for _, tc := range []struct {
		view *view
		want string
	}{
		{
			allUnread(), "CSS VPC endpoints Reload JSON Metrics Start page No cluster has been read yet. " +
				"Configure Prometheus to scrape /metrics. " +
				"This page shows the results of scrapes and sends no request to the API. " +
				"Projects 0 Clusters 1 Failing clusters 0 Not read yet 1 Exporter ready " +
				"Page generated 2026-11-23T12:00:00Z Version 1.2.3",
		},
		{starting, "Discovery has not finished yet. Reload this page in a few seconds. "},
		{starting, "Exporter not ready"},
		{withoutClusters, "No clusters found. Check clusters and discovery in the configuration file."},
		{reloaded, "Configuration loaded 1 h ago 2026-11-23T11:00:00Z Page generated"},
		{reloadFailed, "Configuration last reload failed loaded 1 h ago 2026-11-23T11:00:00Z Page generated"},
		{neverLoaded, "Configuration last reload failed Page generated"},
	} {
		if got := textOf(rendered(t, tc.view, firstPage())); !strings.Contains(got, tc.want) {
			t.Errorf("want %s\ngot  %s", tc.want, got)
		}
	}
}
