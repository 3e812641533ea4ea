// SPDX-License-Identifier: Apache-2.0

package apifacts

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"css_vpcep_exporter/internal/css"
)

// Shapes are the JSON types and formats that fields had. They hold no values but those of statuses.
type Shapes struct {
	fields   map[string]map[string]int // number of each shape, by key
	statuses map[string]int
	others   map[string]int  // statuses that are not known and must not be shown
	switches map[string]bool // values of vpcepUpdateSwitch beside accepted connections
	formats  []format
}

// format is a format of strings.
type format struct {
	pattern *regexp.Regexp
	name    string
}

// NewShapes returns empty Shapes.
func NewShapes() *Shapes {
	s := &Shapes{
		fields: make(map[string]map[string]int), statuses: make(map[string]int), others: make(map[string]int),
		switches: make(map[string]bool),
	}
	for _, f := range [][2]string{
		{`^$`, "empty"},
		{`^\s|\s$`, "with white space around it"},
		{`^(?i:true|false)$`, "true or false"},
		{`^[0-9]{13}$`, "13 digits"},
		{`^[0-9]+$`, "whole numbers"},
		{`^[0-9a-f]{32}$`, "32 hexadecimal digits"},
		{`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`, "UUID"},
	} {
		s.formats = append(s.formats, format{regexp.MustCompile(f[0]), f[1]})
	}
	return s
}

// switchType is shown with the values of the switch.
const switchType = "update_switch_type"

// field is a field that the exporter reads, and its key in the report.
type field struct{ name, key string }

func connectionFields() []field {
	return []field{
		{"id", "id"}, {"status", "status"}, {"maxSession", "max_session"}, {"specificationName", "specification_name"},
		{"created_at", "created_at"}, {"update_at", "update_at"}, {"domain_id", "domain_id"}, {"vpcepIp", "vpcep_ip"},
		{"vpcepIpv6Address", "vpcep_ipv6_address"}, {"vpcepDnsName", "vpcep_dns_name"},
	}
}

func listFields() []field {
	return []field{
		{"connections", "connections"}, {"total_count", "total_count_type"}, {"vpcServiceName", "vpc_service_name"},
		{"vpcepUpdateSwitch", switchType}, {"permissions", "permissions_type"},
	}
}

func permissionFields() []field {
	return []field{
		{"id", "permission_id"}, {"permission", "permission"}, {"permission_type", "permission_type"},
		{"created_at", "permission_created_at"},
	}
}

func clusterFields() []field {
	return []field{
		{"id", "cluster_id"}, {"name", "cluster_name"}, {"status", "cluster_status"}, {"datastore", "datastore"},
		{"enterpriseProjectId", "enterprise_project_id"}, {"vpcId", "vpc_id"}, {"tags", "tags"},
	}
}

func clusterListFields() []field {
	return []field{{"clusters", "clusters"}, {"totalSize", "total_size"}}
}

func datastoreFields() []field {
	return []field{{"type", "datastore_type"}, {"version", "datastore_version"}}
}

func tagFields() []field { return []field{{"key", "tag_key"}, {"value", "tag_value"}} }

func allFields() []field {
	return slices.Concat(listFields(), connectionFields(), permissionFields(), clusterListFields(), clusterFields(),
		datastoreFields(), tagFields())
}

// Connections adds a page of connections.
func (s *Shapes) Connections(body []byte) {
	page, isObject := decode(body).(map[string]any)
	if !isObject {
		return
	}
	s.object(page, listFields())
	accepted := false
	for _, item := range s.items(page["connections"], connectionFields()) {
		text, isText := item["status"].(string)
		if !isText {
			continue
		}
		accepted = accepted || strings.EqualFold(text, string(css.StatusAccepted))
		known := func(status css.Status) bool {
			return status != css.StatusUnknown && strings.EqualFold(text, string(status))
		}
		if !slices.ContainsFunc(css.Statuses(), known) {
			s.others[text]++
			continue
		}
		s.statuses[text]++
	}
	s.items(page["permissions"], permissionFields())
	if value, sent := page["vpcepUpdateSwitch"]; sent && accepted {
		text := strings.ToLower(fmt.Sprint(value))
		if text != "true" && text != "false" {
			text = "another value"
		}
		s.switches[text] = true
	}
}

// Clusters adds a page of clusters.
func (s *Shapes) Clusters(body []byte) {
	page, isObject := decode(body).(map[string]any)
	if !isObject {
		return
	}
	s.object(page, clusterListFields())
	for _, c := range s.items(page["clusters"], clusterFields()) {
		if datastore, isObject := c["datastore"].(map[string]any); isObject {
			s.object(datastore, datastoreFields())
		}
		s.items(c["tags"], tagFields())
	}
}

func decode(body []byte) (value any) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	_ = d.Decode(&value) // the client has reported it
	return value
}

// items adds the objects of a list, and returns them.
func (s *Shapes) items(list any, fields []field) (objects []map[string]any) {
	elements, _ := list.([]any)
	for _, element := range elements {
		if object, isObject := element.(map[string]any); isObject {
			s.object(object, fields)
			objects = append(objects, object)
		}
	}
	return objects
}

func (s *Shapes) object(object map[string]any, fields []field) {
	for _, f := range fields {
		shape := "absent"
		if value, sent := object[f.name]; sent {
			shape = s.shapeOf(value)
		}
		if s.fields[f.key] == nil {
			s.fields[f.key] = make(map[string]int)
		}
		s.fields[f.key][shape]++
	}
}

func (s *Shapes) shapeOf(value any) string {
	switch v := value.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case json.Number:
		if strings.ContainsAny(v.String(), ".eE") {
			return "number, with fraction or exponent"
		}
		if strings.HasPrefix(v.String(), "-") {
			return "number, negative"
		}
		return "number, whole numbers"
	case string:
		if format := timeFormat(v); len(v) <= longestFormat && format != "" {
			return format // always a string
		}
		return "string, " + s.formatOf(v)
	case []any:
		if len(v) == 0 {
			return "array, empty"
		}
		return "array"
	}
	return "object"
}

const longestFormat = 64 // in bytes

// formatOf returns the format of a string.
func (s *Shapes) formatOf(text string) string {
	if len(text) > longestFormat {
		return "text"
	}
	for _, f := range s.formats {
		if f.pattern.MatchString(text) {
			return f.name
		}
	}
	if address, err := netip.ParseAddr(text); err == nil {
		if address.Is4() {
			return "IPv4 address"
		}
		return "IPv6 address"
	}
	return "text"
}

func timeFormat(s string) string {
	fraction := ""
	if strings.Contains(s, ".") {
		fraction = ", with fraction"
	}
	for layout, format := range map[string]string{
		"2006-01-02T15:04:05":  "RFC 3339 without zone",
		"2006-01-02 15:04:05":  "date and time with a blank, without zone",
		"2006-01-02 15:04:05Z": "date and time with a blank, UTC",
	} {
		if _, err := time.Parse(layout, s); err == nil {
			return format + fraction
		}
	}
	if _, err := time.Parse(time.RFC3339, s); err == nil {
		if strings.HasSuffix(s, "Z") {
			return "RFC 3339, UTC" + fraction
		}
		return "RFC 3339 with an offset" + fraction
	}
	return ""
}

// lines returns a fact for each field of the objects that were seen.
func (s *Shapes) lines() []string {
	var lines []string
	for _, f := range allFields() {
		counts := s.fields[f.key]
		if len(counts) == 0 || f.key == switchType {
			continue
		}
		some := counts["absent"] > 0 && len(counts) > 1
		var found []string
		for _, shape := range slices.Sorted(maps.Keys(counts)) {
			switch {
			case shape == "absent" && some:
			default:
				found = append(found, shape)
			}
		}
		if some {
			found = append(found, "absent in some")
		}
		lines = append(lines, f.key+": "+strings.Join(found, "; "))
	}
	return lines
}

func (s *Shapes) updateSwitch() string {
	types := slices.Sorted(maps.Keys(s.fields[switchType]))
	if len(types) == 0 {
		return ""
	}
	text := strings.Join(types, "; ")
	if values := slices.Sorted(maps.Keys(s.switches)); len(values) > 0 {
		return text + "; " + strings.Join(values, " and ") + " beside accepted connections"
	}
	return text
}

func (s *Shapes) statusesSeen() string {
	found := slices.Sorted(maps.Keys(s.statuses))
	if len(s.others) > 0 {
		found = append(found, fmt.Sprintf("other (%d)", len(s.others)))
	}
	if len(found) == 0 {
		return notSeen
	}
	return strings.Join(found, ", ")
}
