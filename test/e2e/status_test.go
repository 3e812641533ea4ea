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
	"testing"
	"time"
)

const envScreenshots = "CSS_VPCEP_SCREENSHOTS"

type appearance struct {
	name          string
	width, height int
	dark          bool
}

func TestStatusPage(t *testing.T) {
	demo := startServer(t, "demo", buildExporter(t), "--demo", "--web.listen-address=127.0.0.1:0")
	client := newClient(t)
	for range 2 { // one cluster always fails, another one for a while
		if status, body := get(t, client, "http://"+demo.address+"/metrics"); status != http.StatusOK {
			t.Fatalf("/metrics: got status %d, want 200: %s", status, body)
		}
	}
	for _, a := range []appearance{
		{"desk", 1280, 1300, false}, {"desk-dark", 1280, 1300, true},
		{"phone", 360, 3200, false}, {"phone-dark", 360, 3200, true},
	} {
		t.Run(a.name, func(t *testing.T) {
			checkStatusPage(t, screenshot(t, "http://"+demo.address+"/status", a), a)
		})
	}
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

// screenshot runs a browser that can connect only to 127.0.0.1.
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
	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, lookPath(t, "chromium"), //nolint:gosec // found in PATH
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
		"--hide-scrollbars", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
		"--user-data-dir="+t.TempDir(), fmt.Sprintf("--window-size=%d,%d", a.width, a.height),
		fmt.Sprintf("--blink-settings=preferredColorScheme=%d", colorScheme), "--virtual-time-budget=10000",
		"--screenshot="+path, url)
	cmd.Env = []string{"HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH")}
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("chromium: %s\n%s", err, out)
	}
	f, err := os.Open(filepath.Clean(path)) //nolint:gosec // the test's file
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
