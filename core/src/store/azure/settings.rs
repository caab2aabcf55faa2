//! The settings of Azure's client, as object_store names them.

use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::client::ClientConfigKey;

use crate::store::http::{Connector, Keys, Settings};

pub(super) type AzureSettings = Settings<AzureKeys>;

pub(super) enum AzureKeys {}

impl Keys for AzureKeys {
    type Key = AzureConfigKey;
    type Builder = MicrosoftAzureBuilder;

    const STORE: &'static str = "Azure";
    const PREFIX: &'static str = "AZURE_";
    const EXAMPLE: &'static str = "AZURE_STORAGE_ACCOUNT";
    const CA_BUNDLE: &'static str = "AZURE_CA_BUNDLE";
    const ENDPOINTS: &'static [AzureConfigKey] = &[AzureConfigKey::Endpoint];
    const FLAGS: &'static [AzureConfigKey] =
        &[AzureConfigKey::SkipSignature, AzureConfigKey::UseAzureCli, AzureConfigKey::UseEmulator];

    fn key(lower: &str) -> Option<AzureConfigKey> {
        use AzureConfigKey as Key;
        match lower {
            // As Azure's own tools call them. object_store does not know these names.
            "azure_storage_account" => Some(Key::AccountName),
            "azure_storage_key" => Some(Key::AccessKey),
            _ => lower.parse().ok().filter(|key| !is_of_fabric(*key)),
        }
    }

    fn of_client(key: ClientConfigKey) -> AzureConfigKey {
        AzureConfigKey::Client(key)
    }

    fn as_client(key: AzureConfigKey) -> Option<ClientConfigKey> {
        match key {
            AzureConfigKey::Client(key) => Some(key),
            _ => None,
        }
    }

    fn is_in_headers(key: AzureConfigKey) -> bool {
        use AzureConfigKey as Key;
        matches!(key, Key::AccountName | Key::AccessKey | Key::Token | Key::SasKey | Key::EncryptionKey)
    }

    fn empty() -> MicrosoftAzureBuilder {
        MicrosoftAzureBuilder::new()
    }

    fn with(builder: MicrosoftAzureBuilder, key: AzureConfigKey, value: &str) -> MicrosoftAzureBuilder {
        builder.with_config(key, value)
    }

    fn value(builder: &MicrosoftAzureBuilder, key: AzureConfigKey) -> Option<String> {
        builder.get_config_value(&key)
    }

    fn try_build(builder: MicrosoftAzureBuilder, connector: &Connector) -> object_store::Result<()> {
        let builder = builder.with_account("account").with_container_name("container");
        builder.with_http_connector(connector.clone()).build().map(drop)
    }
}

/// Microsoft Fabric is not a store that was looked at. Its settings would choose a server and credentials.
fn is_of_fabric(key: AzureConfigKey) -> bool {
    use AzureConfigKey as Key;
    let token = matches!(key, Key::FabricTokenServiceUrl | Key::FabricWorkloadHost | Key::FabricSessionToken);
    token || matches!(key, Key::FabricClusterIdentifier | Key::UseFabricEndpoint)
}
