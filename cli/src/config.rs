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
    let mut table = Table::new(match all {
        true => &["<setting", "<value", "<from", "<set as", "<what it is"],
        false => &["<setting", "<value", "<from", "<set as"],
    });
    for setting in settings.iter().filter(|setting| all || setting.value.is_some()) {
        let from = setting.value.as_ref().map(|_| setting.origin.to_string()).unwrap_or_default();
        let set_as = setting.set_as.clone();
        if json {
            let object = json!({
                "setting": setting.name, "value": setting.value, "from": from, "set_as": set_as, "about": setting.about,
            });
            out.json(&object)?;
            continue;
        }
        let value = setting.value.clone().unwrap_or_else(|| "-".into());
        let about = if all { setting.about } else { "" };
        let cells = [setting.name, &value, &from, &set_as.unwrap_or_default(), about].map(str::to_string);
        table.row(&mut out, cells)?;
    }
    if !json {
        table.end(&mut out)?;
    }
    out.flush()?;
    context.check_settings(&config)
}
