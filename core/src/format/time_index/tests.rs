use super::*;

fn sample() -> TimeIndex {
    let mut range = TimeIndex::of(-5, 100);
    range.add(1_767_225_600_000, 102);
    range.add(7, 101);
    range
}

#[test]
fn it_has_forty_bytes_and_reads_back() {
    let bytes = sample().encode();
    assert_eq!(bytes.len(), 40);
    assert_eq!(bytes[..16], *b"KFTF\0\0\0\x01\xff\xff\xff\xff\xff\xff\xff\xfb");
    assert_eq!(TimeIndex::parse(&bytes).unwrap(), sample());
    assert_eq!((sample().min_offset, sample().max_offset), (100, 102));
}

#[test]
fn damaged_ones_are_refused() {
    let good = sample().encode();
    for len in (0..40).chain([41]) {
        let mut bytes = good.to_vec();
        bytes.resize(len, 0);
        assert!(TimeIndex::parse(&bytes).is_err(), "{len} bytes");
    }
    let with = |at: usize, byte: u8| {
        let mut bytes = good.to_vec();
        bytes[at] = byte;
        TimeIndex::parse(&bytes).unwrap_err()
    };
    assert_eq!(with(3, b'S').position(), 0);
    assert!(with(7, 2).is_unsupported());
    assert_eq!(with(16, 0x80).position(), 8, "timestamps that end before they start");
    assert_eq!(with(24, 0xff).position(), 24, "a negative offset");
    assert_eq!(with(39, 99).position(), 24, "offsets that end before they start");
}
