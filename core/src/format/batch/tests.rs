use bytes::Bytes;

use super::*;
use crate::format::{BatchBuilder, BatchOptions, NewRecord};

fn batch(offset: i64, records: usize) -> Batch {
    let mut builder = BatchBuilder::new(BatchOptions::default().producer_id(77).producer_epoch(3).base_sequence(9));
    for _ in 0..records {
        assert!(builder.push(&NewRecord::new(5).key(b"key").value(b"value")).unwrap());
    }
    builder.finish(offset).unwrap()
}

/// A batch with some bytes replaced and, if asked, its CRC made right again.
fn with(at: usize, bytes: &[u8], fix_crc: bool) -> Result<Batch, Malformed> {
    let mut damaged = batch(10, 3).bytes().to_vec();
    damaged[at..at + bytes.len()].copy_from_slice(bytes);
    if fix_crc {
        let crc = crc::crc32c(&damaged[CRC_FROM..]).to_be_bytes();
        damaged[17..21].copy_from_slice(&crc);
    }
    Batch::parse(&Bytes::from(damaged), 0, CrcCheck::Verify)
}

#[test]
fn the_header_is_read_field_by_field() {
    let header = *batch(10, 3).header();
    assert_eq!((header.base_offset, header.last_offset(), header.next_offset()), (10, 12, 13));
    assert_eq!((header.leader_epoch, header.magic, header.record_count, header.last_offset_delta), (-1, 2, 3, 2));
    assert_eq!((header.base_timestamp, header.max_timestamp), (5, 5));
    assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (77, 3, 9));
    assert_eq!(header.total_len(), batch(10, 3).bytes().len());
}

#[test]
fn what_the_crc_covers_can_not_be_flipped_unseen() {
    let good = batch(10, 3).bytes().clone();
    for at in 17..good.len() {
        let mut damaged = good.to_vec();
        damaged[at] ^= 0x10;
        assert!(Batch::parse(&Bytes::from(damaged), 0, CrcCheck::Verify).is_err(), "byte {at}");
    }
    let mut damaged = good.to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    let damaged = Bytes::from(damaged);
    assert_eq!(Batch::parse(&damaged, 0, CrcCheck::Verify).unwrap_err().position(), 17);
    let unchecked = Batch::parse(&damaged, 0, CrcCheck::AlreadyChecked).unwrap();
    assert!(unchecked.check_crc().is_err());
}

#[test]
fn base_offset_and_leader_epoch_are_not_covered_by_the_crc() {
    assert_eq!(with(0, &99i64.to_be_bytes(), false).unwrap().base_offset(), 99);
    assert_eq!(with(12, &7i32.to_be_bytes(), false).unwrap().header().leader_epoch, 7);
}

#[test]
fn headers_that_can_not_be_are_refused_with_their_position() {
    for (at, bytes, unsupported) in [
        (16, &[1u8][..], true),
        (16, &[3], true),
        (8, &48i32.to_be_bytes(), false),
        (8, &(-1i32).to_be_bytes(), false),
        (8, &i32::MIN.to_be_bytes(), false),
        (21, &5i16.to_be_bytes(), true),
        (21, &7i16.to_be_bytes(), true),
        (23, &(-1i32).to_be_bytes(), false),
        (57, &(-1i32).to_be_bytes(), false),
        (57, &4i32.to_be_bytes(), false),
        (0, &(-1i64).to_be_bytes(), false),
        (0, &i64::MAX.to_be_bytes(), false),
        (0, &(MAX_OFFSET - 2).to_be_bytes(), false),
    ] {
        let error = with(at, bytes, true).unwrap_err();
        assert_eq!((error.position(), error.is_unsupported()), (at as u64, unsupported), "{error}");
    }
    assert_eq!(with(0, &(MAX_OFFSET - 3).to_be_bytes(), true).unwrap().next_offset(), MAX_OFFSET);
    assert!(with(21, &0x7f80i16.to_be_bytes(), true).is_ok(), "unknown attribute bits are ignored");
    assert_eq!(with(8, &i32::MAX.to_be_bytes(), true).unwrap_err().position(), 8, "a batch that is not whole");
}

#[test]
fn a_record_count_may_be_less_than_the_offsets_taken() {
    assert_eq!(with(23, &i32::MAX.to_be_bytes(), true).unwrap().next_offset(), 10 + (1 << 31));
}

#[test]
fn batches_are_read_back_to_back_up_to_the_first_error() {
    let (a, b) = (batch(0, 2), batch(2, 1));
    let bytes = Bytes::from([a.bytes().as_ref(), b.bytes(), b"junk", a.bytes()].concat());
    let mut all = batches(&bytes, CrcCheck::Verify);
    assert_eq!(all.next(), Some(Ok(a.clone())));
    assert_eq!(all.position(), a.bytes().len());
    assert_eq!(all.next(), Some(Ok(b.clone())));
    let error = all.next().unwrap().unwrap_err();
    assert!(error.position() >= (a.bytes().len() + b.bytes().len()) as u64, "{error}");
    assert_eq!(all.next(), None);
    assert_eq!(batches(&Bytes::new(), CrcCheck::Verify).next(), None);
    assert!(Batch::parse(&bytes, usize::MAX, CrcCheck::Verify).is_err());
}

#[test]
fn a_batch_for_which_a_log_has_no_room_is_refused_with_the_greatest_offset() {
    let builder = || {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        builder.push(&NewRecord::new(0)).unwrap();
        builder.push(&NewRecord::new(0)).unwrap();
        builder
    };
    let greatest = MAX_OFFSET - 1;
    builder().finish(greatest - 1).unwrap();
    for base in [greatest, MAX_OFFSET, i64::MAX] {
        let error = builder().finish(base).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let (message, hint) = (error.message(), error.hint().unwrap());
        assert!(message.starts_with("the log is full: ") && message.contains(&base.to_string()), "{error:?}");
        assert!(hint.contains(&format!("the greatest offset of a record is {greatest}")), "{hint}");
    }
    let error = builder().finish(-1).unwrap_err();
    assert!(error.message().contains("at offset -1") && error.hint().unwrap().contains("begin at 0"), "{error:?}");
}

#[test]
fn a_batch_is_a_view_and_moving_it_copies_only_when_something_changes() {
    let original = batch(10, 3);
    let within = original.bytes().as_ptr_range();
    let read = Batch::parse(original.bytes(), 0, CrcCheck::Verify).unwrap();
    assert!(within.contains(&read.bytes().as_ptr()));
    let same = read.with_base_offset(10, Some(-1)).unwrap();
    assert!(within.contains(&same.bytes().as_ptr()));

    let moved = read.with_base_offset(1 << 40, Some(8)).unwrap();
    assert_eq!((moved.base_offset(), moved.header().leader_epoch), (1 << 40, 8));
    assert_eq!(Batch::parse(moved.bytes(), 0, CrcCheck::Verify).unwrap(), moved);
    assert_eq!(moved.bytes()[16..], original.bytes()[16..]);
    assert_eq!(moved.with_base_offset(10, Some(-1)).unwrap(), original);

    for offset in [-1, i64::MIN, MAX_OFFSET - 2, i64::MAX] {
        assert_eq!(read.with_base_offset(offset, None).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}
