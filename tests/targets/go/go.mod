// SPDX-License-Identifier: Apache-2.0

module targets

go 1.18
