//! JSON that keeps what people wrote: the order of keys and the digits of numbers (`1.0`, `9007199254740993`).

use std::fmt;

use serde::de::IgnoredAny;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use snafu::{ResultExt, Snafu};

/// Deepest nesting that is read.
const DEEPEST: usize = 100;

/// A JSON value. Its `Display` form is one line without blanks.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// A number as it was written.
    Number(String),
    /// A string, its escapes resolved.
    String(String),
    /// A list.
    Array(Vec<Json>),
    /// Keys in their order, each once.
    Object(Vec<(String, Json)>),
}

/// Why a text is no JSON that is read.
#[derive(Debug, Snafu)]
pub enum JsonError {
    /// Bytes that are no text.
    #[snafu(display("it is not UTF-8: {source}"))]
    Utf8 {
        /// Where.
        source: std::str::Utf8Error,
    },
    /// No JSON.
    #[snafu(display("it is not JSON: {source}"))]
    Syntax {
        /// What the parser says, with line and column.
        source: serde_json::Error,
    },
    /// JSON that means different things to different readers, or too much of it.
    #[snafu(display("line {line}: {reason}"))]
    Refused {
        /// Line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
}

impl Json {
    /// Parses one document. Objects with the same key twice and more than 100 levels are refused.
    ///
    /// # Errors
    /// [`JsonError`], naming the line.
    pub fn parse(bytes: &[u8]) -> Result<Self, JsonError> {
        let text = std::str::from_utf8(bytes).context(Utf8Snafu)?;
        serde_json::from_str::<IgnoredAny>(text).context(SyntaxSnafu)?;
        Parser { text, position: 0 }.value(0)
    }

    /// The value of a key of an object.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entries().iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// The value of a key of an object, to be changed.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Self> {
        match self {
            Self::Object(entries) => entries.iter_mut().find(|(name, _)| name == key).map(|(_, value)| value),
            _ => None,
        }
    }

    /// What a chain of keys leads to.
    #[must_use]
    pub fn at(&self, keys: &[&str]) -> Option<&Self> {
        keys.iter().try_fold(self, |value, key| value.get(key))
    }

    /// Puts a value in place of a key's, or behind the last key. What is no object stays as it is.
    pub fn set(&mut self, key: &str, value: Self) {
        let Self::Object(entries) = self else { return };
        match entries.iter_mut().find(|(name, _)| name == key) {
            Some((_, place)) => *place = value,
            None => entries.push((key.to_owned(), value)),
        }
    }

    /// Takes a key out of an object.
    pub fn remove(&mut self, key: &str) -> Option<Self> {
        let Self::Object(entries) = self else { return None };
        let index = entries.iter().position(|(name, _)| name == key)?;
        Some(entries.remove(index).1)
    }

    /// A string's text.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// A list's items; none of anything else.
    #[must_use]
    pub fn items(&self) -> &[Self] {
        match self {
            Self::Array(items) => items,
            _ => &[],
        }
    }

    /// An object's keys and values; none of anything else.
    #[must_use]
    pub fn entries(&self) -> &[(String, Self)] {
        match self {
            Self::Object(entries) => entries,
            _ => &[],
        }
    }

    /// An object's keys and values, to be changed; none of anything else.
    pub fn entries_mut(&mut self) -> &mut [(String, Self)] {
        match self {
            Self::Object(entries) => entries,
            _ => &mut [],
        }
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Number(digits) => f.write_str(digits),
            Self::String(text) => f.write_str(&quoted(text)),
            Self::Array(items) => {
                f.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    f.write_str(if index == 0 { "" } else { "," })?;
                    item.fmt(f)?;
                }
                f.write_str("]")
            }
            Self::Object(entries) => {
                f.write_str("{")?;
                for (index, (key, value)) in entries.iter().enumerate() {
                    f.write_str(if index == 0 { "" } else { "," })?;
                    write!(f, "{}:{value}", quoted(key))?;
                }
                f.write_str("}")
            }
        }
    }
}

/// Through `serde_json` only, whose serializers take text that is JSON already.
impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RawValue::from_string(self.to_string()).map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

/// Takes apart a text that is known to be JSON.
struct Parser<'a> {
    text: &'a str,
    position: usize,
}

impl<'a> Parser<'a> {
    fn value(&mut self, depth: usize) -> Result<Json, JsonError> {
        if depth > DEEPEST {
            return self.refused(format!("it is nested more than {DEEPEST} levels deep"));
        }
        self.skip_blanks();
        match self.next() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => self.string().map(Json::String),
            Some(b'n') => Ok(self.word()).map(|_| Json::Null),
            Some(b't' | b'f') => Ok(Json::Bool(self.word() == "true")),
            _ => Ok(Json::Number(self.word().to_owned())),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json, JsonError> {
        let mut entries = Vec::new();
        let mut keys = std::collections::HashSet::new();
        self.position += 1;
        while self.another(b'}') {
            let key = self.string()?;
            if !keys.insert(key.clone()) {
                return self.refused(format!("the key \"{key}\" is there twice in one object"));
            }
            self.skip_blanks();
            self.position += 1; // the colon
            entries.push((key, self.value(depth + 1)?));
        }
        Ok(Json::Object(entries))
    }

    fn array(&mut self, depth: usize) -> Result<Json, JsonError> {
        let mut items = Vec::new();
        self.position += 1;
        while self.another(b']') {
            items.push(self.value(depth + 1)?);
        }
        Ok(Json::Array(items))
    }

    /// Whether another item comes; skips the comma before it, or the closing bracket.
    fn another(&mut self, closing: u8) -> bool {
        self.skip_blanks();
        if self.next() == Some(b',') {
            self.position += 1;
            self.skip_blanks();
        }
        let ends = self.next().is_none_or(|next| next == closing);
        if ends {
            self.position += 1;
        }
        !ends
    }

    fn string(&mut self) -> Result<String, JsonError> {
        let rest = self.rest();
        let mut escaped = false;
        let end = rest.bytes().skip(1).position(|c| {
            let closes = c == b'"' && !escaped;
            escaped = c == b'\\' && !escaped;
            closes
        });
        let quoted = rest.get(..end.map_or(rest.len(), |end| end + 2)).unwrap_or_default();
        let start = self.position;
        self.position += quoted.len();
        serde_json::from_str(quoted).or_else(|error| {
            self.position = start;
            self.refused(format!("a string is not Unicode text: {error}"))
        })
    }

    fn word(&mut self) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c: char| matches!(c, ',' | ']' | '}') || c.is_ascii_whitespace()).unwrap_or(rest.len());
        self.position += end;
        rest.get(..end).unwrap_or_default()
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.position..).unwrap_or_default()
    }

    fn next(&self) -> Option<u8> {
        self.text.as_bytes().get(self.position).copied()
    }

    fn skip_blanks(&mut self) {
        while self.next().is_some_and(|c| c.is_ascii_whitespace()) {
            self.position += 1;
        }
    }

    fn line(&self) -> usize {
        self.text.get(..self.position).unwrap_or_default().lines().count().max(1)
    }

    fn refused<T>(&self, reason: String) -> Result<T, JsonError> {
        RefusedSnafu { line: self.line(), reason }.fail()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn compact(text: &str) -> String {
        Json::parse(text.as_bytes()).unwrap().to_string()
    }

    #[test]
    fn numbers_and_the_order_of_keys_stay_as_written() {
        let text = r#" { "z" : 1.0 , "a":[ 9007199254740993, 1E+5, -0, 123456789012345678901234567890 ], "m" : {"x":true,"n":null,"e":{},"l":[]} } "#;
        let expected = r#"{"z":1.0,"a":[9007199254740993,1E+5,-0,123456789012345678901234567890],"m":{"x":true,"n":null,"e":{},"l":[]}}"#;
        assert_eq!(compact(text), expected);
        assert_eq!(serde_json::to_string(&Json::parse(text.as_bytes()).unwrap()).unwrap(), expected);
    }

    #[test]
    fn strings_survive() {
        assert_eq!(compact(r#""a\"b\\ \u00e9 \n / \\""#), r#""a\"b\\ é \n / \\""#);
        assert_eq!(compact("\"🚀\u{2028}\""), "\"🚀\u{2028}\"");
        assert_eq!(Json::parse(br#"{"a":"[,]}"}"#).unwrap().get("a").unwrap().as_str(), Some("[,]}"));
    }

    #[test]
    fn keys_that_come_twice_and_deep_nesting_are_refused() {
        let twice = Json::parse(b"{\n\"a\":1,\n\"\\u0061\":2}").unwrap_err().to_string();
        assert!(twice.contains("line 3") && twice.contains("\"a\""), "{twice}");
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let deep = format!("{}1{}", open.repeat(10_000), close.repeat(10_000));
            let error = Json::parse(deep.as_bytes()).unwrap_err().to_string();
            assert!(error.contains("levels") || error.contains("recursion"), "{error}");
        }
        assert!(Json::parse(b"{\"a\":1,}").unwrap_err().to_string().contains("line 1 column 8"));
        assert!(Json::parse(br#""\ud800""#).is_err());
        assert!(Json::parse(&[b'"', 0xff, b'"']).is_err());
    }

    #[test]
    fn keys_are_set_and_removed_in_place() {
        let mut json = Json::parse(br#"{"a":1,"b":2,"c":3}"#).unwrap();
        json.remove("a");
        json.set("b", Json::Bool(true));
        json.set("d", Json::Null);
        assert_eq!(json.to_string(), r#"{"b":true,"c":3,"d":null}"#);
    }

    proptest! {
        #[test]
        fn what_serde_json_reads_means_the_same_here(text in "[\\[\\]{}:,\"a\\\\u0-9eE.+ntrlsf -]{0,30}") {
            let here = Json::parse(text.as_bytes());
            if let (Ok(there), Ok(here)) = (serde_json::from_str::<serde_json::Value>(&text), here) {
                prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&here.to_string()).unwrap(), there);
            }
        }
    }
}
