// SPDX-License-Identifier: Apache-2.0

// Command compare measures the exporter as a process of its own, in one run with others that are after the same data, so
// that their ratios hold whatever the machine is doing. `go run ./compare --help` says what can be chosen.
//
// The contenders are the exporter of this tree; json_exporter, if there is one in PATH; the floor, which fetches the same
// bodies and writes the same series out, and does nothing else; a loop such as one writes from the sample of the vendor's
// page in an afternoon; and other builds of the exporter, if they are named. The cloud is the simulator, over TLS, in a
// process of its own too. Everything listens on 127.0.0.1 alone and ends with the command.
//
// It fails if the exporter of this tree makes more calls, or connections, than it should, or shows less. How long all takes is
// for people to judge.
//
// main.go says what is measured: rounds.go one cluster, fleet.go many, startup.go the process itself. contenders.go makes the
// contenders; process.go starts processes and looks at what they cost. cloud.go, floor.go and sample.go are processes that
// the command starts of itself, and roles.go is what they have in common.
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

// life bounds everything that is started.
const life = 40 * time.Minute

// options are the values of the command line.
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
	// With SIGPIPE: that nobody reads the tables any more must not leave processes behind.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, life)
	defer cancel()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1) //nolint:gocritic // children end with their standard input
	}
}

func run(ctx context.Context, args []string, stdout io.Writer) error {
	app := kingpin.New("compare", "Measures the exporter beside others that are after the same data.")
	app.HelpFlag.Short('h')

	o := options{also: make(map[string]string)}
	all := app.Command("run", "Compare, and write tables in Markdown to standard output.").Default()
	all.Flag("json-exporter", "The json_exporter, by name or path.").Default("json_exporter").StringVar(&o.jsonExporter)
	all.Flag("also", "Another build of the exporter, as name=path; may be given more than once.").StringMapVar(&o.also)
	all.Flag("rounds", "How often the contenders take turns.").Default("10").IntVar(&o.rounds)
	all.Flag("scrapes", "How often each is asked in a turn.").Default("40").IntVar(&o.scrapes)
	all.Flag("connections", "How many connections the one cluster has; may be given more than once.").Default("10", "100", "1000").IntsVar(&o.connections)
	all.Flag("clusters", "How many clusters the fleet has.").Default("1000").IntVar(&o.clusters)
	all.Flag("per-cluster", "How many connections each of them has.").Default("50").IntVar(&o.perCluster)
	all.Flag("latency", "How long the cloud takes to answer for one of them.").Default("50ms").DurationVar(&o.latency)
	all.Flag("fleet-scrapes", "How often the fleet is scraped.").Default("20").IntVar(&o.fleetScrapes)
	all.Flag("only", "Measure no more than this. One of: [cluster, fleet, process]").EnumVar(&o.only, "cluster", "fleet", "process")

	var c cloudOptions
	cloud := app.Command("cloud", "Be the cloud.").Hidden()
	cloud.Flag("clusters", "").IntVar(&c.clusters)
	cloud.Flag("connections", "").IntVar(&c.connections)
	cloud.Flag("latency", "").DurationVar(&c.latency)
	cloud.Flag("ca", "").StringVar(&c.ca)

	var f upstream
	var exposition string
	floor := app.Command("floor", "Be the floor.").Hidden()
	f.flags(floor)
	floor.Flag("exposition", "").StringVar(&exposition)
	sample := app.Command("sample", "Be the sample's loop.").Hidden()
	f.flags(sample)

	command, err := app.Parse(args)
	if err != nil {
		return err
	}
	switch command {
	case cloud.FullCommand():
		return beCloud(ctx, c, stdout)
	case floor.FullCommand():
		return beFloor(ctx, f, exposition, stdout)
	case sample.FullCommand():
		return beSample(ctx, f, stdout)
	}
	return compare(ctx, &o, stdout)
}

// compare measures everything that was asked for.
func compare(ctx context.Context, o *options, to io.Writer) error {
	b, err := newBench(ctx, o)
	if err != nil {
		return err
	}
	defer b.close()
	fmt.Fprintf(to, "%s, %s/%s, %d cores; medians of %d turns of %d scrapes each, unless something else is said.\n",
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
