//! What a check found.

use crate::error::{Error, ErrorKind};
use crate::store::RequestCounts;

/// One thing that is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PreflightCheck {
    /// The bucket is there and can be listed.
    List,
    /// An object can be written.
    Put,
    /// What was just written is read.
    Get,
    /// An object's user metadata comes back.
    Metadata,
    /// A part of an object can be read.
    RangedGet,
    /// The last bytes of an object can be read by their number alone.
    SuffixGet,
    /// Of 8 writers that create one object at the same time, one succeeds, in each of three rounds.
    CreateIfAbsent,
    /// An object is replaced if it is the version that was named, and only then.
    ConditionalReplace,
    /// A listing shows what was just written.
    ListAfterPut,
    /// An object can be deleted.
    Delete,
    /// A listing does not show what was just deleted.
    ListAfterDelete,
    /// The store's clock agrees with this machine's.
    Clock,
    /// How long PUTs and GETs take.
    Latency,
    /// The replica can be listed.
    ReplicaList,
    /// The replica answers the read of an object.
    ReplicaGet,
}

impl PreflightCheck {
    /// All of them, in the order in which a report has them. Those of a replica are in it only where there is one.
    pub const ALL: [PreflightCheck; 15] = [
        PreflightCheck::List,
        PreflightCheck::Put,
        PreflightCheck::Get,
        PreflightCheck::Metadata,
        PreflightCheck::RangedGet,
        PreflightCheck::SuffixGet,
        PreflightCheck::CreateIfAbsent,
        PreflightCheck::ConditionalReplace,
        PreflightCheck::ListAfterPut,
        PreflightCheck::Delete,
        PreflightCheck::ListAfterDelete,
        PreflightCheck::Clock,
        PreflightCheck::Latency,
        PreflightCheck::ReplicaList,
        PreflightCheck::ReplicaGet,
    ];

    pub(super) fn is_of_replica(self) -> bool {
        matches!(self, PreflightCheck::ReplicaList | PreflightCheck::ReplicaGet)
    }

    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            PreflightCheck::List => "list",
            PreflightCheck::Put => "put",
            PreflightCheck::Get => "get",
            PreflightCheck::Metadata => "metadata",
            PreflightCheck::RangedGet => "ranged get",
            PreflightCheck::SuffixGet => "suffix get",
            PreflightCheck::CreateIfAbsent => "create if absent",
            PreflightCheck::ConditionalReplace => "conditional replace",
            PreflightCheck::ListAfterPut => "list after put",
            PreflightCheck::Delete => "delete",
            PreflightCheck::ListAfterDelete => "list after delete",
            PreflightCheck::Clock => "clock",
            PreflightCheck::Latency => "latency",
            PreflightCheck::ReplicaList => "replica list",
            PreflightCheck::ReplicaGet => "replica get",
        }
    }
}

/// What a finding means for a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PreflightVerdict {
    /// As it must be.
    Fine,
    /// A log can be written, and something is missing: [`PreflightStep::cost`] says what that costs.
    Warning,
    /// No log should be written there.
    Failed,
    /// Not tried, because an earlier step failed.
    NotTried,
}

impl PreflightVerdict {
    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            PreflightVerdict::Fine => "fine",
            PreflightVerdict::Warning => "warning",
            PreflightVerdict::Failed => "failed",
            PreflightVerdict::NotTried => "not tried",
        }
    }
}

/// What was found of one thing.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PreflightStep {
    /// What was checked.
    pub check: PreflightCheck,
    /// What the finding means.
    pub verdict: PreflightVerdict,
    /// What was found, in a few words for people. Empty where nothing needs to be said.
    pub found: String,
    /// What is lost by it. `None` where nothing is.
    pub cost: Option<String>,
}

/// What a check of a bucket found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Preflight {
    /// The store's URL.
    pub url: String,
    /// One step for each of [`PreflightCheck::ALL`], in that order; those of a replica only where there is one.
    pub steps: Vec<PreflightStep>,
    /// The requests that the check sent, tries of a caller's client not counted.
    pub requests: RequestCounts,
    /// Keys in the bucket, with the prefix of its URL, of objects that the check wrote, or may have written, and could not
    /// delete. They can be deleted at any time.
    pub left: Vec<String>,
    /// The request that failed in a way that ended the check.
    pub(super) stopped_by: Option<(PreflightCheck, Error)>,
}

const LACKS: &str = "use another store, or a newer version of this one";
const LACKS_CREATE: &str = "use another store, or a newer version of this one; if never more than one writer of a \
                            partition is open, the option single_writer takes this store without that protection";
const SILENT: &str =
    "is the endpoint's address right, is the server running, and does a firewall let this machine through?";
const NO_WRITES: &str = "the bucket may be listed, and not written: allow objects to be put under its whole prefix, those \
                         that begin with kfs-preflight- too, or switch this check off (the option preflight)";

impl Preflight {
    /// The step of a check.
    pub fn step(&self, check: PreflightCheck) -> Option<&PreflightStep> {
        self.steps.iter().find(|step| step.check == check)
    }

    /// Why no log should be written there: what failed, what that costs, and as the hint what to do. `None` for a store that
    /// is fit for a log. The kind is *unsupported* for a store that does not do what a log needs, and else that of the
    /// request that failed: *unavailable* and *timed out* may pass.
    pub fn failure(&self) -> Option<Error> {
        self.failure_but_of(None)
    }

    /// The same where the caller bears one failure.
    pub(super) fn failure_but_of(&self, borne: Option<PreflightCheck>) -> Option<Error> {
        let failed = |step: &&PreflightStep| step.verdict == PreflightVerdict::Failed && Some(step.check) != borne;
        let step = self.steps.iter().find(failed)?;
        let (url, name) = (&self.url, step.check.name());
        if let Some((check, error)) = &self.stopped_by
            && *check == step.check
        {
            let message = format!("the check of {url} ended at \"{name}\"");
            let stopped = Error::new(error.kind(), message).because_of(error.clone());
            return Some(match error.kind() {
                ErrorKind::PermissionDenied if step.check == PreflightCheck::Put => {
                    // The store's own reason may be another one, such as a clock that is wrong.
                    let hint = stopped.hint().map_or_else(String::new, |hint| format!("{hint}; "));
                    stopped.with_hint(format!("{hint}{NO_WRITES}"))
                }
                ErrorKind::TimedOut if stopped.hint().is_none() => stopped.with_hint(SILENT),
                _ => stopped,
            });
        }
        let cost = step.cost.as_ref().map(|cost| format!(": {cost}")).unwrap_or_default();
        let message = format!("{url} is not fit for a log, \"{name}\" failed: {}{cost}", step.found);
        let hint = if step.check == PreflightCheck::CreateIfAbsent { LACKS_CREATE } else { LACKS };
        Some(Error::new(ErrorKind::Unsupported, message).with_hint(hint).of_the_store())
    }

    /// What is not as it must be, on one line.
    pub(super) fn lacking(&self) -> String {
        let lacks = |verdict| matches!(verdict, PreflightVerdict::Warning | PreflightVerdict::Failed);
        let lacks = self.steps.iter().filter(|step| lacks(step.verdict));
        lacks.map(|step| format!("{}: {}", step.check.name(), step.found)).collect::<Vec<_>>().join("; ")
    }

    /// Whether it says what the store does. A check that a failed request ended does not.
    pub(super) fn is_conclusive(&self) -> bool {
        self.stopped_by.is_none()
    }

    /// What was found of a check.
    pub(super) fn verdict(&self, check: PreflightCheck) -> PreflightVerdict {
        self.step(check).map_or(PreflightVerdict::NotTried, |step| step.verdict)
    }
}
