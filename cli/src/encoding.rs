//! Keys, values and header values as text.

use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use base64::{Engine, alphabet};

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
    /// Adds the text of `bytes`.
    pub(crate) fn encode(self, bytes: &[u8], out: &mut Vec<u8>) {
        match self {
            Encoding::Utf8 => out.extend_from_slice(bytes),
            Encoding::Hex => encode_hex(bytes, out),
            Encoding::Base64 => out.extend_from_slice(STANDARD.encode(bytes).as_bytes()),
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

/// Adds lower-case hex digits.
pub(crate) fn encode_hex(bytes: &[u8], out: &mut Vec<u8>) {
    let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
    out.reserve(bytes.len().saturating_mul(2));
    out.extend(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
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
            encoding.encode(bytes, &mut text);
            encoding.decode(std::str::from_utf8(&text).unwrap(), &mut back).unwrap();
            assert_eq!(back, bytes, "{encoding:?}");
        }
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
