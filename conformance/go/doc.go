// SPDX-License-Identifier: Apache-2.0

// Package conformance holds the vendor's SDKs, our simulator and our exporter against each other: what each reads of the same
// fleet, whose signatures are taken by whom, and what each makes of an odd answer. What came of it is in docs/conformance.md,
// and a run that gives anything else fails.
//
// It is a module of its own, so that the SDK never reaches the exporter's dependencies. It holds tests, the client program of
// the SDK for Go (client), and the fleet (fleet) with a program that serves it (cloud). The clients of the other SDKs are
// beside it, in ../python and ../java. `make conformance` installs what they need and runs all of it; everything listens on
// 127.0.0.1 alone and ends with its test.
package conformance
