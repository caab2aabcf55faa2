//! `kfs config`: how the bucket is reached.

use serde_json::json;

use crate::args::ConfigCommand;
use crate::context::Context;
use crate::failure::Outcome;
use crate::output::{Out, Table};

pub(crate) fn run(context: &Context, command: &ConfigCommand) -> Outcome {
    let ConfigCommand::Show { all, json } = *command;
    let config = context.store_config()?;
    let settings = config.shown(true)?;
    let mut out = Out::new();
    let mut table = Table::new(&["<setting", "<value", "<from", "<set as"]);
    for setting in settings.iter().filter(|setting| all || setting.value.is_some()) {
        let (from, set_as) = (setting.origin.to_string(), setting.set_as.clone());
        if json {
            let object = json!({
                "setting": setting.name, "value": setting.value, "from": from, "set_as": set_as, "about": setting.about,
            });
            out.json(&object)?;
            continue;
        }
        let value = setting.value.clone().unwrap_or_else(|| "-".into());
        table.row(&mut out, [setting.name.to_string(), value, from, set_as.unwrap_or_default()])?;
        if all {
            table.row(&mut out, [format!("  {}", setting.about), String::new(), String::new(), String::new()])?;
        }
    }
    if !json {
        table.end(&mut out)?;
    }
    Ok(())
}
