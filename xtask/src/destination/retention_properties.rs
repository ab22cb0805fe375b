//! What holds of every retention plan, whatever the artifacts, the policy and the clock.
use super::retention::{Candidate, Decision, Item, Policy, State, plan};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// The hour from which the times of candidates are counted: 2024-01-01T00:00:00Z.
const EPOCH: i64 = 1_704_067_200;
const STATES: [State; 6] =
    [State::Unproven, State::Verified, State::Partial, State::Damaged, State::Pending, State::Foreign];

fn hour(hours: i64) -> Timestamp {
    Timestamp::from_second(EPOCH + hours * 3600).expect("a time")
}

/// Two series, of which one's name begins like the other's; some cannot be dated, some are pinned.
fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
    let one = (any::<bool>(), prop::option::weighted(0.95, 0_i64..20_000), 0_usize..20, 0_u8..12);
    prop::collection::vec(one, 0..40).prop_map(|all| {
        let candidate = |(index, (suffixed, time, state, pin)): (usize, (bool, Option<i64>, usize, u8))| {
            Candidate {
                id: format!("{index:02}"),
                series: if suffixed { "api-nightly" } else { "api" }.into(),
                time: time.map(hour),
                // Most are whole: with many of each other kind little would ever be removed.
                state: STATES.get(state).copied().unwrap_or_default(),
                last: pin == 1,
                pinned: pin == 0,
                bytes: 1,
            }
        };
        all.into_iter().enumerate().map(candidate).collect()
    })
}

fn policies() -> impl Strategy<Value = Policy> {
    let count = || prop::option::of(1_u32..6);
    let counts = (count(), count(), count(), count(), count());
    (counts, prop::option::of(0_i64..2000), 0_i64..200).prop_map(
        |((keep, daily, weekly, monthly, yearly), within, min_age)| Policy {
            keep,
            daily,
            weekly,
            monthly,
            yearly,
            within: within.map(SignedDuration::from_hours),
            min_age: SignedDuration::from_hours(min_age),
        },
    )
}

fn stays(items: &[Item]) -> BTreeMap<String, bool> {
    items.iter().map(|item| (item.id.clone(), item.decision == Decision::Keep)).collect()
}

/// Those that a plan leaves.
fn left(all: &[Candidate], policy: &Policy, now: Timestamp) -> Vec<Candidate> {
    let stays = stays(&plan(all, policy, now));
    all.iter().filter(|candidate| stays[&candidate.id]).cloned().collect()
}

/// How many rules of a policy count.
fn rules(policy: &Policy) -> usize {
    let counts = [policy.keep, policy.daily, policy.weekly, policy.monthly, policy.yearly];
    counts.iter().flatten().count()
}

proptest! {
    #[test]
    fn every_artifact_is_decided_once_and_with_a_reason(
        all in candidates(), policy in policies(), now in 0_i64..22_000,
    ) {
        let items = plan(&all, &policy, hour(now));
        let ids = |of: Vec<&String>| of.into_iter().cloned().collect::<Vec<_>>();
        prop_assert_eq!(
            ids(items.iter().map(|item| &item.id).collect()),
            ids(all.iter().map(|candidate| &candidate.id).collect())
        );
        prop_assert!(items.iter().all(|item| !item.reasons.is_empty()));
    }

    #[test]
    fn the_floor_holds(all in candidates(), policy in policies(), now in 0_i64..22_000) {
        let now = hour(now);
        let stays = stays(&plan(&all, &policy, now));
        for series in ["api", "api-nightly"] {
            let whole = |candidate: &&Candidate| {
                candidate.series == series && matches!(candidate.state, State::Unproven | State::Verified)
            };
            let newest = all.iter().filter(whole).filter(|one| one.time.is_some()).max_by_key(|one| (one.time, &one.id));
            prop_assert!(newest.is_none_or(|one| stays[&one.id]), "the newest goes");
            let verified = all.iter().filter(|one| one.series == series && one.state == State::Verified);
            let verified = verified.filter(|one| one.time.is_some()).max_by_key(|one| (one.time, &one.id));
            prop_assert!(verified.is_none_or(|one| stays[&one.id]), "the newest verified goes");
        }
        for one in &all {
            let young = one.time.is_some_and(|time| now.duration_since(time) < policy.min_age);
            let spared = matches!(one.state, State::Damaged | State::Foreign | State::Pending);
            let nothing_set = rules(&policy) == 0 && policy.within.is_none();
            let floor = one.pinned || one.last || spared || young || nothing_set || one.time.is_none_or(|time| time > now);
            prop_assert!(!floor || stays[&one.id], "{one:?}");
        }
    }

    #[test]
    fn the_order_of_the_artifacts_does_not_matter(
        all in candidates(), policy in policies(), now in 0_i64..22_000,
    ) {
        let backwards: Vec<Candidate> = all.iter().rev().cloned().collect();
        prop_assert_eq!(stays(&plan(&all, &policy, hour(now))), stays(&plan(&backwards, &policy, hour(now))));
    }

    #[test]
    fn one_series_does_not_matter_to_another(all in candidates(), policy in policies(), now in 0_i64..22_000) {
        let together = stays(&plan(&all, &policy, hour(now)));
        let alone: Vec<Candidate> = all.iter().filter(|one| one.series == "api").cloned().collect();
        for (id, kept) in stays(&plan(&alone, &policy, hour(now))) {
            prop_assert_eq!(together[&id], kept);
        }
    }

    /// A plan that was carried out leaves nothing to do: what stays, stays.
    #[test]
    fn pruning_twice_is_pruning_once(all in candidates(), policy in policies(), now in 0_i64..22_000) {
        let once = left(&all, &policy, hour(now));
        prop_assert_eq!(left(&once, &policy, hour(now)).len(), once.len());
    }

    /// Of what a plan has left, one backup more takes one place of each rule that counts, and that of the newest: among whole
    /// ones, and once more where those with errors count beside them.
    #[test]
    fn one_backup_more_removes_no_more_than_one_a_rule(
        all in candidates(), policy in policies(), now in 20_000_i64..22_000,
    ) {
        let before = left(&all, &policy, hour(now));
        let new = Candidate {
            id: "new".into(),
            series: "api".into(),
            time: Some(hour(now)),
            state: State::Unproven,
            last: false,
            pinned: false,
            bytes: 1,
        };
        let after: Vec<Candidate> = before.iter().cloned().chain([new]).collect();
        let gone = after.len() - left(&after, &policy, hour(now)).len();
        prop_assert!(gone <= 2 * (rules(&policy) + 1), "{gone} of {}", after.len());
    }

    /// With the clock set back some are dated in the future: they stay, and take no place from those of the past.
    #[test]
    fn a_clock_that_is_set_back_removes_nothing_more(
        all in candidates(), policy in policies(), keep in 1_u32..6, now in 0_i64..22_000,
    ) {
        let (now, policy) = (hour(now), Policy { keep: Some(keep), ..policy });
        let past = |one: &&Candidate| one.time.is_none_or(|time| time <= now);
        let known: Vec<Candidate> = all.iter().filter(past).cloned().collect();
        let (with, without) = (stays(&plan(&all, &policy, now)), stays(&plan(&known, &policy, now)));
        // The newest verified one may be one of the future.
        for one in all.iter().filter(|one| one.state != State::Verified) {
            prop_assert!(with[&one.id] || !without.get(&one.id).is_none_or(|kept| *kept), "{one:?}");
        }
    }

    /// To keep more never removes what was kept.
    #[test]
    fn a_rule_that_keeps_more_removes_nothing_more(
        all in candidates(), policy in policies(), now in 0_i64..22_000,
    ) {
        prop_assume!(rules(&policy) > 0);
        let more = |count: Option<u32>| count.map(|count| count + 1);
        let generous = Policy {
            keep: more(policy.keep),
            daily: more(policy.daily),
            weekly: more(policy.weekly),
            monthly: more(policy.monthly),
            yearly: more(policy.yearly),
            ..policy.clone()
        };
        let (strict, generous) = (stays(&plan(&all, &policy, hour(now))), stays(&plan(&all, &generous, hour(now))));
        for (id, kept) in strict {
            prop_assert!(!kept || generous[&id], "{id}");
        }
    }
}
