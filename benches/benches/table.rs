//! The table of all benchmarks as last measured. With `--record` it takes its place in
//! `docs/benchmarks.md` too; `--forget` forgets what earlier runs measured instead.

use std::path::Path;

use kfs_benches::{figures, machine, table};

const BEGIN: &str = "<!-- recorded by `make bench RECORD=1` -->\n";
const END: &str = "<!-- end -->\n";

fn main() {
    let told = |flag: &str| std::env::args().any(|arg| arg == flag);
    if told("--forget") {
        return figures::forget();
    }
    let text = format!("{}.\n\n{}", machine(), table::markdown(None));
    println!("\n{text}");
    if told("--record") {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/benchmarks.md");
        let document = std::fs::read_to_string(&path).expect("the document");
        let (before, rest) = document.split_once(BEGIN).expect("where the table begins");
        let (_, after) = rest.split_once(END).expect("where the table ends");
        std::fs::write(&path, format!("{before}{BEGIN}\n{text}\n{END}{after}")).expect("written");
    }
}
