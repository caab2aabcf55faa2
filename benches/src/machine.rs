//! What the numbers were taken on.

use std::process::Command;

fn says(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    output.ok().and_then(|o| String::from_utf8(o.stdout).ok()).unwrap_or_default().trim().to_owned()
}

/// Processor, cores, system, compiler and date, in a line.
pub fn machine() -> String {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = cpuinfo.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(':')).map_or("", |(_, value)| value.trim()).to_owned()
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let rustc = says("rustc", &["--version"]);
    format!(
        "{} (family {}, model {}), {cores} cores, {} of cache; {}; {}; {}",
        field("model name"),
        field("cpu family"),
        field("model\t"),
        field("cache size"),
        says("uname", &["-sr"]),
        rustc.split(" (").next().unwrap_or_default(),
        says("date", &["-u", "+%F"]),
    )
}
