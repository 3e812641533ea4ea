// SPDX-License-Identifier: Apache-2.0

package css

import (
	"bytes"
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

	"github.com/go-json-experiment/json/jsontext"
)

// Status is the state of a connection.
type Status string

// The documented states: the first two are those of the CSS API, the others of the VPC endpoint service below it.
const (
	StatusAccepted          Status = "accepted"
	StatusRejected          Status = "rejected"
	StatusPendingAcceptance Status = "pendingAcceptance"
	StatusCreating          Status = "creating"
	StatusFailed            Status = "failed"
	StatusDeleting          Status = "deleting"
	StatusUnknown           Status = "unknown" // anything else that the API said
)

// Statuses lists every documented state and, last, StatusUnknown.
func Statuses() []Status {
	return []Status{
		StatusAccepted, StatusRejected, StatusPendingAcceptance, StatusCreating, StatusFailed, StatusDeleting,
		StatusUnknown,
	}
}

// parseStatus ignores the case, which the API does not promise.
func parseStatus(text string) Status {
	text = strings.TrimSpace(text)
	for _, status := range Statuses() {
		if strings.EqualFold(text, string(status)) {
			return status
		}
	}
	return StatusUnknown
}

// status decodes the state of a connection; an empty text is none.
func status(to *Status) value {
	return scalar(func(content []byte) bool {
		if len(content) > 0 {
			*to = parseStatus(string(content))
		}
		return true
	}, jsontext.KindString, jsontext.KindNumber)
}

// ConnectionList is the VPC endpoint connections of one cluster, all pages together.
type ConnectionList struct {
	Enabled      bool              // false if the VPC endpoint service is disabled (CSS.5182); nothing else is known then
	Reported     Optional[float64] // total_count: the number of endpoints as the API counts them
	Connections  []Connection      // each once, in the API's order
	Incomplete   bool              // the list ends early: the API refused a further page, or a limit was reached
	ServiceName  string            // vpcServiceName; may be empty
	UpdateSwitch Optional[bool]    // vpcepUpdateSwitch, whose meaning is not clear
	Permissions  Optional[[]Permission]
	Unparsable   map[string]int // the number of mistyped values by the API's field name

	hash [sha256.Size]byte // of the answer, if there was only one page
}

// Truncated reports whether fewer connections were listed than the API reports, or the list ends early.
func (l *ConnectionList) Truncated() bool {
	return l.Incomplete || (l.Reported.Set && float64(len(l.Connections)) < l.Reported.Value)
}

// Connection is a VPC endpoint that is connected to a cluster, or requests to be. Texts are valid UTF-8 of at most 1,024 bytes,
// and empty if the API sent none.
type Connection struct {
	ID                string
	Status            Status            // empty if the API sent none
	MaxSessions       Optional[float64] // maxSession: sessions allowed
	SpecificationName string
	CreatedAt         Optional[time.Time]
	UpdatedAt         Optional[time.Time]
	DomainID          string // the account that owns the endpoint
	IP                string
	IPv6              string
	DNSName           string
}

// identity returns what distinguishes connections: the ID or, without one, everything else.
func (c *Connection) identity() string {
	if c.ID != "" {
		return c.ID
	}
	return fmt.Sprintf("\x00%+v", *c)
}

// Permission is an entry of the allowlist.
type Permission struct {
	Text string // "iam:domain::<account id>", "iam:domain::*", "*", "organizations:orgPath::<path>"
	Type string // "domainId", "orgPath"; may be empty
}

const allDomains = "*"

// Domain returns the account ID that the permission names, or "*" for every account. A permission of another kind, such as an
// organization's path, names no account.
func (p Permission) Domain() (id string, ok bool) {
	text := strings.TrimSpace(p.Text)
	if text == allDomains {
		return allDomains, true
	}
	id, ok = strings.CutPrefix(text, "iam:domain::")
	return id, ok && id != ""
}

// Wildcard reports whether the permission allows every account.
func (p Permission) Wildcard() bool {
	id, ok := p.Domain()
	return ok && id == allDomains
}

// Limits of one cluster's list; an account's quota is about fifty endpoints.
const (
	pageLimit       = 1000
	connectionBytes = 256 // typical size of a connection, to allocate a page at once
	maxConnections  = 100_000
	maxListBytes    = 64 << 20
	maxPages        = 200 // a list of 2,000 in pages of ten
)

const opConnections = "connections"

// Reserve waits for the part of the request budget that the first request of Connections for the cluster uses, so that the
// caller decides in which order clusters are read. It fails at once if that request would not be sent now.
func (c *Client) Reserve(ctx context.Context, clusterID string) error {
	credentials, err := c.check(ctx, connectionsRequest(clusterID))
	if err != nil && (ReasonOf(err) != ReasonAuth || !c.replace(ctx, opConnections, credentials)) {
		return err
	}
	return c.waitForBudget(ctx, opConnections)
}

func connectionsRequest(clusterID string) request {
	return request{
		operation: opConnections, target: clusterID,
		path: []string{"clusters", clusterID, "vpcepservice", "connections"},
	}
}

// Connections reads the whole list of a cluster
// (GET /v1.0/{project_id}/clusters/{cluster_id}/vpcepservice/connections).
//
// One request is enough for up to 1,000 connections. While fewer are listed than reported, further pages are requested by
// offset, which counts items. A server that caps its pages is supported, and one that ignores the offset is noticed because
// its page has nothing new. Errors are of the type *Error.
//
// If one request was enough and its answer has the same bytes as that of last, last itself is returned. last may be nil; lists
// never change after they were returned. The first request does not wait for the budget: Reserve does that.
func (c *Client) Connections(ctx context.Context, clusterID string, last *ConnectionList) (*ConnectionList, error) {
	buffer, _ := c.buffers.Get().(*bytes.Buffer)
	defer func() {
		if buffer.Cap() <= maxKept {
			c.buffers.Put(buffer)
		}
	}()
	list := &ConnectionList{Enabled: true}
	seen := make(map[string]struct{})
	received, size := 0, 0
	for pages := 1; ; pages++ {
		query := url.Values{"limit": {strconv.Itoa(pageLimit)}}
		if received > 0 {
			query.Set("offset", strconv.Itoa(received))
		}
		r := connectionsRequest(clusterID)
		r.query, r.into, r.reserved = query, buffer, pages == 1
		answer, err := c.call(ctx, r)
		switch e := (*Error)(nil); {
		case err == nil:
		case errors.As(err, &e) && e.Code == codeServiceOff && e.Status == http.StatusBadRequest:
			return &ConnectionList{}, nil
		case received > 0 && e != nil && e.Status == http.StatusBadRequest && e.Reason == ReasonInvalid:
			list.Incomplete = true
			return list, nil
		default:
			return nil, err
		}

		hash := sha256.Sum256(answer.body)
		if pages == 1 && last != nil && last.hash == hash {
			return last, nil
		}
		page, err := parseConnections(answer.body)
		if err != nil {
			failed := decodeError(opConnections, err.Error())
			failed.sent = true
			return nil, failed
		}
		received += len(page.Connections)
		size += len(answer.body)
		fresh := list.add(page, seen)
		if !list.more(fresh) {
			if pages == 1 {
				list.hash = hash
			}
			return list, nil
		}
		if len(list.Connections) >= maxConnections || size >= maxListBytes || pages == maxPages {
			list.Incomplete = true
			return list, nil
		}
	}
}

// add adds a page and returns how many of its connections are new.
func (l *ConnectionList) add(page *ConnectionList, seen map[string]struct{}) (fresh int) {
	unseen := slices.DeleteFunc(page.Connections, func(c Connection) bool {
		id := c.identity()
		_, known := seen[id]
		seen[id] = struct{}{}
		return known
	})
	if l.Connections == nil { // the first page is not copied
		l.Connections = unseen
	} else {
		l.Connections = append(l.Connections, unseen...)
	}
	if page.Reported.Set { // the newest count is compared with the list
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

// more reports whether to request a further page after one with that many new connections. If the API reports no number, the
// list ends with a page without any.
func (l *ConnectionList) more(fresh int) bool {
	return fresh > 0 && (!l.Reported.Set || float64(len(l.Connections)) < l.Reported.Value)
}

// parseConnections decodes one page. It fails if the body is not a JSON object, has neither connections nor total_count, or
// has connections that are not a list of objects.
func parseConnections(body []byte) (*ConnectionList, error) {
	l := &ConnectionList{Enabled: true}
	var c Connection
	connection := object{
		"id":                text(&c.ID),
		"status":            status(&c.Status),
		"maxSession":        optional(&c.MaxSessions, parseNumber),
		"specificationName": text(&c.SpecificationName),
		"created_at":        optional(&c.CreatedAt, parseTime),
		"update_at":         optional(&c.UpdatedAt, parseTime),
		"domain_id":         text(&c.DomainID),
		"vpcepIp":           text(&c.IP),
		"vpcepIpv6Address":  text(&c.IPv6),
		"vpcepDnsName":      text(&c.DNSName),
	}
	connections := list(func(d *decoder) error {
		if d.PeekKind() != jsontext.KindBeginObject {
			return errors.New("connections holds something that is not an object")
		}
		c = Connection{}
		err := connection.decode(d)
		l.Connections = append(l.Connections, c)
		return err
	})
	var p Permission
	permission := object{"permission": text(&p.Text), "permission_type": text(&p.Type)}
	permissions := list(func(d *decoder) error { // one of an unknown shape is still an entry, although it names no account
		p = Permission{}
		err := permission.decode(d)
		l.Permissions.Value = append(l.Permissions.Value, p)
		return err
	})
	var err error
	l.Unparsable, err = decode(body, object{
		"connections": func(d *decoder) error {
			if kind := d.PeekKind(); kind != jsontext.KindBeginArray && kind != jsontext.KindNull {
				return errors.New("connections is not a list")
			}
			l.Connections = make([]Connection, 0, min(len(body)/connectionBytes, pageLimit)) // the last of duplicates counts
			return connections(d)
		},
		"total_count":       optional(&l.Reported, parseCount),
		"vpcServiceName":    text(&l.ServiceName),
		"vpcepUpdateSwitch": optional(&l.UpdateSwitch, parseBool),
		"permissions": func(d *decoder) error {
			if d.PeekKind() == jsontext.KindBeginArray {
				l.Permissions = some([]Permission{})
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
