//! Fixed-width big-endian fields.

/// The `N` bytes at `at`, if they are there.
#[inline(always)]
pub(super) fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk::<N>().copied()
}

macro_rules! big_endian {
    ($($name:ident: $type:ty),*) => {
        $(
            #[inline(always)]
            pub(super) fn $name(bytes: &[u8], at: usize) -> Option<$type> {
                array(bytes, at).map(<$type>::from_be_bytes)
            }
        )*
    };
}

big_endian!(be_u16: u16, be_i16: i16, be_u32: u32, be_i32: i32, be_i64: i64);
