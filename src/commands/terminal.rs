//! Text of others on its way to a terminal.
//!
//! Topics, places, ids, names and notes are whatever their senders made them. Control characters
//! among them would move the cursor, change colours or run a terminal's commands, and marks of
//! writing direction would show a text as another one.

use std::borrow::Cow;
use std::fmt::Write;

/// One line of text with every character that a terminal would act on as `\uXXXX`. A line of JSON
/// stays the same JSON.
pub(crate) fn escaped(line: &str) -> Cow<'_, str> {
    if !line.chars().any(is_acted_on) {
        return line.into();
    }
    let mut shown = String::with_capacity(line.len() + 16);
    for c in line.chars() {
        if is_acted_on(c) {
            // Writing to a String can't fail.
            let _ = write!(shown, "\\u{:04x}", u32::from(c));
        } else {
            shown.push(c);
        }
    }
    shown.into()
}

/// Control characters (C0, DEL, C1), line and paragraph separators, and marks of writing direction
/// (Unicode Standard Annex 9, section 2).
fn is_acted_on(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_acts_on_is_shown_instead() {
        assert_eq!(escaped("caf\u{e9} \u{1f600} in S\u{e3}o Paulo"), "café 😀 in São Paulo");
        assert_eq!(escaped("a\u{1b}[2Jb\nc"), r"a\u001b[2Jb\u000ac");
        assert_eq!(escaped("\u{9b}31m\u{7f}\u{202e}"), r"\u009b31m\u007f\u202e");
    }

    #[test]
    fn a_line_of_json_keeps_its_meaning() {
        let value = serde_json::json!({ "topic": "a\u{9b}b\u{1b}c\u{2066}d" });
        let line = value.to_string();
        assert_ne!(escaped(&line), line);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&escaped(&line)).ok(), Some(value));
    }
}
