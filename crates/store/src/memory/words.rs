//! How a text becomes words. The index takes them as they are, so what is stored and what is asked are cut alike.

/// The longest word, in characters; what follows is cut off.
pub(super) const WORD_CHARS_MAX: usize = 48;

/// Letters without their marks, each before those that become it.
const FOLDED: &[(&str, &str)] = &[
    ("a", "àáâãäåāăąǎǟǡǻȁȃȧḁạảấầẩẫậắằẳẵặ"),
    ("ae", "æǣǽ"),
    ("b", "ƀḃḅḇ"),
    ("c", "çćĉċčḉ"),
    ("d", "ďđðḋḍḏḑḓ"),
    ("e", "èéêëēĕėęěȅȇȩḕḗḙḛḝẹẻẽếềểễệ"),
    ("f", "ƒḟ"),
    ("g", "ĝğġģǧǵḡ"),
    ("h", "ĥħȟḣḥḧḩḫẖ"),
    ("i", "ìíîïĩīĭįıǐȉȋḭḯỉị"),
    ("j", "ĵǰ"),
    ("k", "ķǩḱḳḵ"),
    ("l", "ĺļľŀłḷḹḻḽ"),
    ("m", "ḿṁṃ"),
    ("n", "ñńņňŉǹṅṇṉṋ"),
    ("o", "òóôõöøōŏőơǒǫǭǿȍȏȫȭȯȱṍṏṑṓọỏốồổỗộớờởỡợ"),
    ("oe", "œ"),
    ("p", "ṕṗ"),
    ("r", "ŕŗřȑȓṙṛṝṟ"),
    ("s", "śŝşšșſṡṣṥṧṩ"),
    ("ss", "ß"),
    ("t", "ţťŧțṫṭṯṱẗ"),
    ("u", "ùúûüũūŭůűųưǔǖǘǚǜȕȗṳṵṷṹṻụủứừửữự"),
    ("v", "ṽṿ"),
    ("w", "ŵẁẃẅẇẉẘ"),
    ("x", "ẋẍ"),
    ("y", "ýÿŷȳẏẙỳỵỷỹ"),
    ("z", "źżžƶẑẓẕ"),
];

/// The words of a text in order: small letters without marks; each character of a script without spaces, and each symbol
/// of the pictorial kind, by itself. Everything else parts words.
pub(super) fn words(text: &str) -> Vec<String> {
    let (mut found, mut word, mut chars) = (Vec::new(), String::new(), 0);
    for c in text.chars().flat_map(char::to_lowercase) {
        if is_mark(c) {
            continue;
        }
        if stands_alone(c) {
            take(&mut found, &mut word, &mut chars);
            found.push(c.to_string());
        } else if c.is_alphanumeric() {
            if chars < WORD_CHARS_MAX {
                fold(c, &mut word);
                chars += 1;
            }
        } else {
            take(&mut found, &mut word, &mut chars);
        }
    }
    take(&mut found, &mut word, &mut chars);
    found
}

fn take(found: &mut Vec<String>, word: &mut String, chars: &mut usize) {
    *chars = 0;
    if !word.is_empty() {
        found.push(std::mem::take(word));
    }
}

fn fold(c: char, word: &mut String) {
    if matches!(c, '\u{df}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}')
        && let Some((plain, _)) = FOLDED.iter().find(|(_, marked)| marked.contains(c))
    {
        word.push_str(plain);
    } else {
        word.push(c);
    }
}

/// Marks that stand after their letter.
fn is_mark(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}')
}

fn stands_alone(c: char) -> bool {
    let scripts = matches!(c,
        '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{3005}'..='\u{3007}' | '\u{3040}'..='\u{30ff}'
        | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{ac00}'..='\u{d7af}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}');
    (scripts && c.is_alphanumeric()) || matches!(c, '\u{2600}'..='\u{27bf}' | '\u{1f000}'..='\u{1faff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_into_words() {
        let cut = |text: &str| words(text).join(" ");
        assert_eq!(cut("foo-bar v1.2 user@host dog?"), "foo bar v1 2 user host dog");
        assert_eq!(cut("Crème Brûlée, CAFE\u{301}; Straße; Łódź"), "creme brulee cafe strasse lodz");
        assert_eq!(cut("日本 ok 🦀x"), "日 本 ok 🦀 x");
        assert_eq!(cut("a\0b \"NEAR\" *^(c:d)"), "a b near c d");
        assert_eq!(cut(" ?!* \u{202e}\u{300} "), "");
        assert_eq!(words(&"x".repeat(500)), ["x".repeat(WORD_CHARS_MAX)]);
    }

    /// The index parts words at ASCII that is neither letter nor digit, and nowhere else.
    #[test]
    fn no_word_is_parted_again() {
        for c in (0..=0x2_ffff).filter_map(char::from_u32) {
            for word in words(&c.to_string()) {
                assert!(
                    !word.is_empty() && word.bytes().all(|b| b >= 0x80 || b.is_ascii_lowercase() || b.is_ascii_digit()),
                    "{c:?} {word}"
                );
            }
        }
    }
}
