//! `kfs config`: how the bucket is reached.

use kfs_core::store::config::ShownSetting;
use serde_json::json;

use crate::args::ConfigCommand;
use crate::context::Context;
use crate::failure::Outcome;
use crate::output::{Out, Table};

/// A line of the answer.
struct Shown {
    name: &'static str,
    value: Option<String>,
    from: String,
    set_as: Option<String>,
    about: &'static str,
}

impl Shown {
    fn of(setting: ShownSetting) -> Self {
        let ShownSetting { name, value, origin, set_as, about, .. } = setting;
        let from = value.as_ref().map(|_| origin.to_string()).unwrap_or_default();
        Shown { name, value, from, set_as, about }
    }
}

pub(crate) fn run(context: &Context, command: &ConfigCommand) -> Outcome {
    let ConfigCommand::Show { all, json } = *command;
    let config = context.store_config()?;
    let settings = config.shown(true)?;
    let mut out = Out::new();
    let mut table = Table::new(match all {
        true => &["<setting", "<value", "<from", "<set as", "<what it is"],
        false => &["<setting", "<value", "<from", "<set as"],
    });
    let (origin, set_as) = context.namespace_from();
    let namespace = Shown {
        name: "namespace",
        value: Some(context.namespace().to_string()),
        from: origin.to_string(),
        set_as: set_as.map(str::to_string),
        about: "The namespace of topics that are named without one.",
    };
    let credentials_from = context.credentials_from(&config);
    let credentials = credentials_from.as_ref().ok().cloned().flatten().map(|from| Shown {
        name: "credentials",
        value: Some("***".into()),
        from,
        set_as: None,
        about: "Where the credentials come from. Nothing is asked for them here.",
    });
    let settings = settings.into_iter().filter(|setting| all || setting.value.is_some()).map(Shown::of);
    for setting in settings.chain(credentials).chain([namespace]) {
        let Shown { name, value, from, set_as, about } = setting;
        if json {
            let object = json!({"setting": name, "value": value, "from": from, "set_as": set_as, "about": about});
            out.json(&object)?;
            continue;
        }
        let (value, set_as) = (value.unwrap_or_else(|| "-".into()), set_as.unwrap_or_default());
        let about = if all { about } else { "" };
        table.row(&mut out, [name, &value, &from, &set_as, about].map(str::to_string))?;
    }
    if !json {
        table.end(&mut out)?;
    }
    out.flush()?;
    credentials_from.map(drop)
}
