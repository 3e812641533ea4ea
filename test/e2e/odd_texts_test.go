// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"css_vpcep_exporter/internal/simulator"
)

// oddText is a text that could break an exposition.
type oddText struct {
	name  string
	sent  simulator.JSON
	label string // as expected
}

func oddTexts() []oddText {
	same := func(name, s string) oddText { return oddText{name, simulator.Text(s), s} }
	return []oddText{
		same("plain", "search-prod"),
		same("empty", ""),
		same("Chinese", "搜索-生产"),
		same("right to left", "מנוע חיפוש"),
		same("4-byte runes", "𠮷野家🚀"),
		same("quotes", `say "hi", 'ho'`),
		same("backslashes", `C:\new\table\\`),
		same("lines", "line 1\nline 2\n"),
		same("tab and blanks", "  a\tb  "),
		same("line separators and a byte order mark", "a\u2028b\u2029c\ufeff\u00a0"),
		same("end of OpenMetrics", "\n# EOF\n"),
		same("another series", "\"} 1\ncss_vpcep_up{cluster_id=\"forged\"} 0\n# {x=\""),
		same("replacement character", "a\ufffdb"),
		same("1,024 bytes", strings.Repeat("b", 1024)),
		same("1,023 bytes of 3-byte runes", strings.Repeat("中", 341)),
		{"1,025 bytes", simulator.Text(strings.Repeat("b", 1025)), strings.Repeat("b", 1024)},
		{"truncated within a 3-byte rune", simulator.Text(strings.Repeat("中", 342)), strings.Repeat("中", 341)},
		{
			"truncated within a 4-byte rune",
			simulator.Text("a" + strings.Repeat("🚀", 256)), "a" + strings.Repeat("🚀", 255),
		},
		{
			"control characters",
			simulator.Text("a\rb\x00c\x1b[31md\u0085e\x7f"), "a\ufffdb\ufffdc\ufffd[31md\ufffde\ufffd",
		},
		{"escaped in JSON", `"\u641c\u7d22\ud83d\ude80\/"`, "搜索🚀/"},
		{"half a surrogate", `"a\ud83db"`, "a\ufffdb"},
		{"Latin-1", "\"caf\xe9!\"", "caf\ufffd!"},
		{"bytes that are never UTF-8", "\"\xff\xfe\"", "\ufffd\ufffd"},
		// The replacement character has 3 bytes, so the label is truncated.
		{
			"1,000 bytes of invalid UTF-8",
			simulator.JSON("\"" + strings.Repeat("\xff", 1000) + "\""), strings.Repeat("\ufffd", 341),
		},
	}
}

// decoded returns false for invalid UTF-8.
func (x oddText) decoded(t *testing.T) (s string, ok bool) {
	t.Helper()
	if !utf8.ValidString(string(x.sent)) {
		return "", false
	}
	if err := json.Unmarshal([]byte(x.sent), &s); err != nil {
		t.Fatalf("%s: %s", x.name, err)
	}
	return s, true
}

// newOddCloud returns a cloud with ordinary clusters, a disabled service, and a cluster for each odd text, which is in
// all its fields. odd is by cluster ID.
func newOddCloud(t *testing.T) (c *cloud, odd map[string]oddText) {
	t.Helper()
	c = newCloud(t, 3, connections)
	odd = make(map[string]oddText)
	projects := c.Projects()
	disabled := c.addCluster(projects[0], "disabled", 0)
	c.UpdateCluster(disabled, func(cluster *simulator.Cluster) { cluster.ServiceOff = true })

	oddProject := projects[2]
	for _, x := range oddTexts() {
		id := c.addCluster(oddProject, "odd "+x.name, 1)
		odd[id] = x
		c.UpdateCluster(id, func(cluster *simulator.Cluster) {
			cluster.ServiceName = x.sent
			connection := &cluster.Connections[0]
			connection.DNSName, connection.IPv6 = x.sent, x.sent
			if s, ok := x.decoded(t); ok {
				connection.Specification, connection.DomainID, connection.IP = s, s, s
				connection.ID = cmp.Or(s, connection.ID) // a connection without an ID has no series
			}
		})
	}
	setOddClusterList(c, oddProject, odd)
	return c, odd
}

// setOddClusterList replaces the cluster list, because the simulator cannot send names of invalid UTF-8.
func setOddClusterList(c *cloud, project simulator.Project, odd map[string]oddText) {
	var list []string
	for _, cluster := range c.Clusters(project.ID) {
		name := simulator.Text(cluster.Name)
		if x, ok := odd[cluster.ID]; ok {
			name = x.sent
		}
		list = append(list, fmt.Sprintf(`{"id":%q,"name":%[2]s,"status":"200",`+
			`"datastore":{"type":"elasticsearch","version":%[2]s},`+
			`"enterpriseProjectId":%[2]s,"vpcId":%[2]s,"tags":[{"key":"team","value":%[2]s}]}`, cluster.ID, name))
	}
	c.SetFault(simulator.Target{Endpoint: simulator.Clusters, ID: project.ID}, simulator.Fault{
		Body: fmt.Sprintf(`{"clusters":[%s],"totalSize":%d}`, strings.Join(list, ","), len(list)),
	})
}
