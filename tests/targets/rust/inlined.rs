// SPDX-License-Identifier: Apache-2.0
//! Inlined work in Rust: alpha, beta and gamma are real functions, below them are iterators, closures and helpers of
//! inlined_helpers.rs, all inlined. `inlined [SECONDS]`

mod inlined_helpers;
mod truth;

use inlined_helpers::{fold_rounds, rotate, scramble};
use std::hint::black_box;

#[inline(never)]
fn alpha(n_rounds: u64) {
    black_box(fold_rounds(n_rounds, |x, i| scramble(x) ^ i));
}

#[inline(never)]
fn beta(n_rounds: u64) {
    black_box((0..n_rounds).map(|i| rotate(i, 7)).fold(1, |sum, x| scramble(sum) ^ x));
}

#[inline(never)]
fn gamma(n_rounds: u64) {
    black_box(fold_rounds(n_rounds, |x, i| rotate(x ^ i, 23).wrapping_mul(3)));
}

fn main() {
    let (seconds, _) = truth::begin(5.0, 0);
    let mut shares = [
        truth::Share::new("alpha", 50, alpha),
        truth::Share::new("beta", 30, beta),
        truth::Share::new("gamma", 20, gamma),
    ];
    truth::spend(&mut shares, seconds);
    truth::print(env!("TARGET_NAME"), &shares);
}
