//! How the bytes of a pasted file stand for characters.

/// The text of a file in UTF-8, or in UTF-16 as Windows writes it; what is neither becomes U+FFFD.
pub(super) fn text(bytes: &[u8]) -> String {
    let units = |low: usize| {
        let unit = |pair: &[u8]| {
            let at = |index: usize| u16::from(pair.get(index).copied().unwrap_or_default());
            at(low) | at(1 - low) << 8
        };
        bytes.chunks(2).map(unit).collect::<Vec<u16>>()
    };
    match order(bytes) {
        Some(low) => String::from_utf16_lossy(&units(low)),
        None => String::from_utf8_lossy(bytes).into_owned(),
    }
}

/// Which byte of a pair is the low one in UTF-16: by the mark at its start, else by where the zeros of Latin letters are.
fn order(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [0xff, 0xfe, ..] => return Some(0),
        [0xfe, 0xff, ..] => return Some(1),
        _ => {}
    }
    let start = bytes.get(..256).unwrap_or(bytes);
    let zeros = |parity: usize| start.iter().skip(parity).step_by(2).filter(|byte| **byte == 0).count();
    let (even, odd) = (zeros(0), zeros(1));
    let most = start.len() / 4;
    if start.len() < 16 || even.max(odd) <= most || even.min(odd) > most / 4 {
        return None;
    }
    Some(usize::from(even > odd))
}

/// Mail that was saved raw: quoted-printable (RFC 2045, 6.7). It writes `=3D` for each `=`, and a bridge's line has several.
pub(super) fn without_transfer_encoding(text: String) -> String {
    if text.matches("=3D").nth(1).is_none() {
        return text;
    }
    let text = text.replace("=\r\n", "").replace("=\n", "");
    let mut pieces = text.split('=');
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        match piece.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                bytes.extend(piece.bytes().skip(2));
            }
            None => {
                bytes.push(b'=');
                bytes.extend(piece.bytes());
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
