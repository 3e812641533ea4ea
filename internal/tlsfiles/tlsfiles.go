// SPDX-License-Identifier: Apache-2.0

// Package tlsfiles makes a TLS configuration from files, and reads them again when they change.
package tlsfiles

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"

	"css_vpcep_exporter/internal/smallfile"

	promconfig "github.com/prometheus/common/config"
)

// refresh is how often the content of TLS files is read even if their times and sizes are unchanged.
const refresh = time.Second

// Files holds a TLS configuration made from files that may change. Files that cannot be used, because they are being
// replaced for example, change nothing.
type Files struct {
	settings promconfig.TLSConfig
	logger   *slog.Logger

	mu       sync.Mutex
	content  promconfig.TLSConfig
	config   *tls.Config
	infos    [3]fs.FileInfo // nil: no file, or unreadable
	readAt   time.Time
	reported string
}

// New reads the files.
func New(settings promconfig.TLSConfig, logger *slog.Logger) (*Files, error) {
	t := &Files{settings: settings, logger: logger}
	if err := t.read(); err != nil {
		return nil, err
	}
	return t, nil
}

// Current returns the same configuration until the files change.
func (t *Files) Current() *tls.Config {
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

func (t *Files) paths() [3]string {
	return [3]string{t.settings.CAFile, t.settings.CertFile, t.settings.KeyFile}
}

// mayDiffer compares times and sizes: for each request, reading is too expensive.
func (t *Files) mayDiffer() bool {
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
	return files && time.Since(t.readAt) >= refresh
}

// read replaces the configuration if the content of the files is new and valid as a whole.
func (t *Files) read() error {
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
