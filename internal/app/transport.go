// SPDX-License-Identifier: Apache-2.0

package app

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"css_vpcep_exporter/config"
	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/network"
	"css_vpcep_exporter/internal/tlsfiles"
)

// route is how a project's requests reach the network.
type route struct {
	proxy func(*url.URL) (*url.URL, error)
	files *tlsfiles.Files
}

func (e *exporter) newRoute(p *config.Project) (route, error) {
	r := route{proxy: e.proxy}
	if p.ProxyURL != nil {
		r.proxy = func(*url.URL) (*url.URL, error) { return p.ProxyURL, nil }
	}
	var err error
	if r.files, err = tlsfiles.New(p.TLSConfig, e.logger.With("project", p.Name)); err != nil {
		return route{}, fmt.Errorf("project %s: tls_config: %w", p.Name, err)
	}
	return r, nil
}

// transport uses changed TLS files without a reload, also where connections are kept alive.
func (r route) transport(changes ...func(*http.Transport)) http.RoundTripper {
	return network.NewRenewable(r.files.Current, func(c *tls.Config) *http.Transport {
		t := cloud.NewTransport(c, func(req *http.Request) (*url.URL, error) { return r.proxy(req.URL) })
		for _, change := range changes {
			change(t)
		}
		return t
	})
}

// sessionsTransport drops connections between reads. These are a minute apart, after which many servers and firewalls
// drop them, too, and a read whose connection is just being dropped fails: its calls are not sent twice.
func (r route) sessionsTransport() http.RoundTripper {
	return r.transport(func(t *http.Transport) { t.IdleConnTimeout = 10 * time.Second })
}
