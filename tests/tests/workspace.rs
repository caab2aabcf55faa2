//! What the workspace promises of itself: its dependencies and the Rust that it needs.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

fn cargo(arguments: &[&str]) -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo).args(arguments).current_dir(kfs_tests::repository()).output().expect("run cargo");
    assert!(output.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("cargo prints UTF-8")
}

/// Names of all packages that kfs-core links with these features.
fn linked_by_core(features: &[&str]) -> BTreeSet<String> {
    let mut arguments = vec!["tree", "--locked", "-p", "kfs-core", "-e", "normal", "--prefix", "none", "-f", "{p}"];
    arguments.extend(features);
    cargo(&arguments).lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

const NETWORK: [&str; 17] = [
    "aws-lc-rs",
    "aws-lc-sys",
    "h2",
    "http-body",
    "hyper",
    "hyper-rustls",
    "hyper-util",
    "mio",
    "native-tls",
    "openssl",
    "openssl-sys",
    "reqwest",
    "ring",
    "rustls",
    "socket2",
    "tokio-rustls",
    "ureq",
];

#[test]
fn the_core_links_no_http_no_tls_and_no_sockets_by_default() {
    let linked = linked_by_core(&[]);
    assert!(linked.contains("object_store"), "the tree was not read: {linked:?}");
    let found: Vec<_> = NETWORK.iter().filter(|name| linked.contains(**name)).collect();
    assert!(found.is_empty(), "kfs-core links {found:?} by default");
    // The list above is worth nothing if the feature's crates are called otherwise.
    let with_aws = linked_by_core(&["--features", "aws"]);
    for name in ["hyper", "mio", "reqwest", "rustls", "socket2"] {
        assert!(with_aws.contains(name), "the feature aws links no {name}; is this test's list out of date?");
    }
}

#[test]
fn every_member_states_the_rust_version_and_no_dependency_needs_a_later_one() {
    let metadata: Value = serde_json::from_str(&cargo(&["metadata", "--locked", "--format-version", "1"])).unwrap();
    let stated = env!("CARGO_PKG_RUST_VERSION");
    let members = metadata["workspace_members"].as_array().unwrap();
    for package in metadata["packages"].as_array().unwrap() {
        let (name, needs) = (&package["name"], package["rust_version"].as_str());
        if members.contains(&package["id"]) {
            assert_eq!(needs, Some(stated), "{name}");
        } else if let Some(needs) = needs {
            assert!(version(needs) <= version(stated), "{name} needs Rust {needs}, later than {stated}");
        }
    }
}

/// Major and minor number.
fn version(text: &str) -> (u32, u32) {
    let mut parts = text.split('.').map(|part| part.parse().expect("a version number"));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}
