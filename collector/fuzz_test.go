// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"strings"
	"testing"

	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/lenient"
)

// FuzzFamilies compares Families with a pedantic registry for any strings and numbers, in all formats.
func FuzzFamilies(f *testing.F) {
	f.Add("54b7f739-31a1-40d0-862b-ac85b83ab2da", "search", "192.168.0.122", 3000.0)
	f.Add("a", `"quoted" back\slash`, "two\nlines", 0.0)
	f.Add("\xff\x00", "搜索集群", strings.Repeat("é", 600), 1e21)
	f.Add("", "\u2028", "\x7f\t\r", -1.718098584e9)
	f.Fuzz(func(t *testing.T, id, name, text string, number float64) {
		list := &css.ConnectionList{
			Enabled: true, ServiceName: text, Reported: lenient.Optional[float64]{Value: number, Set: true},
			Connections: []css.Connection{
				{ID: id, Status: css.StatusAccepted, MaxSessions: lenient.Optional[float64]{Value: number, Set: true}, DomainID: text},
				{ID: text, Status: css.Status(text), SpecificationName: name, IP: id, IPv6: name, DNSName: text},
			},
		}
		target := newTarget()
		target.Cluster.Name, target.Cluster.Engine, target.Project = name, text, id
		target.Labels = map[string]string{"team": text}
		other := target
		other.Region = text
		exposition(t, newCollector(
			[]Outcome{{Target: target, List: list, ReadAt: readAt}, {Target: other, List: list, ReadAt: readAt}},
			Options{Connections: true, MaxConnections: 10},
		))
	})
}
