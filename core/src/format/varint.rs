//! Kafka's variable-length integers: seven bits a byte, least significant first, zigzag for the sign.

/// Reads variable-length fields off the front of bytes.
///
/// Integers of up to three bytes, which nearly all are, take the short path. `None` means that the
/// bytes end first or that the integer is longer than its type allows.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    #[inline(always)]
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Cursor { rest: bytes }
    }

    #[inline(always)]
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[inline(always)]
    pub(super) fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(byte)
    }

    #[inline(always)]
    pub(super) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }

    /// An `i32`, at most five bytes.
    #[inline(always)]
    pub(super) fn varint(&mut self) -> Option<i32> {
        self.raw32().map(unzigzag32)
    }

    /// An `i32` as it is encoded: its sign is the lowest bit.
    #[inline(always)]
    fn raw32(&mut self) -> Option<u32> {
        match *self.rest {
            [a, ref rest @ ..] if a < 0x80 => {
                self.rest = rest;
                Some(u32::from(a))
            }
            [a, b, ref rest @ ..] if b < 0x80 => {
                self.rest = rest;
                Some(u32::from(a & 0x7f) | u32::from(b) << 7)
            }
            [a, b, c, ref rest @ ..] if c < 0x80 => {
                self.rest = rest;
                Some(u32::from(a & 0x7f) | u32::from(b & 0x7f) << 7 | u32::from(c) << 14)
            }
            _ => {
                let (value, rest) = long(self.rest)?;
                // Zeros may pad an integer, but Kafka reads no sixth byte.
                if self.rest.len() - rest.len() > 5 {
                    return None;
                }
                let value = u32::try_from(value).ok()?;
                self.rest = rest;
                Some(value)
            }
        }
    }

    /// A length or count: an `i32` that is not negative.
    #[inline(always)]
    pub(super) fn len(&mut self) -> Option<usize> {
        match self.raw32()? {
            raw if raw & 1 == 0 => Some((raw >> 1) as usize),
            _ => None,
        }
    }

    /// An `i64`, at most ten bytes.
    #[inline(always)]
    pub(super) fn varlong(&mut self) -> Option<i64> {
        match *self.rest {
            [a, ref rest @ ..] if a < 0x80 => {
                self.rest = rest;
                Some(unzigzag64(u64::from(a)))
            }
            [a, b, ref rest @ ..] if b < 0x80 => {
                self.rest = rest;
                Some(unzigzag64(u64::from(a & 0x7f) | u64::from(b) << 7))
            }
            [a, b, c, ref rest @ ..] if c < 0x80 => {
                self.rest = rest;
                Some(unzigzag64(u64::from(a & 0x7f) | u64::from(b & 0x7f) << 7 | u64::from(c) << 14))
            }
            _ => {
                let (value, rest) = long(self.rest)?;
                self.rest = rest;
                Some(unzigzag64(value))
            }
        }
    }

    /// A length: `None` inside for -1, a fault for anything below.
    #[inline(always)]
    pub(super) fn nullable_len(&mut self) -> Option<Option<usize>> {
        match self.raw32()? {
            raw if raw & 1 == 0 => Some(Some((raw >> 1) as usize)),
            // -1.
            1 => Some(None),
            _ => None,
        }
    }
}

/// Any integer, and what follows it. Takes and gives by value, so that a cursor stays in registers.
#[inline(never)]
fn long(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0u64;
    let mut shift = 0u32;
    let mut rest = bytes.iter();
    loop {
        let byte = *rest.next()?;
        let bits = u64::from(byte & 0x7f);
        // The tenth byte has room for one bit.
        if shift > 63 || (shift == 63 && bits > 1) {
            return None;
        }
        value |= bits << shift;
        if byte < 0x80 {
            return Some((value, rest.as_slice()));
        }
        shift += 7;
    }
}

#[inline(always)]
fn unzigzag32(value: u32) -> i32 {
    ((value >> 1) as i32) ^ -((value & 1) as i32)
}

#[inline(always)]
fn unzigzag64(value: u64) -> i64 {
    ((value >> 1) as i64) ^ -((value & 1) as i64)
}

/// Appends an `i64`. An `i32` has the same encoding.
#[inline]
pub(super) fn put(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// How many bytes [`put`] appends.
#[inline]
pub(super) fn len(value: i64) -> usize {
    let bits = 64 - (((value << 1) ^ (value >> 63)) as u64 | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(value: i64) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, value);
        out
    }

    #[test]
    fn known_encodings() {
        for (value, bytes) in [
            (0, &[0u8][..]),
            (-1, &[1]),
            (1, &[2]),
            (63, &[0x7e]),
            (-64, &[0x7f]),
            (64, &[0x80, 1]),
            (i64::from(i32::MAX), &[0xfe, 0xff, 0xff, 0xff, 0x0f]),
            (i64::from(i32::MIN), &[0xff, 0xff, 0xff, 0xff, 0x0f]),
            (i64::MIN, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
        ] {
            assert_eq!(encoded(value), bytes, "{value}");
        }
    }

    #[test]
    fn what_is_too_long_or_cut_is_refused() {
        assert_eq!(Cursor::new(&[]).varint(), None);
        assert_eq!(Cursor::new(&[0x80]).varint(), None);
        assert_eq!(Cursor::new(&[0xff, 0xff, 0xff, 0xff, 0x1f]).varint(), None, "33 bits");
        assert_eq!(Cursor::new(&[0x80, 0x80, 0x80, 0x80, 0x80, 0]).varint(), None, "six bytes of 32 bits");
        assert_eq!(Cursor::new(&[0x81, 0x80, 0x80, 0x80, 0]).varint(), Some(-1), "five bytes, more than it needs");
        assert_eq!(Cursor::new(&[0x80; 64]).varlong(), None);
        assert_eq!(Cursor::new(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 3]).varlong(), None, "65 bits");
        assert_eq!(Cursor::new(&[3]).nullable_len(), None, "a length of -2");
        assert_eq!(Cursor::new(&[1]).len(), None, "a length of -1");
        assert_eq!(Cursor::new(&[1]).nullable_len(), Some(None));
    }

    proptest! {
        #[test]
        fn integers_round_trip(long: i64, shift in 0u32..63, int: i32) {
            let long = long >> shift;
            let bytes = encoded(long);
            prop_assert_eq!(bytes.len(), len(long));
            let mut cursor = Cursor::new(&bytes);
            prop_assert_eq!(cursor.varlong(), Some(long));
            prop_assert!(cursor.rest().is_empty());
            prop_assert_eq!(Cursor::new(&bytes).varint(), i32::try_from(long).ok());
            let bytes = encoded(i64::from(int));
            prop_assert_eq!(Cursor::new(&bytes).varint(), Some(int));
            let len = usize::try_from(int).ok();
            prop_assert_eq!(Cursor::new(&bytes).len(), len);
            let nullable = if int == -1 { Some(None) } else { len.map(Some) };
            prop_assert_eq!(Cursor::new(&bytes).nullable_len(), nullable);
        }
    }
}
