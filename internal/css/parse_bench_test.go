// SPDX-License-Identifier: Apache-2.0

package css

import (
	"fmt"
	"strings"
	"testing"
)

// ManyConnections returns an answer with n connections of the documented shape.
func ManyConnections(n int) []byte {
	items := make([]string, n)
	for i := range items {
		items[i] = fmt.Sprintf(`{"id":"54b7f739-31a1-40d0-862b-%012x","status":"accepted","maxSession":"3000",`+
			`"specificationName":"default","created_at":"2024-06-11T09:36:24Z","update_at":null,`+
			`"domain_id":"db9b76a0d9ae431f8e85e89da2ca867c","vpcepIp":"192.168.%d.%d","vpcepIpv6Address":null,"vpcepDnsName":null}`,
			i, i/250, i%250)
	}
	return fmt.Appendf(nil, `{"connections":[%s],"vpcepUpdateSwitch":false,"total_count":%d,"vpcServiceName":"cn-north-4.css",`+
		`"permissions":[{"id":"x","permission":"iam:domain::db9b76a0d9ae431f8e85e89da2ca867c","permission_type":"domainId"}]}`,
		strings.Join(items, ","), n)
}

func BenchmarkParseConnections(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			body := ManyConnections(n)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				list, err := parseConnections(body)
				if err != nil || len(list.Connections) != n {
					b.Fatal(err)
				}
			}
		})
	}
}
