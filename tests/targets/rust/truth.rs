// SPDX-License-Identifier: Apache-2.0
//! What the truth programs in Rust share: see ../c/truth.h. Plain rustc, no crate: the clock and the signals are libc's.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub struct Share {
    pub name: &'static str,
    pub percent: u64,
    pub burn: fn(u64),
    pub cpu_nsec: u64,
}

impl Share {
    pub fn new(name: &'static str, percent: u64, burn: fn(u64)) -> Share {
        Share { name, percent, burn, cpu_nsec: 0 }
    }
}

#[repr(C)]
struct Timespec {
    seconds: i64,
    nsec: i64,
}

extern "C" {
    fn clock_gettime(clock: i32, time: *mut Timespec) -> i32;
    fn signal(signal: i32, handler: extern "C" fn(i32)) -> usize;
}

const CLOCK_PROCESS_CPUTIME_ID: i32 = 2;
const CLOCK_THREAD_CPUTIME_ID: i32 = 3;
const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;

static STOPPED: AtomicBool = AtomicBool::new(false);

extern "C" fn stop(_signal: i32) {
    STOPPED.store(true, Ordering::Relaxed);
}

fn clock_nsec(clock: i32) -> u64 {
    let mut time = Timespec { seconds: 0, nsec: 0 };
    unsafe { clock_gettime(clock, &mut time) };
    time.seconds as u64 * 1_000_000_000 + time.nsec as u64
}

/// Slices of 0.1 to 3 ms, as in truth.c.
const SLICE_MIN_ROUNDS: u64 = 100_000;
const SLICE_MAX_ROUNDS: u64 = 1_500_000;

struct Random(u64);

impl Random {
    fn new() -> Random {
        Random(clock_nsec(0) ^ (u64::from(std::process::id()) << 32) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// The first argument in seconds, and the second one as a number.
pub fn begin(default_seconds: f64, default_number: u32) -> (f64, u32) {
    unsafe {
        signal(SIGINT, stop);
        signal(SIGTERM, stop);
    }
    let mut arguments = std::env::args().skip(1);
    let seconds = parse(arguments.next(), default_seconds);
    let number = parse(arguments.next(), default_number);
    (seconds, number)
}

fn parse<T: std::str::FromStr>(argument: Option<String>, fallback: T) -> T {
    match argument {
        None => fallback,
        Some(text) => text.parse().unwrap_or_else(|_| {
            eprintln!("not a number: {text}");
            std::process::exit(64)
        }),
    }
}

/// Works for that long, always on the piece that is furthest behind its share.
pub fn spend(shares: &mut [Share], seconds: f64) {
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    let mut random = Random::new();

    while !STOPPED.load(Ordering::Relaxed) && Instant::now() < end {
        let n_rounds = SLICE_MIN_ROUNDS + random.next() % (SLICE_MAX_ROUNDS - SLICE_MIN_ROUNDS);
        let share = furthest_behind(shares);
        let start_nsec = clock_nsec(CLOCK_THREAD_CPUTIME_ID);
        (share.burn)(n_rounds);
        share.cpu_nsec += clock_nsec(CLOCK_THREAD_CPUTIME_ID) - start_nsec;
    }
}

fn furthest_behind(shares: &mut [Share]) -> &mut Share {
    // At least one share: no caller has none.
    shares.iter_mut().min_by_key(|share| share.cpu_nsec / share.percent).unwrap()
}

pub fn print(target: &str, shares: &[Share]) {
    let cpu: Vec<String> = shares.iter().map(|share| format!("\"{}\":{}", share.name, share.cpu_nsec)).collect();
    println!(
        "{{\"target\":\"{target}\",\"pid\":{},\"cpu_ns\":{{{}}},\"total_ns\":{}}}",
        std::process::id(),
        cpu.join(","),
        clock_nsec(CLOCK_PROCESS_CPUTIME_ID)
    );
}
