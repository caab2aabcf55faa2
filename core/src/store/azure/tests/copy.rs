//! Copies, which Azure may finish after it has answered.

use super::{blob, with};
use crate::ErrorKind;
use crate::store::Store;
use crate::store::http::scripted::Request;

#[tokio::test]
async fn a_copy_that_the_store_has_not_finished_is_not_taken_for_done() {
    for (status, done) in [("success", true), ("pending", false)] {
        let script = |request: &Request| {
            let mut answer = blob(if request.line.starts_with("HEAD") { 200 } else { 202 }, "").unwrap();
            answer.1.push(("x-ms-copy-status", status.to_string()));
            Some(answer)
        };
        let (copied, _) = with(script, async |store: Store| store.copy("t/a", "t/c").await).await;
        match copied {
            Ok(()) => assert!(done),
            Err(error) => {
                assert_eq!((error.kind(), error.key(), done), (ErrorKind::Unavailable, Some("t/c"), false), "{error}");
                assert!(error.message().contains("has not finished the copy"), "{error}");
            }
        }
    }
}
