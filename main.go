// SPDX-License-Identifier: Apache-2.0

// Command css_vpcep_exporter exports the VPC endpoint connections of Huawei Cloud CSS clusters to Prometheus.
package main

import (
	"os"

	"css_vpcep_exporter/internal/app"
)

func main() { os.Exit(app.Main()) }
