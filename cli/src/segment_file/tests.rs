use std::path::PathBuf;

use super::*;

fn vector(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors").join(name)
}

/// Offsets of the batches, and what went wrong on the way.
fn walk(path: &Path) -> (Vec<i64>, Vec<Error>) {
    let (mut offsets, mut errors) = (Vec::new(), Vec::new());
    let mut file = match SegmentFile::open(path) {
        Ok(file) => file,
        Err(error) => return (offsets, vec![error]),
    };
    // Each error leads on or ends it; there is at most one a batch, and one at the end.
    for _ in 0..10_000 {
        match file.next() {
            Ok(Some(batch)) => offsets.push(batch.base_offset()),
            Ok(None) => return (offsets, errors),
            Err(error) => errors.push(error),
        }
    }
    panic!("it does not end");
}

#[test]
fn any_flipped_byte_but_the_time_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let copy = directory.path().join("copy.kfs");
    for name in ["small/g2_three_batches_i2.kfs", "small/g5_nulls_headers_negdelta.kfs", "small/g7_gap_in_segment.kfs"]
    {
        let sound = std::fs::read(vector(name)).unwrap();
        let (offsets, errors) = walk(&vector(name));
        assert!(!offsets.is_empty() && errors.is_empty(), "{errors:?}");
        for position in 0..sound.len() {
            for bit in [0x01, 0x80] {
                let mut bytes = sound.clone();
                bytes[position] ^= bit;
                std::fs::write(&copy, &bytes).unwrap();
                let (_, errors) = walk(&copy);
                // Nothing covers the time of its making.
                assert_eq!(errors.is_empty(), (20..28).contains(&position), "{name}, byte {position}: {errors:?}");
            }
        }
        for len in 0..sound.len() {
            std::fs::write(&copy, &sound[..len]).unwrap();
            assert!(!walk(&copy).1.is_empty(), "{name}, cut to {len} bytes");
        }
    }
}

#[test]
fn reading_goes_on_behind_a_broken_batch() {
    let directory = tempfile::tempdir().unwrap();
    let copy = directory.path().join("copy.kfs");
    let name = vector("small/g2_three_batches_i2.kfs");
    let (offsets, _) = walk(&name);
    let mut bytes = std::fs::read(&name).unwrap();
    bytes[32 + 61 + 3] ^= 1;
    std::fs::write(&copy, &bytes).unwrap();
    let (left, errors) = walk(&copy);
    assert_eq!(left, offsets[1..]);
    assert_eq!(errors.len(), 1, "the body's CRC is not blamed as well: {errors:?}");
    assert_eq!((errors[0].position(), errors[0].next_readable_offset()), (Some(32 + 17), Some(offsets[1])));
}
