use std::io::Write;

use proptest::prelude::*;
use twox_hash::XxHash32;

use super::*;

const PLENTY: usize = 64 << 20;

fn limit(bytes: usize) -> Limits {
    Limits::default().max_decompressed_batch(bytes)
}

fn unpack(codec: Codec, payload: &[u8], most: usize) -> Result<Bytes, Malformed> {
    decompress(codec, &Bytes::copy_from_slice(payload), &limit(most))
}

fn pack(compression: impl Into<Compression>, records: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    compress(compression.into(), records, &mut out).unwrap();
    out
}

/// Text that compresses, with long and short repeats.
fn text(len: usize) -> Vec<u8> {
    let mut state = 7u64;
    let mut out = Vec::with_capacity(len + 64);
    while out.len() < len {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        out.extend_from_slice(format!("{{\"id\":{},\"status\":\"paid\"}},", state >> 50).as_bytes());
    }
    out.truncate(len);
    out
}

/// Bytes that don't compress.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 9u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..len).map(|_| next()).collect()
}

#[test]
fn codecs_are_the_attribute_bits() {
    for (bits, name) in ["none", "gzip", "snappy", "lz4", "zstd"].into_iter().enumerate() {
        let codec = Codec::from_bits(bits as u8).unwrap();
        assert_eq!((codec as usize, codec.name()), (bits, name));
        assert_eq!(name.parse::<Compression>().unwrap(), codec.into());
    }
    for bits in 5..=7 {
        assert_eq!(Codec::from_bits(bits), None);
    }
}

#[test]
fn levels_are_checked_where_they_are_given() {
    assert_eq!("gzip:6".parse::<Compression>().unwrap().to_string(), "gzip:6");
    assert_eq!("zstd:22".parse::<Compression>().unwrap().level(), Some(22));
    for bad in ["gzip:10", "zstd:0", "zstd:23", "lz4:1", "snappy:1", "none:1", "brotli", "zstd:x", ""] {
        assert_eq!(bad.parse::<Compression>().unwrap_err().kind(), ErrorKind::InvalidInput, "{bad}");
    }
}

#[test]
fn every_level_reads_back() {
    let records = text(100_000);
    let levels = |codec, levels: std::ops::RangeInclusive<i32>| levels.map(move |level| (codec, level));
    for (codec, level) in levels(Codec::Gzip, 0..=9).chain([1, 3, 9, 19, 22].map(|level| (Codec::Zstd, level))) {
        let packed = pack(Compression::from(codec).with_level(level).unwrap(), &records);
        assert_eq!(unpack(codec, &packed, records.len()).unwrap(), records, "{codec}:{level}");
    }
}

#[test]
fn the_limit_is_exact() {
    let records = text(200_000);
    for codec in Codec::ALL.into_iter().skip(1) {
        let packed = pack(codec, &records);
        assert_eq!(unpack(codec, &packed, records.len()).unwrap(), records, "{codec}");
        for most in [0, 1, 1000, records.len() / 2, records.len() - 1] {
            let error = unpack(codec, &packed, most).unwrap_err();
            assert!(error.to_string().contains("reader's limit"), "{codec} {most}: {error}");
        }
    }
}

#[test]
fn bytes_cut_anywhere_are_an_error() {
    let records = text(3000);
    for codec in Codec::ALL.into_iter().skip(1) {
        let packed = pack(codec, &records);
        for len in 0..packed.len() {
            // Nothing decompresses to nothing, which `Records` refuses where records are promised.
            match unpack(codec, &packed[..len], PLENTY) {
                Ok(bytes) => assert!(bytes.is_empty() && len <= 16, "{codec} cut to {len} bytes gave {}", bytes.len()),
                Err(error) => assert!(error.position() <= len as u64, "{codec} {len}: {error}"),
            }
        }
    }
}

#[test]
fn bytes_after_the_end_are_an_error() {
    for codec in Codec::ALL.into_iter().skip(1) {
        let mut packed = pack(codec, &text(3000));
        packed.extend_from_slice(b"more");
        assert!(unpack(codec, &packed, PLENTY).is_err(), "{codec}");
    }
}

#[test]
fn gzip_members_may_be_concatenated() {
    let packed = [pack(Codec::Gzip, b"one"), pack(Codec::Gzip, b""), pack(Codec::Gzip, b"two")].concat();
    assert_eq!(unpack(Codec::Gzip, &packed, PLENTY).unwrap(), "onetwo");
}

#[test]
fn gzip_headers_may_carry_every_flag() {
    let plain = pack(Codec::Gzip, b"records");
    let deflated = &plain[10..];
    // FTEXT, FHCRC, FEXTRA, FNAME, FCOMMENT.
    for flags in 0..32u8 {
        let mut member = vec![0x1f, 0x8b, 8, flags, 1, 2, 3, 4, 0, 255];
        if flags & 4 != 0 {
            member.extend_from_slice(b"\x05\x00extra");
        }
        if flags & 8 != 0 {
            member.extend_from_slice(b"name\0");
        }
        if flags & 16 != 0 {
            member.extend_from_slice(b"comment\0");
        }
        if flags & 2 != 0 {
            let mut crc = flate2::Crc::new();
            crc.update(&member);
            member.extend_from_slice(&(crc.sum() as u16).to_le_bytes());
        }
        member.extend_from_slice(deflated);
        assert_eq!(unpack(Codec::Gzip, &member, PLENTY).unwrap(), "records", "flags {flags:#b}");
    }
}

#[test]
fn snappy_is_read_raw_and_in_xerial_framing_of_several_streams() {
    let raw = snap::raw::Encoder::new().compress_vec(b"records").unwrap();
    assert_eq!(unpack(Codec::Snappy, &raw, PLENTY).unwrap(), "records");
    let streams = [pack(Codec::Snappy, b"one"), pack(Codec::Snappy, b""), pack(Codec::Snappy, b"two")].concat();
    assert_eq!(unpack(Codec::Snappy, &streams, PLENTY).unwrap(), "onetwo");
}

#[test]
fn snappy_blocks_that_promise_more_than_they_can_hold_are_refused() {
    // The preamble says 256 MiB, below the limit; seven bytes follow.
    let raw = [&[0x80, 0x80, 0x80, 0x80, 1][..], b"\x18records"].concat();
    let error = unpack(Codec::Snappy, &raw, 1 << 30).unwrap_err();
    assert!(error.to_string().contains("promises 268435456"), "{error}");
    for len in [-1i32, 8, i32::MAX] {
        let framed = [&b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01"[..], &len.to_be_bytes(), b"\x05records"].concat();
        assert!(unpack(Codec::Snappy, &framed, PLENTY).is_err(), "{len}");
    }
}

/// An LZ4 frame of blocks that were made already.
struct Lz4 {
    flags: u8,
    block_size: u8,
    content: Vec<u8>,
    blocks: Vec<u8>,
}

impl Lz4 {
    fn new(flags: u8, block_size: u8) -> Self {
        Lz4 { flags: 0x40 | flags, block_size, content: Vec::new(), blocks: Vec::new() }
    }

    fn block(self, content: &[u8]) -> Self {
        let history = &self.content[self.content.len().saturating_sub(64 << 10)..];
        let history = if self.flags & 0x20 == 0 { history } else { &[] };
        let data = lz4_flex::block::compress_with_dict(content, history);
        let size = data.len() as u32;
        self.raw_block(content, size, &data)
    }

    fn stored(self, content: &[u8]) -> Self {
        self.raw_block(content, content.len() as u32 | 1 << 31, content)
    }

    fn raw_block(mut self, content: &[u8], size: u32, data: &[u8]) -> Self {
        self.blocks.extend_from_slice(&size.to_le_bytes());
        self.blocks.extend_from_slice(data);
        if self.flags & 0x10 != 0 {
            self.blocks.extend_from_slice(&XxHash32::oneshot(0, data).to_le_bytes());
        }
        self.content.extend_from_slice(content);
        self
    }

    fn finish(self) -> Vec<u8> {
        let mut descriptor = vec![self.flags, self.block_size << 4];
        if self.flags & 8 != 0 {
            descriptor.extend_from_slice(&(self.content.len() as u64).to_le_bytes());
        }
        if self.flags & 1 != 0 {
            descriptor.extend_from_slice(&7u32.to_le_bytes());
        }
        let mut frame = 0x184d_2204u32.to_le_bytes().to_vec();
        frame.extend_from_slice(&descriptor);
        frame.push((XxHash32::oneshot(0, &descriptor) >> 8) as u8);
        frame.extend_from_slice(&self.blocks);
        frame.extend_from_slice(&0u32.to_le_bytes());
        if self.flags & 4 != 0 {
            frame.extend_from_slice(&XxHash32::oneshot(0, &self.content).to_le_bytes());
        }
        frame
    }
}

#[test]
fn lz4_frames_are_read_with_every_flag_and_block_size() {
    let content = text(60_000);
    // Independent 0x20, block checksums 0x10, content size 8, content checksum 4.
    for flags in [0u8, 0x20].into_iter().flat_map(|linked| [0, 4, 8, 0x10, 0x1c].map(|rest| linked | rest)) {
        for block_size in 4..=7 {
            let (a, b) = content.split_at(content.len() / 2);
            let frame = Lz4::new(flags, block_size).block(a).stored(b"stored").block(b).block(&[]).finish();
            let expected = [a, b"stored", b].concat();
            assert_eq!(unpack(Codec::Lz4, &frame, expected.len()).unwrap(), expected, "{flags:#x} {block_size}");
        }
    }
}

#[test]
fn linked_lz4_blocks_find_their_history_in_their_own_frame_only() {
    let content = text(300_000);
    let linked = content.chunks(50_000).fold(Lz4::new(0, 4), Lz4::block).finish();
    let independent = content.chunks(50_000).fold(Lz4::new(0x20, 4), Lz4::block).finish();
    assert!(linked.len() < independent.len());
    let twice = [linked.clone(), linked.clone()].concat();
    assert_eq!(unpack(Codec::Lz4, &twice, PLENTY).unwrap(), [&content[..], &content].concat());

    // The second block of a linked frame, at the start of the next frame, has no history there.
    let second = Lz4::new(0, 4).block(&content[..1000]).block(&content[..1000]);
    let data = lz4_flex::block::compress_with_dict(&content[..1000], &content[..1000]);
    let alone = Lz4::new(0, 4).raw_block(b"", data.len() as u32, &data).finish();
    assert!(unpack(Codec::Lz4, &second.finish(), PLENTY).is_ok());
    assert!(unpack(Codec::Lz4, &[linked, alone].concat(), PLENTY).is_err());
}

#[test]
fn lz4_blocks_that_compress_far_more_than_most_are_read_to_the_limit_and_no_further() {
    // 255-fold, tenfold, and hardly.
    let content = [vec![0; 3 << 20], b"ten times ".repeat(5), text(2000), noise(70_000)].concat();
    for linked in [0, 0x20] {
        let frame = Lz4::new(linked, 7).block(&content).block(&content[content.len() - 100_000..]).finish();
        let expected = [&content, &content[content.len() - 100_000..]].concat();
        assert_eq!(unpack(Codec::Lz4, &frame, expected.len()).unwrap(), expected, "{linked:#x}");
        for most in [expected.len() - 1, content.len(), content.len() - 1, 1 << 20] {
            let error = unpack(Codec::Lz4, &frame, most).unwrap_err();
            assert!(error.to_string().contains("reader's limit"), "{linked:#x} {most}: {error}");
        }
    }
}

#[test]
fn what_is_decompressed_keeps_at_most_twice_its_memory() {
    for content in [text(100), text(100_000), noise(100_000), vec![0; 100_000], vec![0; 5 << 20]] {
        let out = zstandard::decompress(&pack(Codec::Zstd, &content), PLENTY).unwrap();
        assert!(out.capacity() <= 2 * out.len() + 1, "zstd: {} for {}", out.capacity(), out.len());
    }
}

#[test]
fn an_lz4_frame_that_promises_much_gets_little() {
    // Each block is a literal of one byte, in frames that allow 4 MiB a block.
    let frame = (0..1000).fold(Lz4::new(0x20, 7), |frame, _| frame.block(b"x")).finish();
    let frames = frame.repeat(100);
    let out = lz4::decompress(&frames, PLENTY).unwrap();
    assert!(out.memory() <= 200_200, "{}", out.memory());
    assert_eq!(out.freeze(), vec![b'x'; 100_000]);
    // Cut within the last frame: no room is made for what is not there.
    assert!(lz4::decompress(&frames[..frames.len() - 5], PLENTY).is_err());
}

#[test]
fn skippable_frames_are_passed_over() {
    for nibble in 0..16u32 {
        let skippable = [&(0x184d_2a50 + nibble).to_le_bytes()[..], &3u32.to_le_bytes(), b"abc"].concat();
        for codec in [Codec::Lz4, Codec::Zstd] {
            let packed =
                [skippable.clone(), pack(codec, b"one"), skippable.clone(), pack(codec, b"two"), skippable.clone()];
            assert_eq!(unpack(codec, &packed.concat(), PLENTY).unwrap(), "onetwo", "{codec} {nibble}");
        }
    }
}

#[test]
fn damaged_lz4_frames_are_refused() {
    let good = || Lz4::new(0x3c, 4).block(&text(1000));
    let flipped = |at: usize| {
        let mut frame = good().finish();
        let at = if at < 1000 { at } else { frame.len() - (at - 1000) };
        frame[at] ^= 1;
        unpack(Codec::Lz4, &frame, PLENTY).unwrap_err().to_string()
    };
    assert!(flipped(0).contains("magic number"));
    assert!(flipped(4).contains("dictionary"), "{}", flipped(4));
    assert!(flipped(7).contains("header checksum"), "a content size: {}", flipped(7));
    assert!(flipped(14).contains("header checksum"));
    assert!(flipped(30).contains("block checksum"));
    assert!(flipped(1001).contains("content checksum"));

    let too_big = Lz4::new(0x20, 4).stored(&text(65_537)).finish();
    assert!(unpack(Codec::Lz4, &too_big, PLENTY).unwrap_err().to_string().contains("at most 65536"));
    let grows = lz4_flex::block::compress(&[0; 65_537]);
    let too_long = Lz4::new(0x20, 4).raw_block(&[0; 65_537], grows.len() as u32, &grows).finish();
    assert!(unpack(Codec::Lz4, &too_long, PLENTY).is_err(), "a block that holds more than its frame allows");
    let mut wrong_size = Lz4::new(0x28, 4).block(b"abc");
    wrong_size.content.push(0);
    assert!(unpack(Codec::Lz4, &wrong_size.finish(), PLENTY).unwrap_err().to_string().contains("content size of 4"));
    assert!(unpack(Codec::Lz4, &Lz4::new(0x21, 4).block(b"abc").finish(), PLENTY).unwrap_err().is_unsupported());
}

#[test]
fn what_is_written_as_lz4_suits_kafkas_reader() {
    let records = text(200_000);
    let packed = pack(Codec::Lz4, &records);
    // One frame, version 1, independent blocks of 64 KiB, no checksums; KafkaLZ4BlockInputStream.
    assert_eq!(packed[..7], [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82]);
    let mut at = 7;
    let mut blocks = 0;
    loop {
        let size = u32::from_le_bytes(packed[at..at + 4].try_into().unwrap());
        at += 4 + (size & !(1 << 31)) as usize;
        if size == 0 {
            break;
        }
        blocks += 1;
    }
    assert_eq!((at, blocks), (packed.len(), records.len().div_ceil(64 << 10)));
}

#[test]
fn zstd_frames_are_read_with_and_without_their_size() {
    let records = text(500_000);
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 3).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(&records).unwrap();
    let without_size = encoder.finish().unwrap();
    let packed = [without_size, pack(Codec::Zstd, b""), pack(Codec::Zstd, &records)].concat();
    let expected = [&records[..], &records].concat();
    assert_eq!(unpack(Codec::Zstd, &packed, expected.len()).unwrap(), expected);
    assert!(unpack(Codec::Zstd, &packed, expected.len() - 1).is_err());
}

#[test]
fn a_broken_zstd_frame_leaves_nothing_to_the_next() {
    let good = pack(Codec::Zstd, &text(50_000));
    for at in (0..good.len()).step_by(97) {
        let mut bad = good.clone();
        bad[at] ^= 0x55;
        let _ = unpack(Codec::Zstd, &bad, PLENTY);
        assert!(at == 0 || unpack(Codec::Zstd, &good[..at], PLENTY).is_err(), "cut to {at} bytes");
        assert_eq!(unpack(Codec::Zstd, &good, PLENTY).unwrap(), text(50_000), "after byte {at} was another");
    }
}

#[test]
fn a_zstd_frame_needs_no_memory_for_the_window_that_it_asks_for() {
    for log in [10, 27, 30, 31] {
        let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(log).unwrap();
        encoder.write_all(&text(1000)).unwrap();
        // A flush leaves the frame without a content size, so the window stands in its header.
        encoder.flush().unwrap();
        let frame = encoder.finish().unwrap();
        assert_eq!(unpack(Codec::Zstd, &frame, 1000).unwrap(), text(1000), "2^{log}");
    }
}

#[test]
fn a_zstd_frame_with_a_huge_size_costs_what_it_holds() {
    // The header says 1 GiB of content; one raw block of 3 bytes follows, and is the last.
    let frame = [&0xfd2f_b528u32.to_le_bytes()[..], &[0xa0, 0, 0, 0, 0x40], &[0x19, 0, 0], b"abc"].concat();
    assert!(unpack(Codec::Zstd, &frame, 1 << 31).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_is_compressed_reads_back(records: Vec<u8>, repeat in 0usize..3000, pick in 0usize..5) {
        let records = [&records[..], &text(repeat), &records].concat();
        let codec = Codec::ALL[pick];
        prop_assert_eq!(unpack(codec, &pack(codec, &records), records.len()).unwrap(), records);
    }

    #[test]
    fn any_bytes_are_an_error_or_something(bytes: Vec<u8>, pick in 1usize..5) {
        if let Ok(out) = unpack(Codec::ALL[pick], &bytes, 1 << 20) {
            prop_assert!(out.len() <= 1 << 20);
        }
    }
}
