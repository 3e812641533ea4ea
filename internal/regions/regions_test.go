// SPDX-License-Identifier: Apache-2.0

package regions

import (
	"fmt"
	"testing"
)

func TestEndpoints(t *testing.T) {
	tests := []struct{ region, css, iam string }{
		{"cn-north-4", "https://css.cn-north-4.myhuaweicloud.com", "https://iam.cn-north-4.myhuaweicloud.com"},
		{"cn-north-1", "https://es.cn-north-1.myhuaweicloud.com", "https://iam.cn-north-1.myhuaweicloud.com"},
		{"cn-east-2", "https://es.cn-east-2.myhuaweicloud.com", "https://iam.cn-east-2.myhuaweicloud.com"},
		{"eu-de", "https://css.eu-de.otc.t-systems.com", "https://iam.eu-de.otc.t-systems.com"},
		{"eu-nl", "https://css.eu-nl.otc.t-systems.com", "https://iam.eu-nl.otc.t-systems.com"},
		{"eu-west-101", "https://css.eu-west-101.myhuaweicloud.com", "https://iam.eu-west-101.myhuaweicloud.eu"},
		{"tr-west-1", "https://css.tr-west-1.myhuaweicloud.com", "https://iam.tr-west-1.myhuaweicloud.com"},
		{"eu-nowhere-1", "", ""},
		{"", "", ""},
	}
	for _, tt := range tests {
		css, iam, ok := Endpoints(tt.region)
		if css != tt.css || iam != tt.iam || ok != (tt.css != "") {
			t.Errorf("Endpoints(%q): got %q, %q, %t, want %q, %q", tt.region, css, iam, ok, tt.css, tt.iam)
		}
	}
	if n := len(All()); n != 34 {
		t.Errorf("got %d known regions, want 34", n)
	}
}

func TestSTS(t *testing.T) {
	for region, want := range map[string]string{
		"cn-north-4": "cn-north-4", "cn-south-1": "cn-south-1", "cn-southwest-2": "cn-southwest-2", "cn-east-3": "cn-east-3",
		"ap-southeast-4": "ap-southeast-4", "la-south-2": "la-south-2", "tr-west-1": "tr-west-1",
		"cn-north-1": "cn-north-4", "cn-east-2": "cn-north-4", "cn-east-5": "cn-north-4", // another region of the site
		"eu-west-101": "", "eu-de": "", "ap-southeast-5": "", "cn-unknown-1": "", "": "",
	} {
		if want != "" {
			want = fmt.Sprintf("https://sts.%s.myhuaweicloud.com", want)
		}
		if got := STS(region); got != want {
			t.Errorf("%q: got %q, want %q", region, got, want)
		}
	}
}
