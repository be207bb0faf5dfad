//! Words as text: hex digits, a space between words.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};

pub(super) fn serialize<S: Serializer>(words: &[u32], serializer: S) -> Result<S::Ok, S::Error> {
    let digits: Vec<_> = words.iter().map(|word| format!("{word:x}")).collect();
    serializer.serialize_str(&digits.join(" "))
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u32>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let word = |digits| {
        u32::from_str_radix(digits, 16)
            .map_err(|_| D::Error::custom(format!("{digits:?} is no word; expected up to eight hex digits")))
    };
    text.split(' ').map(word).collect()
}
