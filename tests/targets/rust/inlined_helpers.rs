// SPDX-License-Identifier: Apache-2.0
//! What inlined.rs inlines from another file.

#[inline(always)]
pub fn fold_rounds(n_rounds: u64, step: impl Fn(u64, u64) -> u64) -> u64 {
    let mut x = n_rounds | 1;
    for i in 0..n_rounds {
        x = step(x, i);
    }
    x
}

#[inline(always)]
pub fn scramble(mut x: u64) -> u64 {
    x ^= x >> 29;
    x = x.wrapping_mul(0xbf58476d1ce4e5b9);
    rotate(x, 17) ^ x
}

#[inline(always)]
pub fn rotate(x: u64, n_bits: u32) -> u64 {
    x << n_bits
        | x >> (64 - n_bits)
}
