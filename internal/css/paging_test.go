// SPDX-License-Identifier: Apache-2.0

package css

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// cluster is a cluster on a fake API: how many connections it has and how the API pages them.
type cluster struct {
	ids   []int                 // of its connections
	total func(have int) string // JSON of total_count; nil means the true number, "" none
	most  int                   // connections on a page, whatever is asked; 0 means no bound but the asked one

	ignoresLimit  bool // the generation of 2022
	ignoresOffset bool // the generation with start: the first page for ever
	bound         int  // offsets above it are refused; 0 means no bound

	before  func(c *cluster, n int)                                  // called before the nth request is answered
	instead func(w http.ResponseWriter, r *http.Request, n int) bool // answers in the place of the API
}

// upTo gives the numbers from zero to below n.
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
		if offset, err = strconv.Atoi(text); err != nil || offset < 0 || (c.bound > 0 && offset > c.bound) {
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
	if c.most > 0 {
		limit = min(limit, c.most)
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

func says400After(most int) func(http.ResponseWriter, *http.Request, int) bool {
	return func(w http.ResponseWriter, _ *http.Request, n int) bool {
		if n <= most {
			return false
		}
		w.WriteHeader(400)
		return true
	}
}

func fixed(total string) func(int) string { return func(int) string { return total } }

func TestPaging(t *testing.T) {
	type want struct {
		ids       []int
		offsets   []string // one for each call, "" for none
		reported  string   // "none" if not set
		refused   bool
		truncated bool
	}
	for _, test := range []struct {
		name    string
		cluster cluster
		want    want
	}{
		{"no connection", cluster{}, want{reported: "0", offsets: []string{""}}},
		{"one", cluster{ids: upTo(1)}, want{ids: upTo(1), reported: "1", offsets: []string{""}}},
		{"eleven, more than the default limit", cluster{ids: upTo(11)},
			want{ids: upTo(11), reported: "11", offsets: []string{""}}},
		{"a full page is one call", cluster{ids: upTo(1000)},
			want{ids: upTo(1000), reported: "1000", offsets: []string{""}}},
		{"one more", cluster{ids: upTo(1001)},
			want{ids: upTo(1001), reported: "1001", offsets: []string{"", "1000"}}},

		{"2022: no paging", cluster{ids: upTo(1500), ignoresLimit: true},
			want{ids: upTo(1500), reported: "1500", offsets: []string{""}}},
		{"2023: start, which we do not send", cluster{ids: upTo(1500), ignoresOffset: true},
			want{ids: upTo(1000), reported: "1500", offsets: []string{"", "1000"}, truncated: true}},
		{"2025: offset to 1000", cluster{ids: upTo(1999), bound: 1000},
			want{ids: upTo(1999), reported: "1999", offsets: []string{"", "1000"}}},
		{"2025: all that can be seen", cluster{ids: upTo(2000), bound: 1000},
			want{ids: upTo(2000), reported: "2000", offsets: []string{"", "1000"}}},
		{"2025: more than can be seen", cluster{ids: upTo(2001), bound: 1000},
			want{ids: upTo(2000), reported: "2001", offsets: []string{"", "1000", "2000"}, refused: true, truncated: true}},
		{"2025: capped and bounded", cluster{ids: upTo(1500), bound: 1000, most: 300},
			want{ids: upTo(1200), reported: "1500", offsets: []string{"", "300", "600", "900", "1200"}, refused: true, truncated: true}},
		{"2026: offset without bound", cluster{ids: upTo(3500)},
			want{ids: upTo(3500), reported: "3500", offsets: []string{"", "1000", "2000", "3000"}}},

		{"capped at 100", cluster{ids: upTo(350), most: 100},
			want{ids: upTo(350), reported: "350", offsets: []string{"", "100", "200", "300"}}},
		{"capped at the default", cluster{ids: upTo(25), most: 10},
			want{ids: upTo(25), reported: "25", offsets: []string{"", "10", "20"}}},
		{"capped at 10, the offset ignored", cluster{ids: upTo(25), most: 10, ignoresOffset: true},
			want{ids: upTo(10), reported: "25", offsets: []string{"", "10"}, truncated: true}},

		{"an id twice on a page", cluster{ids: []int{1, 2, 1}},
			want{ids: []int{1, 2}, reported: "3", offsets: []string{"", "3"}, truncated: true}},
		{"ids again on the next page", cluster{ids: []int{0, 1, 2, 2, 1, 3, 4, 5}, most: 3, total: fixed("6")},
			want{ids: upTo(6), reported: "6", offsets: []string{"", "3", "6"}}},
		{"a page with nothing new", cluster{ids: []int{0, 1, 0, 1, 2, 3}, most: 2, total: fixed("4")},
			want{ids: []int{0, 1}, reported: "4", offsets: []string{"", "2"}, truncated: true}},
		{"shrinks between pages", cluster{ids: upTo(25), most: 10, before: func(c *cluster, n int) {
			if n == 2 {
				c.ids = c.ids[:12]
			}
		}}, want{ids: upTo(12), reported: "12", offsets: []string{"", "10"}}},
		{"shrinks below what was read", cluster{ids: upTo(25), most: 10, before: func(c *cluster, n int) {
			if n == 2 {
				c.ids = c.ids[:5]
			}
		}}, want{ids: upTo(10), reported: "5", offsets: []string{"", "10"}}},
		{"grows between pages", cluster{ids: upTo(15), most: 10, before: func(c *cluster, n int) {
			if n == 2 {
				c.ids = upTo(25)
			}
		}}, want{ids: upTo(25), reported: "25", offsets: []string{"", "10", "20"}}},

		// without a number, only a page that brings nothing new is the end
		{"total absent", cluster{ids: upTo(5), total: fixed("")},
			want{ids: upTo(5), reported: "none", offsets: []string{"", "5"}}},
		{"total absent, none listed", cluster{total: fixed("")}, want{reported: "none", offsets: []string{""}}},
		{"total absent, no paging", cluster{ids: upTo(1500), total: fixed(""), ignoresLimit: true},
			want{ids: upTo(1500), reported: "none", offsets: []string{"", "1500"}}},
		{"total null", cluster{ids: upTo(5), total: fixed("null")},
			want{ids: upTo(5), reported: "none", offsets: []string{"", "5"}}},
		{"total absent, capped", cluster{ids: upTo(25), most: 10, total: fixed("")},
			want{ids: upTo(25), reported: "none", offsets: []string{"", "10", "20", "25"}}},
		{"total absent, a full page", cluster{ids: upTo(1203), total: fixed("")},
			want{ids: upTo(1203), reported: "none", offsets: []string{"", "1000", "1203"}}},
		{"total absent, refused in the end", cluster{ids: upTo(2000), total: fixed(""), bound: 1000},
			want{ids: upTo(2000), reported: "none", offsets: []string{"", "1000", "2000"}, refused: true, truncated: true}},
		{"total smaller", cluster{ids: upTo(5), total: fixed("3")},
			want{ids: upTo(5), reported: "3", offsets: []string{""}}},
		{"total zero", cluster{ids: upTo(5), total: fixed("0")},
			want{ids: upTo(5), reported: "0", offsets: []string{""}}},
		{"total larger", cluster{ids: upTo(5), total: fixed("7")},
			want{ids: upTo(5), reported: "7", offsets: []string{"", "5"}, truncated: true}},
		{"total larger, none listed", cluster{total: fixed("7")},
			want{reported: "7", offsets: []string{""}, truncated: true}},
		{"total absurd", cluster{ids: upTo(5), total: fixed("1e300")},
			want{ids: upTo(5), reported: "1e+300", offsets: []string{"", "5"}, truncated: true}},
		{"total a string", cluster{ids: upTo(25), most: 10, total: fixed(`"25"`)},
			want{ids: upTo(25), reported: "25", offsets: []string{"", "10", "20"}}},
		{"total is the length of the page", cluster{ids: upTo(25), most: 10, total: func(int) string { return "10" }},
			want{ids: upTo(10), reported: "10", offsets: []string{""}}},
		{"total negative", cluster{ids: upTo(5), total: fixed("-1")},
			want{ids: upTo(5), reported: "none", offsets: []string{"", "5"}}},
		{"total broken", cluster{ids: upTo(5), total: fixed("2.5")},
			want{ids: upTo(5), reported: "none", offsets: []string{"", "5"}}},
		{"total on the first page only", cluster{ids: upTo(25), most: 10, before: func(c *cluster, n int) {
			if n > 1 {
				c.total = fixed("")
			}
		}}, want{ids: upTo(25), reported: "25", offsets: []string{"", "10", "20"}}},
		{"further page refused without a code", cluster{ids: upTo(25), most: 10, instead: says400After(1)},
			want{ids: upTo(10), reported: "25", offsets: []string{"", "10"}, refused: true, truncated: true}},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFake(t, test.cluster.answer)
			client := newTestClient(t, f.URL)
			list, err := client.Connections(soon(t), testCluster, nil)
			if err != nil {
				t.Fatal(err)
			}
			var got want
			for _, c := range list.Connections {
				i, err := strconv.Atoi(strings.TrimPrefix(c.ID, "c-"))
				if err != nil {
					t.Fatal(err)
				}
				got.ids = append(got.ids, i)
			}
			got.refused, got.truncated, got.reported = list.Incomplete, list.Truncated(), "none"
			if list.Reported.Set {
				got.reported = strconv.FormatFloat(list.Reported.Value, 'g', -1, 64)
			}
			for _, c := range f.seen() {
				got.offsets = append(got.offsets, c.query.Get("offset"))
				if c.query.Get("limit") != "1000" || c.query.Has("start") {
					t.Errorf("query is %v", c.query)
				}
				if c.query.Get("offset") == "" && len(c.query) != 1 {
					t.Errorf("the first query is %v, want a limit alone", c.query)
				}
			}
			if !slices.Equal(got.ids, test.want.ids) {
				t.Errorf("listed %d: %v, want %d: %v", len(got.ids), got.ids, len(test.want.ids), test.want.ids)
			}
			if !slices.Equal(got.offsets, test.want.offsets) {
				t.Errorf("offsets %q, want %q", got.offsets, test.want.offsets)
			}
			if got.reported != test.want.reported || got.refused != test.want.refused || got.truncated != test.want.truncated {
				t.Errorf("reported %s, refused %v, truncated %v; want %s, %v, %v", got.reported, got.refused, got.truncated,
					test.want.reported, test.want.refused, test.want.truncated)
			}
			if !list.Enabled || list.ServiceName != "svc" && len(f.seen()) > 0 {
				t.Errorf("enabled %v, service %q", list.Enabled, list.ServiceName)
			}
		})
	}
}

// TestPagingWhereTotalIsUnknownAndPagesAreCapped: without total_count nothing but the next page can tell that a capped
// page was not all. What must not happen is a part that passes for the whole.
func TestPagingWhereTotalIsUnknownAndPagesAreCapped(t *testing.T) {
	for _, most := range []int{10, 100, 500} {
		f := newFake(t, (&cluster{ids: upTo(1050), most: most, total: fixed("")}).answer)
		list, err := newTestClient(t, f.URL).Connections(soon(t), testCluster, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(list.Connections) < 1050 && !list.Truncated() {
			t.Errorf("pages of %d: %d of 1050 listed, and not said to be truncated", most, len(list.Connections))
		}
	}
}

// TestPagingFails: a page that is missing for any other reason than a refusal loses the whole list.
func TestPagingFails(t *testing.T) {
	for _, test := range []struct {
		name   string
		status int
		body   string
		want   Reason
	}{
		{"500", 500, "", ReasonServer},
		{"503", 503, "", ReasonServer},
		{"404", 404, "", ReasonNotFound},
		{"403", 403, `{"errCode":"CSS.0015","externalMessage":"x"}`, ReasonDenied},
		{"400 that is a denial", 400, `{"errCode":"CSS.0051","externalMessage":"x"}`, ReasonDenied},
		{"409", 409, "", ReasonInvalid},
		{"412", 412, "", ReasonInvalid},
		{"429", 429, "", ReasonThrottled},
		{"401", 401, "", ReasonAuth},
		{"302", 302, "", ReasonInvalid},
		{"200 with HTML", 200, "<html></html>", ReasonDecode},
		{"200, empty", 200, "", ReasonDecode},
		{"200 with an error", 200, `{"errCode":"CSS.0001"}`, ReasonDecode},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := &cluster{ids: upTo(25), most: 10, instead: func(w http.ResponseWriter, _ *http.Request, n int) bool {
				if n < 2 {
					return false
				}
				w.WriteHeader(test.status)
				fmt.Fprint(w, test.body)
				return true
			}}
			f := newFake(t, c.answer)
			list, err := newTestClient(t, f.URL).Connections(soon(t), testCluster, nil)
			if e := failure(t, err); e.Reason != test.want || list != nil {
				t.Errorf("reason %q, list %v; want %q and none", e.Reason, list, test.want)
			}
			if n := len(f.seen()); n != 2 {
				t.Errorf("%d calls, want 2", n)
			}
		})
	}
	t.Run("timeout", func(t *testing.T) {
		c := &cluster{ids: upTo(25), most: 10, instead: func(_ http.ResponseWriter, r *http.Request, n int) bool {
			if n < 2 {
				return false
			}
			<-r.Context().Done()
			return true
		}}
		f := newFake(t, c.answer)
		list, err := newTestClient(t, f.URL).Connections(within(t, 200*time.Millisecond), testCluster, nil)
		if e := failure(t, err); e.Reason != ReasonTimeout || list != nil {
			t.Errorf("reason %q, list %v; want timeout and none", e.Reason, list)
		}
	})
}

// TestServiceOff: CSS.5182 is an answer, whichever of the error's shapes brings it, and only with 400.
func TestServiceOff(t *testing.T) {
	for _, body := range []string{
		`{"errCode":"CSS.5182","externalMessage":"The VPC endpoint service is not enabled."}`,
		`{"error_code":"CSS.5182","error_msg":"The VPC endpoint service is not enabled."}`,
		`{"externalMessage":7,"errCode":"CSS.5182"}`,
	} {
		f := newFake(t, says(400, body))
		list, err := newTestClient(t, f.URL, withRetry(quick())).Connections(soon(t), testCluster, nil)
		if err != nil {
			t.Fatal(err)
		}
		if list.Enabled || list.Reported.Set || list.Connections != nil || list.Truncated() || list.Permissions.Set ||
			list.UpdateSwitch.Set {
			t.Errorf("%s: list is %+v, want nothing in it", body, list)
		}
		if n := len(f.seen()); n != 1 {
			t.Errorf("%d calls, want 1", n)
		}
	}
	for status, want := range map[int]Reason{403: ReasonDenied, 500: ReasonServer, 200: ReasonDecode} {
		f := newFake(t, says(status, `{"errCode":"CSS.5182","externalMessage":"x"}`))
		_, err := newTestClient(t, f.URL).Connections(soon(t), testCluster, nil)
		if e := failure(t, err); e.Reason != want {
			t.Errorf("with %d: reason %q, want %q", status, e.Reason, want)
		}
	}
}

// TestFirstPageRefused: a refusal is the end of a list only if there is a list.
func TestFirstPageRefused(t *testing.T) {
	f := newFake(t, says(400, `{"errCode":"CSS.0001","externalMessage":"bad"}`))
	list, err := newTestClient(t, f.URL).Connections(soon(t), testCluster, nil)
	if e := failure(t, err); e.Reason != ReasonInvalid || e.Code != "CSS.0001" || list != nil {
		t.Errorf("error %v, list %v", e, list)
	}
}

// TestPagesCountUnparsable: what could not be understood on any page is counted once for each.
func TestPagesCountUnparsable(t *testing.T) {
	f := newFake(t, func(w http.ResponseWriter, _ *http.Request, n int) {
		fmt.Fprintf(w, `{"connections":[{"id":"c%d","maxSession":"many","created_at":"?"}],"total_count":3}`, n)
	})
	list, err := newTestClient(t, f.URL).Connections(soon(t), testCluster, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(list.Unparsable); got != "map[created_at:3 maxSession:3]" {
		t.Errorf("unparsable: %s", got)
	}
	if n := len(f.seen()); n != 3 {
		t.Errorf("%d calls, want 3", n)
	}
}

// TestPagesKeepTheFirst: what a further page does not say, or says otherwise, does not undo what the first said.
func TestPagesKeepTheFirst(t *testing.T) {
	for _, second := range []string{
		`{"connections":[{"id":"b"}]}`,
		`{"connections":[{"id":"b"}],"permissions":null,"vpcServiceName":null,"vpcepUpdateSwitch":null,"total_count":null}`,
		`{"connections":[{"id":"b"}],"permissions":[],"vpcServiceName":"other","vpcepUpdateSwitch":false,"total_count":2}`,
	} {
		f := newFake(t, func(w http.ResponseWriter, _ *http.Request, n int) {
			if n > 1 {
				fmt.Fprint(w, second)
				return
			}
			fmt.Fprint(w, `{"connections":[{"id":"a"}],"permissions":[{"permission":"*"}],"vpcServiceName":"svc","vpcepUpdateSwitch":true,"total_count":2}`)
		})
		list, err := newTestClient(t, f.URL).Connections(soon(t), testCluster, nil)
		if err != nil {
			t.Fatal(err)
		}
		compare(t, list, &ConnectionList{
			Enabled: true, Reported: some(2.0), Connections: []Connection{{ID: "a"}, {ID: "b"}}, ServiceName: "svc",
			UpdateSwitch: some(true), Permissions: some([]Permission{{Text: "*"}}),
		})
	}
}

// TestTrickleOfPages: a server that gives a new connection on each page and reports more than there will ever be must
// not be asked for ever.
func TestTrickleOfPages(t *testing.T) {
	f := newFake(t, func(w http.ResponseWriter, _ *http.Request, n int) {
		fmt.Fprint(w, pageOf([]int{n}, "1e9"))
	})
	list, err := newTestClient(t, f.URL).Connections(within(t, 2*time.Second), testCluster, nil)
	if n := len(f.seen()); n > 1000 {
		t.Errorf("%d calls for one cluster, error %v, list %v", n, err, list != nil)
	}
}

// TestUnchanged: a list that came in one page is the same list for as long as the answer is the same to the byte, and is
// asked for each time all the same.
func TestUnchanged(t *testing.T) {
	body := seedBody
	f := newFake(t, func(w http.ResponseWriter, _ *http.Request, _ int) { fmt.Fprint(w, body) })
	client := newTestClient(t, f.URL)
	read := func(last *ConnectionList) *ConnectionList {
		t.Helper()
		list, err := client.Connections(soon(t), "c", last)
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	first := read(nil)
	if again := read(first); again != first {
		t.Error("the same answer made another list")
	}
	if fresh := read(nil); fresh == first {
		t.Error("a list came back that nobody had")
	}
	body = strings.Replace(seedBody, "accepted", "rejected", 1)
	changed := read(first)
	if changed == first || changed.Connections[0].Status != StatusRejected || first.Connections[0].Status != StatusAccepted {
		t.Errorf("after a change: %+v, was %+v", changed, first)
	}
	body = seedBody
	if back := read(changed); back == changed || back.Connections[0].Status != StatusAccepted {
		t.Errorf("after the change back: %+v", back)
	}
	if calls := len(f.seen()); calls != 5 {
		t.Errorf("%d calls, want 5", calls)
	}
}

// TestUnchangedPages: what a first page says of a longer list tells nothing of the rest.
func TestUnchangedPages(t *testing.T) {
	for name, c := range map[string]*cluster{
		"several pages":            {ids: upTo(30), most: 10},
		"no count":                 {ids: upTo(3), total: fixed("")},
		"a further page is denied": {ids: upTo(30), most: 10, bound: 1},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, c.answer)
			client := newTestClient(t, f.URL)
			var last *ConnectionList
			calls := 0
			for i := range 3 {
				list, err := client.Connections(soon(t), "c", last)
				if err != nil {
					t.Fatal(err)
				}
				if list == last {
					t.Error("the same list came back")
				}
				made := len(f.seen()) - calls
				if calls += made; made*(i+1) != calls || made < 2 {
					t.Errorf("%d calls by then, %d of them the last time", calls, made)
				}
				last = list
			}
		})
	}
}
