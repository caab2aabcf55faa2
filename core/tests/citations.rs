//! Comments cite the headings of docs/design.md by name. A heading that is renamed must be renamed there, too.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const CITES: &str = "docs/design.md, \"";

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs" || extension == "md") {
            found.push(path);
        }
    }
}

#[test]
fn every_heading_of_the_design_that_a_comment_cites_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let design = std::fs::read_to_string(root.join("docs/design.md")).unwrap();
    let headings: BTreeSet<_> =
        design.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim()).collect();
    let mut files = Vec::new();
    for folder in ["benches", "cli", "core", "docs", "ffi", "model", "python/src", "sim", "tests"] {
        sources(&root.join(folder), &mut files);
    }
    let mut cited = 0;
    for file in files {
        // A comment may break a line within a heading.
        let words: Vec<_> = std::fs::read_to_string(&file)
            .unwrap_or_default()
            .lines()
            .map(|line| line.trim().trim_start_matches('/').trim_start_matches('!').trim())
            .collect::<Vec<_>>()
            .join(" ")
            .split(CITES)
            .skip(1)
            .map(|rest| rest.split('"').next().unwrap_or_default().to_owned())
            .collect();
        for heading in words {
            // This file has the words that it looks for, too.
            if !file.ends_with("core/tests/citations.rs") {
                assert!(headings.contains(&*heading), "{} cites {heading:?}", file.display());
                cited += 1;
            }
        }
    }
    assert!(cited > 20, "comments cite the design: {cited}");
}
