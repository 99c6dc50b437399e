// SPDX-License-Identifier: Apache-2.0

module tsiot-server

go 1.19
