// SPDX-License-Identifier: Apache-2.0

package tlsfiles

import (
	"cmp"

	promconfig "github.com/prometheus/common/config"
)

// Validate checks settings whose files have this content. What is in files that are unread is not checked.
func Validate(settings promconfig.TLSConfig, ca, cert, key string, unread bool) error {
	checked, err := settings, settings.Validate()
	if checked.CAFile != "" {
		checked.CAFile, checked.CA = "", ca
	}
	if checked.CertFile != "" {
		checked.CertFile, checked.Cert = "", cert
	}
	if checked.KeyFile != "" {
		checked.KeyFile, checked.Key = "", promconfig.Secret(key)
	}
	if unread && settings.CAFile != "" {
		checked.CA = ""
	}
	if unread && (settings.CertFile != "" || settings.KeyFile != "") {
		checked.Cert, checked.Key = "", ""
	}
	if err == nil {
		_, err = promconfig.NewTLSConfig(&checked)
	}
	if err != nil && !unread {
		_, named := promconfig.NewTLSConfig(&settings) // with the names of the files
		err = cmp.Or(named, err)
	}
	return err
}
