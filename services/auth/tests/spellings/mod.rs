//! Generated texts for row A23 of the reference: spellings of an address, and texts that only look like one of it. The tests of the rules
//! read all of them, and those of the whole service some.

/// Addresses of accounts, as they are stored.
pub(crate) const STORED: [&str; 5] =
    ["mike@example.org", "kim.ask@mail.example", "x@bücher.example", "o'neil@example.org", "sofia_k@books.example"];

/// Characters that make another address of each address, at each place but the first one.
const INSERTED: [char; 13] = ['.', '+', '1', '@', '＠', ' ', '\0', '\r', '\u{301}', '\u{200b}', '\u{ad}', '\u{2060}', '\u{202e}'];

/// Each text, and whether it means the account of the address.
pub(crate) fn of(stored: &str) -> Vec<(String, bool)> {
    let mut all: Vec<_> =
        same(stored).into_iter().map(|text| (text, true)).chain(other(stored).into_iter().map(|text| (text, false))).collect();
    let letters: Vec<char> = stored.chars().collect();
    let places = 0..letters.len();
    for at in places.clone() {
        for c in disguises(letters[at]) {
            let once = replaced(&letters, at, c);
            all.push((text(&once), true));
            let later = (at + 1..letters.len()).flat_map(|place| disguises(letters[place]).into_iter().map(move |c| (place, c)));
            all.extend(later.map(|(place, c)| (text(&replaced(&once, place, c)), true)));
        }
        for c in look_alikes(letters[at]) {
            let once = replaced(&letters, at, *c);
            all.push((text(&once), false));
            let elsewhere = places.clone().filter(|place| *place != at);
            let elsewhere = elsewhere.flat_map(|place| disguises(letters[place]).into_iter().map(move |c| (place, c)));
            all.extend(elsewhere.map(|(place, c)| (text(&replaced(&once, place, c)), false)));
        }
        if at > 0 {
            all.extend(INSERTED.iter().map(|c| (text(&[&letters[..at], &[*c], &letters[at..]].concat()), false)));
        }
    }
    all
}

/// Other forms of the whole address.
fn same(stored: &str) -> Vec<String> {
    let (local, host) = stored.split_once('@').expect("an address");
    vec![
        stored.to_owned(),
        stored.to_uppercase(),
        format!(" {stored} "),
        format!("\u{3000}{stored}\u{a0}"),
        stored.replace('ü', "u\u{308}"),
        stored.replace("bücher", "xn--bcher-kva"),
        stored.replace("bücher", "XN--BCHER-KVA"),
        format!("{local}@{}", host.replace('.', "。")),
        format!("{local}@{}", host.replace('.', "．")),
    ]
}

/// Texts in which the address is a part, or which a mail system may read as the address.
fn other(stored: &str) -> Vec<String> {
    let (local, host) = stored.split_once('@').expect("an address");
    vec![
        format!("{local}+tag@{host}"),
        format!("{local}@{host}."),
        format!("{local}@{host}.evil.example"),
        format!("{local}@evil.{host}"),
        format!("{local}@{host}:25"),
        format!("{local}@[{host}]"),
        format!("{local}＠{host}"),
        format!("{local}﹫{host}"),
        format!("{local}@@{host}"),
        format!("{local}\\@{host}"),
        format!("\"{local}\"@{host}"),
        format!("({local}){local}@{host}"),
        format!("=?utf-8?q?{local}?=@{host}"),
        format!("{local}%{host}@evil.example"),
        format!("{host}!{local}@evil.example"),
        format!("@evil.example:{stored}"),
        format!("{stored}@evil.example"),
        format!("{stored},eve@evil.example"),
        format!("{stored};"),
        format!("{stored}?cc=eve"),
        format!("<{stored}>"),
        format!("mailto:{stored}"),
        format!("{stored}\n"),
        format!("{stored}\r\nBcc: eve"),
        format!("{stored}\0"),
        format!("{stored}\u{200b}"),
        format!("\u{feff}{stored}"),
    ]
}

/// Characters that stand for an ASCII letter in every form of an address: upper case, full width, bold, and two signs whose normal form or
/// lower case is the letter.
fn disguises(letter: char) -> Vec<char> {
    if !letter.is_ascii_lowercase() {
        return Vec::new();
    }
    let place = u32::from(letter) - u32::from('a');
    let sign = match letter {
        'k' => Some('\u{212a}'),
        's' => Some('\u{17f}'),
        _ => None,
    };
    [Some(letter.to_ascii_uppercase()), char::from_u32(0xff41 + place), char::from_u32(0x1_d41a + place), sign]
        .into_iter()
        .flatten()
        .collect()
}

/// Characters that look like the letter and are others.
fn look_alikes(letter: char) -> &'static [char] {
    match letter {
        'a' => &['\u{430}', '\u{3b1}', 'á'],
        'b' => &['\u{44c}', '6'],
        'c' => &['\u{441}', 'ç'],
        'e' => &['\u{435}', 'é'],
        'f' => &['\u{192}'],
        'i' => &['\u{131}', '\u{130}', '\u{456}', 'l'],
        'k' => &['\u{43a}', '\u{3ba}'],
        'l' => &['\u{4cf}', '1'],
        'm' => &['\u{43c}'],
        'o' => &['\u{43e}', '\u{3bf}', '0'],
        'p' => &['\u{440}'],
        's' => &['\u{455}', '5'],
        'x' => &['\u{445}'],
        'ü' => &['u', 'ú'],
        _ => &[],
    }
}

fn replaced(letters: &[char], at: usize, c: char) -> Vec<char> {
    let mut letters = letters.to_vec();
    letters[at] = c;
    letters
}

fn text(letters: &[char]) -> String {
    letters.iter().collect()
}
