//! A small reader of Rust source: the modules of a crate, what each of them defines, and what it names of the others.
//!
//! It reads `mod`, `use` and item declarations, and paths such as `crate::a::b` or `b::c`. It expands no macro and knows
//! no types, so a call of a method ties nothing. What stands under `#[cfg(test)]` is left out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Text of source files, by their path below the source folder.
pub(crate) type Files = BTreeMap<String, String>;

/// All `.rs` files below a folder.
pub(crate) fn read_folder(root: &Path) -> Files {
    let (mut files, mut folders) = (Files::new(), vec![root.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let path = entry.expect("an entry of the folder").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                let name = path.strip_prefix(root).expect("a path below the root").to_str().expect("a UTF-8 path");
                files.insert(name.to_owned(), std::fs::read_to_string(&path).expect("a UTF-8 file"));
            }
        }
    }
    files
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Ident(String),
    /// `::`
    Separator,
    Sign(char),
    /// A literal or a lifetime, which names nothing.
    Other,
}

/// A `use` declaration: the path, and the name that it has here; `None` for `*`.
#[derive(Debug)]
struct Import {
    path: Vec<String>,
    name: Option<String>,
}

/// A module: a file, or a block in one.
#[derive(Debug, Default)]
struct Module {
    file: String,
    items: BTreeSet<String>,
    types: BTreeSet<String>,
    imports: Vec<Import>,
    /// Paths of two and more segments in its code.
    paths: Vec<Vec<String>>,
}

/// The modules of a crate.
#[derive(Debug, Default)]
pub(crate) struct Crate {
    modules: BTreeMap<Vec<String>, Module>,
}

/// The names by which one file uses others.
pub(crate) type Edges = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

impl Crate {
    /// Reads the crate whose root is `lib.rs` or, if it has none, `main.rs`.
    pub(crate) fn parse(files: &Files) -> Crate {
        let root = if files.contains_key("lib.rs") { "lib.rs" } else { "main.rs" };
        let mut parsed = Crate::default();
        parsed.file(files, root, "", Vec::new());
        parsed
    }

    fn file(&mut self, files: &Files, file: &str, children: &str, path: Vec<String>) {
        let text = files.get(file).unwrap_or_else(|| panic!("no file {file}"));
        let tokens = without_tests(tokens(text));
        self.module(files, file, children, path, &tokens);
    }

    fn module(&mut self, files: &Files, file: &str, children: &str, path: Vec<String>, tokens: &[Token]) {
        let mut module = Module { file: file.to_owned(), ..Module::default() };
        let (mut at, mut depth) = (0_usize, 0_usize);
        while let Some(token) = tokens.get(at) {
            let next = ident(tokens.get(at + 1));
            at += 1;
            match token {
                Token::Sign('{') => depth += 1,
                Token::Sign('}') => depth = depth.saturating_sub(1),
                Token::Ident(word) => match (word.as_str(), next) {
                    ("mod", Some(name)) if depth == 0 => {
                        let child = [&path[..], &[name.to_owned()]].concat();
                        let below = format!("{children}{name}/");
                        match tokens.get(at + 1) {
                            Some(Token::Sign('{')) => {
                                let end = block_end(tokens, at + 1);
                                self.module(files, file, &below, child, &tokens[at + 2..end]);
                                at = end + 1;
                            }
                            _ => {
                                let flat = format!("{children}{name}.rs");
                                let own = if files.contains_key(&flat) { flat } else { format!("{below}mod.rs") };
                                self.file(files, &own, &below, child);
                                at += 1;
                            }
                        }
                    }
                    ("use", _) if !matches!(tokens.get(at), Some(Token::Sign('<'))) => {
                        at = use_tree(tokens, at, Vec::new(), &mut module.imports);
                    }
                    ("struct" | "enum" | "trait", Some(name)) => {
                        module.items.insert(name.to_owned());
                        module.types.insert(name.to_owned());
                    }
                    ("union", Some(name)) if matches!(tokens.get(at + 1), Some(Token::Sign('{' | '<'))) => {
                        module.items.insert(name.to_owned());
                        module.types.insert(name.to_owned());
                    }
                    ("type", Some(name)) if depth == 0 => {
                        module.items.insert(name.to_owned());
                        module.types.insert(name.to_owned());
                    }
                    ("fn" | "const" | "static", Some(name)) if depth == 0 => {
                        module.items.insert(name.to_owned());
                    }
                    ("macro_rules", _) => {
                        if let Some(name) = ident(tokens.get(at + 1)) {
                            module.items.insert(name.to_owned());
                        }
                    }
                    _ => {
                        let (written, end) = path_from(tokens, at - 1);
                        if written.len() > 1 {
                            module.paths.push(written);
                        }
                        at = end;
                    }
                },
                _ => {}
            }
        }
        self.modules.insert(path, module);
    }

    /// What files use of each other, with each name taken to the file that defines it.
    pub(crate) fn edges(&self) -> Edges {
        let mut edges = Edges::new();
        for (at, module) in &self.modules {
            let of = edges.entry(module.file.clone()).or_default();
            let imports = module.imports.iter().map(|import| (&import.path, import.name.is_none()));
            for (path, glob) in imports.chain(module.paths.iter().map(|path| (path, false))) {
                for defined in self.defining(at, path, glob, 0) {
                    if defined != module.file {
                        let last = if glob { "*" } else { path.last().map_or("", String::as_str) };
                        of.entry(defined).or_default().insert(last.to_owned());
                    }
                }
            }
        }
        edges
    }

    /// The files that define what a path names, seen from a module. Empty for what is another crate's, and for a module:
    /// only what is taken from it counts.
    fn defining(&self, from: &[String], path: &[String], glob: bool, depth: usize) -> BTreeSet<String> {
        let mut at = from.to_vec();
        let mut rest = path;
        // More is no re-export, but names that refer to each other.
        if depth > 16 {
            return BTreeSet::new();
        }
        let mut anchored = false;
        while let Some((first, more)) = rest.split_first() {
            match first.as_str() {
                "crate" => at.clear(),
                "self" => {}
                "super" => drop(at.pop()),
                _ => break,
            }
            anchored = true;
            rest = more;
        }
        while let Some((name, more)) = rest.split_first() {
            let child = [&at[..], std::slice::from_ref(name)].concat();
            if self.modules.contains_key(&child) {
                at = child;
                anchored = true;
                rest = more;
                continue;
            }
            let Some(module) = self.modules.get(&at) else { return BTreeSet::new() };
            if module.items.contains(name) {
                return BTreeSet::from([module.file.clone()]);
            }
            let mut found = BTreeSet::new();
            for import in &module.imports {
                let named = import.name.as_ref() == Some(name) && import.path != path;
                if named || import.name.is_none() {
                    let tail = if named { more } else { rest };
                    let whole = [&import.path[..], tail].concat();
                    found.extend(self.defining(&at, &whole, false, depth + 1));
                }
            }
            // What a macro makes is the file's that calls it.
            if found.is_empty() && anchored && depth == 0 && !self.is_foreign(&at, name) {
                found.insert(module.file.clone());
            }
            return found;
        }
        if glob {
            self.modules.get(&at).map(|module| module.file.clone()).into_iter().collect()
        } else {
            BTreeSet::new()
        }
    }

    /// Whether a name in a module is an import of something that is not this crate's, or of a module.
    fn is_foreign(&self, at: &[String], name: &str) -> bool {
        self.modules.get(at).is_some_and(|m| m.imports.iter().any(|import| import.name.as_deref() == Some(name)))
    }

    /// The files in which each type name is declared. Declarations in one module are one type: only a `cfg` can part them.
    pub(crate) fn types(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut types = BTreeMap::<String, BTreeSet<String>>::new();
        for module in self.modules.values() {
            for name in &module.types {
                types.entry(name.clone()).or_default().insert(module.file.clone());
            }
        }
        types
    }
}

fn ident(token: Option<&Token>) -> Option<&str> {
    match token {
        Some(Token::Ident(name)) => Some(name),
        _ => None,
    }
}

/// The path whose first segment stands at `at`, and where the code goes on. The rest of a path that begins with
/// something else (`<T>::new`, `x.y::<T>()`) names nothing.
fn path_from(tokens: &[Token], at: usize) -> (Vec<String>, usize) {
    let mut path = Vec::new();
    let mut next = at;
    while let Some(name) = ident(tokens.get(next)) {
        path.push(name.to_owned());
        next += 1;
        if tokens.get(next) != Some(&Token::Separator) || ident(tokens.get(next + 1)).is_none() {
            break;
        }
        next += 1;
    }
    let before = at.checked_sub(1).and_then(|before| tokens.get(before));
    if matches!(before, Some(Token::Separator | Token::Sign('.'))) {
        path.clear();
    }
    (path, next)
}

/// Reads one tree of a `use`, and says where it ends.
fn use_tree(tokens: &[Token], mut at: usize, mut path: Vec<String>, into: &mut Vec<Import>) -> usize {
    loop {
        match tokens.get(at) {
            Some(Token::Ident(word)) if word == "as" => {
                let name = ident(tokens.get(at + 1)).unwrap_or("_").to_owned();
                into.push(Import { path, name: Some(name) });
                return at + 2;
            }
            Some(Token::Ident(word)) => {
                // `a::{self}` is `a`.
                if word != "self" || path.is_empty() {
                    path.push(word.clone());
                }
                at += 1;
            }
            Some(Token::Separator) => at += 1,
            Some(Token::Sign('*')) => {
                into.push(Import { path, name: None });
                return at + 1;
            }
            Some(Token::Sign('{')) => {
                at += 1;
                while tokens.get(at).is_some_and(|token| *token != Token::Sign('}')) {
                    at = use_tree(tokens, at, path.clone(), into);
                    if tokens.get(at) == Some(&Token::Sign(',')) {
                        at += 1;
                    }
                }
                return at + 1;
            }
            _ => {
                let name = path.last().cloned();
                into.extend(name.map(|name| Import { path, name: Some(name) }));
                return at;
            }
        }
    }
}

/// Where the block ends that begins at `open`.
fn block_end(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token {
            Token::Sign('{' | '(' | '[') => depth += 1,
            Token::Sign('}' | ')' | ']') => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    panic!("a block has no end")
}

/// Leaves out what stands under `#[cfg(test)]`.
fn without_tests(tokens: Vec<Token>) -> Vec<Token> {
    let attribute: Vec<Token> = self::tokens("#[cfg(test)]");
    let (mut kept, mut at) = (Vec::with_capacity(tokens.len()), 0);
    while at < tokens.len() {
        if !tokens[at..].starts_with(&attribute) {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        at += attribute.len();
        while tokens[at..].starts_with(&[Token::Sign('#'), Token::Sign('[')]) {
            at = block_end(&tokens, at + 1) + 1;
        }
        let starts =
            ["pub", "mod", "use", "fn", "async", "unsafe", "const", "static", "type", "struct", "enum", "impl"];
        let item = ident(tokens.get(at)).is_some_and(|word| starts.contains(&word));
        let visible_field = tokens.get(at + 1) == Some(&Token::Sign(':'));
        loop {
            match &tokens[at] {
                Token::Sign('{') => {
                    at = block_end(&tokens, at) + 1;
                    break;
                }
                Token::Sign('(' | '[') => at = block_end(&tokens, at) + 1,
                // The end of what holds the field.
                Token::Sign('}') => break,
                Token::Sign(';') => {
                    at += 1;
                    break;
                }
                Token::Sign(',') if !item || visible_field => {
                    at += 1;
                    break;
                }
                _ => at += 1,
            }
        }
    }
    kept
}

/// The tokens of a source text, without comments.
fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let at_is = |at: usize, sign: char| chars.get(at) == Some(&sign);
    let word = |from: usize| (from..).find(|at| !chars.get(*at).is_some_and(|c| c.is_alphanumeric() || *c == '_'));
    let (mut tokens, mut at) = (Vec::new(), 0);
    while let Some(&sign) = chars.get(at) {
        if at_is(at, '/') && at_is(at + 1, '/') {
            at = (at..).find(|at| chars.get(*at).is_none_or(|c| *c == '\n')).unwrap_or(at);
        } else if at_is(at, '/') && at_is(at + 1, '*') {
            let mut depth = 1;
            at += 2;
            while depth > 0 && at < chars.len() {
                if at_is(at, '/') && at_is(at + 1, '*') {
                    (depth, at) = (depth + 1, at + 2);
                } else if at_is(at, '*') && at_is(at + 1, '/') {
                    (depth, at) = (depth - 1, at + 2);
                } else {
                    at += 1;
                }
            }
        } else if sign == '"' {
            at = string_end(&chars, at);
            tokens.push(Token::Other);
        } else if sign == '\'' {
            // A lifetime has no second quote directly after one character.
            let escaped = at_is(at + 1, '\\');
            if escaped || at_is(at + 2, '\'') {
                let from = if escaped { at + 3 } else { at + 2 };
                at = (from..).find(|at| at_is(*at, '\'') || *at >= chars.len()).unwrap_or(from) + 1;
            } else {
                at = word(at + 1).unwrap_or(at + 1);
            }
            tokens.push(Token::Other);
        } else if sign.is_alphabetic() || sign == '_' {
            let end = word(at).unwrap_or(at + 1);
            let name: String = chars[at..end].iter().collect();
            let hashes = (end..).take_while(|at| at_is(*at, '#')).count();
            let raw = matches!(name.as_str(), "r" | "br" | "cr");
            if raw && at_is(end + hashes, '"') {
                let close: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
                let from = end + hashes + 1;
                at = (from..chars.len()).find(|at| chars[*at..].starts_with(&close)).unwrap_or(chars.len())
                    + close.len();
                tokens.push(Token::Other);
            } else if matches!(name.as_str(), "b" | "c") && (at_is(end, '"') || at_is(end, '\'')) {
                // The literal follows.
                at = end;
            } else {
                tokens.push(Token::Ident(name));
                at = end;
            }
        } else if sign.is_ascii_digit() {
            at = word(at).unwrap_or(at + 1);
            tokens.push(Token::Other);
        } else if sign == ':' && at_is(at + 1, ':') {
            tokens.push(Token::Separator);
            at += 2;
        } else {
            if !sign.is_whitespace() {
                tokens.push(Token::Sign(sign));
            }
            at += 1;
        }
    }
    tokens
}

fn string_end(chars: &[char], open: usize) -> usize {
    let mut at = open + 1;
    while let Some(sign) = chars.get(at) {
        match sign {
            '"' => return at + 1,
            '\\' => at += 2,
            _ => at += 1,
        }
    }
    at
}
