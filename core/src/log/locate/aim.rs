//! What a look is for, and where its next page starts.

/// Segments of a full page, each with its index.
pub(super) const PAGE_SEGMENTS: i64 = 500;

/// What a look is for, and between which bounds it lies.
#[derive(Clone, Debug)]
pub(super) struct Aim {
    /// The greatest base known that is at or below the goal.
    pub(super) low: Option<i64>,
    /// No base lies above this and at or below the goal.
    pub(super) high: i64,
    /// What lies directly above `high`, and so above the goal.
    pub(super) above: Above,
    step: ProbeStep,
    /// How far the last doubling went.
    stride: i64,
    /// Offsets per segment, about, where the last page lies.
    pub(super) density: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Above {
    Unknown,
    Nothing,
    Base(i64),
}

/// How the next probe is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProbeStep {
    /// By doubling the distance: nothing is known of where the log ends.
    Double,
    /// By density, this many times.
    Near(u8),
    /// In the middle.
    Halve,
}

impl Aim {
    pub(super) fn newest() -> Self {
        Aim { low: None, high: i64::MAX, above: Above::Nothing, step: ProbeStep::Double, stride: 0, density: 1 }
    }

    pub(super) fn at_most(offset: i64) -> Self {
        Aim { low: None, high: offset, above: Above::Unknown, step: ProbeStep::Near(2), stride: 0, density: 1 }
    }

    /// Whether the goal is the newest segment.
    pub(super) fn is_newest(&self) -> bool {
        self.high == i64::MAX
    }

    /// Whether a page from the lower bound shows the goal, as far as can be told.
    pub(super) fn is_near(&self) -> bool {
        let distance = self.distance();
        (distance <= PAGE_SEGMENTS) || (self.above != Above::Nothing && distance / 2 <= self.page_span() / 2)
    }

    fn distance(&self) -> i64 {
        self.high.saturating_sub(self.low.unwrap_or(0))
    }

    /// Offsets that a page covers, about.
    fn page_span(&self) -> i64 {
        self.density.saturating_mul(PAGE_SEGMENTS)
    }

    /// The last probe found nothing below the goal.
    pub(super) fn overshot(&mut self) {
        self.step = match (self.step, self.above) {
            // Beyond the log's end, perhaps by far: no bound depends on how far.
            (ProbeStep::Near(_), Above::Nothing) => ProbeStep::Double,
            (ProbeStep::Near(left), _) if left > 1 => ProbeStep::Near(left.saturating_sub(1)),
            _ => ProbeStep::Halve,
        };
    }

    /// Above which base the next page starts. `first` is the base of the log's first segment, and `can_probe` says whether a listing that
    /// may prove nothing can be paid for.
    pub(super) fn next_after(&mut self, first: Option<i64>, can_probe: bool) -> i64 {
        // The first page of a look starts at the log's start.
        let Some(low) = self.low else { return -1 };
        // Listing on from the lower bound always pays for itself. It is also best when the goal is near.
        let distance = self.distance();
        if !can_probe || distance <= PAGE_SEGMENTS {
            return low;
        }
        let page_span = self.page_span();
        let middle = low.saturating_add(distance / 2);
        let at = match self.step {
            ProbeStep::Double => {
                // Twice as far as the last time, or the length of the known part of the log if that is longer.
                let known = low.saturating_sub(first.unwrap_or(low));
                self.stride = self.stride.saturating_mul(2).max(known).max(page_span);
                let doubled = low.saturating_add(self.stride);
                if doubled >= self.high { middle } else { doubled }
            }
            // Half a page below the goal, by the density seen last.
            ProbeStep::Near(_) if distance / 2 <= page_span / 2 => low,
            ProbeStep::Near(_) => self.high.saturating_sub(page_span / 2),
            ProbeStep::Halve => middle,
        };
        // A probe below the lower bound would show only what is known.
        at.max(low)
    }
}
