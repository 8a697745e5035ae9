//! A small reader of Rust: what is code, what is comment, where functions begin and end.

/// A source with code and comments apart. Both have the same characters at the same places, and a
/// space where the character belongs to the other, or to the inside of a string.
#[derive(Debug)]
pub struct Code {
    pub code: Vec<String>,
    pub comments: Vec<String>,
}

/// A function with a body; lines from 1, both included.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    pub name: String,
    pub first: usize,
    pub last: usize,
}

/// A word of code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'c> {
    /// An identifier, a number, `::`, or a single other character.
    pub text: &'c str,
    /// The line, from 1.
    pub line: usize,
}

impl Code {
    pub fn read(text: &str) -> Self {
        let mut reader = Reader {
            rest: text.chars().collect(),
            at: 0,
            code: String::new(),
            comments: String::new(),
        };
        while reader.at < reader.rest.len() {
            reader.step();
        }
        let lines = |text: String| text.split('\n').map(str::to_owned).collect();
        Self { code: lines(reader.code), comments: lines(reader.comments) }
    }

    pub fn tokens(&self) -> Vec<Token<'_>> {
        (1..).zip(&self.code).flat_map(|(line, text)| line_tokens(line, text)).collect()
    }

    /// The line from which on everything is test code: the first `#[cfg(test)]` that stands at the
    /// margin before an inline module.
    pub fn test_from(&self) -> usize {
        let is_start = |at: &usize| is_test_cfg(&self.code[*at]) && self.module_at(*at).is_none();
        (0..self.code.len()).find(is_start).map_or(usize::MAX, |at| at + 1)
    }

    pub fn test_modules_out_of_line(&self) -> impl Iterator<Item = &str> {
        (0..self.code.len())
            .filter(|at| is_test_cfg(&self.code[*at]))
            .filter_map(|at| self.module_at(at))
    }

    /// The name in `mod name;` that follows the attribute in line `at` (from 0).
    fn module_at(&self, at: usize) -> Option<&str> {
        let item = self.code[at + 1..].iter().find(|line| {
            let line = line.trim();
            !line.is_empty() && !line.starts_with("#[")
        })?;
        let item = item.trim().trim_start_matches("pub ").strip_prefix("mod ")?;
        item.trim().strip_suffix(';').map(str::trim)
    }

    pub fn functions(&self) -> Vec<Function> {
        let tokens = self.tokens();
        let is_named = |pair: &[Token<'_>]| pair[0].text == "fn" && is_word(pair[1].text);
        let starts =
            (0..tokens.len().saturating_sub(1)).filter(|at| is_named(&tokens[*at..at + 2]));
        starts.filter_map(|at| function(&tokens, at)).collect()
    }
}

fn is_test_cfg(line: &str) -> bool {
    line.starts_with("#[cfg(test)]") || line.starts_with("#[cfg(all(test,")
}

pub fn is_word(text: &str) -> bool {
    text.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

fn line_tokens(line: usize, text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let in_word = |c: char| c.is_alphanumeric() || c == '_';
        let end = match first {
            _ if in_word(first) => rest.find(|c: char| !in_word(c)).unwrap_or(rest.len()),
            ':' if rest.starts_with("::") => 2,
            _ => first.len_utf8(),
        };
        tokens.push(Token { text: &rest[..end], line });
        rest = rest[end..].trim_start();
    }
    tokens
}

/// The function whose `fn` is token `at`; `None` if it has no body.
fn function(tokens: &[Token<'_>], at: usize) -> Option<Function> {
    let (mut round, mut curly) = (0, 0);
    for token in &tokens[at..] {
        match token.text {
            "(" | "[" => round += 1,
            ")" | "]" => round -= 1,
            ";" if round == 0 && curly == 0 => return None,
            "{" => curly += 1,
            "}" if curly == 1 && round == 0 => {
                let name = tokens[at + 1].text.to_owned();
                return Some(Function { name, first: tokens[at].line, last: token.line });
            }
            "}" => curly -= 1,
            _ => {}
        }
    }
    None
}

struct Reader {
    rest: Vec<char>,
    at: usize,
    code: String,
    comments: String,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Code,
    Comment,
    Neither,
}

impl Reader {
    fn peek(&self, ahead: usize) -> char {
        self.rest.get(self.at + ahead).copied().unwrap_or('\0')
    }

    fn take(&mut self, count: usize, kind: Kind) {
        for _ in 0..count.min(self.rest.len() - self.at) {
            let char = self.rest[self.at];
            self.at += 1;
            let shown = |wanted| if char == '\n' || kind == wanted { char } else { ' ' };
            self.code.push(shown(Kind::Code));
            self.comments.push(shown(Kind::Comment));
        }
    }

    fn step(&mut self) {
        let after_word = self.at > 0 && {
            let before = self.rest[self.at - 1];
            before.is_alphanumeric() || before == '_'
        };
        match (self.peek(0), self.peek(1)) {
            ('/', '/') => {
                let end = self.rest[self.at..].iter().position(|c| *c == '\n');
                self.take(end.unwrap_or(self.rest.len()), Kind::Comment);
            }
            ('/', '*') => self.block_comment(),
            ('"', _) => self.string(),
            ('\'', _) => self.quote(),
            ('r' | 'b' | 'c', _) if !after_word => {
                let prefix =
                    (0..3).take_while(|n| matches!(self.peek(*n), 'r' | 'b' | 'c')).count();
                let raw = (0..prefix).any(|n| self.peek(n) == 'r');
                let hashes = (prefix..).take_while(|n| self.peek(*n) == '#').count();
                match self.peek(prefix + hashes) {
                    '"' if raw => self.raw_string(prefix, hashes),
                    _ => self.take(1, Kind::Code),
                }
            }
            _ => self.take(1, Kind::Code),
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        while self.at < self.rest.len() {
            match (self.peek(0), self.peek(1)) {
                ('/', '*') => depth += 1,
                ('*', '/') => depth -= 1,
                _ => {
                    self.take(1, Kind::Comment);
                    continue;
                }
            }
            self.take(2, Kind::Comment);
            if depth == 0 {
                return;
            }
        }
    }

    fn string(&mut self) {
        self.take(1, Kind::Code);
        while self.at < self.rest.len() && self.peek(0) != '"' {
            let width = if self.peek(0) == '\\' { 2 } else { 1 };
            self.take(width, Kind::Neither);
        }
        self.take(1, Kind::Code);
    }

    fn raw_string(&mut self, prefix: usize, hashes: usize) {
        self.take(prefix + hashes + 1, Kind::Code);
        while self.at < self.rest.len() {
            let ends = self.peek(0) == '"' && (1..=hashes).all(|n| self.peek(n) == '#');
            if ends {
                return self.take(1 + hashes, Kind::Code);
            }
            self.take(1, Kind::Neither);
        }
    }

    /// A character or a lifetime.
    fn quote(&mut self) {
        if self.peek(1) == '\\' {
            self.take(1, Kind::Code);
            self.take(2, Kind::Neither);
            while self.at < self.rest.len() && self.peek(0) != '\'' {
                self.take(1, Kind::Neither);
            }
            self.take(1, Kind::Code);
        } else if self.peek(2) == '\'' {
            self.take(1, Kind::Code);
            self.take(1, Kind::Neither);
            self.take(1, Kind::Code);
        } else {
            self.take(1, Kind::Code);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        Code::read(text).code.join("\n")
    }

    #[test]
    fn strings_and_comments_are_no_code() {
        assert_eq!(code(r#"a("x // y \" z") // c"#), r#"a("           ")     "#);
        assert_eq!(code("/* a /* b */ c */d"), "                 d");
        assert_eq!(code(r##"r#"a " b"# + br"\" + c"z""##), r##"r#"     "# + br" " + c" ""##);
        assert_eq!(code("'{' '\\'' b'\"' '\\u{7f}'"), "' ' '  ' b' ' '      '");
        assert_eq!(code("fn f<'a>(x: &'a str)"), "fn f<'a>(x: &'a str)");
        assert_eq!(code("\"one\ntwo\"x"), "\"   \n   \"x");
        assert_eq!(code("for r in bar { }"), "for r in bar { }");
    }

    #[test]
    fn comments_keep_their_places() {
        let read = Code::read("a // SAFETY: b\nc /* d */");
        assert_eq!(read.comments, ["  // SAFETY: b", "  /* d */"]);
        assert_eq!(read.code, ["a             ", "c        "]);
    }

    #[test]
    fn functions_are_measured_from_fn_to_brace() {
        let text = "impl A {\n fn a(x: [u8; 3]) -> fn() {\n  let s = \"}\";\n  fn b() {}\n }\n}\n\
                    trait T { fn c(); }\nfn d() -> u8 where u8: Copy {\n 0\n}";
        let names: Vec<_> = Code::read(text).functions();
        let shape: Vec<_> = names.iter().map(|f| (f.name.as_str(), f.first, f.last)).collect();
        assert_eq!(shape, [("a", 2, 5), ("b", 4, 4), ("d", 8, 10)]);
    }

    #[test]
    fn test_code_starts_at_the_margin_before_an_inline_module() {
        let from = |text: &str| Code::read(text).test_from();
        assert_eq!(from("fn a() {}\n#[cfg(test)]\nmod tests {\n}\n"), 2);
        assert_eq!(from("fn a() {}\n#[cfg(all(test, loom))]\nmod tests {\n}\n"), 2);
        assert_eq!(from("#[cfg(test)]\nmod tests;\nfn a() {}\n"), usize::MAX);
        assert_eq!(from("impl A {\n    #[cfg(test)]\n    fn a() {}\n}\n"), usize::MAX);
        assert_eq!(from("// #[cfg(test)]\nconst A: &str = \"\n#[cfg(test)]\n\";"), usize::MAX);
    }
}
