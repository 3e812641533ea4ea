// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"fmt"
	"image"
	"image/color"
	"image/png"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// screenshots is the environment variable with a directory for screenshots.
const screenshots = "CSS_VPCEP_SCREENSHOTS"

// TestStatusPage renders /status of the demo in a browser: desktop and phone, light and dark.
func TestStatusPage(t *testing.T) {
	chromium := tool(t, "chromium")
	demo := launch(t, "exporter", build(t), "--demo", "--web.listen-address=127.0.0.1:0")
	client := newClient(t)
	for range 2 { // one cluster always fails, another one for a while
		if status, body := get(t, client, "http://"+demo.address+"/metrics"); status != http.StatusOK {
			t.Fatal(status, body)
		}
	}
	for _, look := range []struct {
		name          string
		width, height int
		dark          bool
	}{
		{"desk", 1280, 1300, false}, {"desk-dark", 1280, 1300, true}, {"phone", 360, 3200, false}, {"phone-dark", 360, 3200, true},
	} {
		t.Run(look.name, func(t *testing.T) {
			page := screenshot(t, chromium, "http://"+demo.address+"/status", look.name, look.width, look.height, look.dark)
			bounds := page.Bounds()
			if bounds.Dx() != look.width || bounds.Dy() != look.height {
				t.Fatalf("the size of the screenshot is %s", bounds)
			}
			background := page.At(bounds.Max.X-1, bounds.Max.Y-1)
			if light := brightness(background) > 128; light == look.dark {
				t.Errorf("the background is %v", background)
			}
			// Content that overflows would be in the margin.
			for y := range bounds.Dy() {
				for x := bounds.Dx() - 4; x < bounds.Dx(); x++ {
					if page.At(x, y) != background {
						t.Fatalf("content at the right edge: %v at %d, %d", page.At(x, y), x, y)
					}
				}
			}
			if red, dark := count(page, reddish), count(page, func(c color.Color) bool { return far(c, background) }); red < 100 || dark < 5000 {
				t.Errorf("%d red pixels and %d of text: failures are not visible", red, dark)
			}
		})
	}
}

// screenshot renders a page in a browser that can connect only to the page.
func screenshot(t *testing.T, chromium, url, name string, width, height int, dark bool) image.Image {
	t.Helper()
	folder := os.Getenv(screenshots)
	if folder == "" {
		folder = t.TempDir()
	}
	file := filepath.Join(folder, name+".png")
	scheme := 1 // light
	if dark {
		scheme = 0
	}
	args := []string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
		"--user-data-dir=" + t.TempDir(), fmt.Sprintf("--window-size=%d,%d", width, height),
		fmt.Sprintf("--blink-settings=preferredColorScheme=%d", scheme), "--virtual-time-budget=10000", "--screenshot=" + file, url,
	}
	cmd := exec.CommandContext(t.Context(), chromium, args...) //nolint:gosec // found in PATH
	cmd.Env = []string{"HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH")}
	cmd.WaitDelay = 5 * time.Second
	timer := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	out, err := cmd.CombinedOutput()
	timer.Stop()
	if err != nil {
		t.Fatalf("%s\n%s", err, out)
	}
	f, err := os.Open(filepath.Clean(file)) //nolint:gosec // in a directory of the test or of its user
	if err != nil {
		t.Fatalf("%s\n%s", err, strings.TrimSpace(string(out)))
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

// reddish reports whether a colour marks a failure in either colour scheme.
func reddish(c color.Color) bool {
	r, g, b := rgb(c)
	return r > 120 && r > g+60 && r > b+60
}

// far reports whether a colour is readable on the background.
func far(c, background color.Color) bool {
	d := brightness(c) - brightness(background)
	return d > 90 || d < -90
}

func count(page image.Image, is func(color.Color) bool) (n int) {
	for y := range page.Bounds().Dy() {
		for x := range page.Bounds().Dx() {
			if is(page.At(x, y)) {
				n++
			}
		}
	}
	return n
}
