// SPDX-License-Identifier: Apache-2.0

// Package conformance compares the vendor's SDKs, the simulator and the exporter: what each reads from the same fleet,
// which signatures each accepts, and how each reads unusual responses. A run fails if its results differ from those in
// docs/conformance.md.
//
// It is a separate module to keep the SDK out of the exporter's dependencies. The program client uses the SDK for Go;
// those for the other SDKs are in ../python and ../java. `make conformance` installs the SDKs and runs the tests. All
// processes listen only on 127.0.0.1 and are stopped after their test.
package conformance
