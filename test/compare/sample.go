// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

type sampleConnection struct {
	ID         string     `json:"id"`
	Status     string     `json:"status"`
	MaxSession string     `json:"maxSession"`
	Name       string     `json:"specificationName"`
	CreatedAt  time.Time  `json:"created_at"`
	UpdatedAt  *time.Time `json:"update_at"`
	DomainID   string     `json:"domain_id"`
	IP         string     `json:"vpcepIp"`
	IPv6       string     `json:"vpcepIpv6Address"`
	DNSName    string     `json:"vpcepDnsName"`
}

// sampleLoop is an exporter written from the vendor's sample code. It reads pages of the default size and creates the
// same series as this exporter.
type sampleLoop struct {
	ctx      context.Context //nolint:containedctx // Collect takes none
	upstream upstream
	client   *http.Client

	info, status, sessions, created, updated *prometheus.Desc
}

func runSample(ctx context.Context, u upstream, stdout io.Writer) error {
	client, err := u.client()
	if err != nil {
		return err
	}
	labels := []string{"region", "project_id", "cluster_id", "cluster_name", "connection_id"}
	desc := func(name string, extraLabels ...string) *prometheus.Desc {
		return prometheus.NewDesc("sample_connection_"+name, "Metric of the sample loop.",
			append(slices.Clip(labels), extraLabels...), nil)
	}
	return serve(ctx, stdout, func(w http.ResponseWriter, r *http.Request) error {
		registry := prometheus.NewRegistry()
		registry.MustRegister(&sampleLoop{
			ctx: r.Context(), upstream: u, client: client,
			info:   desc("info", "domain_id", "specification_name", "ip", "ipv6", "dns_name"),
			status: desc("status", "status"), sessions: desc("max_sessions"),
			created: desc("created_timestamp_seconds"), updated: desc("updated_timestamp_seconds"),
		})
		promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(w, r)
		return nil
	})
}

// Describe implements prometheus.Collector.
func (s *sampleLoop) Describe(ch chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{s.info, s.status, s.sessions, s.created, s.updated} {
		ch <- desc
	}
}

// Collect implements prometheus.Collector.
func (s *sampleLoop) Collect(ch chan<- prometheus.Metric) {
	total := 1
	for offset := 0; offset < total; {
		var connections []sampleConnection
		var err error
		connections, total, err = s.readPage(offset)
		if err != nil || len(connections) == 0 {
			ch <- prometheus.NewInvalidMetric(s.info, err)
			return
		}
		offset += len(connections)
		for i := range connections {
			c := &connections[i]
			send := func(desc *prometheus.Desc, value float64, extraValues ...string) {
				ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value,
					append([]string{region, projectID, stableID, "search", c.ID}, extraValues...)...)
			}
			send(s.info, 1, c.DomainID, c.Name, c.IP, c.IPv6, c.DNSName)
			send(s.status, 1, c.Status)
			if sessions, err := strconv.ParseFloat(c.MaxSession, 64); err == nil {
				send(s.sessions, sessions)
			}
			send(s.created, float64(c.CreatedAt.Unix()))
			if c.UpdatedAt != nil {
				send(s.updated, float64(c.UpdatedAt.Unix()))
			}
		}
	}
}

func (s *sampleLoop) readPage(offset int) (connections []sampleConnection, total int, err error) {
	query := url.Values{}
	if offset > 0 {
		query.Set("offset", strconv.Itoa(offset))
	}
	resp, err := s.upstream.get(s.ctx, s.client, query)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, 0, err
	}
	var page struct {
		Connections []sampleConnection `json:"connections"`
		TotalCount  int                `json:"total_count"`
	}
	if err := json.Unmarshal(body, &page); err != nil {
		return nil, 0, err
	}
	return page.Connections, page.TotalCount, nil
}
