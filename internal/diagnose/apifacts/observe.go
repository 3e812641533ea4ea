// SPDX-License-Identifier: Apache-2.0

package apifacts

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/css"
)

// ErrLimit is the error of a Request that may not be sent.
var ErrLimit = errors.New("the limit of requests is reached")

// Request requests one page of a cluster's connections.
type Request func(ctx context.Context, clusterID string, query url.Values) (*css.ConnectionList, error)

// Observations are facts about the API that need requests of their own. They hold nothing that names anybody.
type Observations struct {
	Stopped string // why no more requests were sent, or ""

	request      Request
	limit        string
	offset       string
	start        string
	defaultLimit string
	unknown      string // cluster
}

func unknown(format string, args ...any) string {
	return "unknown (" + fmt.Sprintf(format, args...) + ")"
}

// Observe asks for parts of the longest list, and for a cluster that does not exist.
func (o *Observations) Observe(ctx context.Context, request Request, lists []*List) {
	o.request = request
	o.observePaging(ctx, longest(lists))
	o.observeUnknownCluster(ctx)
}

// Results of a paging parameter.
const (
	ignored  = "ignored"
	honoured = "honoured"
)

// answer is the response to a query.
type answer struct {
	ids     []string
	refused string // status and code
	why     string // it has failed for another reason
}

func (a *answer) isNoPage() bool { return a.why != "" || a.refused != "" }

// noPage returns the fact that there is no page.
func (a *answer) noPage() string {
	if a.why != "" {
		return unknown("%s", a.why)
	}
	return "refused (" + a.refused + ")"
}

func (a *answer) first() string {
	if len(a.ids) == 0 {
		return ""
	}
	return a.ids[0]
}

func (o *Observations) ask(ctx context.Context, l *List, query string) answer {
	if o.Stopped != "" {
		return answer{why: o.Stopped}
	}
	values, _ := url.ParseQuery(query) // constants
	page, err := o.request(ctx, l.ClusterID, values)
	e, _ := errors.AsType[*cloud.Error](err)
	switch {
	case err == nil:
		var a answer
		for i := range page.Connections {
			a.ids = append(a.ids, page.Connections[i].ID)
		}
		return a
	case css.RefusesPage(err):
		return answer{refused: statusAndCode(e)}
	}
	return answer{why: o.stop(ctx, err)}
}

// stop records why no more requests are sent, and returns it.
func (o *Observations) stop(ctx context.Context, err error) string {
	switch {
	case ctx.Err() != nil:
		o.Stopped = "interrupted"
	case errors.Is(err, ErrLimit):
		o.Stopped = ErrLimit.Error()
	default:
		o.Stopped = "a request failed: " + string(cloud.ReasonOf(err))
	}
	return o.Stopped
}

// statusAndCode omits a code that may say more than what happened.
func statusAndCode(e *cloud.Error) string {
	text := "HTTP " + strconv.Itoa(e.Status)
	switch {
	case regexp.MustCompile(`^(APIGW?|CSS|EndPoint|IAM|VPCEP|ces|CES)\.\d{4}$`).MatchString(e.Code):
		text += " " + e.Code
	case e.Code != "" && e.Code != strconv.Itoa(e.Status):
		text += " with another code"
	}
	return text
}

func (o *Observations) observePaging(ctx context.Context, l *List) {
	why := ""
	switch {
	case l == nil:
		why = "no list of connections was read"
	case len(l.First) == 1 && (len(l.IDs) > 1 || l.Reported > 1):
		why = "needs more than 1 connection on a page"
	case len(l.First) < 2:
		why = "needs more than 1 connection"
	case slices.Contains(l.IDs, "") || len(slices.Compact(slices.Sorted(slices.Values(l.First)))) < len(l.First):
		why = "the connections have no distinct IDs"
	}
	if why != "" {
		o.limit = unknown("%s", why)
		o.offset, o.start, o.defaultLimit = o.limit, o.limit, o.limit
		return
	}
	o.defaultLimit = o.observeDefaultLimit(ctx, l)
	o.limit = o.observeLimit(ctx, l)
	o.offset = o.observeOffset(ctx, l)
	o.start = o.observeStart(ctx, l)
	again := o.ask(ctx, l, "limit=1000")
	if slices.Equal(again.ids, l.First) {
		return
	}
	o.offset = unstable(again, l)
	o.start = o.offset
	if len(again.ids) != len(l.First) {
		o.defaultLimit = o.offset
	}
}

// unstable returns why positions in the list mean nothing.
func unstable(again answer, l *List) string {
	switch {
	case again.why != "":
		return unknown("%s", again.why)
	case slices.Equal(slices.Sorted(slices.Values(again.ids)), slices.Sorted(slices.Values(l.First))):
		return unknown("the order of the list is not stable")
	}
	return unknown("the list changed between requests")
}

const documentedLimit = 10

func (o *Observations) observeDefaultLimit(ctx context.Context, l *List) string {
	if len(l.IDs) <= documentedLimit && l.Reported <= documentedLimit {
		return unknown("needs more than %d connections", documentedLimit)
	}
	a := o.ask(ctx, l, "")
	switch n := len(a.ids); {
	case a.why != "":
		return unknown("%s", a.why)
	case a.refused != "":
		return "none; a request without a limit is refused (" + a.refused + ")"
	case n == 0:
		return unknown("a request without a limit gives an empty page")
	case n >= len(l.First) && (n < len(l.IDs) || float64(n) < l.Reported):
		return unknown("a page never has more than %d connections", n)
	case n >= len(l.First):
		return fmt.Sprintf("none; all %d connections came", n)
	default:
		return strconv.Itoa(n)
	}
}

func (o *Observations) observeLimit(ctx context.Context, l *List) string {
	a := o.ask(ctx, l, "limit=1")
	switch {
	case a.isNoPage():
		return a.noPage()
	case len(a.ids) == 1:
		return honoured
	case len(a.ids) == 0:
		return unknown("limit=1 gives an empty page")
	}
	return ignored
}

// observeOffset asks for two items, which tells items from pages: page 1, counted from 0, would start with the third one.
func (o *Observations) observeOffset(ctx context.Context, l *List) string {
	a := o.ask(ctx, l, "offset=1&limit=2")
	switch {
	case a.isNoPage():
		return a.noPage()
	case len(a.ids) == 0:
		return unknown("offset=1 gives an empty page; it may count pages")
	case a.first() == l.First[1]:
		return "counts items from 0"
	case a.first() != l.First[0]:
		return unknown("offset=1 gives neither the first nor the second connection; it may count pages")
	}
	a = o.ask(ctx, l, "offset=2&limit=2")
	switch {
	case a.why != "":
		return unknown("%s", a.why)
	case a.refused != "":
		return unknown("offset=1 gives the first connection, and offset=2 is refused: %s", a.refused)
	case a.first() == l.First[1]:
		return "counts items from 1"
	case a.first() == l.First[0]:
		return ignored
	}
	return unknown("offset=2 gives neither the first nor the second connection; it may count pages")
}

func (o *Observations) observeStart(ctx context.Context, l *List) string {
	a := o.ask(ctx, l, "start=2&limit=1")
	switch {
	case a.isNoPage():
		return a.noPage()
	case len(a.ids) == 0:
		return unknown("start=2 gives an empty page")
	case a.first() == l.First[1]:
		return honoured
	case a.first() == l.First[0]:
		return ignored
	}
	return unknown("start=2 gives neither the first nor the second connection")
}

// observeUnknownCluster asks for a cluster that nobody has.
func (o *Observations) observeUnknownCluster(ctx context.Context) {
	if o.Stopped != "" {
		o.unknown = unknown("%s", o.Stopped)
		return
	}
	page, err := o.request(ctx, madeUpID(), url.Values{"limit": {"1"}})
	e, isError := errors.AsType[*cloud.Error](err)
	switch {
	case err == nil && !page.Enabled:
		o.unknown = serviceOff
	case err == nil:
		o.unknown = "HTTP 200"
	case isError && e.Status != 0 && e.Reason != cloud.ReasonThrottled && e.Reason != cloud.ReasonAuth:
		o.unknown = statusAndCode(e)
	default:
		o.unknown = unknown("%s", o.stop(ctx, err))
	}
}

func madeUpID() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// generation says which paging parameters the API honours.
func (o *Observations) generation() string {
	byResult := map[string][]string{}
	for _, p := range []struct{ name, result string }{{"limit", o.limit}, {"offset", o.offset}, {"start", o.start}} {
		result := p.result
		switch {
		case strings.HasPrefix(result, "counts "):
			result = honoured
		case strings.HasPrefix(result, "refused"):
			result = "refused"
		case strings.HasPrefix(result, "unknown"):
			result = "unknown"
		}
		byResult[result] = append(byResult[result], p.name)
	}
	if len(byResult["unknown"]) == 3 {
		return o.offset
	}
	var parts []string
	for _, result := range []string{honoured, ignored, "refused", "unknown"} {
		if names := byResult[result]; len(names) > 0 {
			last := len(names) - 1
			text := names[last]
			if last > 0 {
				text = strings.Join(names[:last], ", ") + " and " + text
			}
			parts = append(parts, text+" "+result)
		}
	}
	return strings.Join(parts, "; ")
}
