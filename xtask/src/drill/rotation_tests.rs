//! Tests of the rotation; beside `rotation.rs` to keep that file short.
use super::*;
use crate::drill::evidence::tests::chain;
use crate::drill::steps::Role;
use proptest::prelude::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).expect("a time")
}

fn kind() -> Kind {
    Kind { role: Role::Data, set: "db".into() }
}

fn retained(file: &str, created: i64, parts: u32) -> Retained {
    Retained { file: file.into(), created_at: at(created), parts, copies: vec![] }
}

fn took(file: &str, pick: Pick, part: Option<(u32, u32)>) -> Took {
    let part = part.map(|(number, of)| Part { numbers: vec![number], of, entries: 1, bytes: 1 });
    Took { kind: kind(), file: file.into(), pick, copy: None, part, proven: true }
}

/// Stock that changes between drills, as retention and backups change it.
struct World {
    clock: i64,
    made: u32,
    /// Oldest first.
    there: Vec<Retained>,
    past: Past,
}

impl World {
    fn back_up(&mut self, parts: u32) {
        self.clock += 1;
        self.made += 1;
        self.there.push(retained(&format!("db-{:04}", self.made), self.clock, parts));
    }

    fn stock(&self) -> Option<Stock> {
        let (latest, older) = self.there.split_last()?;
        Some(Stock { kind: kind(), latest: latest.clone(), older: older.to_vec() })
    }

    /// The older artifact that was drilled.
    fn drill(&mut self) -> Option<String> {
        self.clock += 1;
        let stock = self.stock()?;
        let now = at(self.clock);
        let part = |one: &Retained, pick: Pick| {
            let share = self.past.share(&stock.kind, &one.file, pick, one.parts);
            (one.parts > 1).then_some((share.number, share.of))
        };
        let next = self.past.queue(&stock.older, now).first().map(|index| &stock.older[*index]);
        let mut all = vec![took(&stock.latest.file, Pick::Latest, part(&stock.latest, Pick::Latest))];
        all.extend(next.map(|one| took(&one.file, Pick::Older, part(one, Pick::Older))));
        let name = next.map(|one| one.file.clone());
        self.past.add(now, all);
        name
    }
}

proptest! {
    /// Whatever is made and pruned between drills, what stays has its turn within as many drills as there were older ones.
    #[test]
    fn what_stays_is_drilled_within_as_many_drills_as_there_are_older_ones(
        first in 1_usize..9,
        before in 0_usize..12,
        changes in proptest::collection::vec((0_usize..3, any::<prop::sample::Index>(), any::<bool>()), 40),
    ) {
        let mut world = World { clock: 0, made: 0, there: vec![], past: Past::default() };
        (0..first).for_each(|_| world.back_up(1));
        for _ in 0..before {
            world.back_up(1);
            world.drill();
        }
        let older: Vec<String> =
            world.stock().map(|stock| stock.older.into_iter().map(|one| one.file).collect()).unwrap_or_default();
        let (mut stays, mut drilled) = (older.clone(), BTreeSet::new());
        for (new, which, prune) in changes.into_iter().take(older.len()) {
            (0..new).for_each(|_| world.back_up(1));
            if prune && world.there.len() > 1 {
                let gone = world.there.remove(which.index(world.there.len() - 1));
                stays.retain(|file| *file != gone.file);
            }
            drilled.extend(world.drill());
        }
        for file in stays {
            prop_assert!(drilled.contains(&file), "{file} of {older:?} had no turn: {drilled:?}");
        }
    }

    /// With nothing made or pruned, the stated numbers hold to the drill.
    #[test]
    fn the_stated_numbers_hold(count in 1_usize..6, parts in 1_u32..6) {
        let mut world = World { clock: 0, made: 0, there: vec![], past: Past::default() };
        (0..count).for_each(|_| world.back_up(parts));
        let stock = world.stock().expect("a stock");
        let stated = world.past.coverage(&stock, at(0));
        prop_assert_eq!(stated.covered, 0);
        prop_assert_eq!(stated.drills_needed, stated.every_byte_in);
        prop_assert_eq!(stated.every_byte_in, parts * (count as u32 - 1).max(1));
        let mut taken = BTreeSet::new();
        for drill in 1..=stated.every_byte_in {
            taken.extend(world.drill());
            let now = world.past.coverage(&stock, at(world.clock));
            prop_assert_eq!(now.drills_needed, stated.every_byte_in - drill);
            prop_assert_eq!(now.covered_since.is_some(), drill == stated.every_byte_in);
            if drill == stated.every_artifact_in {
                prop_assert_eq!(taken.len(), count - 1);
            }
        }
        prop_assert_eq!(world.past.coverage(&stock, at(world.clock)).covered, count as u32);
    }

    /// Though no latest stays for two drills, each share of the set has its turn.
    #[test]
    fn the_shares_of_ever_new_latest_ones_go_round(parts in 2_u32..30) {
        let mut world = World { clock: 0, made: 0, there: vec![], past: Past::default() };
        let mut shares = BTreeSet::new();
        for _ in 0..parts {
            world.back_up(parts);
            let latest = world.stock().expect("a stock").latest;
            shares.insert(world.past.share(&kind(), &latest.file, Pick::Latest, parts).number);
            world.drill();
        }
        prop_assert_eq!(shares.len(), parts as usize);
    }
}

#[test]
fn what_was_drilled_or_is_new_goes_to_the_end_of_the_queue() {
    let mut past = Past::default();
    past.add(at(10), vec![took("c", Pick::Latest, None), took("a", Pick::Older, None)]);
    past.add(at(20), vec![took("d", Pick::Latest, None), took("b", Pick::Older, None)]);
    let older = ["a", "b", "c", "d", "new"].map(|file| {
        let created = [("a", 1), ("b", 2), ("c", 3), ("d", 15), ("new", 21)];
        let (_, created) = created.into_iter().find(|(name, _)| *name == file).expect("a name");
        retained(file, created, 1)
    });
    let names = |older: &[Retained], now| -> Vec<String> {
        past.queue(older, at(now)).into_iter().map(|index| older[index].file.clone()).collect()
    };
    assert_eq!(names(&older, 30), ["a", "c", "b", "d", "new"]);
    // What was there before a drill and not taken comes before what was.
    assert_eq!(names(&[retained("a", 1, 1), retained("e", 9, 1)], 30), ["e", "a"]);
    // What was made right now is new.
    assert_eq!(names(&[retained("a", 1, 1), retained("g", 30, 1)], 30), ["a", "g"]);
    // One from the future has its turn at once, and then waits like the others.
    assert_eq!(names(&[retained("a", 1, 1), retained("f", 99, 1)], 30), ["f", "a"]);
}

#[test]
fn what_did_not_come_back_had_its_turn_and_is_not_covered() {
    let mut past = Past::default();
    past.add(at(10), vec![Took { proven: false, ..took("a", Pick::Older, None) }]);
    let stock = Stock {
        kind: kind(),
        latest: retained("z", 3, 1),
        older: vec![retained("a", 1, 1), retained("b", 2, 1)],
    };
    assert_eq!(past.queue(&stock.older, at(20)), [1, 0]);
    let coverage = past.coverage(&stock, at(20));
    assert_eq!((coverage.covered, coverage.drills_needed, coverage.covered_since), (0, 2, None));
}

#[test]
fn parts_of_another_cut_do_not_add_up() {
    let mut past = Past::default();
    past.add(at(1), vec![took("a", Pick::Older, Some((1, 2)))]);
    past.add(at(2), vec![took("a", Pick::Older, Some((2, 3)))]);
    assert_eq!(past.covered_since("a", None), None);
    assert_eq!(past.share(&kind(), "a", Pick::Older, 2), Share { number: 2, of: 2 });
    past.add(at(3), vec![took("a", Pick::Older, Some((2, 2)))]);
    assert_eq!(past.covered_since("a", None), Some(at(1)));
    // Then they are covered again, from the first.
    assert_eq!(past.share(&kind(), "a", Pick::Older, 2).number, 1);
    past.add(at(4), vec![took("a", Pick::Latest, None)]);
    assert_eq!(past.covered_since("a", None), Some(at(4)));
}

#[test]
fn records_count_in_the_order_of_their_chain() {
    let mut records = chain();
    // The clock was set back before the second and the third.
    for (index, time) in [(1, "2026-02-02T10:00:00Z"), (2, "2026-02-01T10:00:00Z")] {
        records[index].evidence.started_at = time.parse().expect("a time");
    }
    let past = Past::of(&records);
    let older = ["db-3.tar.gz", "db-1.tar.gz", "db-2.tar.gz"].map(|file| retained(file, 0, 1));
    assert_eq!(past.queue(&older, at(4_000_000_000)), [1, 2, 0]);
    records[1].evidence.result = Verdict::CouldNotRun;
    assert_eq!(Past::of(&records).queue(&older, at(4_000_000_000)), [2, 1, 0], "that one did not run");
    // Records that do not say it of each artifact say it of all.
    let covered = |records: &[Stored]| Past::of(records).covered_since("db-3.tar.gz", None).is_some();
    assert!(covered(&records));
    records[2].evidence.result = Verdict::NotVerified;
    assert!(!covered(&records));
    records[2].evidence.artifacts[0].proven = Some(true);
    assert!(covered(&records));
}

/// Of a sampled set every part of every copy has its turn: in the second round each comes from the other drive.
#[test]
fn every_part_of_every_copy_is_drilled() {
    let copies: Vec<String> = vec!["a".into(), "b".into()];
    for parts in [2, 3, 20] {
        let mut past = Past::default();
        for drill in 0..2 * parts {
            let share = past.share(&kind(), "x", Pick::Older, parts);
            let copy = past.copy((&kind(), "x"), Pick::Older, Some(share), &copies);
            let part = Some((share.number, parts));
            past.add(at(i64::from(drill)), vec![Took { copy, ..took("x", Pick::Older, part) }]);
        }
        for copy in &copies {
            assert_eq!(past.parts_covered("x", parts, Some(copy)), parts, "{copy} of {parts}");
            assert!(past.covered_since("x", Some(copy)).is_some());
        }
        assert_eq!(past.covered_since("x", Some("c")), None);
    }
    assert_eq!(Past::default().copy((&kind(), "x"), Pick::Latest, None, &copies[..1]), None, "no choice");
}

/// Each day has another latest backup, which no drill has taken before.
#[test]
fn new_backups_come_from_each_drive_in_turn() {
    let copies: Vec<String> = ["a", "b", "c"].map(String::from).to_vec();
    let mut past = Past::default();
    let mut seen = Vec::new();
    for day in 0..6 {
        let file = format!("x{day}");
        let copy = past.copy((&kind(), &file), Pick::Latest, None, &copies);
        seen.extend(copy.clone());
        past.add(at(day), vec![Took { copy, ..took(&file, Pick::Latest, None) }]);
    }
    assert_eq!(seen.concat(), "abcabc");
}

/// Neither those of an older artifact nor those of another set.
#[test]
fn the_shares_of_the_latest_go_on_from_those_of_the_latest() {
    let mut past = Past::default();
    past.add(at(1), vec![took("x1", Pick::Latest, Some((1, 4)))]);
    past.add(at(2), vec![took("x0", Pick::Older, Some((2, 4)))]);
    let logs = Kind { role: Role::Data, set: "logs".into() };
    past.add(at(3), vec![Took { kind: logs, ..took("y1", Pick::Latest, Some((3, 4))) }]);
    assert_eq!(past.share(&kind(), "x2", Pick::Latest, 4).number, 2);
}

/// Of a new backup it counts which drive the latest of the set came from, and not which one others did.
#[test]
fn the_turn_of_a_copy_is_that_of_its_kind() {
    let copies: Vec<String> = vec!["a".into(), "b".into()];
    let from = |copy: &str, took: Took| vec![Took { copy: Some(copy.into()), ..took }];
    let mut past = Past::default();
    past.add(at(1), from("a", took("x1", Pick::Latest, None)));
    past.add(at(2), from("b", took("x0", Pick::Older, None)));
    let logs = Kind { role: Role::Data, set: "logs".into() };
    past.add(at(3), from("b", Took { kind: logs, ..took("y1", Pick::Latest, None) }));
    assert_eq!(past.copy((&kind(), "x2"), Pick::Latest, None, &copies).as_deref(), Some("b"));
    assert_eq!(past.copy((&kind(), "x2"), Pick::Older, None, &copies).as_deref(), Some("a"));
    // Of one that was taken before it counts where that came from.
    past.add(at(4), from("b", took("x2", Pick::Latest, None)));
    past.add(at(5), from("a", took("x3", Pick::Latest, None)));
    assert_eq!(past.copy((&kind(), "x2"), Pick::Latest, None, &copies).as_deref(), Some("a"));
}

#[test]
fn the_copies_at_each_destination_are_counted() {
    let there = |file: &str, copies: &[&str]| Retained {
        copies: copies.iter().map(|copy| (*copy).to_owned()).collect(),
        ..retained(file, 1, 1)
    };
    let mut past = Past::default();
    for (file, copy) in [("x1", "a"), ("x2", "a"), ("x2", "b")] {
        past.add(at(2), vec![Took { copy: Some(copy.into()), ..took(file, Pick::Older, None) }]);
    }
    let stock = Stock {
        kind: kind(),
        latest: there("x3", &["a", "b"]),
        older: vec![there("x1", &["a", "b"]), there("x2", &["b", "a"]), there("x4", &["b"])],
    };
    let copies = past.coverage(&stock, at(9)).copies;
    let counted: Vec<(&str, u32, u32)> =
        copies.iter().map(|copy| (&*copy.destination, copy.retained, copy.covered)).collect();
    assert_eq!(counted, [("a", 3, 2), ("b", 4, 1)]);
}

/// Of a new backup, too, it counts first which drive this share of the set came from.
#[test]
fn the_turn_of_a_copy_is_that_of_its_share() {
    let copies: Vec<String> = vec!["a".into(), "b".into()];
    let mut past = Past::default();
    for (time, file, number, copy) in [(1, "x1", 1, "a"), (2, "x2", 1, "b"), (3, "x3", 2, "a")] {
        let took = took(file, Pick::Latest, Some((number, 2)));
        past.add(at(time), vec![Took { copy: Some(copy.into()), ..took }]);
    }
    let turn = |number| past.copy((&kind(), "x4"), Pick::Latest, Some(Share { number, of: 2 }), &copies);
    assert_eq!([turn(1), turn(2)], [Some("a".to_owned()), Some("b".to_owned())]);
}
