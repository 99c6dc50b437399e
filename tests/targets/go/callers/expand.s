// SPDX-License-Identifier: Apache-2.0
// Empty: with an assembly file in the package, main.go may declare a function whose body is elsewhere.
