//! The architecture as rules. In every crate, no files import each other in a circle. In `core/src`, imports run one way
//! between the folders, a type name means one thing, and a module with files of its own is a `mod.rs`.
//!
//! An import counts for the file that defines the name, however it was re-exported. So a `mod.rs` that only re-exports
//! is in no circle. A file may use what the module that holds it defines, except in `log/`: there, that closes a circle
//! if the module imports the file.

mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

use source::{Crate, Edges, Files, read_folder};

/// What each part of the crate may import besides itself. `testing` wraps stores and brings clocks for tests.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("text", &[]),
    ("mutant", &[]),
    ("setters", &[]),
    ("error", &["text"]),
    ("fork", &["error"]),
    ("runtime", &["error", "fork"]),
    ("scope", &["runtime"]),
    ("format", &["error", "text", "setters"]),
    ("recorder", &["error", "format"]),
    ("observer", &["error", "text", "runtime", "scope", "format", "recorder"]),
    ("store", &["error", "text", "setters", "fork", "runtime", "scope", "mutant", "format", "recorder", "observer"]),
    ("log", &["error", "text", "setters", "fork", "runtime", "mutant", "format", "recorder", "observer", "store"]),
    ("blocking", &["error", "fork", "runtime", "format", "store", "log"]),
    ("queue", &["error", "fork", "runtime", "format", "log"]),
    ("testing", &["error", "runtime", "store"]),
    ("lib", &["error", "fork", "mutant", "log", "runtime", "store", "format", "recorder", "queue"]),
];

/// The crates of the workspace whose files import each other in no circle.
const CRATES: &[&str] = &["core", "cli", "ffi", "python", "sim", "model", "benches"];

/// The source of a crate, by its folder in the workspace.
fn files(of: &str) -> Files {
    read_folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(of).join("src"))
}

fn core() -> Crate {
    Crate::parse(&files("core"))
}

/// The part of the crate that a file belongs to.
fn part(file: &str) -> &str {
    file.split(['/', '.']).next().unwrap_or(file)
}

/// Imports that go the wrong way between the parts.
fn wrong_ways(edges: &Edges, allowed: &[(&str, &[&str])]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (from, uses) in edges {
        let may = allowed.iter().find(|(of, _)| *of == part(from)).map(|(_, may)| *may);
        for (to, names) in uses {
            if part(from) != part(to) && !may.is_some_and(|may| may.contains(&part(to))) {
                wrong.push(format!("{from} -> {to}: {}", list(names)));
            }
        }
    }
    wrong
}

/// The circles among the files of a crate: each group of files that reach each other, with the names that tie them.
fn circles(edges: &Edges) -> Vec<String> {
    let mut reached = BTreeMap::<&str, BTreeSet<&str>>::new();
    for from in edges.keys() {
        let (mut all, mut open) = (BTreeSet::new(), vec![from.as_str()]);
        while let Some(file) = open.pop() {
            for to in edges.get(file).into_iter().flat_map(BTreeMap::keys) {
                if all.insert(to.as_str()) {
                    open.push(to);
                }
            }
        }
        reached.insert(from, all);
    }
    let mut found = BTreeSet::new();
    for (from, to) in &reached {
        let circle: BTreeSet<&str> = to.iter().copied().filter(|to| reached[to].contains(from)).collect();
        if circle.len() > 1 {
            found.insert(circle);
        }
    }
    let told = |circle: &BTreeSet<&str>| {
        let mut text = format!("a circle of {} files:\n", circle.len());
        for from in circle {
            for (to, names) in edges[*from].iter().filter(|(to, _)| circle.contains(to.as_str())) {
                let _ = writeln!(text, "  {from} -> {to}: {}", list(names));
            }
        }
        text
    };
    found.iter().map(told).collect()
}

/// The file of the module that holds a file: `a.rs` or `a/mod.rs` for `a/b.rs`, and for all below it.
fn holds(holder: &str, file: &str) -> bool {
    let folder = holder.strip_suffix("/mod.rs").or(holder.strip_suffix(".rs")).unwrap_or(holder);
    holder != file && file.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

/// Leaves out what files use of the modules that hold them, except below a folder.
fn without_holders(mut edges: Edges, except: &str) -> Edges {
    for (from, uses) in edges.iter_mut().filter(|(from, _)| !from.starts_with(except)) {
        uses.retain(|to, _| !holds(to, from));
    }
    edges
}

fn doubled(types: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let doubled = types.iter().filter(|(_, files)| files.len() > 1);
    doubled.map(|(name, files)| format!("{name}: {}", list(files))).collect()
}

fn list(names: &BTreeSet<String>) -> String {
    names.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

#[test]
fn imports_between_the_folders_run_one_way() {
    let wrong = wrong_ways(&core().edges(), MAY_IMPORT);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let mut found = String::new();
    for of in CRATES {
        for circle in circles(&without_holders(Crate::parse(&files(of)).edges(), "log/")) {
            let _ = writeln!(found, "in {of}/src, {circle}");
        }
    }
    assert!(found.is_empty(), "{found}");
}

#[test]
fn a_type_name_means_one_thing() {
    let doubled = doubled(&core().types());
    assert!(doubled.is_empty(), "declared more than once:\n{}", doubled.join("\n"));
}

#[test]
fn a_module_with_files_of_its_own_is_a_mod_rs() {
    let files = files("core");
    let flat = |file: &&String| {
        let own = file.trim_end_matches(".rs");
        files.keys().any(|other| other.strip_prefix(own).is_some_and(|rest| rest.starts_with('/') && !is_test(other)))
    };
    let found: Vec<_> = files.keys().filter(|file| !file.ends_with("/mod.rs")).filter(flat).collect();
    assert!(found.is_empty(), "{found:?}");
}

fn is_test(file: &str) -> bool {
    file.ends_with("/tests.rs") || file.contains("/tests/")
}

/// A crate in memory.
fn planted(files: &[(&str, &str)]) -> Crate {
    Crate::parse(&files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect::<Files>())
}

#[test]
fn the_reader_of_source_sees_the_whole_crate() {
    let (edges, types) = (core().edges(), core().types());
    assert!(edges.len() > 120, "{} files", edges.len());
    assert!(types.len() > 200, "{} types", types.len());
    assert!(edges.values().map(BTreeMap::len).sum::<usize>() > 600);
    assert!(
        edges["lib.rs"].contains_key("log/bucket.rs"),
        "through the re-export of log/mod.rs: {:?}",
        edges["lib.rs"]
    );
    assert!(edges.keys().all(|file| !file.contains("tests")), "{:?}", edges.keys());
}

#[test]
fn a_planted_circle_is_found_however_it_is_written() {
    let lib = ("lib.rs", "mod log;");
    for (a, b) in [
        ("use super::b::B; pub struct A;", "use super::a::A; pub struct B;"),
        ("use crate::log::b::{self, B}; pub struct A;", "use crate::log::{a::{A as Other}}; pub struct B;"),
        ("pub struct A(crate::log::b::B);", "pub struct B; fn f() { let _ = super::a::A::new(); }"),
        ("use super::b; pub struct A; fn f() { b::g() }", "pub fn g() { use super::a::*; }"),
        ("use super::Again; pub struct A;", "use super::super::log::a::A; pub struct B;"),
    ] {
        let tree =
            planted(&[lib, ("log/mod.rs", "mod a; mod b; pub use b::B as Again;"), ("log/a.rs", a), ("log/b.rs", b)]);
        let found = circles(&tree.edges());
        assert_eq!(found.len(), 1, "{a} | {b}: {found:?}\n{:?}", tree.edges());
        assert!(
            found[0].contains("log/a.rs -> log/b.rs: ") && found[0].contains("log/b.rs -> log/a.rs: "),
            "{}",
            found[0]
        );
    }
}

#[test]
fn a_parent_that_only_re_exports_is_in_no_circle_and_one_whose_items_its_children_use_is() {
    let a = ("log/a.rs", "use super::B; pub struct A;");
    let b = ("log/b/mod.rs", "mod inner; pub use inner::B;");
    let inner = ("log/b/inner.rs", "pub struct B;");
    let lib = ("lib.rs", "mod log;");
    let tree = planted(&[lib, ("log/mod.rs", "mod a; mod b; pub use a::A; pub use b::B;"), a, b, inner]);
    assert!(circles(&tree.edges()).is_empty(), "{:?}", tree.edges());
    assert_eq!(list(&tree.edges()["log/a.rs"]["log/b/inner.rs"]), "B", "to the file that defines it");

    let parent = ("log/b/mod.rs", "mod inner; pub use inner::B; pub const MOST: usize = 1;");
    let child = ("log/b/inner.rs", "use super::MOST; pub struct B;");
    let tree = planted(&[lib, ("log/mod.rs", "mod a; mod b; pub use b::B;"), a, parent, child]);
    assert_eq!(
        circles(&tree.edges()),
        ["a circle of 2 files:\n  log/b/inner.rs -> log/b/mod.rs: MOST\n  log/b/mod.rs -> log/b/inner.rs: B\n"]
    );
    assert_eq!(circles(&without_holders(tree.edges(), "log/")).len(), 1);
    assert!(circles(&without_holders(tree.edges(), "store/")).is_empty());
}

#[test]
fn a_module_holds_the_files_below_it_and_no_other() {
    for (holder, file) in [("a/mod.rs", "a/b.rs"), ("a.rs", "a/b.rs"), ("a/mod.rs", "a/b/mod.rs"), ("a.rs", "a/b/c.rs")]
    {
        assert!(holds(holder, file) && !holds(file, holder), "{holder} {file}");
    }
    for (other, file) in [("a/mod.rs", "a/mod.rs"), ("a/c.rs", "a/b.rs"), ("a.rs", "ab/c.rs"), ("lib.rs", "a.rs")] {
        assert!(!holds(other, file), "{other} {file}");
    }
}

#[test]
fn comments_strings_and_tests_tie_nothing() {
    let a = r##"
        //! crate::log::b::B
        /* use super::b::B; /* nested */ */
        pub struct A<'a> { name: &'a str, #[cfg(test)] b: Vec<super::b::B>, sign: char }
        const TEXT: &str = "use super::b::B; \" super::b::B";
        const RAW: &str = r#"super::b::B "quoted""#;
        const SIGNS: [char; 2] = ['"', '\''];
        #[cfg(test)]
        #[allow(dead_code)]
        fn helper<T, U>(_: [u8; 2]) { super::b::B::new(); }
        #[cfg(test)]
        use super::b::B;
        #[cfg(test)]
        mod tests { use super::super::b::B; struct Twice; }
    "##;
    let tree = planted(&[
        ("lib.rs", "mod log;"),
        ("log/mod.rs", "mod a; mod b; #[cfg(test)] mod gone;"),
        ("log/a.rs", a),
        ("log/b.rs", "use super::a::A; pub struct B; struct Twice;"),
    ]);
    assert!(circles(&tree.edges()).is_empty(), "{:?}", tree.edges());
    assert!(doubled(&tree.types()).is_empty());
    assert!(tree.edges()["log/b.rs"].contains_key("log/a.rs"));
}

#[test]
fn a_planted_second_type_and_a_wrong_way_are_found() {
    let tree = planted(&[
        ("lib.rs", "mod format; mod log;"),
        ("format.rs", "pub enum Step {} impl Iterator for Step { type Item = Step; } fn f() -> crate::log::Step {}"),
        ("log.rs", "use crate::format; pub type Step = u8; impl Iterator for X { type Item = format::Step; }"),
    ]);
    assert_eq!(doubled(&tree.types()), ["Step: format.rs, log.rs"]);
    let rules: &[(&str, &[&str])] = &[("format", &[]), ("log", &["format"])];
    assert_eq!(wrong_ways(&tree.edges(), rules), ["format.rs -> log.rs: Step"]);
    let unnamed: &[(&str, &[&str])] = &[("format", &["log"])];
    assert_eq!(wrong_ways(&tree.edges(), unnamed), ["log.rs -> format.rs: Step"], "a part that the rules do not name");
}
