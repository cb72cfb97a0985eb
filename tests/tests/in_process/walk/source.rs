//! What stands in a source file, as far as the walk must know: its items, and the words in each of them.

use std::collections::{BTreeMap, BTreeSet};

/// An item without its comments and texts.
#[derive(Debug)]
pub(super) struct Item {
    text: String,
    words: BTreeSet<String>,
    /// What it declares: others that speak of that make use of it.
    names: Vec<String>,
}

/// A test of a file, and all that it makes use of there.
#[derive(Debug)]
pub(super) struct Test {
    pub(super) is_ignored: bool,
    texts: String,
    words: BTreeSet<String>,
}

impl Test {
    /// Whether it, or what it makes use of, speaks of that.
    pub(super) fn has_word(&self, word: &str) -> bool {
        self.words.contains(word)
    }

    /// Whether it, or what it makes use of, calls that method.
    pub(super) fn calls(&self, method: &str) -> bool {
        let dense: String = self.texts.chars().filter(|c| !c.is_whitespace()).collect();
        dense.contains(&format!(".{method}("))
    }
}

/// The source with spaces in place of comments and of what texts and characters hold.
fn stripped(source: &str) -> String {
    let mut stripped = String::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if let Some(raw) = rest.strip_prefix("r#\"") {
            raw.find("\"#").map_or(rest.len(), |end| end + 5)
        } else if first == '"' {
            let mut escaped = false;
            let end = rest[1..].find(|c| {
                let ends = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                ends
            });
            end.map_or(rest.len(), |end| end + 2)
        } else if first == '\'' {
            // A character, or a lifetime.
            let escaped = usize::from(rest[1..].starts_with('\\'));
            let held = rest[1 + escaped..].chars().next().map_or(0, char::len_utf8);
            let end = 1 + escaped + held;
            if rest[end..].starts_with('\'') { end + 1 } else { 0 }
        } else {
            0
        };
        match skipped {
            0 => stripped.push(first),
            _ => stripped.push(' '),
        }
        rest = &rest[skipped.max(first.len_utf8()).min(rest.len())..];
    }
    stripped
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// Splits what stands at the outermost level.
fn split(text: &str, items: &mut Vec<Item>) {
    let (mut depth, mut begin) = (0, 0);
    for (at, c) in text.char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 && (c == '}' || c == ';') {
            add(&text[begin..=at], items);
            begin = at + 1;
        }
    }
}

fn add(text: &str, items: &mut Vec<Item>) {
    let head = text.split('{').next().unwrap_or_default();
    let all: Vec<&str> = words(head).collect();
    if all.contains(&"mod")
        && !all.contains(&"fn")
        && let Some((_, body)) = text.split_once('{')
    {
        return split(body.rsplit_once('}').map_or(body, |(body, _)| body), items);
    }
    let is_macro = head.contains('!') && !head.contains("#!") && !all.contains(&"fn") && !all.contains(&"impl");
    let declares = ["fn", "struct", "enum", "trait", "const", "static", "type", "macro_rules"];
    let names = if all.contains(&"impl") {
        // It belongs to whatever it is about.
        let about = head.rsplit_once(" for ").map_or(head, |(_, about)| about);
        words(about).filter(|word| !["impl", "where"].contains(word)).map(str::to_owned).collect()
    } else if is_macro && !all.contains(&"macro_rules") {
        words(text).map(str::to_owned).collect()
    } else {
        let declared = all.windows(2).find(|pair| declares.contains(&pair[0]) && pair[1] != "fn");
        declared.map(|pair| pair[1].to_owned()).into_iter().collect()
    };
    let words = words(text).map(str::to_owned).collect();
    items.push(Item { text: text.to_owned(), words, names });
}

/// The tests of a file by their names.
pub(super) fn tests(source: &str) -> BTreeMap<String, Test> {
    let mut items = Vec::new();
    split(&stripped(source), &mut items);
    let mut tests = BTreeMap::new();
    for (place, item) in items.iter().enumerate() {
        let head = item.text.split('{').next().unwrap_or_default();
        let (attributes, signature) = head.split_once("fn ").unwrap_or((head, ""));
        let dense: String = attributes.chars().filter(|c| !c.is_whitespace()).collect();
        if !dense.contains("#[test]") && !dense.contains("#[tokio::test") {
            continue;
        }
        let used = used_by(&items, place);
        let test = Test {
            is_ignored: words(attributes).any(|word| word == "ignore"),
            texts: used.iter().map(|item| item.text.as_str()).collect(),
            words: used.iter().flat_map(|item| &item.words).cloned().collect(),
        };
        tests.extend(words(signature).next().map(|name| (name.to_owned(), test)));
    }
    tests
}

/// An item, what it makes use of, and what that does; but no other test.
fn used_by(items: &[Item], place: usize) -> Vec<&Item> {
    let (mut used, mut looked_at) = (BTreeSet::from([place]), vec![place]);
    while let Some(place) = looked_at.pop() {
        for (other, item) in items.iter().enumerate() {
            if item.names.iter().any(|name| items[place].words.contains(name)) && used.insert(other) {
                looked_at.push(other);
            }
        }
    }
    used.into_iter().map(|place| &items[place]).collect()
}

#[test]
fn a_test_uses_what_stands_in_it_and_in_what_it_calls_and_nothing_else() {
    let source = r#"
        //! Speaks of everything: lease, weight, label, mailbox.
        use some::thing;

        const NOTE: &str = "label {";

        workers! {
            Small(mailbox = 3),
        }

        fn build(id: &'static str) -> Builder {
            Builder::new(id).weight('{', 2)
        }

        fn other() -> Builder {
            build("b").lease(1)
        }

        struct Used;

        impl Lifecycle for Used {
            fn started(&self) { everywhere.state_wait() }
        }

        mod tests {
            #[tokio::test(flavor = "multi_thread")]
            async fn shows_it() {
                // .lease(2)
                let small = Small { used: Used };
                build(NOTE).start();
            }

            #[test]
            #[ignore = "it is slow"]
            fn shows_nothing() {
                other();
            }
        }
    "#;
    let tests = tests(source);
    let (shows, ignored) = (&tests["shows_it"], &tests["shows_nothing"]);
    assert_eq!((tests.len(), shows.is_ignored, ignored.is_ignored), (2, false, true));
    assert!(shows.calls("weight") && shows.calls("state_wait") && shows.has_word("mailbox"), "{shows:?}");
    assert!(!shows.has_word("lease") && !shows.has_word("label") && !shows.calls("mailbox"), "{shows:?}");
    assert!(ignored.calls("lease") && ignored.calls("weight") && !ignored.has_word("mailbox"), "{ignored:?}");
}
