//! The options of `kfs config`.

use clap::{Args, Subcommand};

/// Show how the bucket is reached.
#[derive(Args, Debug)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    pub(crate) command: ConfigCommand,
}

/// What to do with the configuration.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print every setting of the bucket's kind of store that counts, and where its value comes from.
    ///
    /// Nothing is sent. A secret is shown as ***. What is set by name counts more than the URL, then come the document,
    /// the environment, and the defaults.
    #[command(after_help = "Examples:
  kfs config show --bucket 's3://logs/team?region=eu-west-1'
  kfs config show --config storage.yaml --all
  KAFSCALE_S3_BUCKET=logs kfs config show --json")]
    Show {
        /// Print settings without a value, too, and say what each setting is for.
        #[arg(long)]
        all: bool,
        /// Print one JSON object for each setting.
        #[arg(long)]
        json: bool,
    },
}
