// SPDX-License-Identifier: Apache-2.0

package css

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/lenient"

	"github.com/go-json-experiment/json/jsontext"
)

// Status is the state of a connection.
type Status string

// The states. CSS documents the first two, VPC Endpoint the others.
const (
	StatusAccepted          Status = "accepted"
	StatusRejected          Status = "rejected"
	StatusPendingAcceptance Status = "pendingAcceptance"
	StatusCreating          Status = "creating"
	StatusFailed            Status = "failed"
	StatusDeleting          Status = "deleting"
	StatusUnknown           Status = "unknown"
)

// Statuses returns every state.
func Statuses() []Status {
	return []Status{
		StatusAccepted, StatusRejected, StatusPendingAcceptance, StatusCreating, StatusFailed, StatusDeleting,
		StatusUnknown,
	}
}

// parseStatus ignores case, which the documentation does not promise.
func parseStatus(text string) Status {
	text = strings.TrimSpace(text)
	for _, status := range Statuses() {
		if strings.EqualFold(text, string(status)) {
			return status
		}
	}
	return StatusUnknown
}

func status(to *Status) lenient.Value {
	return lenient.Scalar(func(content []byte) bool {
		if len(content) > 0 {
			*to = parseStatus(string(content))
		}
		return true
	}, jsontext.KindString, jsontext.KindNumber)
}

// ConnectionList is the VPC endpoint connections of a cluster. It is immutable.
type ConnectionList struct {
	Enabled      bool                      // false if the service is off (CSS.5182); then nothing else is set
	Reported     lenient.Optional[float64] // total_count
	Connections  []Connection
	Incomplete   bool                   // the API refused a further page, or a limit was reached
	ServiceName  string                 // vpcServiceName
	UpdateSwitch lenient.Optional[bool] // vpcepUpdateSwitch; its meaning is undocumented
	Permissions  lenient.Optional[[]Permission]
	Unparsable   map[string]int // number of values of another type, by field

	hash [sha256.Size]byte // of a single page
}

// Truncated reports whether the list is Incomplete or has fewer connections than Reported.
func (l *ConnectionList) Truncated() bool {
	return l.Incomplete || (l.Reported.Set && float64(len(l.Connections)) < l.Reported.Value)
}

// Connection is a VPC endpoint of a cluster. Strings are valid UTF-8 of at most clean.MaxLength bytes, or empty.
type Connection struct {
	ID                string
	Status            Status
	MaxSessions       lenient.Optional[float64] // maxSession
	SpecificationName string
	CreatedAt         lenient.Optional[time.Time]
	UpdatedAt         lenient.Optional[time.Time]
	DomainID          string // the account that owns the endpoint
	IP                string
	IPv6              string
	DNSName           string
}

// KnownStatus returns the status, or unknown without one.
func (c *Connection) KnownStatus() Status { return cmp.Or(c.Status, StatusUnknown) }

// Identity returns the ID or, without one, all fields.
func (c *Connection) Identity() string {
	if c.ID != "" {
		return c.ID
	}
	return fmt.Sprintf("\x00%+v", *c)
}

// Permission is an entry of the allowlist.
type Permission struct {
	ID        string // may be empty
	CreatedAt lenient.Optional[time.Time]
	Text      string // "iam:domain::<account id>", "iam:domain::*", "*", "organizations:orgPath::<path>"
	Type      string // "domainId", "orgPath"; may be empty
}

const allDomains = "*"

// Domain returns the ID of the account, or "*" for all. Other kinds of permissions name no account.
func (p Permission) Domain() (id string, ok bool) {
	text := strings.TrimSpace(p.Text)
	if text == allDomains {
		return allDomains, true
	}
	if id, ok = strings.CutPrefix(text, "iam:domain::"); ok && id != "" {
		return id, true
	}
	return "", false
}

// Wildcard reports whether every account is allowed.
func (p Permission) Wildcard() bool {
	id, ok := p.Domain()
	return ok && id == allDomains
}

const (
	pageLimit       = 1000
	pageLimitText   = "1000"
	connectionBytes = 256
)

// OpConnections is the operation of Connections.
const OpConnections = "connections"

// Reserve waits for the request budget of Connections' first request, so that the caller decides on the order of
// clusters. It fails at once during a pause or a back-off.
func (c *Client) Reserve(ctx context.Context, clusterID string) error {
	return c.cloud.Reserve(ctx, connectionsRequest(clusterID))
}

func connectionsRequest(clusterID string) cloud.Request {
	return cloud.Request{
		Service: service{}, Operation: OpConnections, Target: clusterID,
		Path: []string{"clusters", clusterID, "vpcepservice", "connections"},
	}
}

// Connections reads all pages of a cluster's list
// (GET /v1.0/{project_id}/clusters/{cluster_id}/vpcepservice/connections). Call Reserve first.
//
// Usually one request is enough. Further pages are requested by offset, which counts items, while fewer are listed than
// reported: the API may cap pages, or ignore the offset. If a single page has not changed since last, which may be nil,
// last is returned. Errors are of the type *cloud.Error.
func (c *Client) Connections(ctx context.Context, clusterID string, last *ConnectionList) (*ConnectionList, error) {
	buffer, _ := c.buffers.Get().(*bytes.Buffer)
	defer func() {
		if buffer.Cap() <= maxKept {
			c.buffers.Put(buffer)
		}
	}()
	// Not a timeout, which would see only the present deadline of ctx: it moves, because scrapes share the read.
	bounded, cancel := context.WithCancel(ctx)
	defer cancel()
	defer time.AfterFunc(maxListTime, cancel).Stop()
	var list *ConnectionList // nil before the first page
	var seen map[string]struct{}
	received, size := 0, 0
	for pages := 1; ; pages++ {
		query := url.Values{"limit": {pageLimitText}}
		if received > 0 {
			query.Set("offset", strconv.Itoa(received))
		}
		r := connectionsRequest(clusterID)
		r.Query, r.Buffer, r.Reserved = query, buffer, pages == 1
		response, err := c.call(bounded, r)
		switch {
		case err == nil:
		case isServiceOff(err):
			return &ConnectionList{}, nil
		case received > 0 && RefusesPage(err):
			list.Incomplete = true
			return list, nil
		case received > 0 && bounded.Err() != nil && ctx.Err() == nil:
			list.Incomplete = true
			return list, nil
		default:
			return nil, err
		}

		hash := sha256.Sum256(response.Body)
		if pages == 1 && last != nil && last.hash == hash {
			c.count(last.Unparsable)
			return last, nil
		}
		page, err := parseConnections(response.Body)
		if err != nil {
			return nil, decodeError(OpConnections, err)
		}
		c.count(page.Unparsable)
		if list == nil {
			list, seen = &ConnectionList{Enabled: true}, make(map[string]struct{})
		}
		received += len(page.Connections)
		size += len(response.Body)
		fresh := list.add(page, seen)
		if !list.more(fresh) {
			if pages == 1 {
				list.hash = hash
			}
			return list, nil
		}
		if full(pages, len(list.Connections), size) {
			list.Incomplete = true
			return list, nil
		}
	}
}

// RefusesPage reports whether the API does not accept the parameters of a page.
func RefusesPage(err error) bool {
	e, ok := errors.AsType[*cloud.Error](err)
	return ok && e.Status == http.StatusBadRequest && e.Reason == cloud.ReasonInvalid
}

func isServiceOff(err error) bool {
	e, ok := errors.AsType[*cloud.Error](err)
	return ok && e.Code == codeServiceOff && e.Status == http.StatusBadRequest
}

func (l *ConnectionList) add(page *ConnectionList, seen map[string]struct{}) (fresh int) {
	unseen := slices.DeleteFunc(page.Connections, func(c Connection) bool {
		id := c.Identity()
		_, known := seen[id]
		seen[id] = struct{}{}
		return known
	})
	if l.Connections == nil {
		l.Connections = unseen
	} else {
		l.Connections = append(l.Connections, unseen...)
	}
	if page.Reported.Set {
		l.Reported = page.Reported
	}
	if l.ServiceName == "" {
		l.ServiceName = page.ServiceName
	}
	if !l.UpdateSwitch.Set {
		l.UpdateSwitch = page.UpdateSwitch
	}
	if !l.Permissions.Set {
		l.Permissions = page.Permissions
	}
	for field, count := range page.Unparsable {
		if l.Unparsable == nil {
			l.Unparsable = make(map[string]int)
		}
		l.Unparsable[field] += count
	}
	return len(unseen)
}

// more reports whether to request another page after one with that many new connections.
func (l *ConnectionList) more(fresh int) bool {
	return fresh > 0 && (!l.Reported.Set || float64(len(l.Connections)) < l.Reported.Value)
}

// parseConnections decodes a page. It fails if the body is not a JSON object, has neither connections nor
// total_count, or if connections is not a list of objects.
func parseConnections(body []byte) (*ConnectionList, error) {
	l := &ConnectionList{Enabled: true}
	var c Connection
	connection := lenient.Object{
		"id":                lenient.Text(&c.ID),
		"status":            status(&c.Status),
		"maxSession":        lenient.Optionally(&c.MaxSessions, lenient.ParseExactCount),
		"specificationName": lenient.Text(&c.SpecificationName),
		"created_at":        lenient.Optionally(&c.CreatedAt, lenient.ParseTime),
		"update_at":         lenient.Optionally(&c.UpdatedAt, lenient.ParseTime),
		"domain_id":         lenient.Text(&c.DomainID),
		"vpcepIp":           lenient.Text(&c.IP),
		"vpcepIpv6Address":  lenient.Text(&c.IPv6),
		"vpcepDnsName":      lenient.Text(&c.DNSName),
	}
	connections := lenient.List(func(d *lenient.Decoder) error {
		if d.PeekKind() != jsontext.KindBeginObject {
			return errors.New("connections holds something that is not an object")
		}
		c = Connection{}
		err := connection.Decode(d)
		l.Connections = append(l.Connections, c)
		return err
	})
	var p Permission
	permission := lenient.Object{
		"id":              lenient.Text(&p.ID),
		"permission":      lenient.Text(&p.Text),
		"permission_type": lenient.Text(&p.Type),
		"created_at":      lenient.Optionally(&p.CreatedAt, lenient.ParseTime),
	}
	permissions := lenient.List(func(d *lenient.Decoder) error { // of any shape
		p = Permission{}
		err := permission.Decode(d)
		l.Permissions.Value = append(l.Permissions.Value, p)
		return err
	})
	var err error
	l.Unparsable, err = lenient.Decode(body, lenient.Object{
		"connections": func(d *lenient.Decoder) error {
			if kind := d.PeekKind(); kind != jsontext.KindBeginArray && kind != jsontext.KindNull {
				return errors.New("connections is not a list")
			}
			l.Connections = make([]Connection, 0, min(len(body)/connectionBytes, pageLimit)) // the last of duplicate fields wins
			return connections(d)
		},
		"total_count":       lenient.Optionally(&l.Reported, lenient.ParseCount),
		"vpcServiceName":    lenient.Text(&l.ServiceName),
		"vpcepUpdateSwitch": lenient.Optionally(&l.UpdateSwitch, lenient.ParseBool),
		"permissions": func(d *lenient.Decoder) error {
			if d.PeekKind() == jsontext.KindBeginArray {
				l.Permissions = lenient.Some([]Permission{})
			}
			return permissions(d)
		},
	})
	switch {
	case err != nil:
		return nil, err
	case l.Connections == nil && !l.Reported.Set:
		return nil, errors.New("the body has neither connections nor total_count")
	}
	return l, nil
}
