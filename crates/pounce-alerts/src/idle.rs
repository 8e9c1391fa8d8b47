//! A key of which nothing is heard: what minutes do to it that nothing happens in, all at once.

use super::key_state::KeyState;
use super::lifecycle::Lifecycle;
use super::minute::Minute;
use super::settings::Rules;
use super::volume;

impl KeyState {
    /// Whether nothing happens here until the next post: there is nothing left
    /// in any window, nothing to be learnt, and no alert.
    pub(super) fn is_idle(&self) -> bool {
        self.minutes.is_empty()
            && self.audience.is_empty()
            && self.baseline.is_settled()
            && self.lifecycles.iter().all(Lifecycle::is_idle)
    }

    /// Skips the minutes from `first` up to `next`, in which nothing can
    /// happen: see [`KeyState::is_idle`].
    pub(super) fn skip_idle(&mut self, first: Minute, next: Minute, rules: &Rules) {
        if self.started {
            let step = volume::STEP_MINUTES;
            self.history.skip_idle(next.period(step).saturating_sub(first.period(step)));
        }
        self.learn(next.minus(1), rules);
    }

    /// Brings an idle key from `first` up to `next`, to what it is after
    /// [`close`](KeyState::close) for each minute but those in `skipped`, and
    /// [`skip_idle`](KeyState::skip_idle) for these. They are stretches in rising order.
    pub(super) fn rest(
        &mut self,
        first: Minute,
        next: Minute,
        skipped: &[(Minute, Minute)],
        rules: &Rules,
    ) {
        if first >= next {
            return;
        }
        let mut closed = first;
        for &(from, until) in skipped {
            self.close_idle(closed, from, rules);
            closed = until;
        }
        self.close_idle(closed, next, rules);
        self.skip_idle(first, next, rules);
    }

    /// What closing the minutes from `first` up to `next` does, and skipping them does not.
    fn close_idle(&mut self, first: Minute, next: Minute, rules: &Rules) {
        if first < next {
            self.texts.forget_before(next.minus(rules.span_minutes()));
            self.audience.skip_idle(first, next, &rules.reach);
        }
    }

    /// The first minute from `next` on that may change what is seen of an idle key, which is as of
    /// `next`: its memory or its baseline. None if none does.
    pub(super) fn changes_at(&self, next: Minute, rules: &Rules) -> Option<Minute> {
        let texts = self.texts.oldest().map(|oldest| oldest.plus(rules.span_minutes()));
        let baseline = self.baseline.forgets_at(rules.share.baseline_minutes);
        let baseline = baseline.map(|at| at.plus(rules.share.baseline_gap_minutes));
        let step = volume::STEP_MINUTES;
        let steps = self.history.forgets_after().filter(|_| self.started);
        let history = steps.map(|steps| {
            Minute::default().plus((next.period(step).saturating_add(steps)).saturating_mul(step))
        });
        [texts, baseline, history.map(|end| end.minus(1))].into_iter().flatten().min()
    }
}
