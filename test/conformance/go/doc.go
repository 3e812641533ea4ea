// SPDX-License-Identifier: Apache-2.0

// Package conformance compares the vendor's SDKs, the simulator and the exporter: what each reads from the same fleet,
// which signatures each accepts, and how each reads unusual responses. A run fails if its results differ from those in
// docs/conformance.md.
//
// It is a module of its own to keep the SDK out of the exporter's dependencies. Besides tests it has a client program for
// the Go SDK (client) and the fleet (fleet) with a program that serves it (cloud). The clients of the other SDKs are in
// ../python and ../java. `make conformance` installs what they need and runs the tests. All processes listen only on
// 127.0.0.1 and are stopped with their test.
package conformance
