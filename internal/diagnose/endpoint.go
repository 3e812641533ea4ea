// SPDX-License-Identifier: Apache-2.0

package diagnose

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/diagnose/apifacts"
	"css_vpcep_exporter/internal/network"
)

// reach reports the steps to an endpoint, and whether it can be reached.
func (s *session) reach(ctx context.Context, to service) bool {
	var t *trail
	s.step(ctx, to.name+" endpoint", func(ctx context.Context) finding {
		t = s.probe(ctx, to.endpoint)
		if errors.Is(t.err, apifacts.ErrLimit) {
			t = nil
			return skippedf("the limit of %d requests is reached", MaxRequests)
		}
		return okf("%s", to.endpoint)
	})
	if t == nil {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	problem := ""
	for _, step := range []struct {
		name  string
		judge func() finding
	}{
		{"DNS", t.judgeDNS}, {"TCP", t.judgeTCP}, {"proxy", t.judgeProxy}, {"TLS", t.judgeTLS}, {"HTTP", t.judgeHTTP},
		{"clock", t.judgeClock},
	} {
		if step.name == "proxy" && t.proxy == nil {
			continue
		}
		name := to.name + " " + step.name
		// What was found before an interruption is shown.
		f := s.step(context.WithoutCancel(ctx), name, func(context.Context) finding {
			if problem != "" {
				return skippedf("%s", problem)
			}
			f := step.judge()
			if f.state == failed && ctx.Err() != nil {
				return skippedf("interrupted")
			}
			return f
		})
		switch {
		case f.text == "interrupted":
			problem = f.text
		case f.state == failed && step.name != "clock": // a wrong clock does not keep requests from being answered
			problem = name + " failed"
		}
	}
	return t.err == nil && problem == ""
}

// target returns the host that is connected to.
func (t *trail) target() string {
	if t.proxy != nil {
		return t.proxy.Hostname()
	}
	return t.endpoint.Hostname()
}

// whose names the target if it is not the endpoint.
func (t *trail) whose() string {
	if t.proxy != nil {
		return "the proxy "
	}
	return ""
}

func (t *trail) judgeDNS() finding {
	if net.ParseIP(t.target()) != nil {
		return okf("%s%s is an address", t.whose(), t.target())
	}
	if dns, isDNS := errors.AsType[*net.DNSError](t.err); isDNS {
		f := t.failure()
		f.text = fmt.Sprintf("%s%s: %s", t.whose(), t.target(), dns.Err)
		return f
	}
	switch {
	case t.err != nil && t.host == "":
		return t.failure()
	case t.resolving:
		return finding{failed, fmt.Sprintf("%s%s: timed out", t.whose(), t.target()), "check DNS"}
	}
	var addresses []string
	for _, a := range t.addresses {
		addresses = append(addresses, a.String())
	}
	return okf("%s%s is %s, in %s", t.whose(), t.host, strings.Join(addresses, ", "), took(t.resolved))
}

func (t *trail) judgeTCP() finding {
	if t.dialed == "" {
		return t.failure()
	}
	return okf("connected to %s%s in %s", t.whose(), t.dialed, took(t.connected))
}

func (t *trail) judgeProxy() finding {
	_, begun := t.handshake()
	switch {
	case t.gotConn && t.endpoint.Scheme == "http" && t.status == http.StatusProxyAuthRequired:
		return finding{failed, "it answered 407 " + http.StatusText(t.status), network.HintProxyLogin}
	case !t.gotConn && !begun && t.err != nil:
		return t.failure()
	}
	if t.endpoint.Scheme == "http" {
		return okf("it accepts requests to the endpoint")
	}
	return okf("it connects to the endpoint")
}

func (t *trail) judgeTLS() finding {
	if t.endpoint.Scheme != "https" {
		return skippedf("the endpoint has http://, without TLS")
	}
	h, begun := t.handshake()
	if !begun || !h.done || h.err != nil || !t.gotConn && t.err != nil {
		f := t.failure()
		if invalid, isInvalid := errors.AsType[*tls.CertificateVerificationError](t.err); isInvalid {
			f.text = "not trusted: " + f.text
			if chain := invalid.UnverifiedCertificates; len(chain) > 0 {
				f.text += "; " + describe(chain[0])
			}
		}
		return f
	}
	trust := "trusted"
	if len(h.state.VerifiedChains) == 0 {
		trust = "not verified (insecure_skip_verify)"
	}
	text := tls.VersionName(h.state.Version)
	if chain := h.state.PeerCertificates; len(chain) > 0 {
		text += "; " + describe(chain[0])
	}
	return okf("%s; %s", text, trust)
}

// describe shows an unverified certificate.
func describe(c *x509.Certificate) string {
	names := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	const most = 3
	more := ""
	if len(names) > most {
		names, more = names[:most], fmt.Sprintf(" and %d more", len(names)-most)
	}
	issuer := cmp.Or(c.Issuer.CommonName, strings.Join(c.Issuer.Organization, " "), "an unnamed authority")
	return fmt.Sprintf("certificate of %s for %s%s, valid from %s to %s", label(issuer),
		cmp.Or(label(strings.Join(names, ", ")), "no name"), more, utc(c.NotBefore), utc(c.NotAfter))
}

func (t *trail) judgeHTTP() finding {
	if t.err != nil {
		return t.failure()
	}
	return okf("%s, answered in %s (status %d, without credentials)", t.proto, took(t.latency), t.status)
}

// tolerance is that of the Date header, which has whole seconds.
const tolerance = 2 * time.Second

func (t *trail) judgeClock() finding {
	theirs, err := http.ParseTime(t.date)
	if err != nil {
		return skippedf("the response has no valid Date")
	}
	ours := t.at.Add(-t.latency / 2)
	skew := ours.Sub(theirs).Round(time.Second)
	if skew.Abs() <= tolerance {
		return okf("the clock of this machine agrees with the server's")
	}
	if hint := cloud.ClockHint(t.date, ours); hint != "" {
		return finding{failed, fmt.Sprintf("this machine has %s, the server %s", utc(ours), utc(theirs)), hint}
	}
	direction := "ahead of"
	if skew < 0 {
		direction = "behind"
	}
	return okf("the clock of this machine is %s %s the server's; 15 minutes are tolerated", skew.Abs(), direction)
}

// judgeProxies reports which proxy is used, without its user and password.
func (s *session) judgeProxies() finding {
	var used []string
	for _, service := range s.services() {
		u, err := url.Parse(service.endpoint)
		if err != nil {
			continue
		}
		proxy, err := s.p.Proxy(u)
		text := "none"
		switch {
		case err != nil:
			return failure(err)
		case proxy != nil:
			text = proxy.Scheme + "://" + proxy.Host + " from " + s.p.ProxyIn
			if proxy.User != nil {
				text += ", with user and password"
			}
		}
		used = append(used, service.name+": "+text)
	}
	return okf("%s", strings.Join(used, "; "))
}
