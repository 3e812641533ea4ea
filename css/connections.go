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

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Status is the state of a connection.
type Status string

// The states that are documented: the first two by the CSS API, the others by the VPC endpoint service below it.
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

// parseStatus does not mind the case, which the API does not promise.
func parseStatus(text string) Status {
	text = strings.TrimSpace(text)
	for _, status := range Statuses() {
		if strings.EqualFold(text, string(status)) {
			return status
		}
	}
	return StatusUnknown
}

// ConnectionList is what the API says of one cluster's VPC endpoint connections, all pages together.
type ConnectionList struct {
	// Enabled is false where the VPC endpoint service is off (CSS.5182); nothing else is known then.
	Enabled bool
	// Reported is total_count: the number of endpoints as the API counts them.
	Reported Optional[float64]
	// Connections are those listed, each once, in the API's order.
	Connections []Connection
	// Refused is true if the API refused a further page, so that the list ends early.
	Refused bool
	// ServiceName is vpcServiceName; empty if the answer has none.
	ServiceName string
	// UpdateSwitch is vpcepUpdateSwitch as it was sent. Its meaning is not clear.
	UpdateSwitch Optional[bool]
	// Permissions is the whitelist; not set where the answer has none.
	Permissions Optional[[]Permission]
	// Unparsable counts, by the API's field name, the values that were sent but could not be understood.
	Unparsable map[string]int

	answer fingerprint
}

// fingerprint tells one answer from another by its bytes. The zero value is that of none.
type fingerprint [sha256.Size]byte

// Truncated says whether fewer connections were listed than the API reports, or a page was refused.
func (l *ConnectionList) Truncated() bool {
	return l.Refused || (l.Reported.Set && float64(len(l.Connections)) < l.Reported.Value)
}

// Connection is one VPC endpoint that is connected to a cluster, or wants to be. Texts are valid UTF-8 of at most
// 1,024 bytes, and empty where the API sent none.
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

// identity is what tells connections apart: the id or, without one, all else.
func (c *Connection) identity() string {
	if c.ID != "" {
		return c.ID
	}
	return fmt.Sprintf("\x00%+v", *c)
}

// Permission is one entry of the whitelist.
type Permission struct {
	Text string // "iam:domain::<account id>", "iam:domain::*", "*", "organizations:orgPath::<path>"
	Type string // "domainId", "orgPath"; may be empty
}

const allDomains = "*"

// Domain gives the account id that the entry names, or "*" if it lets every account in. An entry of another kind,
// such as an organisation's path, names no account that can be told from here.
func (p Permission) Domain() (id string, ok bool) {
	text := strings.TrimSpace(p.Text)
	if text == allDomains {
		return allDomains, true
	}
	id, ok = strings.CutPrefix(text, "iam:domain::")
	return id, ok && id != ""
}

// Wildcard says whether the entry lets every account in.
func (p Permission) Wildcard() bool {
	id, ok := p.Domain()
	return ok && id == allDomains
}

// What one cluster's list may cost at most; an account's quota is about fifty endpoints.
const (
	pageLimit       = 1000
	connectionBytes = 256 // of a page, as most connections take about; no bound
	maxConnections  = 100_000
	maxListBytes    = 64 << 20
	maxPages        = 200 // as many as a list of 2,000 needs, in pages of ten
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
// One request is enough for up to 1,000 connections. While fewer are listed than reported, further pages are asked for
// by offset, which counts items; a server that caps its pages is as good, and one that ignores the offset is noticed
// because its page brings nothing new. Errors are of the type *Error.
//
// If one request was enough, and its answer is byte for byte that of which last was made, last itself is returned: the
// list is another one only if the answer is. last may be nil; lists are not changed once they were returned.
//
// The first request is sent without waiting for the budget: Reserve does that.
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
		body, err := c.get(ctx, r)
		switch e := (*Error)(nil); {
		case err == nil:
		case errors.As(err, &e) && e.Code == codeServiceOff && e.Status == http.StatusBadRequest:
			return &ConnectionList{}, nil
		case received > 0 && e != nil && e.Status == http.StatusBadRequest && e.Reason == ReasonInvalid:
			list.Refused = true
			return list, nil
		default:
			return nil, err
		}

		var answer fingerprint // of the list, which only a first page can be all of
		if pages == 1 {
			answer = sha256.Sum256(body)
			if last != nil && last.answer == answer {
				return last, nil
			}
		}
		page, err := parseConnections(body)
		if err != nil {
			failed := decodeError(opConnections, err.Error())
			failed.sent = true
			return nil, failed
		}
		received += len(page.Connections)
		size += len(body)
		fresh := list.add(page, seen)
		if !list.more(fresh) {
			list.answer = answer
			return list, nil
		}
		if len(list.Connections) >= maxConnections || size >= maxListBytes || pages == maxPages {
			list.Refused = true
			return list, nil
		}
	}
}

// add takes a page in and says how many of its connections are new.
func (l *ConnectionList) add(page *ConnectionList, seen map[string]struct{}) (fresh int) {
	unseen := slices.DeleteFunc(page.Connections, func(c Connection) bool {
		id := c.identity()
		_, known := seen[id]
		seen[id] = struct{}{}
		return known
	})
	if l.Connections == nil { // of the first page nothing is copied
		l.Connections = unseen
	} else {
		l.Connections = append(l.Connections, unseen...)
	}
	if page.Reported.Set { // the newest count is the one to hold the list against
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

// more says whether a further page is to be asked for, after one that brought that many new connections. Where the API
// reports no number, only a page without any tells that the list is at its end.
func (l *ConnectionList) more(fresh int) bool {
	return fresh > 0 && (!l.Reported.Set || float64(len(l.Connections)) < l.Reported.Value)
}

// wireConnection is a connection as the API sends it.
type wireConnection struct {
	ID                field[string]    `json:"id"`
	Status            field[Status]    `json:"status"`
	MaxSessions       field[float64]   `json:"maxSession"`
	SpecificationName field[string]    `json:"specificationName"`
	CreatedAt         field[time.Time] `json:"created_at"`
	UpdatedAt         field[time.Time] `json:"update_at"`
	DomainID          field[string]    `json:"domain_id"`
	IP                field[string]    `json:"vpcepIp"`
	IPv6              field[string]    `json:"vpcepIpv6Address"`
	DNSName           field[string]    `json:"vpcepDnsName"`
}

// take returns the connection and clears w.
func (w *wireConnection) take(unparsable map[string]int) Connection {
	return Connection{
		ID:                w.ID.take("id", unparsable).Value,
		Status:            w.Status.take("status", unparsable).Value,
		MaxSessions:       w.MaxSessions.take("maxSession", unparsable),
		SpecificationName: w.SpecificationName.take("specificationName", unparsable).Value,
		CreatedAt:         w.CreatedAt.take("created_at", unparsable),
		UpdatedAt:         w.UpdatedAt.take("update_at", unparsable),
		DomainID:          w.DomainID.take("domain_id", unparsable).Value,
		IP:                w.IP.take("vpcepIp", unparsable).Value,
		IPv6:              w.IPv6.take("vpcepIpv6Address", unparsable).Value,
		DNSName:           w.DNSName.take("vpcepDnsName", unparsable).Value,
	}
}

// parseConnections decodes one page. It fails if the body is no answer: not a JSON object, one with neither connections
// nor total_count, or one whose connections are not a list of objects.
func parseConnections(body []byte) (*ConnectionList, error) {
	var page struct {
		Connections  list[Connection] `json:"connections"`
		TotalCount   field[float64]   `json:"total_count"`
		ServiceName  field[string]    `json:"vpcServiceName"`
		UpdateSwitch field[bool]      `json:"vpcepUpdateSwitch"`
		Permissions  list[Permission] `json:"permissions"`
	}
	unparsable := make(map[string]int)
	var connection wireConnection // each element is decoded into it: a list of them would double the memory
	valid := true
	page.Connections.items = make([]Connection, 0, min(len(body)/connectionBytes, pageLimit))
	page.Connections.decode = func(dec *jsontext.Decoder, c *Connection) error {
		if dec.PeekKind() != jsontext.KindBeginObject {
			valid = false
			return dec.SkipValue()
		}
		err := json.UnmarshalDecode(dec, &connection)
		*c = connection.take(unparsable)
		return err
	}
	var permission object[struct {
		Text field[string] `json:"permission"`
		Type field[string] `json:"permission_type"`
	}]
	page.Permissions.items = []Permission{}
	page.Permissions.decode = func(dec *jsontext.Decoder, p *Permission) error {
		if mistyped(dec.PeekKind(), jsontext.KindBeginObject) { // it stays an entry, though it names nobody
			unparsable["permissions"]++
		}
		err := permission.UnmarshalJSONFrom(dec)
		p.Text = permission.value.Text.take("permission", unparsable).Value
		p.Type = permission.value.Type.take("permission_type", unparsable).Value
		return err
	}
	if err := decode(body, &page); err != nil {
		return nil, err
	}
	if !isCount(page.TotalCount.Value) {
		page.TotalCount = field[float64]{mistyped: true}
	}
	switch {
	case !valid, mistyped(page.Connections.kind, jsontext.KindBeginArray):
		return nil, errors.New("connections is not a list of objects")
	case page.Connections.kind == 0 && !page.TotalCount.Set:
		return nil, errors.New("the body has neither connections nor total_count")
	case mistyped(page.Permissions.kind, jsontext.KindBeginArray):
		unparsable["permissions"]++
	}
	l := &ConnectionList{
		Enabled:      true,
		Reported:     page.TotalCount.take("total_count", unparsable),
		Connections:  page.Connections.items,
		ServiceName:  page.ServiceName.take("vpcServiceName", unparsable).Value,
		UpdateSwitch: page.UpdateSwitch.take("vpcepUpdateSwitch", unparsable),
		Unparsable:   unparsable,
	}
	if page.Permissions.kind == jsontext.KindBeginArray {
		l.Permissions = some(page.Permissions.items)
	}
	return l, nil
}
