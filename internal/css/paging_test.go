// SPDX-License-Identifier: Apache-2.0

package css_test

import (
	"context"
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
	"css_vpcep_exporter/internal/lenient"
)

// cluster is how the API pages the connections of a cluster.
type cluster struct {
	ids     []int                 // of its connections
	total   func(have int) string // JSON of total_count; nil means the true number, "" none
	pageCap int                   // connections of a page, whatever the limit; 0 means no cap

	ignoresLimit  bool // as in 2022
	ignoresOffset bool // as in 2023, when the parameter was called start
	maxOffset     int  // higher offsets are refused; 0 means no bound

	before  func(c *cluster, n int)                                  // called before the nth answer
	instead func(w http.ResponseWriter, r *http.Request, n int) bool // reports whether it has answered
}

// upTo returns the numbers below n.
func upTo(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

func connectionID(i int) string { return fmt.Sprintf("c-%05d", i) }

func (c *cluster) answer(w http.ResponseWriter, r *http.Request, n int) {
	if c.instead != nil && c.instead(w, r, n) {
		return
	}
	if c.before != nil {
		c.before(c, n)
	}
	offset, limit := 0, 10 // as documented
	if text := r.URL.Query().Get("limit"); text != "" {
		var err error
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > 1000 {
			w.WriteHeader(400)
			fmt.Fprint(w, `{"errCode":"CSS.0001","externalMessage":"limit is out of range"}`)
			return
		}
	}
	if text := r.URL.Query().Get("offset"); text != "" {
		var err error
		if offset, err = strconv.Atoi(text); err != nil || offset < 0 || (c.maxOffset > 0 && offset > c.maxOffset) {
			w.WriteHeader(400)
			fmt.Fprint(w, `{"errCode":"CSS.0001","externalMessage":"offset is out of range"}`)
			return
		}
	}
	if c.ignoresLimit {
		limit, offset = len(c.ids), 0
	}
	if c.ignoresOffset {
		offset = 0
	}
	if c.pageCap > 0 {
		limit = min(limit, c.pageCap)
	}
	from := min(offset, len(c.ids))
	total := strconv.Itoa(len(c.ids))
	if c.total != nil {
		total = c.total(len(c.ids))
	}
	fmt.Fprint(w, pageOf(c.ids[from:min(from+limit, len(c.ids))], total))
}

func pageOf(ids []int, total string) string {
	var b strings.Builder
	b.WriteString(`{"connections":[`)
	for i, id := range ids {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"id":%q,"status":"accepted","maxSession":"3000"}`, connectionID(id))
	}
	b.WriteString(`]`)
	if total != "" {
		b.WriteString(`,"total_count":` + total)
	}
	b.WriteString(`,"vpcServiceName":"svc"}`)
	return b.String()
}

func refuseAfter(most int) func(http.ResponseWriter, *http.Request, int) bool {
	return func(w http.ResponseWriter, _ *http.Request, n int) bool {
		if n <= most {
			return false
		}
		w.WriteHeader(400)
		return true
	}
}

func fixed(total string) func(int) string { return func(int) string { return total } }

// paged is a cluster and the list that is to be read of it.
type paged struct {
	name    string
	cluster cluster
	want    pages
}

// pages is a list and how it was read.
type pages struct {
	ids        []int
	offsets    []string // of the requests, "" for none
	reported   string   // "none" if not set
	incomplete bool
	truncated  bool
}

func checkPaging(t *testing.T, tests []paged) {
	t.Helper()
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var offsets []string
			_, client := answering(t, func(w http.ResponseWriter, r *http.Request, n int) {
				query := r.URL.Query()
				offsets = append(offsets, query.Get("offset"))
				if query.Get("limit") != "1000" || query.Has("start") || n == 1 && len(query) != 1 {
					t.Errorf("request %d: got the query %v", n, query)
				}
				test.cluster.answer(w, r, n)
			})
			list, err := client.Connections(t.Context(), clusterID, nil)
			if err != nil {
				t.Fatal(err)
			}
			got := pages{ids: numbers(t, list), offsets: offsets, incomplete: list.Incomplete, truncated: list.Truncated(), reported: "none"}
			if list.Reported.Set {
				got.reported = strconv.FormatFloat(list.Reported.Value, 'g', -1, 64)
			}
			if !slices.Equal(got.ids, test.want.ids) {
				t.Errorf("got %d connections: %v, want %d: %v", len(got.ids), got.ids, len(test.want.ids), test.want.ids)
			}
			if !slices.Equal(got.offsets, test.want.offsets) {
				t.Errorf("got the offsets %q, want %q", got.offsets, test.want.offsets)
			}
			if got.reported != test.want.reported || got.incomplete != test.want.incomplete || got.truncated != test.want.truncated {
				t.Errorf("got reported %s, incomplete %v, truncated %v; want %s, %v, %v", got.reported, got.incomplete,
					got.truncated, test.want.reported, test.want.incomplete, test.want.truncated)
			}
			if !list.Enabled || list.ServiceName != "svc" {
				t.Errorf("got enabled %v, service %q", list.Enabled, list.ServiceName)
			}
		})
	}
}

// numbers returns the numbers of the connections of a list.
func numbers(t *testing.T, list *css.ConnectionList) (ids []int) {
	t.Helper()
	for _, c := range list.Connections {
		i, err := strconv.Atoi(strings.TrimPrefix(c.ID, "c-"))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, i)
	}
	return ids
}

func TestOnePage(t *testing.T) {
	checkPaging(t, []paged{
		{"no connection", cluster{}, pages{reported: "0", offsets: []string{""}}},
		{"one", cluster{ids: upTo(1)}, pages{ids: upTo(1), reported: "1", offsets: []string{""}}},
		{"eleven, more than the default limit", cluster{ids: upTo(11)},
			pages{ids: upTo(11), reported: "11", offsets: []string{""}}},
		{"a full page is one call", cluster{ids: upTo(1000)},
			pages{ids: upTo(1000), reported: "1000", offsets: []string{""}}},
		{"one more", cluster{ids: upTo(1001)},
			pages{ids: upTo(1001), reported: "1001", offsets: []string{"", "1000"}}},
	})
}

func TestPagingByGenerationOfTheAPI(t *testing.T) {
	checkPaging(t, []paged{
		{"2022: no paging", cluster{ids: upTo(1500), ignoresLimit: true},
			pages{ids: upTo(1500), reported: "1500", offsets: []string{""}}},
		{"2023: start, which we do not send", cluster{ids: upTo(1500), ignoresOffset: true},
			pages{ids: upTo(1000), reported: "1500", offsets: []string{"", "1000"}, truncated: true}},
		{"2025: offset to 1000", cluster{ids: upTo(1999), maxOffset: 1000},
			pages{ids: upTo(1999), reported: "1999", offsets: []string{"", "1000"}}},
		{"2025: all that can be seen", cluster{ids: upTo(2000), maxOffset: 1000},
			pages{ids: upTo(2000), reported: "2000", offsets: []string{"", "1000"}}},
		{"2025: more than can be seen", cluster{ids: upTo(2001), maxOffset: 1000},
			pages{ids: upTo(2000), reported: "2001", offsets: []string{"", "1000", "2000"}, incomplete: true, truncated: true}},
		{"2025: capped and bounded", cluster{ids: upTo(1500), maxOffset: 1000, pageCap: 300},
			pages{ids: upTo(1200), reported: "1500", offsets: []string{"", "300", "600", "900", "1200"}, incomplete: true, truncated: true}},
		{"2026: offset without bound", cluster{ids: upTo(3500)},
			pages{ids: upTo(3500), reported: "3500", offsets: []string{"", "1000", "2000", "3000"}}},
	})
}

func TestCappedPages(t *testing.T) {
	checkPaging(t, []paged{
		{"capped at 100", cluster{ids: upTo(350), pageCap: 100},
			pages{ids: upTo(350), reported: "350", offsets: []string{"", "100", "200", "300"}}},
		{"capped at the default", cluster{ids: upTo(25), pageCap: 10},
			pages{ids: upTo(25), reported: "25", offsets: []string{"", "10", "20"}}},
		{"capped at 10, the offset ignored", cluster{ids: upTo(25), pageCap: 10, ignoresOffset: true},
			pages{ids: upTo(10), reported: "25", offsets: []string{"", "10"}, truncated: true}},
	})
}

func TestRepeatedAndChangingConnections(t *testing.T) {
	checkPaging(t, []paged{
		{"an id twice on a page", cluster{ids: []int{1, 2, 1}},
			pages{ids: []int{1, 2}, reported: "3", offsets: []string{"", "3"}, truncated: true}},
		{"ids again on the next page", cluster{ids: []int{0, 1, 2, 2, 1, 3, 4, 5}, pageCap: 3, total: fixed("6")},
			pages{ids: upTo(6), reported: "6", offsets: []string{"", "3", "6"}}},
		{"a page with nothing new", cluster{ids: []int{0, 1, 0, 1, 2, 3}, pageCap: 2, total: fixed("4")},
			pages{ids: []int{0, 1}, reported: "4", offsets: []string{"", "2"}, truncated: true}},
		{"shrinks between pages", cluster{ids: upTo(25), pageCap: 10, before: func(c *cluster, n int) {
			if n == 2 {
				c.ids = c.ids[:12]
			}
		}}, pages{ids: upTo(12), reported: "12", offsets: []string{"", "10"}}},
		{"shrinks below what was read", cluster{ids: upTo(25), pageCap: 10, before: func(c *cluster, n int) {
			if n == 2 {
				c.ids = c.ids[:5]
			}
		}}, pages{ids: upTo(10), reported: "5", offsets: []string{"", "10"}}},
		{"grows between pages", cluster{ids: upTo(15), pageCap: 10, before: func(c *cluster, n int) {
			if n == 2 {
				c.ids = upTo(25)
			}
		}}, pages{ids: upTo(25), reported: "25", offsets: []string{"", "10", "20"}}},
	})
}

// TestPagingWithAnOddTotalCount: without a count, the list ends with a page that has nothing new.
func TestPagingWithAnOddTotalCount(t *testing.T) {
	checkPaging(t, []paged{
		{"total absent", cluster{ids: upTo(5), total: fixed("")},
			pages{ids: upTo(5), reported: "none", offsets: []string{"", "5"}}},
		{"total absent, none listed", cluster{total: fixed("")}, pages{reported: "none", offsets: []string{""}}},
		{"total absent, no paging", cluster{ids: upTo(1500), total: fixed(""), ignoresLimit: true},
			pages{ids: upTo(1500), reported: "none", offsets: []string{"", "1500"}}},
		{"total null", cluster{ids: upTo(5), total: fixed("null")},
			pages{ids: upTo(5), reported: "none", offsets: []string{"", "5"}}},
		{"total absent, capped", cluster{ids: upTo(25), pageCap: 10, total: fixed("")},
			pages{ids: upTo(25), reported: "none", offsets: []string{"", "10", "20", "25"}}},
		{"total absent, a full page", cluster{ids: upTo(1203), total: fixed("")},
			pages{ids: upTo(1203), reported: "none", offsets: []string{"", "1000", "1203"}}},
		{"total absent, refused in the end", cluster{ids: upTo(2000), total: fixed(""), maxOffset: 1000},
			pages{ids: upTo(2000), reported: "none", offsets: []string{"", "1000", "2000"}, incomplete: true, truncated: true}},
		{"total smaller", cluster{ids: upTo(5), total: fixed("3")},
			pages{ids: upTo(5), reported: "3", offsets: []string{""}}},
		{"total zero", cluster{ids: upTo(5), total: fixed("0")},
			pages{ids: upTo(5), reported: "0", offsets: []string{""}}},
		{"total larger", cluster{ids: upTo(5), total: fixed("7")},
			pages{ids: upTo(5), reported: "7", offsets: []string{"", "5"}, truncated: true}},
		{"total larger, none listed", cluster{total: fixed("7")},
			pages{reported: "7", offsets: []string{""}, truncated: true}},
		{"total absurd", cluster{ids: upTo(5), total: fixed("1e300")},
			pages{ids: upTo(5), reported: "1e+300", offsets: []string{"", "5"}, truncated: true}},
		{"total a string", cluster{ids: upTo(25), pageCap: 10, total: fixed(`"25"`)},
			pages{ids: upTo(25), reported: "25", offsets: []string{"", "10", "20"}}},
		{"total is the length of the page", cluster{ids: upTo(25), pageCap: 10, total: func(int) string { return "10" }},
			pages{ids: upTo(10), reported: "10", offsets: []string{""}}},
		{"total negative", cluster{ids: upTo(5), total: fixed("-1")},
			pages{ids: upTo(5), reported: "none", offsets: []string{"", "5"}}},
		{"total broken", cluster{ids: upTo(5), total: fixed("2.5")},
			pages{ids: upTo(5), reported: "none", offsets: []string{"", "5"}}},
		{"total on the first page only", cluster{ids: upTo(25), pageCap: 10, before: func(c *cluster, n int) {
			if n > 1 {
				c.total = fixed("")
			}
		}}, pages{ids: upTo(25), reported: "25", offsets: []string{"", "10", "20"}}},
		{"further page refused without a code", cluster{ids: upTo(25), pageCap: 10, instead: refuseAfter(1)},
			pages{ids: upTo(10), reported: "25", offsets: []string{"", "10"}, incomplete: true, truncated: true}},
	})
}

// TestCappedPagesWithoutATotalCount: only a further page shows that a capped page was not all.
func TestCappedPagesWithoutATotalCount(t *testing.T) {
	for _, pageCap := range []int{10, 100, 500} {
		_, client := answering(t, (&cluster{ids: upTo(1050), pageCap: pageCap, total: fixed("")}).answer)
		list, err := client.Connections(t.Context(), clusterID, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(list.Connections) < 1050 && !list.Truncated() {
			t.Errorf("pages of %d: got %d of 1050, not truncated", pageCap, len(list.Connections))
		}
	}
}

// TestMissingPageFailsTheList, unless the API refuses the page's offset.
func TestMissingPageFailsTheList(t *testing.T) {
	for _, test := range []struct {
		name   string
		status int
		body   string
		want   cloud.Reason
	}{
		{"500", 500, "", cloud.ReasonServer},
		{"503", 503, "", cloud.ReasonServer},
		{"404", 404, "", cloud.ReasonNotFound},
		{"403", 403, `{"errCode":"CSS.0015","externalMessage":"x"}`, cloud.ReasonDenied},
		{"400 with a denial", 400, `{"errCode":"CSS.0051","externalMessage":"x"}`, cloud.ReasonDenied},
		{"400 with a rejection", 400, `{"errCode":"CSS.0045","externalMessage":"x"}`, cloud.ReasonAuth},
		{"202, try later", 202, `{"errCode":"CSS.0011","externalMessage":"x"}`, cloud.ReasonServer},
		{"409", 409, "", cloud.ReasonInvalid},
		{"412", 412, "", cloud.ReasonInvalid},
		{"429", 429, "", cloud.ReasonThrottled},
		{"401", 401, "", cloud.ReasonAuth},
		{"302", 302, "", cloud.ReasonInvalid},
		{"200 with HTML", 200, "<html></html>", cloud.ReasonDecode},
		{"200 without a body", 200, "", cloud.ReasonDecode},
		{"200 with an error", 200, `{"errCode":"CSS.0001"}`, cloud.ReasonDecode},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := &cluster{ids: upTo(25), pageCap: 10, instead: func(w http.ResponseWriter, r *http.Request, n int) bool {
				if n == 2 {
					answer(test.status, test.body)(w, r, n)
				}
				return n == 2
			}}
			simulated, client := answering(t, c.answer)
			list, err := client.Connections(t.Context(), clusterID, nil)
			if e := failure(t, err); e.Reason != test.want || list != nil {
				t.Errorf("got %v (reason %q) and the list %v, want %q and none", err, e.Reason, list, test.want)
			}
			if n := simulated.Reads(""); n != 2 {
				t.Errorf("got %d requests, want 2", n)
			}
		})
	}
}

func TestHangingPageFailsTheList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{ids: upTo(25), pageCap: 10, instead: func(_ http.ResponseWriter, r *http.Request, n int) bool {
			if n == 2 {
				<-r.Context().Done()
			}
			return n == 2
		}}
		_, client := answering(t, c.answer)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		list, err := client.Connections(ctx, clusterID, nil)
		if e := failure(t, err); e.Reason != cloud.ReasonTimeout || list != nil {
			t.Errorf("got %v and the list %v, want a timeout and none", err, list)
		}
	})
}

// TestServiceOff: CSS.5182 with status 400 is a list, in whichever shape of the error.
func TestServiceOff(t *testing.T) {
	for _, body := range []string{
		`{"errCode":"CSS.5182","externalMessage":"The VPC endpoint service is not enabled."}`,
		`{"error_code":"CSS.5182","error_msg":"The VPC endpoint service is not enabled."}`,
		`{"externalMessage":7,"errCode":"CSS.5182"}`,
	} {
		simulated, client := answering(t, answer(400, body))
		list, err := client.Connections(t.Context(), clusterID, nil)
		if err != nil {
			t.Fatal(err)
		}
		compare(t, list, &css.ConnectionList{})
		if n := simulated.Reads(""); n != 1 || list.Truncated() {
			t.Errorf("got %d requests, truncated %v; want 1, false", n, list.Truncated())
		}
	}
	for status, want := range map[int]cloud.Reason{403: cloud.ReasonDenied, 500: cloud.ReasonServer, 200: cloud.ReasonDecode} {
		_, client := answering(t, answer(status, `{"errCode":"CSS.5182","externalMessage":"x"}`))
		_, err := client.Connections(t.Context(), clusterID, nil)
		if e := failure(t, err); e.Reason != want {
			t.Errorf("with %d: got reason %q, want %q", status, e.Reason, want)
		}
	}
}

func TestRefusedFirstPageIsAFailure(t *testing.T) {
	_, client := answering(t, answer(400, `{"errCode":"CSS.0001","externalMessage":"bad"}`))
	list, err := client.Connections(t.Context(), clusterID, nil)
	if e := failure(t, err); e.Reason != cloud.ReasonInvalid || e.Code != "CSS.0001" || list != nil {
		t.Errorf("got %v and the list %v, want invalid with CSS.0001", e, list)
	}
}

func TestUnparsableValuesOfAllPagesAreCounted(t *testing.T) {
	simulated, client := answering(t, func(w http.ResponseWriter, _ *http.Request, n int) {
		fmt.Fprintf(w, `{"connections":[{"id":"c%d","maxSession":"many","created_at":"?"}],"total_count":3}`, n)
	})
	list, err := client.Connections(t.Context(), clusterID, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(list.Unparsable); got != "map[created_at:3 maxSession:3]" {
		t.Errorf("got %s, want 3 of each field", got)
	}
	if n := simulated.Reads(""); n != 3 {
		t.Errorf("got %d requests, want 3", n)
	}
}

func TestFirstPageDecides(t *testing.T) {
	for _, second := range []string{
		`{"connections":[{"id":"b"}]}`,
		`{"connections":[{"id":"b"}],"permissions":null,"vpcServiceName":null,"vpcepUpdateSwitch":null,"total_count":null}`,
		`{"connections":[{"id":"b"}],"permissions":[],"vpcServiceName":"other","vpcepUpdateSwitch":false,"total_count":2}`,
	} {
		_, client := answering(t, func(w http.ResponseWriter, _ *http.Request, n int) {
			if n > 1 {
				fmt.Fprint(w, second)
				return
			}
			fmt.Fprint(w, `{"connections":[{"id":"a"}],"permissions":[{"permission":"*"}],"vpcServiceName":"svc",`+
				`"vpcepUpdateSwitch":true,"total_count":2}`)
		})
		list, err := client.Connections(t.Context(), clusterID, nil)
		if err != nil {
			t.Fatal(err)
		}
		compare(t, list, &css.ConnectionList{
			Enabled: true, Reported: lenient.Some(2.0), Connections: []css.Connection{{ID: "a"}, {ID: "b"}}, ServiceName: "svc",
			UpdateSwitch: lenient.Some(true), Permissions: lenient.Some([]css.Permission{{Text: "*"}}),
		})
	}
}

// TestPagesAreBounded: a server may return one new connection with each page, and report more than there will ever be.
func TestPagesAreBounded(t *testing.T) {
	simulated, client := answering(t, func(w http.ResponseWriter, _ *http.Request, n int) {
		fmt.Fprint(w, pageOf([]int{n}, "1e9"))
	})
	list, err := client.Connections(t.Context(), clusterID, nil)
	if n := simulated.Reads(""); n > 1000 || err != nil || !list.Incomplete {
		t.Errorf("got %d requests, %v; want an incomplete list after at most 1000", n, err)
	}
}

// TestUnchangedAnswerReturnsTheSameList, but only if the list has one page.
func TestUnchangedAnswerReturnsTheSameList(t *testing.T) {
	body := css.SeedBody
	simulated, client := answering(t, func(w http.ResponseWriter, _ *http.Request, _ int) { fmt.Fprint(w, body) })
	read := func(last *css.ConnectionList) *css.ConnectionList {
		t.Helper()
		list, err := client.Connections(t.Context(), "c", last)
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	first := read(nil)
	if again := read(first); again != first {
		t.Error("the same answer: got another list")
	}
	if fresh := read(nil); fresh == first {
		t.Error("without a last list: got the first one")
	}
	body = strings.Replace(css.SeedBody, "accepted", "rejected", 1)
	changed := read(first)
	if changed == first || changed.Connections[0].Status != css.StatusRejected || first.Connections[0].Status != css.StatusAccepted {
		t.Errorf("after a change: got %+v, was %+v", changed, first)
	}
	body = css.SeedBody
	if back := read(changed); back == changed || back.Connections[0].Status != css.StatusAccepted {
		t.Errorf("after the change back: got %+v", back)
	}
	if n := simulated.Reads(""); n != 5 {
		t.Errorf("got %d requests, want 5", n)
	}
}

func TestSeveralPagesAreReadEachTime(t *testing.T) {
	for name, c := range map[string]*cluster{
		"several pages":             {ids: upTo(30), pageCap: 10},
		"no count":                  {ids: upTo(3), total: fixed("")},
		"a further page is refused": {ids: upTo(30), pageCap: 10, maxOffset: 1},
	} {
		t.Run(name, func(t *testing.T) {
			simulated, client := answering(t, c.answer)
			var last *css.ConnectionList
			requests := 0
			for i := range 3 {
				list, err := client.Connections(t.Context(), "c", last)
				if err != nil {
					t.Fatal(err)
				}
				if list == last {
					t.Error("got the same list")
				}
				n := simulated.Reads("") - requests
				if requests += n; n*(i+1) != requests || n < 2 {
					t.Errorf("read %d: got %d requests of %d, want as many each time", i+1, n, requests)
				}
				last = list
			}
		})
	}
}
