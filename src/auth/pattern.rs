//! Patterns of names: text in which `*` stands for any run of characters.

use memchr::memmem;

/// A pattern, made ready to be compared: what stands before the first `*`, between two, and after
/// the last. `*` stands for any run of characters, none and slashes among them; `%` and two
/// hexadecimal digits for that byte, so that a `*`, a space or a comma can be meant itself.
///
/// ```
/// use ahm::auth::pattern::Pattern;
/// let pattern = Pattern::parse("fx/EUR*").unwrap();
/// assert!(pattern.matches("fx/EURUSD") && pattern.matches("fx/EUR/spot"));
/// assert!(!pattern.matches("fx/USDEUR"));
/// assert!(Pattern::parse("%2A").unwrap().matches("*"));
/// assert!(Pattern::parse("50%").is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// Before the first `*`; without one, all of it.
    first: Box<[u8]>,
    /// `None` where there is no `*`.
    rest: Option<Rest>,
}

/// What follows the first `*` of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rest {
    /// Between two of them, where that is something.
    middles: Box<[Box<[u8]>]>,
    /// After the last one.
    last: Box<[u8]>,
}

/// What a pattern says of all the subjects of one resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It matches none of them.
    None,
    /// It matches some.
    Some,
    /// It matches each.
    All,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    ///
    /// Says which byte of it is wrong, counted from 0, and how.
    pub fn parse(text: &str) -> Result<Self, (usize, &'static str)> {
        let mut pieces = vec![Vec::new()];
        for (at, token) in Tokens::new(text.as_bytes()) {
            match token {
                Token::Any => pieces.push(Vec::new()),
                Token::Byte(byte) => {
                    if let Some(piece) = pieces.last_mut() {
                        piece.push(byte);
                    }
                }
                Token::Broken => {
                    return Err((at, "after % two hexadecimal digits are needed: %25 is a %"));
                }
            }
        }
        let mut pieces = pieces.into_iter().map(Vec::into_boxed_slice);
        let first = pieces.next().unwrap_or_default();
        let mut middles: Vec<_> = pieces.collect();
        let rest = middles.pop().map(|last| {
            middles.retain(|middle| !middle.is_empty());
            Rest { middles: middles.into(), last }
        });
        Ok(Self { first, rest })
    }

    /// Whether it means that name.
    pub fn matches(&self, name: &str) -> bool {
        let name = name.as_bytes();
        let Some(rest) = &self.rest else { return name == &*self.first };
        let Some(mut name) = name.strip_prefix(&*self.first) else { return false };
        // The earliest place of each piece leaves the most to the others.
        for middle in &rest.middles {
            let Some(at) = memmem::find(name, middle) else { return false };
            name = name.get(at + middle.len()..).unwrap_or_default();
        }
        name.ends_with(&rest.last)
    }

    /// Whether there is no `*` in it, so that it means one name.
    pub fn is_literal(&self) -> bool {
        self.rest.is_none()
    }

    /// The one name that it means.
    pub fn literal(&self) -> Option<&str> {
        let text = self.rest.is_none().then_some(&self.first)?;
        std::str::from_utf8(text).ok()
    }

    /// The resource whose topics alone it means, as a pattern of `RESOURCE/SUBJECT`.
    pub fn resource(&self) -> Option<&str> {
        let slash = self.first.iter().position(|byte| *byte == b'/')?;
        std::str::from_utf8(self.first.get(..slash)?).ok()
    }

    /// What it says of the names that begin with `prefix`, whatever follows.
    pub fn reach(&self, prefix: &str) -> Reach {
        let bytes = prefix.as_bytes();
        let fits = match &self.rest {
            Some(_) => self.first.starts_with(bytes) || bytes.starts_with(&self.first),
            None => self.first.starts_with(bytes),
        };
        if !fits {
            return Reach::None;
        }
        match &self.rest {
            Some(rest) if rest.last.is_empty() && self.matches(prefix) => Reach::All,
            _ => Reach::Some,
        }
    }
}

/// Whether a pattern that was not made ready means that name; one that is broken means none.
///
/// ```
/// use ahm::auth::pattern::matches;
/// assert!(matches("fx/*USD", "fx/EURUSD") && !matches("fx/*USD", "fx/EUR"));
/// ```
pub fn matches(pattern: &str, name: &str) -> bool {
    let name = name.as_bytes();
    let mut tokens = Tokens::new(pattern.as_bytes());
    let mut at = 0;
    // Where to go on if what follows the last `*` does not fit: it takes one byte more.
    let mut again: Option<(Tokens<'_>, usize)> = None;
    loop {
        let fits = match tokens.next() {
            None => at == name.len(),
            Some((_, Token::Any)) => {
                again = Some((tokens, at));
                continue;
            }
            Some((_, Token::Byte(byte))) if name.get(at) == Some(&byte) => {
                at += 1;
                continue;
            }
            Some((_, Token::Byte(_))) => false,
            Some((_, Token::Broken)) => return false,
        };
        if fits {
            return true;
        }
        match &mut again {
            Some((after, from)) if *from < name.len() => {
                *from += 1;
                (tokens, at) = (*after, *from);
            }
            _ => return false,
        }
    }
}

/// Whether a pattern that was not made ready means any name that begins with `prefix`.
pub fn reaches(pattern: &str, prefix: &str) -> bool {
    let mut prefix = prefix.bytes();
    for (_, token) in Tokens::new(pattern.as_bytes()) {
        match (token, prefix.next()) {
            (Token::Any, _) | (Token::Byte(_), None) => return true,
            (Token::Byte(byte), Some(wanted)) if byte == wanted => {}
            (Token::Byte(_) | Token::Broken, _) => return false,
        }
    }
    prefix.next().is_none()
}

#[derive(Clone, Copy, Debug)]
enum Token {
    Any,
    Byte(u8),
    Broken,
}

/// What a pattern is made of, with the place of each.
#[derive(Clone, Copy, Debug)]
struct Tokens<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Tokens<'a> {
    fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0 }
    }
}

impl Iterator for Tokens<'_> {
    type Item = (usize, Token);

    fn next(&mut self) -> Option<Self::Item> {
        let at = self.at;
        let digit = |ahead: usize| {
            let byte = *self.text.get(at + ahead)?;
            char::from(byte).to_digit(16).map(|digit| digit as u8)
        };
        let (token, length) = match *self.text.get(at)? {
            b'*' => (Token::Any, 1),
            b'%' => match (digit(1), digit(2)) {
                (Some(high), Some(low)) => (Token::Byte(high << 4 | low), 3),
                _ => (Token::Broken, 1),
            },
            byte => (Token::Byte(byte), 1),
        };
        self.at += length;
        Some((at, token))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_means_what_it_says_in_both_forms() {
        let cases: &[(&str, &str, bool)] = &[
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "a/b/c", true),
            ("a*", "a", true),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("*a", "ba", true),
            ("*ab*ab*", "abab", true),
            ("*ab*ab*", "aba", false),
            ("*ab*b", "ab", false),
            ("a*b*c", "axbxbxc", true),
            ("a**c", "ac", true),
            ("%2a", "*", true),
            ("%2A", "a", false),
            ("50%25*", "50% off", true),
            ("k%C3%B6ln*", "köln/dom", true),
            ("quotes/*", "quotes/", true),
            ("quotes/*", "quotes", false),
        ];
        for (pattern, name, wanted) in cases {
            assert_eq!(Pattern::parse(pattern).unwrap().matches(name), *wanted, "{pattern} {name}");
            assert_eq!(matches(pattern, name), *wanted, "{pattern} {name}");
        }
        assert_eq!(Pattern::parse("ab%2").unwrap_err().0, 2);
        assert!(!matches("ab%2", "ab%2"));
    }

    #[test]
    fn how_far_a_pattern_reaches() {
        let cases: &[(&str, Reach)] = &[
            ("fx/*", Reach::All),
            ("*", Reach::All),
            ("f*", Reach::All),
            ("*/*", Reach::All),
            ("*/**", Reach::All),
            ("fx/EUR*", Reach::Some),
            ("fx/EURUSD", Reach::Some),
            ("*/EUR*", Reach::Some),
            ("*USD", Reach::Some),
            ("fx*USD", Reach::Some),
            ("fy*", Reach::None),
            ("fx", Reach::None),
            ("fxx/*", Reach::None),
            ("f/*", Reach::None),
        ];
        for (text, wanted) in cases {
            let pattern = Pattern::parse(text).unwrap();
            assert_eq!(pattern.reach("fx/"), *wanted, "{text}");
            assert_eq!(reaches(text, "fx/"), *wanted != Reach::None, "{text}");
        }
        assert_eq!(Pattern::parse("EUR*").unwrap().reach(""), Reach::Some);
        assert_eq!(Pattern::parse("*").unwrap().reach(""), Reach::All);
    }
}
