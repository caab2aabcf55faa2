//! No secret of any configuration appears in what the command prints, with -vvv and as JSON too.

mod common;

use common::{Ended, finish, kfs};
use kfs_tests::secrets::{SecretCase, SecretWorld, leaks, on_each};

/// What a command prints on a bucket that is configured so.
fn run(number: usize, case: &SecretCase, world: &SecretWorld, arguments: &[&str]) -> Ended {
    let mut command = kfs();
    // Files in the home directory and proxies of the machine are nobody's here.
    command.env("HOME", world.directory()).env_remove("http_proxy").env_remove("HTTP_PROXY");
    command.envs(case.environment.iter().map(|(name, value)| (name, value)));
    if let Some(document) = &case.document {
        let file = world.directory().join(format!("storage-{number}.yaml"));
        std::fs::write(&file, document).expect("write a document");
        command.arg("--config").arg(file);
    }
    if let Some(url) = &case.url {
        command.args(["--bucket", url]);
    }
    command.args(["--timeout", "1s"]).args(arguments);
    finish(command, b"a line\n")
}

#[test]
fn no_secret_of_any_configuration_appears_in_what_the_command_prints() {
    let world = SecretWorld::start();
    let (mut found, mut all, mut ended_well) = (Vec::new(), String::new(), 0);
    // The command has no settings by name and no callback.
    let cases = world.cases().into_iter().filter(|case| case.settings.is_empty() && case.supplied.is_none());
    let commands = [
        &["config", "show", "--all"][..],
        &["config", "show", "--json"],
        &["-vvv", "append", "--no-preflight", "--lines", "t/0"],
        &["-vvv", "cat", "t/0"],
        &["check", "--json"],
    ];
    let run_all = |number, case: &_| commands.map(|arguments| run(number, case, &world, arguments));
    for (case, ended) in on_each(&cases.collect::<Vec<_>>(), run_all) {
        for (arguments, ended) in commands.iter().zip(ended) {
            ended_well += usize::from(ended.code == Some(0));
            let text = format!("{}{}", ended.stderr, String::from_utf8_lossy(&ended.stdout));
            found.extend(leaks(&text).into_iter().map(|leak| format!("{}, {arguments:?}: {leak}", case.name)));
            all.push_str(&text);
        }
    }
    assert!(found.is_empty(), "{} leaks:\n{}", found.len(), found.join("\n\n"));
    // The search is worth nothing if nothing was shown.
    assert!(ended_well > 20, "{ended_well} commands ended well");
    for shown in ["***", "[removed]", "TRACE kfs::store", "hint: "] {
        assert!(all.contains(shown), "nothing shows {shown:?}");
    }
}
