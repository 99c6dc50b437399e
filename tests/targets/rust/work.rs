// SPDX-License-Identifier: Apache-2.0
//! The three pieces of work in Rust, under names worth demangling: a function, a method of a generic type, and a method of
//! a trait for a generic type.

use std::hint::black_box;
use std::marker::PhantomData;

#[inline(never)]
pub fn alpha(n_rounds: u64) {
    let mut x = n_rounds;
    for _ in 0..n_rounds {
        x = x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
    }
    black_box(x);
}

pub struct Mixer<Word>(PhantomData<Word>);

impl<Word: Into<u64>> Mixer<Word> {
    #[inline(never)]
    pub fn beta(n_rounds: u64) {
        let mut x = n_rounds | 1;
        for _ in 0..n_rounds {
            x ^= x << 13;
            x ^= x >> 7;
        }
        black_box(x);
    }
}

pub trait Burn {
    fn gamma(n_rounds: u64);
}

impl<Word: Into<u64>> Burn for Mixer<Word> {
    #[inline(never)]
    fn gamma(n_rounds: u64) {
        let mut x = n_rounds;
        for i in 0..n_rounds {
            x = x.wrapping_add(x >> 3 ^ i).rotate_left(5);
        }
        black_box(x);
    }
}
