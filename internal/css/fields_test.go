// SPDX-License-Identifier: Apache-2.0

package css

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestFields sends a value of a wrong type in every field of both lists.
func TestFields(t *testing.T) {
	list := MustParse(t, `{"connections":[{"id":{},"status":{},"maxSession":{},"specificationName":{},"created_at":{},`+
		`"update_at":{},"domain_id":{},"vpcepIp":{},"vpcepIpv6Address":{},"vpcepDnsName":{}}],`+
		`"total_count":{},"vpcServiceName":{},"vpcepUpdateSwitch":{},`+
		`"permissions":[7,{"id":{},"permission":{},"permission_type":{},"created_at":{}}]}`)
	page, err := parseClusters([]byte(`{"clusters":[7,{"id":{},"name":{},"status":{},"datastore":7,` +
		`"enterpriseProjectId":{},"vpcId":{},"tags":[7,{"key":{},"value":{}}]},` +
		`{"datastore":{"type":{},"version":{}}}],"totalSize":{}}`))
	if err != nil {
		t.Fatal(err)
	}
	counted := maps.Clone(list.Unparsable)
	maps.Copy(counted, page.unparsable)
	if diff := cmp.Diff(Fields(), slices.Sorted(maps.Keys(counted))); diff != "" {
		t.Errorf("fields (-Fields +counted)\n%s", diff)
	}
}
