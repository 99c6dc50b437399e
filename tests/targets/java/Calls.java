// SPDX-License-Identifier: Apache-2.0

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Stacks that are known: {@code java Calls [SECONDS [DEPTH]]}. Each of main's rounds goes down DEPTH times, by five ways in
 * turn (a plain method, a virtual one, one of an interface, a lambda, and with an exception on the way back), and then works,
 * by arithmetic, in stubs (copies), in the collector's barriers (lists and maps), or in natives.
 */
public final class Calls {
    interface Way {
        long down(int depth, int work);
    }

    abstract static class Base {
        abstract long virtual(int depth, int work);
    }

    static final class One extends Base implements Way {
        @Override
        long virtual(int depth, int work) {
            return depth == 0 ? work(work) : next(depth - 1, work);
        }

        @Override
        public long down(int depth, int work) {
            return depth == 0 ? work(work) : next(depth - 1, work) + 1;
        }
    }

    static final class Two extends Base implements Way {
        private long seen;

        @Override
        long virtual(int depth, int work) {
            seen++;
            return depth == 0 ? work(work) : next(depth - 1, work) ^ seen;
        }

        @Override
        public long down(int depth, int work) {
            seen--;
            return depth == 0 ? work(work) : next(depth - 1, work) - seen;
        }
    }

    static final class Three extends Base implements Way {
        @Override
        synchronized long virtual(int depth, int work) {
            return depth == 0 ? work(work) : next(depth - 1, work);
        }

        @Override
        public synchronized long down(int depth, int work) {
            return depth == 0 ? work(work) : next(depth - 1, work);
        }
    }

    private static final Base[] BASES = {new One(), new Two(), new Three()};
    private static final Way[] WAYS = {new One(), new Two(), new Three(), (depth, work) -> plain(depth, work, 1.0, 2, 3, 4, 5, 6, 7, 8)};

    private static volatile long sink;

    static long next(int depth, int work) {
        switch (depth % 5) {
            case 0:
                return plain(depth, work, 0.5, 1, 2, 3, 4, 5, 6, 7);
            case 1:
                return BASES[(depth >> 2) % 3].virtual(depth, work);
            case 2:
                return WAYS[(depth >> 2) % 4].down(depth, work);
            case 3:
                return thrower(depth, work);
            default:
                return plain(depth, work, 1.5, 7, 6, 5, 4, 3, 2, 1);
        }
    }

    /** More arguments than there are registers: what calls it from the interpreter, or is called, moves the stack. */
    static long plain(int depth, int work, double x, long a, long b, long c, long d, long e, long f, long g) {
        return depth == 0 ? work(work) : next(depth - 1, work) + (long) (x * 2) + a + b + c + d + e + f + g;
    }

    static long thrower(int depth, int work) {
        try {
            return depth == 0 ? work(work) : fail(depth, work);
        } catch (IllegalStateException e) {
            return 1;
        }
    }

    static long fail(int depth, int work) {
        long x = next(depth - 1, work);
        if (x % 7 == 0) {
            throw new IllegalStateException();
        }
        return x;
    }

    static long work(int work) {
        switch (work % 4) {
            case 0:
                return arithmetic(work);
            case 1:
                return copies(work);
            case 2:
                return objects(work);
            default:
                return natives(work);
        }
    }

    static long arithmetic(long rounds) {
        long x = rounds;
        for (int i = 0; i < 3000; i++) {
            x = small(x) ^ i;
        }
        return x;
    }

    static long small(long x) {
        return x * 6364136223846793005L + 1442695040888963407L;
    }

    private static final byte[] FROM = new byte[5000];
    private static final byte[] TO = new byte[5000];

    static long copies(int work) {
        for (int i = 0; i < 50; i++) {
            System.arraycopy(FROM, i, TO, 7, 100 + 61 * i);
        }
        return Arrays.hashCode(TO);
    }

    private static final Map<Integer, List<String>> KEPT = new HashMap<>();

    static long objects(int work) {
        List<String> list = new ArrayList<>();
        for (int i = 0; i < 40; i++) {
            list.add("word " + work + i);
        }
        KEPT.put(work % 5000, list);
        return KEPT.size();
    }

    static long natives(int work) {
        long x = 0;
        for (int i = 0; i < 40; i++) {
            x += System.nanoTime() + Thread.currentThread().hashCode() + FROM.getClass().hashCode();
        }
        return x;
    }

    public static void main(String[] args) {
        double seconds = args.length > 0 ? Double.parseDouble(args[0]) : 5;
        int depth = args.length > 1 ? Integer.parseInt(args[1]) : 40;
        long start = System.nanoTime();
        int rounds = 0;
        while (System.nanoTime() - start < seconds * 1e9) {
            for (int i = 0; i < 100; i++) {
                sink += next(depth, rounds++);
            }
        }
        System.out.println("{\"target\":\"java-calls\",\"pid\":" + ProcessHandle.current().pid() + ",\"rounds\":" + rounds + "}");
    }
}
