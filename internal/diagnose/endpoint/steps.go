// SPDX-License-Identifier: Apache-2.0

package endpoint

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/diagnose/report"
	"css_vpcep_exporter/internal/network"
)

// Clock is the name of the step that does not keep requests from being answered if it fails.
const Clock = "clock"

// Step is a part of the way to an endpoint.
type Step struct {
	Name  string
	Judge func() report.Finding
}

// Steps returns the steps in their order. Those after one that has failed, other than Clock, mean nothing.
func (t *Trail) Steps() []Step {
	steps := []Step{{"DNS", t.judgeDNS}, {"TCP", t.judgeTCP}}
	if t.proxy != nil {
		steps = append(steps, Step{"proxy", t.judgeProxy})
	}
	steps = append(steps, Step{"TLS", t.judgeTLS}, Step{"HTTP", t.judgeHTTP}, Step{Clock, t.judgeClock})
	for i := range steps {
		judge := steps[i].Judge
		steps[i].Judge = func() report.Finding {
			t.mu.Lock()
			defer t.mu.Unlock()
			return judge()
		}
	}
	return steps
}

// target returns the host that is connected to.
func (t *Trail) target() string {
	if t.proxy != nil {
		return t.proxy.Hostname()
	}
	return t.endpoint.Hostname()
}

// whose names the target if it is not the endpoint.
func (t *Trail) whose() string {
	if t.proxy != nil {
		return "the proxy "
	}
	return ""
}

func (t *Trail) judgeDNS() report.Finding {
	if net.ParseIP(t.target()) != nil {
		return report.OKf("%s%s is an address", t.whose(), t.target())
	}
	if dns, isDNS := errors.AsType[*net.DNSError](t.err); isDNS {
		f := t.failure()
		f.Text = fmt.Sprintf("%s%s: %s", t.whose(), t.target(), dns.Err)
		return f
	}
	switch {
	case t.err != nil && t.host == "":
		return t.failure()
	case t.resolving:
		return report.Failure(fmt.Sprintf("%s%s: timed out", t.whose(), t.target()), "check DNS")
	}
	var addresses []string
	for _, a := range t.addresses {
		addresses = append(addresses, a.String())
	}
	return report.OKf("%s%s is %s, in %s", t.whose(), t.host, strings.Join(addresses, ", "), report.Took(t.resolved))
}

func (t *Trail) judgeTCP() report.Finding {
	if t.dialed == "" {
		return t.failure()
	}
	return report.OKf("connected to %s%s in %s", t.whose(), t.dialed, report.Took(t.connected))
}

func (t *Trail) judgeProxy() report.Finding {
	_, begun := t.handshake()
	switch {
	case t.gotConn && t.endpoint.Scheme == "http" && t.status == http.StatusProxyAuthRequired:
		return report.Failure("it answered 407 "+http.StatusText(t.status), network.HintProxyLogin)
	case !t.gotConn && !begun && t.err != nil:
		return t.failure()
	}
	if t.endpoint.Scheme == "http" {
		return report.OKf("it accepts requests to the endpoint")
	}
	return report.OKf("it connects to the endpoint")
}

func (t *Trail) judgeTLS() report.Finding {
	if t.endpoint.Scheme != "https" {
		return report.Skippedf("the endpoint has http://, without TLS")
	}
	h, begun := t.handshake()
	if !begun || !h.done || h.err != nil || !t.gotConn && t.err != nil {
		f := t.failure()
		if invalid, isInvalid := errors.AsType[*tls.CertificateVerificationError](t.err); isInvalid {
			f.Text = "not trusted: " + f.Text
			if chain := invalid.UnverifiedCertificates; len(chain) > 0 {
				f.Text += "; " + describe(chain[0])
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
	return report.OKf("%s; %s", text, trust)
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
	return fmt.Sprintf("certificate of %s for %s%s, valid from %s to %s", report.Label(issuer),
		cmp.Or(report.Label(strings.Join(names, ", ")), "no name"), more, report.UTC(c.NotBefore), report.UTC(c.NotAfter))
}

func (t *Trail) judgeHTTP() report.Finding {
	if t.err != nil {
		return t.failure()
	}
	return report.OKf("%s, answered in %s (status %d, without credentials)", t.proto, report.Took(t.latency), t.status)
}

// tolerance is that of the Date header, which has whole seconds.
const tolerance = 2 * time.Second

func (t *Trail) judgeClock() report.Finding {
	theirs, err := http.ParseTime(t.date)
	if err != nil {
		return report.Skippedf("the response has no valid Date")
	}
	ours := t.at.Add(-t.latency / 2)
	skew := ours.Sub(theirs).Round(time.Second)
	if skew.Abs() <= tolerance {
		return report.OKf("the clock of this machine agrees with the server's")
	}
	if hint := cloud.ClockHint(t.date, ours); hint != "" {
		return report.Failure(fmt.Sprintf("this machine has %s, the server %s", report.UTC(ours), report.UTC(theirs)), hint)
	}
	direction := "ahead of"
	if skew < 0 {
		direction = "behind"
	}
	return report.OKf("the clock of this machine is %s %s the server's; 15 minutes are tolerated", skew.Abs(), direction)
}
