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

	"css_vpcep_exporter/internal/css"

	"github.com/google/go-cmp/cmp"
)

// firstPage returns the default query.
func firstPage() parameters {
	return parameters{sort: sortTrouble, show: showAll, format: formatHTML, page: 1}
}

// rendered returns the page of a view, after checking that it is well-formed and that its policy allows only its style.
func rendered(t *testing.T, v *view, q parameters) string {
	t.Helper()
	page, err := newRenderer()
	if err != nil {
		t.Fatal(err)
	}
	body, err := page.render(v, q, "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	text := body.String()
	wellFormed(t, text)
	style := regexp.MustCompile(`(?s)<style>(.*)</style>`).FindStringSubmatch(text)
	hash := sha256.Sum256([]byte(style[1]))
	want := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) +
		"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	if page.policy != want {
		t.Errorf("policy %s, want %s", page.policy, want)
	}
	return text
}

// wellFormed parses the page as XML, which is strict, and reports elements and attributes that the policy forbids.
func wellFormed(t *testing.T, page string) {
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
				t.Errorf("link to %s", a.Value)
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
		strings.Repeat("x", 1000), "abc\u202edef\u2066\u200b", "\x00\x01\x1b[31m\x7f\u0085", "\xff\xfe", "a\nb\tc", "--><!--", "]]>",
	}
}

// TestPageEscapes checks that hostile text in any place changes no tag and leaves no unprintable character.
func TestPageEscapes(t *testing.T) {
	var plain []string
	for i, text := range append([]string{"plain"}, hostile()...) {
		failed := func() *failure {
			return &failure{
				Reason: css.Reason(text), HTTPStatus: 400, Code: text, RequestID: text, Message: text, Hint: text,
				Since: noon(), Last: noon(),
			}
		}
		v := newView(nil, nil, nil, noon())
		v.Version, v.Ready = text, true
		v.Projects = []projectStatus{{Name: text, Region: text, ID: text, State: failing, Error: failed()}}
		v.Clusters = []clusterStatus{{
			Project: text, Region: text, ProjectID: text, ID: text, Name: text, Engine: text, EngineVersion: text,
			State: failing, Error: failed(),
		}}
		page := rendered(t, v, firstPage())
		if tags := regexp.MustCompile(`<[a-z/!][^ >]*`).FindAllString(page, -1); i == 0 {
			plain = tags
		} else if diff := cmp.Diff(plain, tags); diff != "" {
			t.Errorf("%.40q changes the page: %s", text, diff)
		}
		for _, r := range page {
			if !unicode.IsPrint(r) && r != '\n' {
				t.Errorf("%.40q leaves %U on the page", text, r)
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
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestAgo(t *testing.T) {
	for age, want := range map[time.Duration]string{
		-time.Hour: "just now", 999 * time.Millisecond: "just now", time.Second: "1 s ago", 59999 * time.Millisecond: "59 s ago",
		time.Minute: "1 min ago", time.Hour - 1: "59 min ago", time.Hour: "1 h ago", 47 * time.Hour: "47 h ago", 48 * time.Hour: "2 d ago",
		1000 * 24 * time.Hour: "1000 d ago",
	} {
		if got := ago(age); got != want {
			t.Errorf("%s: %s, want %s", age, got, want)
		}
	}
}

func TestVerdict(t *testing.T) {
	type states = map[condition]int
	for _, tc := range []struct {
		totals totals
		ready  bool
		config *configStatus
		want   string
	}{
		{totals{}, false, nil, "idle|discovery has not finished yet|Discovery has not finished yet."},
		{totals{}, true, nil, "idle|no clusters found|No clusters found."},
		{totals{Projects: 1, FailingProjects: 1}, true, nil, "bad|1 failing project|1 project cannot be read. No clusters found."},
		{totals{Clusters: 2, States: states{unread: 2}}, true, nil, "idle|no cluster has been read yet|No cluster has been read yet."},
		{totals{Clusters: 3, States: states{unread: 1, ok: 1, off: 1}}, true, &configStatus{OK: true}, "good|no problems|No problems in the clusters that were read."},
		{totals{Clusters: 1, States: states{ok: 1}}, true, &configStatus{}, "warn|reload failed|The last configuration reload failed; the previous configuration remains in use."},
		{totals{Clusters: 1, States: states{rejected: 1}}, true, nil, "warn|1 rejected|1 cluster has rejected or failed connections."},
		{
			totals{FailingProjects: 2, Clusters: 12, States: states{failing: 2, rejected: 2, truncated: 2, pending: 2, unlisted: 2, ok: 2}}, true, nil,
			"bad|2 failing projects, 2 failing, 2 rejected, 2 truncated, 2 pending, 2 unlisted|2 projects cannot be read. 2 clusters cannot be read. " +
				"2 clusters have rejected or failed connections. 2 connection lists are truncated. " +
				"2 clusters have connections pending acceptance. " +
				"2 clusters have accepted connections of accounts not in their whitelists.",
		},
	} {
		title, sentences, tone := summarize(&view{Totals: tc.totals, Ready: tc.ready, Config: tc.config})
		if got := tone + "|" + title + "|" + sentences; got != tc.want {
			t.Errorf("got  %s\nwant %s", got, tc.want)
		}
	}
}

// TestPagePages checks that a page shows 500 clusters, and that its links keep the order and the filter.
func TestPagePages(t *testing.T) {
	v := newView(nil, nil, nil, noon())
	for i := range 1001 {
		v.Clusters = append(v.Clusters, clusterStatus{ID: fmt.Sprintf("id%04d", i), State: unread})
	}
	rows := regexp.MustCompile(`<code class="copy">(id\d+)</code>`)
	links := regexp.MustCompile(`<a href="([^"]*)"(?: rel="\w+")?>(Previous|Next) page</a>`)
	for _, tc := range []struct {
		page        int
		first, last string
		rows        int
		links, bar  string
	}{
		{1, "id0000", "id0499", 500, "[./status?page=2&amp;show=failing&amp;sort=name Next]", "Page 1 of 3, 1001 clusters"},
		{2, "id0500", "id0999", 500, "[./status?show=failing&amp;sort=name Previous] [./status?page=3&amp;show=failing&amp;sort=name Next]", "Page 2 of 3, 1001 clusters"},
		{3, "id1000", "id1000", 1, "[./status?page=2&amp;show=failing&amp;sort=name Previous]", "Page 3 of 3, 1001 clusters"},
		{1 << 62, "id1000", "id1000", 1, "[./status?page=2&amp;show=failing&amp;sort=name Previous]", "Page 3 of 3, 1001 clusters"},
	} {
		page := rendered(t, v, parameters{sort: sortName, show: showFailing, format: formatHTML, page: tc.page})
		shown := rows.FindAllStringSubmatch(page, -1)
		if len(shown) != tc.rows || shown[0][1] != tc.first || shown[len(shown)-1][1] != tc.last {
			t.Errorf("page %d has %d clusters from %s", tc.page, len(shown), shown[0][1])
		}
		var found []string
		for _, l := range links.FindAllStringSubmatch(page, -1) {
			found = append(found, fmt.Sprint(l[1:]))
		}
		if got := strings.Join(found, " "); got != tc.links || !strings.Contains(page, tc.bar) {
			t.Errorf("page %d: %s", tc.page, got)
		}
		current := regexp.MustCompile(`<a href="[^"]*" aria-current="true">([^<]*)</a>`).FindAllStringSubmatch(page, -1)
		if len(current) != 2 || current[0][1] != "By name" || current[1][1] != "Failing only" {
			t.Error(current)
		}
	}
	q := firstPage()
	q.page = 7
	if page := rendered(t, newView(nil, nil, nil, noon()), q); strings.Contains(page, `aria-label="Pages"`) {
		t.Error("a single page has links to other pages")
	}
}

// TestPageTexts checks the texts about a cluster and a project in each state.
func TestPageTexts(t *testing.T) {
	type counts = map[css.Status]int
	read := func(c clusterStatus) clusterStatus {
		c.ID, c.Project, c.Region, c.LastSuccess = "id", "production", "cn-north-4", noon().Add(-12*time.Second)
		c.Enabled = new(c.Connections != nil)
		if c.Connections != nil && c.Truncated == nil {
			c.Truncated = new(false)
		}
		return c
	}
	const about = " id production, cn-north-4 "
	const when = " 12 s ago 2026-11-23T11:59:48Z Read now: id"
	for _, tc := range []struct {
		cluster clusterStatus
		want    string
	}{
		{clusterStatus{ID: "id", Name: "search", Project: "production", Region: "cn-north-4", Engine: "opensearch", EngineVersion: "2.19.0", State: unread},
			"not read yet search id production, cn-north-4, opensearch 2.19.0 No scrape has read this cluster yet. This is normal if another exporter scrapes it. never Read now: id"},
		{read(clusterStatus{State: ok, Connections: counts{css.StatusAccepted: 3, css.StatusCreating: 1}, Reported: new(4.0)}),
			"ok" + about + "3 accepted 1 creating 4 listed, 4 reported" + when},
		{read(clusterStatus{State: ok, Connections: counts{css.StatusAccepted: 0}, Unlisted: new(0)}), "ok" + about + "0 listed" + when},
		{read(clusterStatus{State: off}), "service off" + about + "The cluster&#39;s VPC endpoint service is switched off." + when},
		{read(clusterStatus{State: rejected, Connections: counts{css.StatusRejected: 2, css.StatusFailed: 1}}),
			"2 rejected1 failed" + about + "2 rejected 1 failed 3 listed Accept the rejected or failed connections, or ask their owners to delete the endpoints." + when},
		{read(clusterStatus{State: truncated, Connections: counts{css.StatusAccepted: 8}, Reported: new(33.0), Truncated: new(true)}),
			"truncated" + about + "8 accepted 8 listed, 33 reported, truncated The API lists fewer connections than it reports. The counts cover the listed ones only." + when},
		{read(clusterStatus{State: pending, Connections: counts{css.StatusPendingAcceptance: 1}}),
			"1 pending" + about + "1 pendingAcceptance 1 listed Accept or reject the pending connections." + when},
		{read(clusterStatus{State: unlisted, Connections: counts{css.StatusAccepted: 2}, Unlisted: new(1)}),
			"1 unlisted" + about + "2 accepted 2 listed, 1 accepted but not in the whitelist Accepted connections belong to accounts not in the whitelist. Add the accounts, or reject the connections." + when},
		{read(clusterStatus{State: failing, Connections: counts{css.StatusAccepted: 2}, Error: &failure{
			Reason: css.ReasonDenied, HTTPStatus: 403, Code: "CSS.0015", RequestID: "r1", Message: "No.", Hint: "ask for it", Since: noon().Add(-3 * time.Hour), Last: noon(),
		}}), "failing" + about + "denied HTTP 403 CSS.0015 No. Request ID r1 What to do: Ask for it. First failed 3 h ago 2026-11-23T09:00:00Z, " +
			"last failed just now 2026-11-23T12:00:00Z From the last successful read: 2 accepted 2 listed" + when},
	} {
		v := newView(nil, nil, nil, noon())
		v.Clusters = []clusterStatus{tc.cluster}
		if got := textOf(rendered(t, v, firstPage())); !strings.Contains(got, "Last successful read "+tc.want) {
			t.Errorf("%s:\nwant %s\ngot  %s", tc.cluster.State, tc.want, got)
		}
	}
	for _, tc := range []struct {
		project projectStatus
		want    string
	}{
		{projectStatus{Name: "n", Region: "r", State: unread, Discovery: discoveryStatus{Enabled: true}},
			"not refreshed yet n r unknown Discovery is on. It has not succeeded yet."},
		{projectStatus{Name: "n", Region: "r", ID: "p1", State: ok}, "ok n r p1 Discovery is off: only clusters listed in the configuration file are read."},
		{projectStatus{Name: "n", Region: "r", ID: "p1", State: failing, Error: &failure{Reason: css.ReasonAuth, HTTPStatus: 401, Message: "no", Hint: "check"},
			Discovery: discoveryStatus{Enabled: true, LastSuccess: noon().Add(-2 * time.Minute), Clusters: new(0)}},
			"failing n r p1 auth HTTP 401 no What to do: Check. Discovery is on, clusters found: 0. Last success 2 min ago 2026-11-23T11:58:00Z"},
	} {
		v := newView(nil, nil, nil, noon())
		v.Projects = []projectStatus{tc.project}
		if got := textOf(rendered(t, v, firstPage())); !strings.Contains(got, tc.want) {
			t.Errorf("want %s\ngot  %s", tc.want, got)
		}
	}
}

// TestPageTop checks the head of the page, which says what to do at first.
func TestPageTop(t *testing.T) {
	allUnread := func() *view {
		v := newView(nil, nil, nil, noon())
		v.Ready, v.Version = true, "1.2.3"
		v.Totals.Clusters, v.Totals.States[unread] = 1, 1
		return v
	}
	reloaded := allUnread()
	reloaded.Config = &configStatus{OK: true, LastSuccess: noon().Add(-time.Hour)}
	kept := allUnread()
	kept.Config = &configStatus{LastSuccess: noon().Add(-time.Hour)}
	never := allUnread()
	never.Config = &configStatus{}
	starting := newView(nil, nil, nil, noon())
	none := newView(nil, nil, nil, noon())
	none.Ready = true
	for _, tc := range []struct {
		view *view
		want string
	}{
		{allUnread(), "CSS VPC endpoints Reload JSON Metrics Start page No cluster has been read yet. Configure Prometheus to scrape /metrics. This page shows the results of scrapes and sends no request to the API. " +
			"Projects 0 Clusters 1 Failing clusters 0 Not read yet 1 Exporter ready Page generated 2026-11-23T12:00:00Z Version 1.2.3"},
		{starting, "Discovery has not finished yet. Reload this page in a few seconds. "},
		{starting, "Exporter not ready"},
		{none, "No clusters found. Check clusters and discovery in the configuration file."},
		{reloaded, "Configuration loaded 1 h ago 2026-11-23T11:00:00Z Page generated"},
		{kept, "Configuration last reload failed loaded 1 h ago 2026-11-23T11:00:00Z Page generated"},
		{never, "Configuration last reload failed Page generated"},
	} {
		if got := textOf(rendered(t, tc.view, firstPage())); !strings.Contains(got, tc.want) {
			t.Errorf("want %s\ngot  %s", tc.want, got)
		}
	}
}
