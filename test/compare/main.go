// SPDX-License-Identifier: Apache-2.0

// Command compare measures scrapes of the exporter and of other programs that read the same data from the simulator.
// Each is a process, and all take turns, so that the ratios hold on any machine.
//
// The contenders are the exporter of this tree; json_exporter, if it is in PATH; the floor, which only fetches the same
// bodies and writes the same series; the sample loop, an exporter written from the vendor's sample code; and other
// builds of the exporter, if given. All listen on 127.0.0.1 only and exit with this command.
//
// The command fails if the exporter of this tree makes more calls or connections than necessary, or if series are
// missing. It does not judge times.
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
	// With SIGPIPE, so that the child processes do not outlive a closed output pipe.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1) //nolint:gocritic // child processes exit when their standard input is closed
	}
}

func run(ctx context.Context, args []string, stdout io.Writer) error {
	app := kingpin.New("compare", "Compares the exporter with others that read the same data.")
	app.HelpFlag.Short('h')

	o := options{also: make(map[string]string)}
	compareCommand := app.Command("run", "Compare, and write Markdown tables to standard output.").Default()
	o.addFlags(compareCommand)

	var cloudFlags cloudOptions
	cloudCommand := app.Command("cloud", "Run the simulator.").Hidden()
	cloudCommand.Flag("clusters", "").IntVar(&cloudFlags.clusters)
	cloudCommand.Flag("connections", "").IntVar(&cloudFlags.connections)
	cloudCommand.Flag("latency", "").DurationVar(&cloudFlags.latency)
	cloudCommand.Flag("ca", "").StringVar(&cloudFlags.caFile)

	var source upstream
	var expositionFile string
	floorCommand := app.Command("floor", "Run the floor.").Hidden()
	source.addFlags(floorCommand)
	floorCommand.Flag("exposition", "").StringVar(&expositionFile)
	sampleCommand := app.Command("sample", "Run the sample loop.").Hidden()
	source.addFlags(sampleCommand)

	command, err := app.Parse(args)
	if err != nil {
		return err
	}
	switch command {
	case cloudCommand.FullCommand():
		return runCloud(ctx, cloudFlags, stdout)
	case floorCommand.FullCommand():
		return runFloor(ctx, source, expositionFile, stdout)
	case sampleCommand.FullCommand():
		return runSample(ctx, source, stdout)
	}
	return runComparison(ctx, &o, stdout)
}

func (o *options) addFlags(command *kingpin.CmdClause) {
	command.Flag("json-exporter", "Name or path of json_exporter.").Default("json_exporter").StringVar(&o.jsonExporter)
	command.Flag("also", "Another build of the exporter, as name=path. Repeatable.").StringMapVar(&o.also)
	command.Flag("rounds", "Number of turns of each contender.").Default("10").IntVar(&o.rounds)
	command.Flag("scrapes", "Number of scrapes per turn.").Default("40").IntVar(&o.scrapes)
	command.Flag("connections", "Number of connections of the single cluster. Repeatable.").
		Default("10", "100", "1000").IntsVar(&o.connections)
	command.Flag("clusters", "Number of clusters of the fleet.").Default("1000").IntVar(&o.clusters)
	command.Flag("per-cluster", "Number of connections of each cluster of the fleet.").Default("50").IntVar(&o.perCluster)
	command.Flag("latency", "Latency of the API for each cluster of the fleet.").Default("50ms").DurationVar(&o.latency)
	command.Flag("fleet-scrapes", "Number of scrapes of the fleet.").Default("20").IntVar(&o.fleetScrapes)
	command.Flag("only", "Run only this measurement. One of: [cluster, fleet, sessions, process]").
		EnumVar(&o.only, "cluster", "fleet", "sessions", "process")
}

func runComparison(ctx context.Context, o *options, out io.Writer) error {
	b, err := newBench(ctx, o)
	if err != nil {
		return err
	}
	defer b.close()
	fmt.Fprintf(out, "%s, %s/%s, %d cores; medians of %d turns of %d scrapes each, unless stated otherwise.\n",
		runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), o.rounds, o.scrapes)
	for _, measurement := range []struct {
		name string
		run  func(context.Context, io.Writer) error
	}{
		{"cluster", b.compareOneCluster},
		{"fleet", b.compareFleets},
		{"sessions", b.compareSessions},
		{"process", b.measureStartup},
	} {
		if o.only != "" && o.only != measurement.name {
			continue
		}
		if err := measurement.run(ctx, out); err != nil {
			return fmt.Errorf("%s: %w", measurement.name, err)
		}
	}
	return nil
}
