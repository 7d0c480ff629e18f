//! Micro-benchmarks of the links that tracked mail carries; see `loadtest/instructions`.
//!
//! Pure; keeps nothing.

#[path = "../../loadtest/harness.rs"]
mod harness;

use std::hint::black_box;

use postern_proto::ids::RecipientId;
use postern_proto::link::{Keys, Kind, Link};
use uuid::Uuid;

use crate::harness::Case;

const KEYS: &str = "1:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const RECIPIENT: u128 = 0x0192_d3a4_7b00_7000_8000_0000_0000_0001;

fn main() {
    let keys: Keys = KEYS.parse().expect("the keys are well made");
    let delivery = RecipientId::from_uuid(Uuid::from_u128(RECIPIENT));
    let target = "https://shop.example/a/path?with=a&query=string".to_owned();
    let link = Link { delivery, kind: Kind::Click { index: 3, target } };
    let token = keys.sign(&link);
    let other = keys.clone();
    let cases: Vec<Case> = vec![
        (
            "token-make",
            Box::new(move || {
                black_box(keys.sign(black_box(&link)));
            }),
        ),
        (
            "token-verify",
            Box::new(move || {
                black_box(other.open(black_box(&token)).is_ok());
            }),
        ),
    ];
    harness::run(&cases);
}
