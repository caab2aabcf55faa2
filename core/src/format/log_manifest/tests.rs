use super::*;

fn version(e_tag: &str, size: u64, modified_ms: i64) -> NamedVersion<'_> {
    NamedVersion { e_tag, size, modified_ms }
}

fn of(segments: usize) -> Bytes {
    let mut builder = LogManifestBuilder::new(7);
    for number in 0..segments as i64 {
        builder.push(number * 10, version(&format!("\"{number}\""), 100, 5 + number));
    }
    builder.finish(Some(version("\"log\"", 121, 3)))
}

/// With the CRC made right.
fn changed(bytes: &Bytes, change: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let mut bytes = bytes[..bytes.len() - CRC].to_vec();
    change(&mut bytes);
    let crc = crc32c(&bytes);
    bytes.put_u32(crc);
    bytes.into()
}

#[test]
fn what_is_written_is_read() {
    let bytes = of(3);
    assert_eq!(bytes.len(), HEADER + 3 * ENTRY + "\"log\"\"0\"\"1\"\"2\"".len() + CRC);
    let read = LogManifest::parse(&bytes).unwrap();
    assert_eq!((read.len(), read.size(), read.created_ms(), read.dense_from()), (3, bytes.len(), 7, 0));
    assert_eq!(read.log_json(), Some(version("\"log\"", 121, 3)));
    assert_eq!((read.base(2), read.version(2)), (Some(20), Some(version("\"2\"", 100, 7))));
    assert_eq!((read.base(3), read.version(3)), (None, None));
    let at = [-1, 0, 9, 10, 25, i64::MAX].map(|offset| read.at_most(offset));
    assert_eq!(at, [None, Some(0), Some(0), Some(1), Some(2), Some(2)]);
    let empty = LogManifest::parse(&LogManifestBuilder::new(0).finish(None)).unwrap();
    assert!(empty.is_empty() && empty.log_json().is_none() && empty.at_most(i64::MAX).is_none());
}

#[test]
fn of_old_segments_few_are_named() {
    let mut builder = LogManifestBuilder::new(0);
    for base in 0..DENSE as i64 + 1_000 {
        builder.push(base, version("e", 1, 1));
        // Neither comes twice.
        builder.push(base, version("f", 1, 1));
    }
    assert_eq!(builder.len(), DENSE + 4);
    let read = LogManifest::parse(&builder.finish(None)).unwrap();
    assert_eq!(read.dense_from(), 1_000);
    let bases: Vec<_> = (0..6).map(|at| read.base(at).unwrap()).collect();
    assert_eq!(bases, [0, 256, 512, 768, 1_000, 1_001]);
    assert_eq!(read.base(read.len() - 1), Some(DENSE as i64 + 999));
}

#[test]
fn an_e_tag_that_does_not_fit_is_left_out() {
    let mut builder = LogManifestBuilder::new(0);
    builder.push(0, version(&"e".repeat(MAX_E_TAG + 1), u64::MAX, 1));
    builder.push(1, version("é", 1, 1));
    builder.push(2, version(&"e".repeat(MAX_E_TAG), 1, 1));
    let read = LogManifest::parse(&builder.finish(None)).unwrap();
    let lengths: Vec<_> = (0..3).map(|at| read.version(at).unwrap().e_tag.len()).collect();
    assert_eq!(lengths, [0, 0, MAX_E_TAG]);
}

#[test]
fn what_is_broken_is_told() {
    let bytes = of(3);
    let told = |bytes: &Bytes| LogManifest::parse(bytes).unwrap_err().into_error("k").to_string();
    let set = |at: usize, value: &[u8]| changed(&bytes, |b| b[at..at + value.len()].copy_from_slice(value));
    for (bytes, part) in [
        (bytes.slice(..51), "51 bytes"),
        (bytes.slice(..bytes.len() - 1), "CRC"),
        (set(0, b"KAFS"), "magic"),
        (set(4, &[0, 2]), "log manifest version 2"),
        (set(6, &[0, 1]), "flags 0x0001"),
        (set(24, &[0, 0, 0, 4]), "4 entries"),
        (set(24, &[0xff; 4]), "4294967295 entries"),
        (set(28, &[0xff; 4]), "4294967295 bytes of text"),
        (set(24, &[0xff; 8]), "4294967295 entries"),
        (set(44, &[0, 0, 0, 99]), "an ETag to byte 99"),
        (set(HEADER + ENTRY, &[0; 8]), "base offset 0"),
        (set(HEADER, &[0xff; 8]), "base offset -1"),
        (set(HEADER + 20, &[0, 0, 0, 1]), "an ETag to byte 1"),
        (set(HEADER + 20, &[0xff; 4]), "an ETag to byte 4294967295"),
        (set(bytes.len() - 5, &[0xc3]), "no ASCII"),
    ] {
        let found = told(&bytes);
        assert!(found.contains(part), "{part}: {found}");
    }
    assert!(LogManifest::parse(&set(4, &[0, 2])).unwrap_err().into_error("k").kind() == crate::ErrorKind::Unsupported);
}

#[test]
fn invariant_7_no_bytes_make_it_panic() {
    let good = of(5);
    // Each bit, each length, and each of these in place of any four bytes, with the CRC made right.
    for bit in 0..good.len() * 8 {
        let mut bytes = good.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(LogManifest::parse(&bytes.into()).is_err(), "bit {bit}");
        use_all(&changed(&good, |b| {
            if let Some(byte) = b.get_mut(bit / 8) {
                *byte ^= 1 << (bit % 8)
            }
        }));
    }
    for len in 0..good.len() {
        assert!(LogManifest::parse(&good.slice(..len)).is_err(), "{len}");
        use_all(&changed(&good, |b| b.truncate(len)));
    }
    for at in 0..good.len() - 8 {
        for value in [0_u32, 1, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
            use_all(&changed(&good, |b| b[at..at + 4].copy_from_slice(&value.to_be_bytes())));
        }
    }
    // Noise after a header that is right.
    let mut noise = 1_u64;
    for len in 0..2_000 {
        use_all(&changed(&good, |b| {
            b.truncate(8);
            b.extend((0..len % 300).map(|_| {
                noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (noise >> 56) as u8
            }));
        }));
    }
}

/// Asks a manifest, if it is one, all that it can be asked.
fn use_all(bytes: &Bytes) {
    let Ok(read) = LogManifest::parse(bytes) else { return };
    assert!(read.len() * ENTRY <= bytes.len());
    let _ = (read.log_json(), read.dense_from(), read.created_ms());
    for at in 0..=read.len() {
        assert_eq!(read.base(at).is_some(), read.version(at).is_some());
        if let Some(base) = read.base(at) {
            assert_eq!(read.at_most(base), Some(at));
        }
    }
}
