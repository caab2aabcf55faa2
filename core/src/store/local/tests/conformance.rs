//! object_store's own suite. Left out: `multipart*` of MultipartStore,
//! which a directory does not have; `put_get_attributes`, for a directory keeps none but `kfsid`;
//! `list_paginated`, which is for tokens; `stream_get`'s staging of parts on disk.

use object_store::integration;

use super::super::LocalStore;
use super::both;

async fn each(test: impl AsyncFn(&LocalStore)) {
    for options in both().into_iter().flat_map(|options| [options.clone().map(false), options]) {
        let dir = tempfile::tempdir().unwrap();
        test(&LocalStore::open(dir.path(), &options).unwrap()).await;
    }
}

#[tokio::test]
async fn put_get_delete_list() {
    each(async |store| integration::put_get_delete_list(store).await).await;
}

#[tokio::test]
async fn get_opts() {
    each(async |store| integration::get_opts(store).await).await;
}

#[tokio::test]
async fn put_opts() {
    each(async |store| integration::put_opts(store, true).await).await;
}

#[tokio::test]
async fn stream_get() {
    each(async |store| integration::stream_get(store).await).await;
}

#[tokio::test]
async fn list_uses_directories_correctly() {
    each(async |store| integration::list_uses_directories_correctly(store).await).await;
}

#[tokio::test]
async fn list_with_delimiter() {
    each(async |store| integration::list_with_delimiter(store).await).await;
}

#[tokio::test]
async fn list_with_offset_exclusivity() {
    each(async |store| integration::list_with_offset_exclusivity(store).await).await;
}

#[tokio::test]
async fn rename_and_copy() {
    each(async |store| integration::rename_and_copy(store).await).await;
}

#[tokio::test]
async fn copy_if_not_exists() {
    each(async |store| integration::copy_if_not_exists(store).await).await;
}

#[tokio::test]
async fn copy_rename_nonexistent_object() {
    each(async |store| integration::copy_rename_nonexistent_object(store).await).await;
}

#[tokio::test]
async fn multipart_out_of_order() {
    each(async |store| integration::multipart_out_of_order(store).await).await;
}

#[tokio::test]
async fn multipart_race_condition() {
    each(async |store| integration::multipart_race_condition(store, true).await).await;
}
