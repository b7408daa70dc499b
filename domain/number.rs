//! Whole numbers in JSON. In JSON Schema `480.0` and `4.8e2` are the integer 480, so both are turned into `480`.

use serde_json::{Number, Value};

/// Below 2^53 every whole number has a double of its own. Above, one double may stand for several whole numbers.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Turns every number without a fraction into an integer, at any depth.
pub fn whole(mut value: Value) -> Value {
    settle(&mut value);
    value
}

fn settle(value: &mut Value) {
    match value {
        Value::Number(number) => {
            if let Some(integer) = integer(number) {
                *number = integer.into();
            }
        }
        Value::Array(values) => values.iter_mut().for_each(settle),
        Value::Object(fields) => fields.values_mut().for_each(settle),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

/// The integer that equals a number with a decimal point or an exponent; `None` if the number has a fraction, or is too
/// large to be exact.
fn integer(number: &Number) -> Option<i64> {
    let double = number.as_f64().filter(|_| number.is_f64())?;
    #[expect(clippy::cast_possible_truncation, reason = "it is whole, and smaller than 2^53")]
    (double.fract() == 0.0 && double.abs() <= EXACT).then_some(double as i64)
}

/// Reads the text of a parameter as a whole number, in any form that JSON allows.
pub fn whole_text(text: &str) -> Option<u64> {
    // The JSON parser would skip white space, which a parameter must not hold.
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    let number: Number = serde_json::from_str(text).ok().filter(|_| plain)?;
    whole(Value::Number(number)).as_u64()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_has_no_fraction_is_an_integer() {
        let read = |text: &str| whole(serde_json::from_str(text).expect("JSON"));
        for (text, integer) in [
            ("480", json!(480)),
            ("480.0", json!(480)),
            ("4.8e2", json!(480)),
            ("4.8E+2", json!(480)),
            ("48000e-2", json!(480)),
            ("-0", json!(0)),
            ("-0.0", json!(0)),
            ("-7.0", json!(-7)),
            ("9007199254740992.0", json!(9_007_199_254_740_992_u64)),
            ("18446744073709551615", json!(u64::MAX)),
        ] {
            assert_eq!(read(text), integer, "{text}");
            assert!(!read(text).is_f64(), "{text}");
        }
        for text in ["480.5", "1e-1", "9007199254740994.0", "1e17", "1e300"] {
            assert!(read(text).is_f64(), "{text}");
        }
        let nested = read(r#"{"a":[1.0,{"b":2.0}],"c":"3.0","d":null}"#);
        assert_eq!(nested.to_string(), r#"{"a":[1,{"b":2}],"c":"3.0","d":null}"#);
    }

    #[test]
    fn parameters_are_read_like_bodies() {
        for (text, number) in [("480", 480), ("480.0", 480), ("4.8e2", 480), ("0", 0), ("-0", 0)] {
            assert_eq!(whole_text(text), Some(number), "{text}");
        }
        for wrong in ["", " 1", "1 ", "+1", "01", "1.5", "-1", "1e400", "0x1", "NaN", "1_000", "\"1\"", "true", "٣"] {
            assert_eq!(whole_text(wrong), None, "{wrong}");
        }
    }
}
