//! Marks of web pages and forums, and what stands for them.

/// Elements of HTML that begin or end a line.
const LINES: [&str; 16] =
    ["br", "p", "pre", "code", "div", "li", "ul", "ol", "tr", "td", "table", "blockquote", "details", "summary", "body", "html"];

/// Elements of HTML that stand within a line.
const WITHIN: [&str; 14] = ["span", "b", "i", "u", "em", "strong", "font", "a", "tt", "kbd", "samp", "mark", "wbr", "small"];

/// Tags of forums that begin or end a line.
const FORUM_LINES: [&str; 10] = ["code", "icode", "quote", "spoiler", "pre", "noparse", "php", "hide", "expand", "mono"];

/// Tags of forums that stand within a line. Those of one letter too: offsets of capabilities have two digits.
const FORUM_WITHIN: [&str; 7] = ["color", "size", "font", "url", "b", "i", "u"];

/// No tag is longer, attributes included.
const LONGEST: usize = 300;

/// The text without tags. `<access denied>` and whatever else lspci itself puts in brackets is none.
pub(super) fn without_tags(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['<', '[']) {
        let (before, from) = rest.split_at(at);
        plain.push_str(before);
        match tag(from) {
            Some((stands_for, length)) => {
                plain.push_str(stands_for);
                rest = from.get(length..).unwrap_or_default();
            }
            None => {
                plain.push_str(from.get(..1).unwrap_or_default());
                rest = from.get(1..).unwrap_or_default();
            }
        }
    }
    plain.push_str(rest);
    plain
}

/// What stands for the tag at the start, and its length.
fn tag(text: &str) -> Option<(&'static str, usize)> {
    let (lines, within, close): (&[&str], &[&str], char) =
        if text.starts_with('<') { (&LINES, &WITHIN, '>') } else { (&FORUM_LINES, &FORUM_WITHIN, ']') };
    let inside = text.get(1..)?;
    let inside = inside.strip_prefix('/').unwrap_or(inside);
    let letters = inside.bytes().take_while(u8::is_ascii_alphabetic).count();
    let (name, rest) = inside.split_at_checked(letters)?;
    let has = |list: &[&str]| list.iter().any(|known| known.eq_ignore_ascii_case(name));
    let stands_for = match (has(lines), has(within)) {
        (true, _) => "\n",
        (_, true) => "",
        _ => return None,
    };
    let (attributes, _) = rest.split_once(close).filter(|(attributes, _)| attributes.len() < LONGEST)?;
    let is_tag = matches!(attributes.trim(), "" | "/") || attributes.contains('=') && attributes.starts_with([' ', '=']);
    (is_tag && !attributes.contains('\n')).then(|| (stands_for, text.len() - rest.len() + attributes.len() + close.len_utf8()))
}

/// The text without entities, each decoded once, so that `&amp;lt;` stays what somebody wrote.
pub(super) fn without_entities(text: &str) -> String {
    let mut pieces = text.split('&');
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        match piece.split_once(';').and_then(|(name, rest)| Some((entity(name)?, rest))) {
            Some((c, rest)) => {
                plain.push(c);
                plain.push_str(rest);
            }
            None => {
                plain.push('&');
                plain.push_str(piece);
            }
        }
    }
    plain
}

fn entity(name: &str) -> Option<char> {
    if let Some(number) = name.strip_prefix('#') {
        let code = match number.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16),
            None => number.parse(),
        };
        return code.ok().and_then(char::from_u32);
    }
    Some(match name {
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "amp" => '&',
        "nbsp" | "ensp" | "emsp" | "thinsp" | "Tab" => ' ',
        "NewLine" => '\n',
        "ndash" | "minus" | "hyphen" => '-',
        "lbrack" | "lsqb" => '[',
        "rbrack" | "rsqb" => ']',
        "plus" => '+',
        "colon" => ':',
        "reg" => '®',
        "copy" => '©',
        "trade" => '™',
        _ => return None,
    })
}
