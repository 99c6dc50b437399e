#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The plain truth program in Python: alpha, beta and gamma, 50:30:20. `shares.py [SECONDS]`; see ../c/truth.h."""

import json
import os
import random
import signal
import sys
import time


def alpha(rounds):
    x = rounds
    for _ in range(rounds):
        x = (x * 6364136223846793005 + 1442695040888963407) & 0xFFFFFFFF
    return x


def beta(rounds):
    x = rounds | 1
    for _ in range(rounds):
        x ^= (x << 13) & 0xFFFFFFFF
        x ^= x >> 7
    return x


def gamma(rounds):
    x = rounds
    for i in range(rounds):
        x = (x + (x >> 3 ^ i)) & 0xFFFFFFFF
    return x


class Share:
    def __init__(self, name, percent, burn):
        self.name = name
        self.percent = percent
        self.burn = burn
        self.cpu_nsec = 0

    def work_slice(self):
        rounds = random.randint(2_000, 40_000)  # 0.1 to 3 ms
        start_nsec = time.thread_time_ns()
        self.burn(rounds)
        self.cpu_nsec += time.thread_time_ns() - start_nsec


def spend(shares, seconds):
    stopped = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.append(True))
    end = time.monotonic() + seconds
    while not stopped and time.monotonic() < end:
        min(shares, key=lambda share: share.cpu_nsec / share.percent).work_slice()


def main():
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 5
    shares = [Share("alpha", 50, alpha), Share("beta", 30, beta), Share("gamma", 20, gamma)]
    spend(shares, seconds)
    print(json.dumps({
        "target": "python-shares",
        "pid": os.getpid(),
        "cpu_ns": {share.name: share.cpu_nsec for share in shares},
        "total_ns": time.process_time_ns(),
    }, separators=(",", ":")))


if __name__ == "__main__":
    main()
