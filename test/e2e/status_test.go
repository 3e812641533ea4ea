// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"css_vpcep_exporter/internal/simulator"
	"css_vpcep_exporter/internal/simulator/simtest"
)

const envScreenshots = "CSS_VPCEP_SCREENSHOTS"

type appearance struct {
	name          string
	width, height int
	dark          bool
}

// appearances returns the ways in which pages of these heights are looked at.
func appearances(name string, deskHeight, phoneHeight int) []appearance {
	return []appearance{
		{name + "desk", 1280, deskHeight, false}, {name + "desk-dark", 1280, deskHeight, true},
		{name + "phone", 360, phoneHeight, false}, {name + "phone-dark", 360, phoneHeight, true},
	}
}

func TestStatusPage(t *testing.T) {
	program := buildExporter(t)
	demo := startServer(t, "demo", program, "--demo", "--web.listen-address=127.0.0.1:0")
	address := "http://" + demo.address
	client := newClient(t)
	for range 2 { // one cluster always fails, another one for a while
		if status, body := get(t, client, address+"/metrics"); status != http.StatusOK {
			t.Fatalf("/metrics: got status %d, want 200: %s", status, body)
		}
	}
	checkScreenshots(t, address+"/status", appearances("", 1300, 3800))
	checkScreenshots(t, address+"/status?cluster=search-prod", appearances("cluster-", 1700, 3800))

	large := startLargeFleet(t, program)
	checkScreenshots(t, large+"/status", appearances("large-", 3000, 6000))
	checkScreenshots(t, large+"/status?cluster="+hostileCluster, appearances("hostile-", 4000, 9000))
	for _, page := range []string{"/status", "/status?cluster=" + hostileCluster} {
		for _, tag := range []string{"<script", "<img"} {
			if strings.Contains(dumpDOM(t, large+page), tag) {
				t.Errorf("%s: the API's text has made the browser see %s", page, tag)
			}
		}
	}
}

func checkScreenshots(t *testing.T, url string, appearances []appearance) {
	t.Helper()
	for _, a := range appearances {
		t.Run(a.name, func(t *testing.T) { checkStatusPage(t, screenshot(t, url, a), a) })
	}
}

const hostileCluster = "hostile"

// startLargeFleet starts an exporter of a thousand clusters, reads them, and returns its address. One cluster has texts
// that are too long, look like HTML, or change the direction of writing, and a connection with very many sessions. One
// project must not read its sessions.
func startLargeFleet(t *testing.T, program string) (address string) {
	t.Helper()
	c := newCloud(t, 1000, 5)
	const html = `"><img src=x onerror=alert(1)><script>alert(1)</script>`
	long, bidi := strings.Repeat("x", 1024), "a\u202eb\u2066c\u200b\x1b[31m"
	cluster := simulator.Cluster{
		ID: hostileCluster, Name: html, Status: "200", Engine: bidi, Version: long, ServiceName: simulator.Text(html),
	}
	for i, text := range []string{long, bidi, html, strings.Repeat("\u05d0 ", 500)} {
		for _, status := range []string{"accepted", "rejected"} {
			cluster.Connections = append(cluster.Connections, simulator.Connection{
				ID: fmt.Sprint(i, status, text), Status: status, DomainID: text, IP: text, IPv6: simulator.Text(text),
				DNSName: simulator.Text(text), Specification: text, MaxSession: simulator.Text("9007199254740991"),
				CreatedAt: simulator.Text("9999-12-31T23:59:59Z"),
			})
		}
		cluster.Permissions = append(cluster.Permissions, simulator.Permission{ID: text, Permission: text, Type: text})
	}
	const crowded = "connection-with-sessions"
	cluster.Connections = append(cluster.Connections, simulator.Connection{
		ID: crowded, Status: "accepted", MaxSession: simulator.Text("9007199254740991"), Specification: html,
	})
	c.SetSessions(crowded, func(time.Time) (float64, float64, bool) { return 9007199254740990, 1e300, true })
	c.AddCluster(simtest.ProjectID, cluster)
	c.SetFault(simulator.Target{Endpoint: simulator.Sessions, ID: "project-of-logs"}, simulator.Fault{
		Status: http.StatusForbidden, Body: fmt.Sprintf(`{"http_code":403,"message":{"code":%q,"details":%q}}`, html, html+long),
	})
	for i, p := range c.Projects() {
		c.SetFault(simulator.Target{Endpoint: simulator.Connections, ID: c.Clusters(p.ID)[i].ID}, simulator.Fault{
			Status: http.StatusForbidden, Body: `{"errCode":"CSS.0015","externalMessage":"No."}`,
		})
	}
	exporter := c.startExporter(t, program, 0, exporterOptions{sessions: true})
	address = "http://" + exporter.address
	client := newClient(t)
	read := func() {
		if status, body := get(t, client, address+"/metrics"); status != http.StatusOK {
			t.Fatalf("/metrics: got status %d, want 200: %s", status, body)
		}
	}
	read()
	cluster.Connections = cluster.Connections[1:]
	cluster.Permissions = cluster.Permissions[1:]
	c.AddCluster(simtest.ProjectID, cluster)
	read()
	eventually(t, "the page shows sessions, and why those of a project cannot be read", func() string {
		_, cluster := get(t, client, address+"/status?cluster="+hostileCluster)
		_, overview := get(t, client, address+"/status")
		if strings.Contains(cluster, ">above 95 % of sessions<") && strings.Contains(overview, ">sessions failing<") {
			return ""
		}
		return cluster
	})
	return address
}

func checkStatusPage(t *testing.T, page image.Image, want appearance) {
	t.Helper()
	bounds := page.Bounds()
	if bounds.Dx() != want.width || bounds.Dy() != want.height {
		t.Fatalf("got a screenshot of %s, want %d x %d", bounds, want.width, want.height)
	}
	background := page.At(bounds.Max.X-1, bounds.Max.Y-1)
	if dark := brightness(background) <= 128; dark != want.dark {
		t.Errorf("got background %v, dark: %t, want dark: %t", background, dark, want.dark)
	}
	// Content that is too wide reaches into the right margin.
	for y := range bounds.Dy() {
		for x := bounds.Dx() - 4; x < bounds.Dx(); x++ {
			if page.At(x, y) != background {
				t.Fatalf("got %v at %d, %d in the right margin, want the background", page.At(x, y), x, y)
			}
		}
	}
	if red := countPixels(page, isRed); red < 100 {
		t.Errorf("got %d red pixels, want at least 100 for the failures", red)
	}
	text := countPixels(page, func(c color.Color) bool { return isLegible(c, background) })
	if text < 5000 {
		t.Errorf("got %d pixels of text, want at least 5,000", text)
	}
}

func screenshot(t *testing.T, url string, a appearance) image.Image {
	t.Helper()
	dir := os.Getenv(envScreenshots)
	if dir == "" {
		dir = t.TempDir()
	}
	path := filepath.Join(dir, a.name+".png")
	colorScheme := 1 // light
	if a.dark {
		colorScheme = 0
	}
	out := browse(t, url, fmt.Sprintf("--window-size=%d,%d", a.width, a.height),
		fmt.Sprintf("--blink-settings=preferredColorScheme=%d", colorScheme), "--screenshot="+path)
	f, err := os.Open(filepath.Clean(path))
	if err != nil {
		t.Fatalf("%s\n%s", err, out)
	}
	defer func() { _ = f.Close() }() // only read
	picture, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	return picture
}

// dumpDOM returns what a browser understands of a page, as HTML.
func dumpDOM(t *testing.T, url string) string {
	t.Helper()
	dom := browse(t, url, "--dump-dom")
	if !strings.Contains(dom, "</html>") {
		t.Fatalf("%s: got no page: %s", url, dom)
	}
	return dom
}

// browse runs a browser that can connect only to 127.0.0.1, and returns its output.
func browse(t *testing.T, url string, flags ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
	defer cancel()
	args := slices.Concat([]string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
		"--hide-scrollbars", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
		"--run-all-compositor-stages-before-draw",
		"--user-data-dir=" + t.TempDir(), "--virtual-time-budget=10000",
	}, flags, []string{url})
	cmd := exec.CommandContext(ctx, lookPath(t, "chromium"), args...) //nolint:gosec // found in PATH
	cmd.Env = []string{"HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH")}
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("chromium: %s\n%s", err, out)
	}
	return string(out)
}

func rgb(c color.Color) (r, g, b int) {
	r16, g16, b16, _ := c.RGBA()
	return int(r16 >> 8), int(g16 >> 8), int(b16 >> 8)
}

func brightness(c color.Color) int {
	r, g, b := rgb(c)
	return (r + g + b) / 3
}

func isRed(c color.Color) bool {
	r, g, b := rgb(c)
	return r > 120 && r > g+60 && r > b+60
}

func isLegible(c, background color.Color) bool {
	d := brightness(c) - brightness(background)
	return d > 90 || d < -90
}

func countPixels(page image.Image, matches func(color.Color) bool) (n int) {
	for y := range page.Bounds().Dy() {
		for x := range page.Bounds().Dx() {
			if matches(page.At(x, y)) {
				n++
			}
		}
	}
	return n
}
