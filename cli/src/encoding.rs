//! Keys, values and header values as text.

use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use base64::{Engine, alphabet};

use crate::failure::Outcome;
use crate::output::Sink;

/// Bytes whose text is made at once. A multiple of three, so that base64 pads the last piece alone.
const PIECE: usize = 3 << 12;

/// Reads base64 with and without padding.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// How bytes are written as text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Encoding {
    /// As they are. In JSON, what is not UTF-8 stands as {"hex": "…"} in place of the string.
    #[default]
    Utf8,
    /// Lower-case hex digits.
    Hex,
    /// The standard alphabet, padded.
    Base64,
}

impl Encoding {
    /// Writes the text of `bytes`, piece by piece: it may be large.
    pub(crate) fn encode(self, bytes: &[u8], out: &mut impl Sink) -> Outcome {
        match self {
            Encoding::Utf8 => out.bytes(bytes),
            Encoding::Hex => encode_hex(bytes, out),
            Encoding::Base64 => bytes.chunks(PIECE).try_for_each(|piece| out.bytes(STANDARD.encode(piece).as_bytes())),
        }
    }

    /// Adds the bytes of `text`.
    pub(crate) fn decode(self, text: &str, out: &mut Vec<u8>) -> Result<(), String> {
        match self {
            Encoding::Utf8 => out.extend_from_slice(text.as_bytes()),
            Encoding::Hex => out.extend(hex::decode(text).map_err(|e| format!("not hex: {e}"))?),
            Encoding::Base64 => LENIENT.decode_vec(text, out).map_err(|e| format!("not base64: {e}"))?,
        }
        Ok(())
    }
}

/// Writes lower-case hex digits.
pub(crate) fn encode_hex(bytes: &[u8], out: &mut impl Sink) -> Outcome {
    bytes.chunks(PIECE).try_for_each(|piece| out.bytes(hex::encode(piece).as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_encoding_gives_the_bytes_back() {
        let all: Vec<u8> = (0..=255).collect();
        for (encoding, bytes) in
            [(Encoding::Hex, &all[..]), (Encoding::Base64, &all[..]), (Encoding::Utf8, "zwölf".as_bytes())]
        {
            let (mut text, mut back) = (Vec::new(), Vec::new());
            encoding.encode(bytes, &mut text).unwrap();
            encoding.decode(std::str::from_utf8(&text).unwrap(), &mut back).unwrap();
            assert_eq!(back, bytes, "{encoding:?}");
        }
    }

    #[test]
    fn pieces_give_the_same_text_as_the_whole() {
        let bytes: Vec<u8> = (0..=255).cycle().take(2 * PIECE + 1).collect();
        let (mut in_hex, mut in_base64) = (Vec::new(), Vec::new());
        Encoding::Hex.encode(&bytes, &mut in_hex).unwrap();
        Encoding::Base64.encode(&bytes, &mut in_base64).unwrap();
        assert!(in_hex == hex::encode(&bytes).into_bytes() && in_base64 == STANDARD.encode(&bytes).into_bytes());
    }

    #[test]
    fn wrong_text_is_refused() {
        let mut out = Vec::new();
        assert!(Encoding::Hex.decode("abc", &mut out).is_err());
        assert!(Encoding::Hex.decode("zz", &mut out).is_err());
        assert!(Encoding::Base64.decode("a*==", &mut out).is_err());
        let mut unpadded = Vec::new();
        assert_eq!(Encoding::Base64.decode("YQ", &mut unpadded), Ok(()));
        assert_eq!(unpadded, b"a");
    }
}
