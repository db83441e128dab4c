//! Rust source as far as the rules need it: names, paths and braces, without comments and
//! literals.

use std::fmt;

/// One piece of code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    Name(String),
    /// `::`
    Path,
    Other(char),
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Path => f.write_str("::"),
            Self::Other(letter) => write!(f, "{letter}"),
        }
    }
}

/// The code of one file, each piece with its line.
pub(super) struct Source(Vec<(usize, Token)>);

impl Source {
    /// Takes the code out of a text.
    pub(super) fn read(text: &str) -> Self {
        let mut rest = text;
        let mut line = 1;
        let mut tokens = Vec::new();
        while let Some(first) = rest.chars().next() {
            let (length, token) = if let Some(length) = comment(rest).or_else(|| literal(rest)) {
                (length, None)
            } else if is_name(first) {
                let length = rest.find(|letter| !is_name(letter)).unwrap_or(rest.len());
                (length, Some(Token::Name(rest[..length].to_owned())))
            } else if rest.starts_with("::") {
                (2, Some(Token::Path))
            } else {
                let token = (!first.is_whitespace()).then_some(Token::Other(first));
                (first.len_utf8(), token)
            };
            tokens.extend(token.map(|token| (line, token)));
            line += rest[..length].matches('\n').count();
            rest = &rest[length..];
        }
        Self(tokens)
    }

    fn line(&self, index: usize) -> usize {
        self.0.get(index).map_or(0, |(line, _)| *line)
    }

    fn name(&self, index: usize) -> Option<&str> {
        match self.0.get(index) {
            Some((_, Token::Name(name))) => Some(name),
            Some((_, Token::Path | Token::Other(_))) | None => None,
        }
    }

    fn is(&self, index: usize, token: &Token) -> bool {
        self.0.get(index).is_some_and(|(_, found)| found == token)
    }

    /// Where a name stands.
    fn places_of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = usize> + 'a {
        (0..self.0.len()).filter(move |index| self.name(*index) == Some(name))
    }

    /// Whether the name at this place begins a path: no other name leads to it.
    fn is_head(&self, index: usize) -> bool {
        let Some(before) = index.checked_sub(1) else {
            return true;
        };
        let after_dot = self.is(before, &Token::Other('.'));
        let after_name = self.is(before, &Token::Path)
            && before
                .checked_sub(1)
                .and_then(|index| self.name(index))
                .is_some_and(|name| !["use", "in", "as", "return"].contains(&name));
        !after_dot && !after_name
    }

    /// Where a crate is named: at the head of a path, or imported as a whole.
    pub(super) fn crates_named(&self, name: &str) -> Vec<(usize, String)> {
        self.places_of(name)
            .filter(|index| {
                let before = index.checked_sub(1).and_then(|before| self.name(before));
                let imported = matches!(before, Some("use" | "crate"));
                self.is_head(*index) && (imported || self.is(index + 1, &Token::Path))
            })
            .map(|index| (self.line(index), name.to_owned()))
            .collect()
    }

    /// Where a path, or its end, stands.
    pub(super) fn paths(&self, path: &[&str]) -> Vec<(usize, String)> {
        let Some((first, others)) = path.split_first() else {
            return Vec::new();
        };
        self.places_of(first)
            .filter(|start| {
                others.iter().enumerate().all(|(count, name)| {
                    let place = start + 2 * (count + 1);
                    self.is(place - 1, &Token::Path) && self.name(place) == Some(name)
                })
            })
            .map(|index| (self.line(index), path.join("::")))
            .collect()
    }

    /// The types and modules with a word in their names.
    pub(super) fn declared_with(&self, word: &str) -> Vec<(usize, String)> {
        ["struct", "enum", "union", "trait", "type", "mod"]
            .into_iter()
            .flat_map(|keyword| self.places_of(keyword))
            .filter_map(|index| Some((self.line(index), self.name(index + 1)?)))
            .filter(|(_, name)| words(name).iter().any(|part| part == word))
            .map(|(line, name)| (line, name.to_owned()))
            .collect()
    }

    /// What is taken from the crate root by a file whose module lies `depth` below it: what
    /// follows `crate::`, or as many `super::` as lead there.
    pub(super) fn imports_from_root(&self, depth: usize) -> Vec<(usize, Token)> {
        let mut taken = Vec::new();
        // For each open brace, whether it opened a module.
        let mut braces: Vec<bool> = Vec::new();
        for (index, (_, token)) in self.0.iter().enumerate() {
            match token {
                Token::Other('{') => {
                    let module = index.checked_sub(2).and_then(|before| self.name(before));
                    braces.push(module == Some("mod"));
                }
                Token::Other('}') => {
                    braces.pop();
                }
                Token::Name(name) if name == "crate" && self.is(index + 1, &Token::Path) => {
                    taken.extend(self.taken_at(index + 2));
                }
                Token::Name(name) if name == "super" && self.is_head(index) => {
                    let here = depth + braces.iter().filter(|module| **module).count();
                    let mut supers = 1;
                    while self.name(index + 2 * supers) == Some("super") {
                        supers += 1;
                    }
                    let after = index + 2 * supers;
                    if supers == here && self.is(after - 1, &Token::Path) {
                        taken.extend(self.taken_at(after));
                    }
                }
                Token::Name(_) | Token::Path | Token::Other(_) => {}
            }
        }
        taken
    }

    /// The first names of the paths at a place: one, or those of a group in braces.
    fn taken_at(&self, start: usize) -> Vec<(usize, Token)> {
        if !self.is(start, &Token::Other('{')) {
            return self.0.get(start).cloned().into_iter().collect();
        }
        let mut taken = Vec::new();
        let mut open = 0;
        let mut begins = false;
        for (line, token) in self.0.iter().skip(start) {
            match token {
                Token::Other('{') => {
                    open += 1;
                    begins = open == 1;
                }
                Token::Other('}') if open == 1 => break,
                Token::Other('}') => open -= 1,
                Token::Other(',') => begins = open == 1,
                Token::Name(_) | Token::Path | Token::Other(_) => {
                    if begins {
                        taken.push((*line, token.clone()));
                    }
                    begins = false;
                }
            }
        }
        taken
    }
}

fn is_name(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// The words of a name, in small letters: `SessionManager` and `session_manager` have two.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for letter in name.chars() {
        if letter == '_' || letter.is_uppercase() {
            words.push(String::new());
        }
        if letter != '_' {
            let word = words.last_mut().expect("it begins with one");
            word.extend(letter.to_lowercase());
        }
    }
    words
}

/// The length of the comment that a text begins with.
fn comment(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if !text.starts_with("/*") {
        return None;
    }
    let mut open = 0;
    let mut at = 0;
    while at < text.len() {
        let rest = text.as_bytes().get(at..).unwrap_or_default();
        if rest.starts_with(b"/*") {
            open += 1;
            at += 2;
        } else if rest.starts_with(b"*/") {
            open -= 1;
            at += 2;
            if open == 0 {
                break;
            }
        } else {
            at += 1;
        }
    }
    Some(at)
}

/// The length of the literal that a text begins with, its prefix included.
fn literal(text: &str) -> Option<usize> {
    let prefix = text.find(|letter: char| !letter.is_ascii_lowercase()).unwrap_or(text.len());
    if !["", "b", "c", "r", "br", "cr"].contains(&&text[..prefix]) {
        return None;
    }
    let quoted = &text[prefix..];
    if text[..prefix].ends_with('r') {
        let hashes = quoted.len() - quoted.trim_start_matches('#').len();
        let inside = quoted[hashes..].strip_prefix('"')?;
        let close = format!("\"{}", "#".repeat(hashes));
        let end = inside.find(&close).map_or(inside.len(), |end| end + close.len());
        return Some(prefix + hashes + 1 + end);
    }
    let quote = quoted.chars().next().filter(|quote| "\"'".contains(*quote))?;
    let mut letters = quoted.char_indices().skip(1);
    let mut count = 0;
    while let Some((at, letter)) = letters.next() {
        if letter == quote && (quote == '"' || count > 0) {
            return Some(prefix + at + 1);
        }
        if letter == '\\' {
            letters.next();
        } else if quote == '\'' && count == 1 && !quoted[1..].starts_with('\\') {
            // A lifetime: its name is code.
            return Some(prefix + 1);
        }
        count += 1;
    }
    Some(text.len())
}
