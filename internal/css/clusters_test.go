// SPDX-License-Identifier: Apache-2.0

package css_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/css/csstest"
	"css_vpcep_exporter/internal/simulator"

	"github.com/google/go-cmp/cmp"
)

// fleet is how the API pages the clusters: the offset has two names, counts from one, and must agree.
type fleet struct {
	ids     []int
	pageCap int                   // clusters on a page
	total   func(have int) string // JSON; nil means the true number, "" none
	stuck   bool                  // the offset is ignored
	shrink  int                   // left of them from the second request on
}

func (f *fleet) answer(t *testing.T) handler {
	return func(w http.ResponseWriter, r *http.Request, n int) {
		query := r.URL.Query()
		if n == 1 && len(query) != 1 || query.Get("limit") != "1000" {
			t.Errorf("request %d has the query %v", n, query)
		}
		first := 1
		if n > 1 {
			if query.Get("start") != query.Get("offset") || len(query) != 3 {
				t.Errorf("request %d has the query %v, want start and offset alike", n, query)
			}
			var err error
			if first, err = strconv.Atoi(query.Get("start")); err != nil || first < 1 {
				t.Errorf("request %d has the query %v", n, query)
			}
			if f.shrink > 0 {
				f.ids = f.ids[:f.shrink]
			}
		}
		if f.stuck {
			first = 1
		}
		limit := 1000
		if f.pageCap > 0 {
			limit = f.pageCap
		}
		from := min(first-1, len(f.ids))
		var items []string
		for _, id := range f.ids[from:min(from+limit, len(f.ids))] {
			items = append(items, fmt.Sprintf(`{"id":"c%d","name":"n%d","status":"200","datastore":{"type":"elasticsearch","version":"7.10.2"}}`, id, id))
		}
		body := `{"clusters":[` + strings.Join(items, ",") + `]`
		total := strconv.Itoa(len(f.ids))
		if f.total != nil {
			total = f.total(len(f.ids))
		}
		if total != "" {
			body += `,"totalSize":` + total
		}
		fmt.Fprint(w, body+"}")
	}
}

func TestClusters(t *testing.T) {
	for _, test := range []struct {
		name       string
		fleet      fleet
		want       []int
		starts     []string
		incomplete bool
	}{
		{"none", fleet{}, nil, []string{""}, false},
		{"eleven", fleet{ids: upTo(11)}, upTo(11), []string{""}, false},
		{"a full page", fleet{ids: upTo(1000)}, upTo(1000), []string{""}, false},
		{"one more", fleet{ids: upTo(1001)}, upTo(1001), []string{"", "1001"}, false},
		{"capped", fleet{ids: upTo(25), pageCap: 10}, upTo(25), []string{"", "11", "21"}, false},
		{"capped, no total", fleet{ids: upTo(25), pageCap: 10, total: fixed("")}, upTo(25), []string{"", "11", "21", "26"}, false},
		{"no total", fleet{ids: upTo(3), total: fixed("")}, upTo(3), []string{"", "4"}, false},
		{"null total", fleet{ids: upTo(3), total: fixed("null")}, upTo(3), []string{"", "4"}, false},
		{"odd total", fleet{ids: upTo(3), total: fixed(`"x"`)}, upTo(3), []string{"", "4"}, false},
		{"a total that cannot be", fleet{ids: upTo(25), pageCap: 10, total: fixed(`-1`)}, upTo(25), []string{"", "11", "21", "26"}, false},
		{"no total, none", fleet{total: fixed("")}, nil, []string{""}, false},
		{"total as a text", fleet{ids: upTo(25), pageCap: 10, total: fixed(`"25"`)}, upTo(25), []string{"", "11", "21"}, false},
		{"total smaller", fleet{ids: upTo(3), total: fixed("1")}, upTo(3), []string{""}, false},
		{"total larger", fleet{ids: upTo(3), total: fixed("5")}, upTo(3), []string{"", "4"}, true},
		{"total larger, none listed", fleet{total: fixed("5")}, nil, []string{""}, true},
		{"offset ignored", fleet{ids: upTo(25), pageCap: 10, stuck: true}, upTo(10), []string{"", "11"}, true},
		{"offset ignored, no total", fleet{ids: upTo(25), pageCap: 10, stuck: true, total: fixed("")}, upTo(10), []string{"", "11"}, false},
		{"repeated ids", fleet{ids: []int{0, 1, 2, 2, 1, 3}, pageCap: 3, total: fixed("4")}, upTo(4), []string{"", "4"}, false},
		{"repeated ids, three pages", fleet{ids: []int{0, 1, 2, 2, 1, 3, 4}, pageCap: 3, total: fixed("5")}, upTo(5), []string{"", "4", "7"}, false},
		{"shrinks", fleet{ids: upTo(25), pageCap: 10, shrink: 12}, upTo(12), []string{"", "11"}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			var starts []string
			simulated, client := answering(t, func(w http.ResponseWriter, r *http.Request, n int) {
				starts = append(starts, r.URL.Query().Get("start"))
				test.fleet.answer(t)(w, r, n)
			})
			clusters, err := client.Clusters(t.Context())
			if errors.Is(err, css.ErrIncomplete) != test.incomplete || (err != nil && !test.incomplete) {
				t.Errorf("got %v, want incomplete %v", err, test.incomplete)
			}
			var got []int
			for _, c := range clusters {
				i, err := strconv.Atoi(strings.TrimPrefix(c.ID, "c"))
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, i)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
			if !slices.Equal(starts, test.starts) {
				t.Errorf("got the starts %q, want %q", starts, test.starts)
			}
			if n := simulated.Requested(simulator.Clusters); n != len(starts) {
				t.Errorf("got %d requests for clusters of %d", n, len(starts))
			}
		})
	}
}

func TestClustersWithoutID(t *testing.T) {
	_, client := answering(t, answer(200,
		`{"clusters":[null,{"id":"a"},{"name":"x"},{"id":""},{"id":"a","name":"again"}],"totalSize":1}`))
	clusters, err := client.Clusters(t.Context())
	if diff := cmp.Diff([]css.Cluster{{ID: "a"}}, clusters); diff != "" || err != nil {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
}

// TestIncompleteClusters: clusters that the API reports or lists, and does not identify, may exist.
func TestIncompleteClusters(t *testing.T) {
	for name, pages := range map[string][]string{
		"a total on the first page only":     {`{"clusters":[{"id":"a"}],"totalSize":2}`, `{"clusters":[]}`},
		"a null total after the first page":  {`{"clusters":[{"id":"a"}],"totalSize":2}`, `{"clusters":null,"totalSize":null}`},
		"a cluster without ID, and no total": {`{"clusters":[{"name":"x"},{"id":"a"}]}`, `{"clusters":[]}`},
		"another without ID on a later page": {`{"clusters":[{"id":"a"}]}`, `{"clusters":[null]}`},
	} {
		t.Run(name, func(t *testing.T) {
			_, client := answering(t, func(w http.ResponseWriter, _ *http.Request, n int) {
				fmt.Fprint(w, pages[min(n, len(pages))-1])
			})
			clusters, err := client.Clusters(t.Context())
			if diff := cmp.Diff([]css.Cluster{{ID: "a"}}, clusters); diff != "" || !errors.Is(err, css.ErrIncomplete) {
				t.Errorf("got %v, want an incomplete list (-want +got)\n%s", err, diff)
			}
		})
	}
}

func TestMissingPageFailsTheClusterList(t *testing.T) {
	for _, test := range []struct {
		status int
		body   string
		want   cloud.Reason
	}{
		{500, "", cloud.ReasonServer},
		{403, `{"errCode":"CSS.0051"}`, cloud.ReasonDenied},
		{400, `{"errCode":"CSS.5182"}`, cloud.ReasonInvalid},
		{400, `{"errCode":"CSS.0045"}`, cloud.ReasonAuth},
		{202, `{"errCode":"CSS.0011"}`, cloud.ReasonServer},
		{404, "", cloud.ReasonNotFound},
		{200, "{}", cloud.ReasonDecode},
		{200, "", cloud.ReasonDecode},
		{302, "", cloud.ReasonInvalid},
	} {
		for _, page := range []int{1, 2} {
			list := (&fleet{ids: upTo(25), pageCap: 10}).answer(t)
			_, client := answering(t, func(w http.ResponseWriter, r *http.Request, n int) {
				if n < page {
					list(w, r, n)
					return
				}
				answer(test.status, test.body)(w, r, n)
			})
			clusters, err := client.Clusters(t.Context())
			if e := failure(t, err); e.Reason != test.want || e.Operation != "clusters" || clusters != nil {
				t.Errorf("page %d with %d: got %v and %d clusters, want %q and none", page, test.status, err, len(clusters), test.want)
			}
		}
	}
}

// TestBackgroundCallsEnd: no scrape bounds a refresh, and yet a request that hangs ends.
func TestBackgroundCallsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := func(_ http.ResponseWriter, r *http.Request, _ int) { <-r.Context().Done() }
		_, client := answering(t, hang)
		start := time.Now()
		if _, err := client.Clusters(t.Context()); cloud.ReasonOf(err) != cloud.ReasonTimeout || time.Since(start) != 30*time.Second {
			t.Errorf("the list: got %v after %s, want a timeout after 30s", err, time.Since(start))
		}
		c, unknown := answering(t, hang, func(o *csstest.Options) { o.ProjectID = "" })
		c.SetFault(simulator.Target{Endpoint: simulator.Projects}, simulator.Fault{Hang: true})
		start = time.Now()
		if _, err := unknown.ProjectID(t.Context()); cloud.ReasonOf(err) != cloud.ReasonTimeout || time.Since(start) != 30*time.Second {
			t.Errorf("the lookup: got %v after %s, want a timeout after 30s", err, time.Since(start))
		}
	})
}
