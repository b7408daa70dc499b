//! Texts of letters: a line `Subject: …`, an empty line, English, then German; `{name}` stands for a value.
//!
//! A value is inserted once and never searched for placeholders. Its control characters become blanks, so that no value
//! adds a line, let alone a header. Refuses a placeholder without a value by a panic; a test of each text shows that
//! none panics.

/// Fills in a template; returns the subject and the text.
pub fn fill(template: &str, values: &[(&str, &str)]) -> (String, String) {
    let (subject, text) = template
        .strip_prefix("Subject: ")
        .and_then(|rest| rest.split_once("\n\n"))
        .expect("a template opens with its subject");
    (filled(subject, values), filled(text, values))
}

fn filled(mut rest: &str, values: &[(&str, &str)]) -> String {
    let mut whole = String::with_capacity(rest.len() + 64);
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').expect("a placeholder ends");
        let (_, value) = values.iter().find(|(known, _)| *known == name).expect("every placeholder has a value");
        whole.push_str(before);
        whole.extend(value.chars().map(|c| if c.is_control() { ' ' } else { c }));
        rest = after;
    }
    whole.push_str(rest);
    whole
}

#[cfg(test)]
mod tests {
    use super::fill;

    #[test]
    fn a_value_is_put_in_once_and_as_one_line() {
        let (subject, text) =
            fill("Subject: {a} and {b}\n\nOne {b},\ntwo {a}.\n", &[("a", "{b}"), ("b", "x\r\nBcc: y")]);
        assert_eq!(subject, "{b} and x  Bcc: y");
        assert_eq!(text, "One x  Bcc: y,\ntwo {b}.\n");
    }
}
