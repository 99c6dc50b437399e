// SPDX-License-Identifier: Apache-2.0
//! Deep stacks in Rust: the work of shares.rs is done below DEPTH frames of descend(). `deep [SECONDS [DEPTH]]`

mod truth;
mod work;

use std::hint::black_box;
use work::{Burn, Mixer};

/// Returns how many frames of it there were; adding up after the call keeps it from becoming a jump.
#[inline(never)]
fn descend(depth: u32, shares: &mut [truth::Share], seconds: f64) -> u32 {
    if depth <= 1 {
        truth::spend(shares, seconds);
        return black_box(1);
    }
    let below = descend(black_box(depth - 1), shares, seconds);
    black_box(below) + 1
}

fn main() {
    let (seconds, depth) = truth::begin(5.0, 60);
    let mut shares = [
        truth::Share::new("alpha", 50, work::alpha),
        truth::Share::new("beta", 30, Mixer::<u32>::beta),
        truth::Share::new("gamma", 20, <Mixer<u8> as Burn>::gamma),
    ];
    if !(1..=20_000).contains(&depth) {
        std::process::exit(64);
    }
    assert_eq!(descend(depth, &mut shares, seconds), depth);
    truth::print(env!("TARGET_NAME"), &shares);
}
