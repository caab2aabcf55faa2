//! Settings and credentials, as a store is opened. Nothing is sent.

use tokio::net::TcpListener;

use super::*;
use crate::store::{CredentialSource, Credentials};

fn base() -> StoreOptions {
    StoreOptions::default().environment(false).config("AZURE_STORAGE_ACCOUNT", "acc")
}

#[test]
fn credentials_may_be_given_in_each_way_but_never_by_silence() {
    let sas = format!("sv=2023-11-03&sig={SIGNATURE}");
    let principal = || base().config("AZURE_CLIENT_ID", "c").config("AZURE_TENANT_ID", "t");
    for options in [
        base().config("AZURE_STORAGE_KEY", KEY),
        base().config("azure_storage_account_key", KEY),
        base().config("AZURE_STORAGE_SAS_TOKEN", &sas),
        base().config("AZURE_STORAGE_TOKEN", "hunter2"),
        base().config("AZURE_SKIP_SIGNATURE", "true"),
        base().config("AZURE_MSI_ENDPOINT", "http://169.254.169.254/metadata/identity/oauth2/token"),
        base().config("AZURE_MSI_ENDPOINT", "http://127.0.0.1:1/token"),
        principal().config("AZURE_CLIENT_SECRET", "hunter2"),
        principal().config("AZURE_FEDERATED_TOKEN_FILE", "/x").config("AZURE_AUTHORITY_HOST", "https://h.example/"),
        principal().config("AZURE_CLIENT_SECRET", "hunter2").config("AZURE_STORAGE_KEY", KEY),
        base().config("AZURE_USE_AZURE_CLI", "true"),
    ] {
        let store = Store::open("az://logs/p", &options).unwrap();
        let shown = format!("{store:?} {store} {options:?} {}", store.url());
        assert!(![KEY, SIGNATURE, "hunter2"].iter().any(|secret| shown.contains(secret)), "{shown}");
    }
    for options in [
        base(),
        base().config("AZURE_STORAGE_KEY", ""),
        base().config("AZURE_SKIP_SIGNATURE", "no"),
        principal(),
        base().config("AZURE_CREDENTIAL_TYPE", "managed_identity"),
        base().config("AZURE_CREDENTIAL_TYPE", "access_key").config("AZURE_STORAGE_SAS_TOKEN", &sas),
    ] {
        let error = Store::open("az://logs", &options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        no_secret(&error);
    }
}

#[test]
fn settings_that_cant_be_right_are_named_and_not_repeated() {
    let keyed = || base().config("AZURE_STORAGE_KEY", KEY);
    let connection = format!("AccountName=acc;AccountKey={KEY}");
    for (name, value) in [
        ("AZURE_ENDPOINT", "http://h/acc"),
        ("AZURE_ENDPOINT", "https://me:hunter2@h/acc"),
        ("AZURE_ENDPOINT", "hunter2"),
        ("AZURE_STORAGE_CONNECTION_STRING", &connection),
        ("AZURE_STORAGE_USE_EMULATOR", "true"),
        ("AZURE_STORAGE_ACOUNT", "hunter2"),
        ("AZURE_USE_FABRIC_ENDPOINT", "true"),
        ("AZURE_READ_TIMEOUT", "soon"),
        ("AZURE_STORAGE_KEY", "hunter2!"),
        ("AZURE_STORAGE_ACCOUNT", "hunter2.example.com/"),
        ("AZURE_STORAGE_TOKEN", "hunter2\r"),
        ("AZURE_STORAGE_ENCRYPTION_KEY", "hunter2"),
        ("AZURE_CREDENTIAL_TYPE", "hunter2"),
        ("AZURE_CA_BUNDLE", "/nonexistent"),
    ] {
        let error = Store::open("az://logs", &keyed().config(name, value)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{name} {error}");
        assert!(error.message().contains(name), "{name}: {error}");
        no_secret(&error);
    }
    let principal = base().config("AZURE_CLIENT_ID", "c").config("AZURE_TENANT_ID", "t");
    for (options, name) in [
        (base().config("AZURE_MSI_ENDPOINT", "http://10.0.0.1/token"), "AZURE_MSI_ENDPOINT"),
        (
            principal.config("AZURE_CLIENT_SECRET", "hunter2").config("AZURE_AUTHORITY_HOST", "http://h.example"),
            "AZURE_AUTHORITY_HOST",
        ),
    ] {
        let error = Store::open("az://logs", &options).unwrap_err();
        assert!(error.kind() == ErrorKind::InvalidInput && error.message().contains(name), "{error}");
    }
}

#[cfg(unix)]
#[test]
fn a_federated_token_file_that_may_never_end_or_begin_is_refused_by_its_setting() {
    let dir = tempfile::tempdir().unwrap();
    let [pipe, large, good] = ["pipe", "large", "good"].map(|name| dir.path().join(name));
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, 0o600.into()).unwrap();
    std::fs::write(&large, vec![b'x'; 64 * 1024 + 1]).unwrap();
    std::fs::write(&good, "header.payload.signature").unwrap();
    let open = |setting: &str, file: &std::path::Path| {
        let options = base().config("AZURE_CLIENT_ID", "c").config("AZURE_TENANT_ID", "t");
        Store::open("az://logs", &options.config(setting, file.display().to_string()))
    };
    for (file, why) in [
        (std::path::Path::new("/dev/zero"), "it is not a regular file"),
        (&*pipe, "it is not a regular file"),
        (dir.path(), "it is not a regular file"),
        (&*large, "it is too large: at most 65536 bytes are read"),
    ] {
        for setting in ["AZURE_FEDERATED_TOKEN_FILE", "federated_token_file"] {
            let error = open(setting, file).unwrap_err();
            let expected = format!("{setting} ({}) can't be read: {why}", file.display());
            assert_eq!((error.kind(), error.message()), (ErrorKind::InvalidInput, &*expected));
        }
    }
    open("AZURE_FEDERATED_TOKEN_FILE", &good).unwrap();
}

#[test]
fn the_account_is_the_urls_or_that_of_the_settings() {
    let of = |url: &str, options: StoreOptions| Store::open(url, &options.config("AZURE_STORAGE_KEY", KEY));
    let none = || StoreOptions::default().environment(false);
    of("azure://acc.blob.core.windows.net/logs/p", none()).unwrap();
    of("abfss://logs@acc.dfs.core.windows.net/p", base()).unwrap();
    for (url, options) in [("az://logs", none()), ("abfs://logs@other.dfs.core.windows.net/p", base())] {
        let error = of(url, options).unwrap_err();
        assert!(error.kind() == ErrorKind::InvalidInput && error.message().contains("account"), "{error}");
        assert!(error.hint().is_some());
    }
}

#[tokio::test]
async fn errors_of_a_workload_identity_name_its_settings_and_not_the_stores() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "hunter2").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let base = base().config("AZURE_CLIENT_ID", "c").config("AZURE_TENANT_ID", "t");
    let options = base.config("AZURE_FEDERATED_TOKEN_FILE", file.display().to_string());
    let options = options.config("AZURE_AUTHORITY_HOST", &nobody).config("AZURE_ALLOW_HTTP", "true");
    let store = impatient(Store::open("az://logs", &options).unwrap());
    // Ten failures in a row would open the breaker of one store.
    let other = impatient(Store::open("az://logs", &options).unwrap());
    let get = async || store.get("a", ReadRange::Whole, None).await.unwrap_err();

    let error = get().await;
    let begin = "credentials could not be had with AZURE_CLIENT_ID, AZURE_TENANT_ID, AZURE_FEDERATED_TOKEN_FILE: ";
    assert!(error.kind() == ErrorKind::Unavailable && error.message().contains(begin), "{error}");
    assert_eq!(
        error.hint(),
        Some("nothing listens there: is the server running, and is AZURE_AUTHORITY_HOST right?"),
        "{error:?}"
    );
    no_secret(&error);

    // The file was there when the store was opened.
    std::fs::remove_file(&file).unwrap();
    let error = get().await;
    let begin = format!("AZURE_FEDERATED_TOKEN_FILE ({}) can't be read: No such file", file.display());
    assert!(error.kind() == ErrorKind::Unavailable && error.message().starts_with(&begin), "{error}");

    std::fs::create_dir(&file).unwrap();
    let begin = format!("AZURE_FEDERATED_TOKEN_FILE ({}) can't be read: it is not a regular file", file.display());
    let error = other.get("a", ReadRange::Whole, None).await.unwrap_err();
    assert!(error.message().starts_with(&begin), "{error}");
    assert_eq!(Store::open("az://logs", &options).unwrap_err().message(), begin);
}

/// Gives the same each time.
#[derive(Debug)]
struct Gives(fn() -> Credentials);

impl CredentialSource for Gives {
    fn credentials(&self) -> crate::Result<Credentials> {
        Ok((self.0)())
    }
}

#[tokio::test]
async fn what_the_callers_source_gives_and_azure_does_not_take_is_told() {
    for (give, kind, said) in [
        (
            (|| Credentials::access_key("id", "hunter2", None)) as fn() -> Credentials,
            ErrorKind::InvalidInput,
            "Azure takes a bearer token or an account key, and the caller's source of credentials gave an access key",
        ),
        (
            || Credentials::account_key("hunter2!"),
            ErrorKind::InvalidInput,
            "the caller's source of credentials gave an account key that is not text in base64",
        ),
        (
            || Credentials::bearer("hunter2\r\n"),
            ErrorKind::PermissionDenied,
            "the caller's source of credentials gave a bearer token, which holds a control character",
        ),
    ] {
        let options = base().credentials(std::sync::Arc::new(Gives(give)));
        let store = impatient(Store::open("az://logs", &options).unwrap());
        let error = store.get("a", ReadRange::Whole, None).await.unwrap_err();
        assert_eq!((error.kind(), error.message()), (kind, said), "{error:?}");
        let shown = format!("{error:?}");
        assert!(error.hint().is_some() && !shown.contains("metadata") && !shown.contains("AZURE_"), "{error:?}");
        no_secret(&error);
    }
}

#[test]
fn a_replica_that_is_the_container_itself_is_refused() {
    let base = || base().config("AZURE_STORAGE_KEY", KEY);
    let own = "https://acc.blob.core.windows.net/";
    for options in
        [base().config("read_endpoint", own), base().config("AZURE_ENDPOINT", own).config("read_endpoint", own)]
    {
        let error = Store::open("az://logs", &options).unwrap_err();
        let said = "read_endpoint names the bucket itself, which is no replica";
        assert_eq!((error.kind(), error.message()), (ErrorKind::InvalidInput, said), "{error:?}");
    }
    Store::open("az://logs", &base().config("read_endpoint", "https://acc-secondary.blob.core.windows.net")).unwrap();
}
