//! Runs the Python tests on the extension module that cargo built beside this test. No maturin and no
//! virtual environment: the package is laid out in a temporary directory.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// The access key that the fake of S3 knows.
const KEY_ID: &str = "supplied-access-key-id";

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A Python that is new enough, or why there is none.
fn python() -> Result<PathBuf, String> {
    let python = PathBuf::from(std::env::var_os("PYTHON").unwrap_or_else(|| "python3".into()));
    let check = "import sys; sys.exit(f'it is {sys.version}' if sys.version_info < (3, 11) else 0)";
    match Command::new(&python).args(["-c", check]).output() {
        Ok(output) if output.status.success() => Ok(python),
        Ok(output) => Err(format!("Python 3.11 is needed: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Err(format!("{} can't be run: {error}", python.display())),
    }
}

/// The package, with the extension module, in a directory for PYTHONPATH.
fn lay_out() -> TempDir {
    let directory = TempDir::new().expect("make a directory");
    let package = directory.path().join("kfs");
    std::fs::create_dir(&package).unwrap();
    for entry in std::fs::read_dir(here().join("python/kfs")).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), package.join(entry.file_name())).unwrap();
        }
    }
    let built = std::env::current_exe().expect("this test's path");
    let module = built.with_file_name(format!("{}_kfs{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX));
    std::fs::copy(&module, package.join("_kfs.abi3.so"))
        .unwrap_or_else(|error| panic!("cargo built no {}: {error}", module.display()));
    directory
}

fn succeed(output: &Output) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}\n{}", output.status, text(&output.stdout), text(&output.stderr));
}

#[test]
fn the_python_tests_pass() {
    let python = match python() {
        Ok(python) => python,
        Err(why) => return kfs_tests::skip(&why),
    };
    let directory = lay_out();
    let fake = kfs_tests::FakeS3::start_for_key(KEY_ID);
    let output = Command::new(python)
        .args(["-X", "dev", "-B", "-W", "ignore::DeprecationWarning", "-m", "unittest", "-v"])
        .args(["test_roundtrip", "test_credentials"])
        .current_dir(here().join("tests"))
        .env("PYTHONPATH", directory.path())
        .envs([("KFS_TEST_ENDPOINT", fake.endpoint()), ("KFS_TEST_ID", KEY_ID)])
        .output()
        .expect("run Python");
    succeed(&output);
}

#[test]
fn the_stub_names_what_the_module_has() {
    let python = match python() {
        Ok(python) => python,
        Err(why) => return kfs_tests::skip(&why),
    };
    let directory = lay_out();
    let output = Command::new(python)
        .args(["-B", "-c", include_str!("compare_stub.py")])
        .env("PYTHONPATH", directory.path())
        .output()
        .expect("run Python");
    succeed(&output);
}
