//! The seed of a run.

use std::cell::RefCell;

use fuzz::{Seed, Target};

#[test]
fn a_seed_always_makes_the_same_changes() {
    let target = Target { seeds: vec![Seed { name: "a".into(), bytes: b"some bytes".to_vec() }], words: vec![b"word".to_vec()] };
    let inputs = |seed| {
        let inputs = RefCell::new(Vec::new());
        target.run_with(seed, 50, |bytes| inputs.borrow_mut().push(bytes.to_vec()));
        inputs.into_inner()
    };
    let first = inputs(1);
    assert!(first.len() >= 50 && first == inputs(1));
    assert_ne!(first, inputs(2));
}
