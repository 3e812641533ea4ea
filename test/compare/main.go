// SPDX-License-Identifier: Apache-2.0

// Command compare measures the exporter as a process of its own, in turn with others that read the same data, so that
// the ratios hold on any machine. See `go run ./compare --help`.
//
// The contenders are the exporter of this tree; json_exporter, if it is in PATH; the floor, which fetches the same
// bodies and writes the same series without doing anything else; the sample loop, an exporter written from the vendor's
// sample code; and other builds of the exporter, if given. The cloud is the simulator behind TLS. All of them are
// processes that listen on 127.0.0.1 only and exit with this command.
//
// The command fails if the exporter of this tree makes more calls or connections than it should, or exposes fewer
// series. It does not judge times.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/alecthomas/kingpin/v2"
)

const timeout = 40 * time.Minute

type options struct {
	jsonExporter string
	also         map[string]string
	rounds       int
	scrapes      int
	connections  []int
	clusters     int
	perCluster   int
	latency      time.Duration
	fleetScrapes int
	only         string
}

func main() {
	// SIGPIPE too: processes must not outlive a closed pipe.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1) //nolint:gocritic // children exit at the end of their standard input
	}
}

func run(ctx context.Context, args []string, stdout io.Writer) error {
	app := kingpin.New("compare", "Compares the exporter with others that read the same data.")
	app.HelpFlag.Short('h')

	o := options{also: make(map[string]string)}
	all := app.Command("run", "Compare, and write Markdown tables to standard output.").Default()
	all.Flag("json-exporter", "Name or path of json_exporter.").Default("json_exporter").StringVar(&o.jsonExporter)
	all.Flag("also", "Another build of the exporter, as name=path. Repeatable.").StringMapVar(&o.also)
	all.Flag("rounds", "Number of turns of each contender.").Default("10").IntVar(&o.rounds)
	all.Flag("scrapes", "Number of scrapes per turn.").Default("40").IntVar(&o.scrapes)
	all.Flag("connections", "Number of connections of the single cluster. Repeatable.").
		Default("10", "100", "1000").IntsVar(&o.connections)
	all.Flag("clusters", "Number of clusters of the fleet.").Default("1000").IntVar(&o.clusters)
	all.Flag("per-cluster", "Number of connections of each cluster of the fleet.").Default("50").IntVar(&o.perCluster)
	all.Flag("latency", "Latency of the API for each cluster of the fleet.").Default("50ms").DurationVar(&o.latency)
	all.Flag("fleet-scrapes", "Number of scrapes of the fleet.").Default("20").IntVar(&o.fleetScrapes)
	all.Flag("only", "Run only this measurement. One of: [cluster, fleet, process]").
		EnumVar(&o.only, "cluster", "fleet", "process")

	var c cloudOptions
	cloud := app.Command("cloud", "Run the simulator.").Hidden()
	cloud.Flag("clusters", "").IntVar(&c.clusters)
	cloud.Flag("connections", "").IntVar(&c.connections)
	cloud.Flag("latency", "").DurationVar(&c.latency)
	cloud.Flag("ca", "").StringVar(&c.ca)

	var f upstream
	var exposition string
	floor := app.Command("floor", "Run the floor.").Hidden()
	f.flags(floor)
	floor.Flag("exposition", "").StringVar(&exposition)
	sample := app.Command("sample", "Run the sample loop.").Hidden()
	f.flags(sample)

	command, err := app.Parse(args)
	if err != nil {
		return err
	}
	switch command {
	case cloud.FullCommand():
		return runCloud(ctx, c, stdout)
	case floor.FullCommand():
		return runFloor(ctx, f, exposition, stdout)
	case sample.FullCommand():
		return runSample(ctx, f, stdout)
	}
	return compare(ctx, &o, stdout)
}

// compare runs the selected measurements.
func compare(ctx context.Context, o *options, to io.Writer) error {
	b, err := newBench(ctx, o)
	if err != nil {
		return err
	}
	defer b.close()
	fmt.Fprintf(to, "%s, %s/%s, %d cores; medians of %d turns of %d scrapes each, unless stated otherwise.\n",
		runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), o.rounds, o.scrapes)
	for _, part := range []struct {
		name    string
		measure func(context.Context, io.Writer) error
	}{
		{"cluster", b.oneCluster},
		{"fleet", b.fleet},
		{"process", b.startup},
	} {
		if o.only != "" && o.only != part.name {
			continue
		}
		if err := part.measure(ctx, to); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return nil
}
