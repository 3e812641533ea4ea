// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"io"
	"strings"

	"github.com/prometheus/common/expfmt"
)

// once implements --once and returns the exit code.
func (e *exporter) once(interrupt context.Context, stdout io.Writer) int {
	ctx, cancel := context.WithTimeout(interrupt, e.flags.Server.Timeout)
	defer cancel()
	refreshErr := e.refreshOnce(ctx)
	gatherer, failed := e.server.Once(ctx)
	families, err := gatherer.Gather()
	if err != nil {
		e.logger.Error("Gathering metrics failed", "err", err)
	}
	if interrupt.Err() != nil { // what was interrupted has not failed
		e.logger.Error("Interrupted; no metrics are written")
		return 1
	}
	encoder := expfmt.NewEncoder(stdout, expfmt.NewFormat(expfmt.TypeTextPlain))
	for _, family := range families {
		if !strings.HasPrefix(family.GetName(), "css_vpcep_") { // node_exporter, which may read this, has the others too
			continue
		}
		if err := encoder.Encode(family); err != nil {
			e.logger.Error("Writing metrics failed", "err", err)
			return 1
		}
	}
	if err != nil || refreshErr != nil || failed() > 0 {
		return 1
	}
	return 0
}

// refreshOnce leaves half of the time for the clusters that are known, because a list may hang.
func (e *exporter) refreshOnce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, e.flags.Server.Timeout/2)
	defer cancel()
	return e.fleet.Refresh(ctx)
}
