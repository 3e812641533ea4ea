// SPDX-License-Identifier: Apache-2.0

// Package apifacts finds out how the API behaves, and describes it without an ID, name, address or account. It sends
// requests through its caller.
package apifacts

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"css_vpcep_exporter/internal/css"
)

const (
	notSeen    = "not seen"
	serviceOff = "HTTP 400 CSS.5182"
)

// List is what was read of a cluster's connections.
type List struct {
	ClusterID      string
	Off            bool     // the VPC endpoint service
	First          []string // IDs on the first page
	IDs            []string // distinct, on all pages
	More           bool     // there are pages that were not read
	Reported       float64
	HasReported    bool
	NoCount        bool // total_count is something else
	Permissions    []css.Permission
	HasPermissions bool // the response has an allowlist
}

// longest returns the longest list, or nil.
func longest(lists []*List) *List {
	var best *List
	for _, l := range lists {
		if !l.Off && (best == nil || len(l.IDs) > len(best.IDs)) {
			best = l
		}
	}
	return best
}

// Lines returns the facts. Only text of these kinds may be in them: words of this package, the region, known statuses,
// known kinds of error codes, names of headers made of known words, and numbers. The region is empty unless it is built in.
func Lines(region string, o *Observations, s *Shapes, lists []*List, headers http.Header) []string {
	l := longest(lists)
	none := unknown("%s", "no list of connections was read")
	if o.Stopped != "" {
		none = unknown("%s", o.Stopped)
	}
	or := func(value string) string { return cmp.Or(value, none) }
	generation := ""
	if o.offset != "" {
		generation = o.generation()
	}
	lines := []string{
		"region: " + cmp.Or(region, "custom"),
		"generation: " + or(generation),
		"offset: " + or(o.offset),
		"default_limit: " + or(o.defaultLimit),
		"page_cap: " + or(l.pageCap()),
		"total_count: " + or(l.totalCount()),
	}
	lines = append(lines, s.lines()...)
	off := notSeen
	if slices.ContainsFunc(lists, func(l *List) bool { return l.Off }) {
		off = serviceOff
	}
	statuses := ""
	if l != nil {
		statuses = s.statusesSeen()
	}
	return append(lines,
		"update_switch: "+or(s.updateSwitch()),
		"permissions: "+or(permissions(lists)),
		"statuses: "+or(statuses),
		"unknown_cluster: "+or(o.unknown),
		"service_off: "+off,
		"request_id_header: "+headerNames(headers, `(?i)request-?id`),
		"rate_limit_headers: "+headerNames(headers, `(?i)rate-?limit|^retry-after$`),
		"retry_after: "+retryAfter(headers),
	)
}

// pageCap returns "" without a list.
func (l *List) pageCap() string {
	switch {
	case l == nil:
		return ""
	case len(l.IDs) > len(l.First):
		return strconv.Itoa(len(l.First))
	case l.More:
		return unknown("the list was not read to its end")
	case l.HasReported && l.Reported > float64(len(l.IDs)):
		return unknown("total_count is larger than what can be listed")
	}
	return fmt.Sprintf("none seen (%d connections on one page)", len(l.First))
}

// totalCount returns "" without a list.
func (l *List) totalCount() string {
	listed := 0.0
	if l != nil {
		listed = float64(len(l.IDs))
	}
	switch {
	case l == nil:
		return ""
	case !l.HasReported && l.NoCount:
		return unknown("its value is not a count")
	case !l.HasReported:
		return "absent"
	case l.Reported == listed:
		return "equals the list"
	case l.Reported < listed:
		return "smaller than the list"
	case l.More:
		return unknown("the list was not read to its end")
	}
	return "larger than the list"
}

// permissions returns which kinds of entries the allowlists have, or "" without a list.
func permissions(lists []*List) string {
	found := make(map[string]bool)
	for _, l := range lists {
		switch {
		case l.Off:
		case !l.HasPermissions:
			found["absent"] = true
		case len(l.Permissions) == 0:
			found["empty"] = true
		default:
			for _, p := range l.Permissions {
				found[kindOf(p)] = true
			}
		}
	}
	return strings.Join(slices.Sorted(maps.Keys(found)), ", ")
}

func kindOf(p css.Permission) string {
	_, isDomain := p.Domain()
	switch {
	case p.Wildcard():
		return "wildcard"
	case isDomain:
		return "domainId"
	case strings.HasPrefix(strings.TrimSpace(p.Text), "organizations:orgPath:"):
		return "orgPath"
	}
	return "other"
}

// wordsOfHeaders are those that the name of a header may have to be shown. Others may name somebody.
const wordsOfHeaders = " after allenv api apig apigw app burst compute count day global gw hour id ip limit minute openstack " +
	"policy rate ratelimit remaining request requestid reset retry second service time trace unit user used window x "

func isPlain(name string) bool {
	for word := range strings.SplitSeq(strings.ToLower(name), "-") {
		if word == "" || !strings.Contains(wordsOfHeaders, " "+word+" ") {
			return false
		}
	}
	return true
}

// headerNames returns the names that match, and only counts those that may hold more than a name.
func headerNames(headers http.Header, pattern string) string {
	if len(headers) == 0 {
		return unknown("no response was received")
	}
	var names []string
	others := 0
	for name := range headers {
		switch {
		case !regexp.MustCompile(pattern).MatchString(name):
		case isPlain(name):
			names = append(names, name)
		default:
			others++
		}
	}
	slices.Sort(names)
	if others > 0 {
		names = append(names, fmt.Sprintf("other (%d)", others))
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

func retryAfter(headers http.Header) string {
	value := headers.Get("Retry-After")
	_, dateErr := http.ParseTime(value)
	seconds, err := strconv.ParseUint(strings.TrimSpace(value), 10, 16)
	switch {
	case value == "":
		return notSeen
	case err == nil:
		return fmt.Sprintf("%d, in seconds", seconds)
	case dateErr == nil:
		return "HTTP date"
	}
	return "other"
}
