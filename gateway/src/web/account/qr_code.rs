//! A QR code as a picture that a page has in itself.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use qrcode::{QrCode, render::svg};

/// The least side of the picture, in pixels. A camera reads it from the screen.
const SIDE: u32 = 240;

/// The address of the picture (`data:`). `None` if the text is too long for a code.
pub(crate) fn image(text: &str) -> Option<String> {
    let code = QrCode::new(text).ok()?;
    let picture = code.render::<svg::Color<'_>>().min_dimensions(SIDE, SIDE).build();
    Some(format!("data:image/svg+xml;base64,{}", BASE64_STANDARD.encode(picture)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_becomes_a_picture() {
        let image = image("otpauth://totp/apps.example:ada@example.org?secret=GEZDGNBVGY3TQOJQ").expect("picture");
        let encoded = image.strip_prefix("data:image/svg+xml;base64,").expect("data");
        let picture = String::from_utf8(BASE64_STANDARD.decode(encoded).expect("base64")).expect("text");
        assert!(picture.contains("<svg") && picture.contains("width="), "{picture:.100}");
        assert!(!picture.contains("GEZDG"), "drawn, not written");
        assert_eq!(super::image(&"x".repeat(5_000)), None);
    }
}
