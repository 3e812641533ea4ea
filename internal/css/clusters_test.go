// SPDX-License-Identifier: Apache-2.0

package css

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

	"github.com/google/go-cmp/cmp"
)

// fleet is a cluster list on a fake API: both names of the offset are taken, count from one, and must agree.
type fleet struct {
	ids    []int
	most   int                   // clusters on a page
	total  func(have int) string // JSON; nil means the true number, "" none
	stuck  bool                  // the offset is ignored
	shrink int                   // left of them from the second request on
}

func (f *fleet) answer(t *testing.T) answer {
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
		if f.most > 0 {
			limit = f.most
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
		{"capped", fleet{ids: upTo(25), most: 10}, upTo(25), []string{"", "11", "21"}, false},
		{"capped, no total", fleet{ids: upTo(25), most: 10, total: fixed("")}, upTo(25), []string{"", "11", "21", "26"}, false},
		{"no total", fleet{ids: upTo(3), total: fixed("")}, upTo(3), []string{"", "4"}, false},
		{"null total", fleet{ids: upTo(3), total: fixed("null")}, upTo(3), []string{"", "4"}, false},
		{"odd total", fleet{ids: upTo(3), total: fixed(`"x"`)}, upTo(3), []string{"", "4"}, false},
		{"a total that cannot be", fleet{ids: upTo(25), most: 10, total: fixed(`-1`)}, upTo(25), []string{"", "11", "21", "26"}, false},
		{"no total, none", fleet{total: fixed("")}, nil, []string{""}, false},
		{"total as a text", fleet{ids: upTo(25), most: 10, total: fixed(`"25"`)}, upTo(25), []string{"", "11", "21"}, false},
		{"total smaller", fleet{ids: upTo(3), total: fixed("1")}, upTo(3), []string{""}, false},
		{"total larger", fleet{ids: upTo(3), total: fixed("5")}, upTo(3), []string{"", "4"}, true},
		{"total larger, none listed", fleet{total: fixed("5")}, nil, []string{""}, true},
		{"offset ignored", fleet{ids: upTo(25), most: 10, stuck: true}, upTo(10), []string{"", "11"}, true},
		{"offset ignored, no total", fleet{ids: upTo(25), most: 10, stuck: true, total: fixed("")}, upTo(10), []string{"", "11"}, false},
		{"repeated ids", fleet{ids: []int{0, 1, 2, 2, 1, 3}, most: 3, total: fixed("4")}, upTo(4), []string{"", "4"}, false},
		{"repeated ids, three pages", fleet{ids: []int{0, 1, 2, 2, 1, 3, 4}, most: 3, total: fixed("5")}, upTo(5), []string{"", "4", "7"}, false},
		{"shrinks", fleet{ids: upTo(25), most: 10, shrink: 12}, upTo(12), []string{"", "11"}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFake(t, test.fleet.answer(t))
			clusters, err := newTestClient(t, f.URL).Clusters(soon(t))
			if errors.Is(err, ErrIncomplete) != test.incomplete || (err != nil && !test.incomplete) {
				t.Errorf("error %v, want incomplete %v", err, test.incomplete)
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
				t.Errorf("listed %v, want %v", got, test.want)
			}
			var starts []string
			for _, c := range f.seen() {
				starts = append(starts, c.query.Get("start"))
				if c.path != "/v1.0/"+testProject+"/clusters" {
					t.Errorf("path %q", c.path)
				}
			}
			if !slices.Equal(starts, test.starts) {
				t.Errorf("starts %q, want %q", starts, test.starts)
			}
		})
	}
}

func TestParseClusters(t *testing.T) {
	for _, test := range []struct {
		name, body string
		want       []Cluster
		total      Optional[float64]
	}{
		{
			"all", `{"clusters":[{"id":"a","name":"n","status":"200","datastore":{"type":"opensearch","version":"2.19.0","supportSecurityMode":true},
				"enterpriseProjectId":"0","vpcId":"v","tags":[{"key":"team","value":"search"},{"key":"x","value":""}],
				"created":"2024-06-11T09:36:24","endpoint":null,"instances":[{"id":"i","status":"200"}]}],"totalSize":1}`,
			[]Cluster{{
				ID: "a", Name: "n", Status: "200", Engine: "opensearch", EngineVersion: "2.19.0", EnterpriseProjectID: "0",
				VPCID: "v", Tags: map[string]string{"team": "search", "x": ""},
			}}, some(1.0),
		},
		{
			"null everywhere", `{"clusters":[{"id":"a","name":null,"status":null,"datastore":null,"enterpriseProjectId":null,
				"vpcId":null,"tags":null,"endpoint":null}],"totalSize":null}`,
			[]Cluster{{ID: "a"}}, Optional[float64]{},
		},
		{
			"odd everywhere", `{"clusters":[{"id":"a","name":{},"status":200,"datastore":"elasticsearch","enterpriseProjectId":false,
				"vpcId":[],"tags":{"team":"search"},"endpoint":{"x":[]}},{"id":"b","datastore":{"type":7,"version":{}}},
				{"id":"c","tags":[null,7,"x",{},{"key":"k"},{"value":"v"},{"key":3,"value":4},{"key":"z","value":null}]}]}`,
			[]Cluster{{ID: "a", Status: "200"}, {ID: "b", Engine: "7"}, {ID: "c", Tags: map[string]string{"k": "", "3": "4", "z": ""}}},
			Optional[float64]{},
		},
		{
			"odd clusters", `{"totalSize":"4","clusters":[null,7,"x",[],{"id":"a"},{}]}`,
			[]Cluster{{}, {}, {}, {}, {ID: "a"}, {}}, some(4.0),
		},
		{"null list", `{"clusters":null,"totalSize":0}`, nil, some(0.0)},
		{"null list alone", `{"clusters":null}`, nil, Optional[float64]{}},
		{"hostile", "{\"clusters\":[{\"id\":\"a\xff\\u0000\",\"name\":\"" + strings.Repeat("x", 5000) + "\"}]}",
			[]Cluster{{ID: "a\ufffd\ufffd", Name: strings.Repeat("x", 1024)}}, Optional[float64]{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			page, total, err := parseClusters([]byte(test.body))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, page); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if total != test.total {
				t.Errorf("total %v, want %v", total, test.total)
			}
		})
	}
	for _, body := range []string{
		"", "{}", "[]", "null", "<html>", `{"totalSize":3}`, `{"clusters":{}}`, `{"clusters":"x"}`, `{"clusters":7}`,
		`{"clusters":[{"id":"a"}`, `{"clusters":[]} x`, `{"errCode":"CSS.0001"}`,
	} {
		if page, _, err := parseClusters([]byte(body)); err == nil {
			t.Errorf("%q is taken for a list: %v", body, page)
		}
	}
}

func TestClustersWithoutID(t *testing.T) {
	f := newFake(t, says(200, `{"clusters":[null,{"id":"a"},{"name":"x"},{"id":""},{"id":"a","name":"again"}],"totalSize":1}`))
	clusters, err := newTestClient(t, f.URL).Clusters(soon(t))
	if diff := cmp.Diff([]Cluster{{ID: "a"}}, clusters); diff != "" || err != nil {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
}

func TestClustersFail(t *testing.T) {
	for _, test := range []struct {
		status int
		body   string
		want   Reason
	}{
		{500, "", ReasonServer}, {403, `{"errCode":"CSS.0051"}`, ReasonDenied}, {400, `{"errCode":"CSS.5182"}`, ReasonInvalid},
		{404, "", ReasonNotFound}, {200, "{}", ReasonDecode}, {200, "", ReasonDecode}, {302, "", ReasonInvalid},
	} {
		for _, at := range []int{1, 2} {
			good := (&fleet{ids: upTo(25), most: 10}).answer(t)
			f := newFake(t, func(w http.ResponseWriter, r *http.Request, n int) {
				if n < at {
					good(w, r, n)
					return
				}
				w.WriteHeader(test.status)
				fmt.Fprint(w, test.body)
			})
			clusters, err := newTestClient(t, f.URL).Clusters(soon(t))
			if e := failure(t, err); e.Reason != test.want || e.Operation != "clusters" || clusters != nil {
				t.Errorf("page %d with %d: %v, %d clusters; want %q and none", at, test.status, err, len(clusters), test.want)
			}
		}
	}
}

// TestBackgroundCallsEnd: nobody's deadline bounds a refresh, and yet one that hangs does not last for ever.
func TestBackgroundCallsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs := roundTripper(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		client := newTestClient(t, "http://css.invalid", withTransport(hangs))
		began := time.Now()
		if _, err := client.Clusters(t.Context()); ReasonOf(err) != ReasonTimeout || time.Since(began) != 30*time.Second {
			t.Errorf("the list ended after %s: %v", time.Since(began), err)
		}
		unknown := newTestClient(t, "http://css.invalid", withTransport(hangs), func(o *Options) { o.ProjectID, o.IAMEndpoint = "", "http://iam.invalid" })
		began = time.Now()
		if _, err := unknown.ProjectID(t.Context()); ReasonOf(err) != ReasonTimeout || time.Since(began) != 30*time.Second {
			t.Errorf("the look-up ended after %s: %v", time.Since(began), err)
		}
	})
}
