use proptest::prelude::*;

use super::*;

#[test]
fn crc32c_of_the_check_string_is_the_published_one() {
    assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    assert_eq!(append(crc32c(b"12345"), b"6789"), 0xe306_9283);
}

/// Each length takes another way through the crate: tails, single words, vectors.
#[test]
fn every_length_and_alignment_has_the_crc_of_the_definition() {
    let (longest, starts) = if cfg!(miri) { (300, 2) } else { (3000, 16) };
    let bytes: Vec<u8> = (0..longest).map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 23) as u8).collect();
    for start in 0..starts {
        let bytes = &bytes[start..];
        let mut state = !0u32;
        for len in 0..bytes.len() {
            assert_eq!(crc32c(&bytes[..len]), !state, "{len} bytes from {start}");
            let (a, b) = bytes[..len].split_at(len / 3);
            assert_eq!(append(crc32c(a), b), !state, "{len} bytes from {start} in two parts");
            state ^= u32::from(bytes[len]);
            state = (0..8).fold(state, |state, _| times_x(state));
        }
    }
}

#[test]
fn combining_with_nothing_changes_nothing() {
    assert_eq!(combine(0x1234_5678, 0, 0), 0x1234_5678);
    assert_eq!(combine(0, 0x1234_5678, 99), 0x1234_5678);
}

#[test]
fn combining_equals_one_pass_for_lengths_of_every_size() {
    let zeros = vec![0u8; if cfg!(miri) { 70_000 } else { 17 << 20 }];
    for len in [1usize, 2, 255, 256, 257, 65_535, 65_536, 65_537, (1 << 20) + 3, 16 << 20, (16 << 20) + 1] {
        let Some(b) = zeros.get(..len) else { break };
        assert_eq!(combine(crc32c(b"abc"), crc32c(b), len as u64), append(crc32c(b"abc"), b), "{len}");
    }
}

#[test]
fn shifting_twice_equals_shifting_by_the_sum() {
    let (a, b) = (0xdead_beef_1234, 0x0123_4567_89ab);
    assert_eq!(combine(combine(7, 0, a), 0, b), combine(7, 0, a + b));
}

proptest! {
    #[test]
    fn multiplying_equals_multiplying_bit_by_bit(a: u32, b: u32) {
        prop_assert_eq!(multiply(a, b), multiply_slowly(a, b));
    }

    #[test]
    fn combining_equals_one_pass(a: Vec<u8>, b: Vec<u8>) {
        let whole = [a.clone(), b.clone()].concat();
        prop_assert_eq!(combine(crc32c(&a), crc32c(&b), b.len() as u64), crc32c(&whole));
    }
}
