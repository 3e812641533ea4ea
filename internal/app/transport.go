// SPDX-License-Identifier: Apache-2.0

package app

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"

	"css_vpcep_exporter/config"
	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/network"
	"css_vpcep_exporter/internal/smallfile"

	promconfig "github.com/prometheus/common/config"
)

// route is how a project's requests reach the network.
type route struct {
	proxy func(*url.URL) (*url.URL, error)
	files *tlsFiles
}

func (e *exporter) newRoute(p *config.Project) (route, error) {
	r := route{e.proxy, &tlsFiles{settings: p.TLSConfig, logger: e.logger.With("project", p.Name)}}
	if p.ProxyURL != nil {
		r.proxy = func(*url.URL) (*url.URL, error) { return p.ProxyURL, nil }
	}
	if err := r.files.read(); err != nil {
		return route{}, fmt.Errorf("project %s: tls_config: %w", p.Name, err)
	}
	return r, nil
}

// transport uses changed TLS files without a reload, also where connections are kept alive.
func (r route) transport() http.RoundTripper {
	return network.NewRenewable(r.files.current, func(c *tls.Config) *http.Transport {
		return cloud.NewTransport(c, func(req *http.Request) (*url.URL, error) { return r.proxy(req.URL) })
	})
}

// tlsRefresh is how often the content of TLS files is read even if their times and sizes are unchanged.
const tlsRefresh = time.Second

// tlsFiles holds a TLS configuration made from files that may change. Files that cannot be used, because they are being
// replaced for example, change nothing.
type tlsFiles struct {
	settings promconfig.TLSConfig
	logger   *slog.Logger

	mu       sync.Mutex
	content  promconfig.TLSConfig
	config   *tls.Config
	infos    [3]fs.FileInfo // nil: no file, or unreadable
	readAt   time.Time
	reported string
}

// current returns the same configuration until the files change.
func (t *tlsFiles) current() *tls.Config {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.mayDiffer() {
		return t.config
	}
	err := t.read()
	switch {
	case err == nil:
		t.reported = ""
	case err.Error() != t.reported:
		t.reported = err.Error()
		t.logger.Warn("Reading the files of tls_config failed; using the last valid ones", "err", err)
	}
	return t.config
}

func (t *tlsFiles) paths() [3]string {
	return [3]string{t.settings.CAFile, t.settings.CertFile, t.settings.KeyFile}
}

// mayDiffer compares times and sizes: for each request, reading is too expensive.
func (t *tlsFiles) mayDiffer() bool {
	files := false
	for i, path := range t.paths() {
		if path == "" {
			continue
		}
		files = true
		before := t.infos[i]
		now, err := os.Stat(path)
		if err != nil || before == nil || !os.SameFile(before, now) || !before.ModTime().Equal(now.ModTime()) ||
			before.Size() != now.Size() {
			return true
		}
	}
	return files && time.Since(t.readAt) >= tlsRefresh
}

// read replaces the configuration if the content of the files is new and valid as a whole.
func (t *tlsFiles) read() error {
	content := t.settings
	key := string(content.Key)
	t.readAt = time.Now()
	for i, file := range []struct{ path, text *string }{
		{&content.CAFile, &content.CA}, {&content.CertFile, &content.Cert}, {&content.KeyFile, &key},
	} {
		if *file.path == "" {
			continue
		}
		t.infos[i], _ = os.Stat(*file.path) // before reading, so that a later change is seen
		b, err := smallfile.Read(*file.path)
		if err == nil && len(bytes.TrimSpace(b)) == 0 {
			err = errors.New("empty") // would mean the system's authorities
		}
		if err != nil {
			t.infos[i] = nil
			return fmt.Errorf("%s: %w", *file.path, smallfile.WithoutPath(err))
		}
		*file.path, *file.text = "", string(bytes.TrimSpace(b))
	}
	content.Key = promconfig.Secret(key)
	if t.config != nil && content == t.content {
		return nil
	}
	made, err := promconfig.NewTLSConfig(&content)
	if err != nil {
		return fmt.Errorf("invalid content of ca_file, cert_file or key_file: %w", cmp.Or(errors.Unwrap(err), err))
	}
	t.content, t.config = content, made
	return nil
}
