// SPDX-License-Identifier: Apache-2.0
//! The plain truth program in Rust: alpha, beta and gamma of work.rs, 50:30:20. `shares [SECONDS]`

mod truth;
mod work;

use work::{Burn, Mixer};

fn main() {
    let (seconds, _) = truth::begin(5.0, 0);
    let mut shares = [
        truth::Share::new("alpha", 50, work::alpha),
        truth::Share::new("beta", 30, Mixer::<u32>::beta),
        truth::Share::new("gamma", 20, <Mixer<u8> as Burn>::gamma),
    ];
    truth::spend(&mut shares, seconds);
    truth::print(env!("TARGET_NAME"), &shares);
}
