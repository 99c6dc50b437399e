// SPDX-License-Identifier: Apache-2.0

import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import java.util.function.LongUnaryOperator;

/**
 * The plain truth program in Java: alpha, beta and gamma, 50:30:20. {@code java Shares [SECONDS]}; see ../c/truth.h.
 * The total is that of the process, so it includes the compiler's and the collector's threads.
 */
public final class Shares {
    private static final ThreadMXBean CLOCK = ManagementFactory.getThreadMXBean();

    private static volatile boolean stopped;

    /** Keeps what is computed from being optimized away. */
    private static volatile long sink;

    static long alpha(long rounds) {
        long x = rounds;
        for (long i = 0; i < rounds; i++) {
            x = x * 6364136223846793005L + 1442695040888963407L;
        }
        return x;
    }

    static long beta(long rounds) {
        long x = rounds | 1;
        for (long i = 0; i < rounds; i++) {
            x ^= x << 13;
            x ^= x >>> 7;
        }
        return x;
    }

    static long gamma(long rounds) {
        long x = rounds;
        for (long i = 0; i < rounds; i++) {
            x += x >>> 3 ^ i;
            x = x << 5 | x >>> 59;
        }
        return x;
    }

    private static final class Share {
        final String name;
        final int percent;
        final LongUnaryOperator burn;
        long cpuNanos;

        Share(String name, int percent, LongUnaryOperator burn) {
            this.name = name;
            this.percent = percent;
            this.burn = burn;
        }

        void workSlice(SplittableRandom random) {
            long rounds = random.nextLong(100_000, 1_500_000); // 0.1 to 3 ms once compiled
            long start = CLOCK.getCurrentThreadCpuTime();
            sink = burn.applyAsLong(rounds);
            cpuNanos += CLOCK.getCurrentThreadCpuTime() - start;
        }
    }

    private static void spend(List<Share> shares, double seconds) {
        SplittableRandom random = new SplittableRandom();
        long start = System.nanoTime();
        while (!stopped && System.nanoTime() - start < seconds * 1e9) {
            furthestBehind(shares).workSlice(random);
        }
    }

    private static Share furthestBehind(List<Share> shares) {
        Share behind = shares.get(0);
        for (Share share : shares) {
            if (share.cpuNanos * behind.percent < behind.cpuNanos * share.percent) {
                behind = share;
            }
        }
        return behind;
    }

    private static void print(List<Share> shares) {
        List<String> cpu = new ArrayList<>();
        for (Share share : shares) {
            cpu.add("\"" + share.name + "\":" + share.cpuNanos);
        }
        long total = ((com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean())
                .getProcessCpuTime();
        System.out.println("{\"target\":\"java-shares\",\"pid\":" + ProcessHandle.current().pid() + ",\"cpu_ns\":{"
                + String.join(",", cpu) + "},\"total_ns\":" + total + "}");
    }

    /** SIGTERM ends the run early: the virtual machine waits for the hook, the hook for the line to be printed. */
    private static void stopOnSignal() {
        Thread main = Thread.currentThread();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            stopped = true;
            try {
                main.join(2000);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        }));
    }

    public static void main(String[] args) {
        double seconds = args.length > 0 ? Double.parseDouble(args[0]) : 5;
        List<Share> shares = List.of(
                new Share("alpha", 50, Shares::alpha),
                new Share("beta", 30, Shares::beta),
                new Share("gamma", 20, Shares::gamma));
        stopOnSignal();
        spend(shares, seconds);
        print(shares);
    }
}
