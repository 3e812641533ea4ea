// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxRequestBody is in bytes. Bodies are read because they are signed.
const maxRequestBody = 1 << 20

type route struct {
	target    Target
	projectID string
	clusterID string
	query     query // for Sessions
}

type response struct {
	status int
	header http.Header
	body   []byte
}

// rejection is an error of the API gateway.
type rejection struct {
	status        int
	code, message string
}

func unauthorized(code, message string) *rejection {
	return &rejection{http.StatusUnauthorized, code, message}
}

func incorrectIAM(reason string) *rejection {
	return unauthorized("APIGW.0301", "Incorrect IAM authentication information: "+reason)
}

func unknownKey(access string) *rejection {
	return unauthorized("APIGW.0303", "Incorrect app authentication information: app not found, appkey "+access)
}

func outdatedToken() *rejection { return unauthorized("APIGW.0307", "The token must be updated.") }

// ServeHTTP implements http.Handler. It panics with http.ErrAbortHandler if a fault closes the connection.
func (s *Simulator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	route := parseRoute(r)
	rec := s.recordStart(r, route)
	defer s.recordEnd(r.Context(), rec)

	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequestBody))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	c, rejected := s.authenticate(route, r, body, rec.RequestID)
	if rejected != nil {
		s.writeResponse(w, r, rec, *rejected, Fault{})
		return
	}
	s.updateRecord(func() { rec.AccessKey, rec.User = c.access, c.user.String() })
	if route.target.Endpoint == Sessions {
		route.query = parseQuery(body)
		s.recordQuery(rec, route.query)
	}
	if throttled := s.throttle(route, rec.RequestID); throttled != nil {
		s.writeResponse(w, r, rec, *throttled, Fault{})
		return
	}

	fault := s.nextFault(route.target)
	s.recordKeyResult(c.access, fault.Status, fault.Body)
	if !fault.wait(r.Context()) {
		panic(http.ErrAbortHandler)
	}
	if fault.Handler != nil {
		s.handle(fault.Handler, w, r, rec)
		return
	}
	s.writeResponse(w, r, rec, fault.apply(s.respond(route, r, body, c, fault)), fault)
}

// parseRoute recognizes requests of all services, because no two share a path.
func parseRoute(r *http.Request) route {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	matches := func(method, pattern string) bool {
		want := strings.Split(strings.Trim(pattern, "/"), "/")
		return r.Method == method && slices.EqualFunc(want, parts, func(want, got string) bool {
			return got != "" && (want == "*" || want == got)
		})
	}
	switch {
	case matches(http.MethodGet, "/v1.0/*/clusters/*/vpcepservice/connections"):
		return route{target: Target{Connections, parts[3]}, projectID: parts[1], clusterID: parts[3]}
	case matches(http.MethodGet, "/v1.0/*/clusters"):
		return route{target: Target{Clusters, parts[1]}, projectID: parts[1]}
	case matches(http.MethodPost, "/V1.0/*/batch-query-metric-data"):
		return route{target: Target{Sessions, parts[1]}, projectID: parts[1]}
	case matches(http.MethodGet, "/v3/projects"):
		return route{target: Target{Projects, r.URL.Query().Get("name")}}
	case matches(http.MethodGet, "/v3/auth/projects"):
		return route{target: Target{Endpoint: AccountList}}
	case matches(http.MethodPost, "/v3.0/OS-CREDENTIAL/securitytokens") && !authenticated(r):
		return route{target: Target{Endpoint: SecurityTokens}}
	case matches(http.MethodPost, "/v3/auth/tokens"):
		return route{target: Target{Endpoint: Tokens}}
	case matches(http.MethodPost, "/v3.0/OS-CREDENTIAL/securitytokens"):
		return route{target: Target{Endpoint: AgencyByIAM}}
	case matches(http.MethodPost, "/v5/agencies/assume"):
		return route{target: Target{Endpoint: AgencyBySTS}}
	case matches(http.MethodPut, "/meta-data/latest/api/token"):
		return route{target: Target{Endpoint: MetadataToken}}
	case matches(http.MethodGet, "/openstack/latest/securitykey"):
		return route{target: Target{Endpoint: SecurityKey}}
	case matches(http.MethodPost, PodIdentityPath):
		return route{target: Target{Endpoint: PodCredentials}}
	case matches(http.MethodPost, "/v5/agencies/assume-with-oidc"):
		return route{target: Target{Endpoint: AssumeWithOIDC}}
	case matches(http.MethodPost, "/v3.0/OS-AUTH/id-token/tokens"):
		return route{target: Target{Endpoint: IDTokens}}
	}
	return route{target: Target{Endpoint: Unknown}}
}

func (s *Simulator) authenticate(route route, r *http.Request, body []byte, requestID string) (caller, *response) {
	switch route.target.Endpoint {
	case Unknown:
		return caller{}, gatewayError(&rejection{http.StatusNotFound, "APIGW.0101",
			"The API does not exist or has not been published in the environment."}, requestID)
	case Tokens:
		return s.checkLogin(body)
	case MetadataToken:
		return caller{}, s.checkMetadataTokenRequest(r)
	case SecurityKey:
		return caller{}, s.checkSecurityKeyRequest(r)
	case PodCredentials:
		return caller{}, s.checkPodRequest(r, body)
	case AssumeWithOIDC:
		return s.checkAssumeWithOIDC(r, body)
	case IDTokens:
		return s.checkIDToken(r, body)
	case SecurityTokens:
		return s.checkTokenForKeys(body)
	}
	access := claimedAccessKey(r)
	rejected := s.keyRejection(access)
	var c caller
	if rejected == nil && route.target.Endpoint == AgencyBySTS && access == "" {
		rejected = unauthorized("APIGW.0305", "Incorrect authentication information: a signature is required")
	}
	if rejected == nil {
		c, rejected = s.authorize(r, body, route.projectID)
	}
	if rejected != nil {
		resp := gatewayError(rejected, requestID)
		if rejected.code == codeTokenIncorrect {
			*resp = cssError(rejected.status, rejected.code, rejected.message)
		}
		s.recordKeyResult(access, resp.status, string(resp.body))
		return caller{}, resp
	}
	return c, nil
}

func (s *Simulator) respond(route route, r *http.Request, body []byte, c caller, fault Fault) response {
	switch route.target.Endpoint {
	case Connections:
		return s.listConnections(route, r.URL.Query(), fault)
	case Clusters:
		return s.listClusters(route, r.URL.Query(), fault)
	case Sessions:
		return s.queryMetrics(route.projectID, route.query, fault)
	case Tokens:
		return s.issueToken(c)
	case AgencyByIAM:
		return s.assumeByIAM(body, c)
	case AgencyBySTS:
		return s.assumeBySTS(body, c)
	case MetadataToken:
		return s.issueMetadataToken(r)
	case SecurityKey:
		return s.issueSecurityKey()
	case PodCredentials:
		return s.issuePodCredentials()
	case AccountList:
		return s.listAccountProjects(c)
	case AssumeWithOIDC:
		return s.issueSTSKey(c)
	case IDTokens:
		return s.issueFederatedToken(c)
	case SecurityTokens:
		return s.issueIAMKey(c)
	default:
		return s.listProjects(r.URL.Query(), c)
	}
}

// listClusters pages by start or offset, its newer name. Both count from 1.
func (s *Simulator) listClusters(route route, query url.Values, fault Fault) response {
	const noUpperBound = 1 << 30
	name := "start"
	if query.Has("offset") {
		name = "offset"
	}
	start, ok1 := intParam(query, name, 1, 1, noUpperBound)
	limit, ok2 := intParam(query, "limit", 10, 1, 1000)
	if !ok1 || !ok2 {
		return cssError(http.StatusBadRequest, "CSS.0001", "Incorrect parameters.")
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*Cluster
	if p := s.project(route.projectID); p != nil {
		all = p.clusters
	}
	from, to := fault.page(len(all), start-1, limit, s.opts.ClusterPageCap)
	page := make([]clusterBody, 0, to-from)
	for _, c := range all[from:to] {
		page = append(page, newClusterBody(c))
	}
	return jsonResponse(http.StatusOK, struct {
		Clusters  []clusterBody `json:"clusters"`
		TotalSize int           `json:"totalSize"`
	}{repeatFirst(fault, page), len(all)})
}

// clusterBody includes fields that the exporter must ignore.
type clusterBody struct {
	ID                  string         `json:"id"`
	Name                string         `json:"name"`
	Status              string         `json:"status"`
	Datastore           datastoreBody  `json:"datastore"`
	EnterpriseProjectID string         `json:"enterpriseProjectId"`
	VPCID               string         `json:"vpcId"`
	Tags                []Tag          `json:"tags"`
	Created             string         `json:"created"`
	Updated             string         `json:"updated"`
	Endpoint            JSON           `json:"endpoint"`
	BandwidthSize       int            `json:"bandwidthSize"`
	HTTPSEnable         bool           `json:"httpsEnable"`
	PublicIP            *string        `json:"publicIp"`
	Instances           []instanceBody `json:"instances"`
	ActionProgress      map[string]any `json:"actionProgress"`
	Actions             []string       `json:"actions"`
	Period              bool           `json:"period"`
}

type datastoreBody struct {
	Type         string `json:"type"`
	Version      string `json:"version"`
	SecurityMode bool   `json:"supportSecuritymode"`
}

type instanceBody struct {
	Status   string     `json:"status"`
	Type     string     `json:"type"`
	SpecCode string     `json:"specCode"`
	Volume   volumeBody `json:"volume"`
}

type volumeBody struct {
	Type string `json:"type"`
	Size int    `json:"size"`
}

func newClusterBody(c *Cluster) clusterBody {
	const layout = "2006-01-02T15:04:05" // the cluster list omits the zone
	created := c.Created.UTC().Format(layout)
	return clusterBody{
		ID: c.ID, Name: c.Name, Status: c.Status,
		Datastore:           datastoreBody{Type: c.Engine, Version: c.Version},
		EnterpriseProjectID: c.EnterpriseProjectID, VPCID: c.VPCID,
		Tags:    append([]Tag{}, c.Tags...),
		Created: created, Updated: created,
		Endpoint: c.Endpoint,
		Instances: []instanceBody{{Status: c.Status, Type: "ess", SpecCode: "ess.spec-4u16g",
			Volume: volumeBody{Type: "HIGH", Size: 100}}},
		ActionProgress: map[string]any{}, Actions: []string{},
	}
}

func intParam(query url.Values, name string, fallback, low, high int) (n int, ok bool) {
	if !query.Has(name) {
		return fallback, true
	}
	u, err := strconv.ParseUint(query.Get(name), 10, 31)
	n = int(u)
	return n, err == nil && low <= n && n <= high
}

func cssError(status int, code, message string) response {
	return jsonResponse(status, struct {
		Code    string `json:"errCode"`
		Message string `json:"externalMessage"`
	}{code, message})
}

func gatewayError(r *rejection, requestID string) *response {
	resp := jsonResponse(r.status, struct {
		Code      string `json:"error_code"`
		Message   string `json:"error_msg"`
		RequestID string `json:"request_id"`
	}{r.code, r.message, requestID})
	return &resp
}

func jsonResponse(status int, v any) response {
	body, err := json.Marshal(v)
	if err != nil { // invalid JSON value
		return response{http.StatusInternalServerError, http.Header{}, []byte("simulator: " + err.Error())}
	}
	return response{status, http.Header{"Content-Type": {"application/json"}}, body}
}

// handle responds by a fault's handler, and records the status.
func (s *Simulator) handle(h http.Handler, w http.ResponseWriter, r *http.Request, rec *Request) {
	recorded := &statusWriter{ResponseWriter: w}
	defer func() { s.updateRecord(func() { rec.Status = recorded.status }) }()
	h.ServeHTTP(recorded, r)
}

// statusWriter records the status of a response.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController flush.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (s *Simulator) writeResponse(w http.ResponseWriter, r *http.Request, rec *Request, resp response, f Fault) {
	s.updateRecord(func() {
		if f.Garbage == "" {
			rec.Status = resp.status
		}
	})
	header := w.Header()
	header.Set("X-Request-Id", rec.RequestID)
	header.Set("Date", s.opts.Now().UTC().Format(http.TimeFormat))
	maps.Copy(header, resp.header)
	body := f.encode(resp.body)
	if length, ok := body.length(); ok {
		header.Set("Content-Length", strconv.Itoa(length))
	}
	if f.Garbage != "" || f.SlowHeader > 0 {
		s.hijack(w, r, rec, resp.status, body, f)
		return
	}
	w.WriteHeader(resp.status)
	abortOn(body.writeTo(f.pacedWriter(r.Context(), w, http.NewResponseController(w))))
}

// hijack writes a response that net/http cannot write, and closes the connection.
func (s *Simulator) hijack(
	w http.ResponseWriter, r *http.Request, rec *Request, status int, body encodedBody, f Fault,
) {
	header := w.Header()
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil { // HTTP/2
		panic(http.ErrAbortHandler)
	}
	// net/http does not report disconnects on hijacked connections.
	ctx, cancel := context.WithCancel(r.Context())
	watchDone := make(chan struct{})
	go func() {
		defer close(watchDone)
		defer cancel()
		_, _ = io.Copy(io.Discard, conn)
	}()
	stop := context.AfterFunc(r.Context(), func() { _ = conn.Close() })
	err = f.writeRaw(ctx, buffered.Writer, status, header, body)
	if err == nil || errors.Is(err, errCut) {
		err = buffered.Flush()
	}
	s.updateRecord(func() {
		rec.Cancelled = (err != nil || ctx.Err() != nil) && r.Context().Err() == nil
	})
	stop()
	_ = conn.Close()
	<-watchDone
}

func (f Fault) writeRaw(ctx context.Context, w *bufio.Writer, status int, header http.Header, body encodedBody) error {
	slowly := pacedWriter{ctx: ctx, w: w, flusher: w, delay: f.SlowHeader, remaining: -1}
	if f.Garbage != "" {
		garbage := encodedBody{head: []byte(f.Garbage)}
		if f.Endless {
			garbage.tail, garbage.times = garbage.head, -1
		}
		return garbage.writeTo(&slowly)
	}
	var head strings.Builder
	fmt.Fprintf(&head, "HTTP/1.1 %d %s\r\nConnection: close\r\n", status, http.StatusText(status))
	_ = header.Write(&head) // never fails
	if _, err := io.WriteString(&slowly, head.String()+"\r\n"); err != nil {
		return err
	}
	return body.writeTo(f.pacedWriter(ctx, w, w))
}

func (f Fault) pacedWriter(ctx context.Context, w io.Writer, flush flusher) *pacedWriter {
	p := &pacedWriter{ctx: ctx, w: w, flusher: flush, delay: f.Trickle, remaining: -1}
	if f.CutAfter > 0 {
		p.remaining = f.CutAfter
	}
	return p
}

func abortOn(err error) {
	if err != nil && !errors.Is(err, http.ErrBodyNotAllowed) {
		panic(http.ErrAbortHandler)
	}
}

func timeText(t time.Time) JSON { return Text(t.UTC().Format(time.RFC3339)) }
