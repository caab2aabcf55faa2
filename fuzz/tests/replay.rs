//! Replays `corpus/` and `artifacts/` without a fuzzer, and the vectors as seeds.

use std::fs;
use std::path::Path;

fn replay(folder: &Path, run: fn(&[u8])) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            replay(&path, run);
        } else {
            run(&fs::read(&path).unwrap());
        }
    }
}

#[test]
fn the_corpus_and_the_vectors_are_read_by_every_target() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (name, run) in kfs_fuzz::TARGETS {
        replay(&root.join("corpus").join(name), run);
        replay(&root.join("artifacts").join(name), run);
        replay(&root.join("../tests/vectors/small"), run);
        replay(&root.join("../tests/vectors/clients"), run);
    }
}
