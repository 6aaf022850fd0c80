use super::*;
use crate::workspace::overlay::tests::Memory;

const MIB: u64 = 1024 * 1024;

fn fold(seq: u32, bytes: u64, overlay: Overlay) -> Arc<Fold> {
    Arc::new(Fold { recorded: RecordedTurn::default(), seq, bytes, made: Vec::new(), overlay, revision: String::new() })
}

fn weight(overlay: &Overlay) -> u64 {
    ByteWeighter.weight(&(TurnId::generate(), 1), &fold(1, 0, overlay.clone()))
}

fn keep(folds: &Folds, turn: TurnId, fold: Arc<Fold>) {
    folds.used(turn, fold.seq);
    folds.folds.insert((turn, fold.seq), fold);
}

#[tokio::test]
async fn the_weight_of_a_fold_has_all_contents_that_it_holds() {
    let long = "x".repeat(900);
    let base = Memory::new(&[("read.txt", &long), ("moved.txt", &long), ("other.txt", "")]);
    let mut overlay = base.overlay();
    let mut before = weight(&overlay);
    let mut grown = |overlay: &Overlay| {
        let weight = weight(overlay);
        let grown = weight - before;
        before = weight;
        grown
    };
    overlay.read(&base, &["read.txt"]).await.unwrap();
    assert!(grown(&overlay) >= 900, "a content of the base");
    overlay.rename(&base, "moved.txt", "there.txt").await.unwrap().unwrap();
    assert!(grown(&overlay) >= 1_800, "a moved content, which was read");
    // A tool can write a long file with a short call.
    overlay.write(&base, "other.txt", &long).await.unwrap().unwrap();
    assert!(grown(&overlay) >= 900, "a written content");
    let key = (TurnId::generate(), 1);
    assert_eq!(ByteWeighter.weight(&key, &fold(1, 5 * MIB, overlay.clone())), weight(&overlay) + 5 * MIB);
}

#[test]
fn a_large_fold_is_kept_and_all_together_stay_below_the_limit() {
    let (folds, turn) = (Folds::new(), TurnId::generate());
    let overlay = Memory::new(&[]).overlay();
    keep(&folds, turn, fold(1, 60 * MIB, overlay.clone()));
    assert!(folds.get(turn, 1).is_some());
    for seq in 2..10 {
        keep(&folds, turn, fold(seq, 20 * MIB, overlay.clone()));
        assert!(folds.folds.weight() <= MAX_BYTES);
    }
    assert!(folds.get(turn, 9).is_some());
}

#[tokio::test(start_paused = true)]
async fn folds_of_turns_that_have_ended_or_are_not_asked_for_are_dropped() {
    let folds = Folds::new();
    let [ended, idle, used] = [(); 3].map(|()| TurnId::generate());
    let overlay = Memory::new(&[]).overlay();
    for turn in [ended, idle, used] {
        for seq in [1, 2] {
            keep(&folds, turn, fold(seq, 1, overlay.clone()));
        }
    }
    folds.forget(ended);
    assert_eq!((folds.folds.len(), folds.newest.len()), (4, 2));
    assert!(folds.get(ended, 2).is_none() && folds.get(idle, 1).is_some());
    // The clock is paused, and moves at once.
    tokio::time::sleep(MAX_IDLE / 2).await;
    assert!(folds.get(used, 1).is_some());
    tokio::time::sleep(MAX_IDLE / 2).await;
    folds.forget_idle(Instant::now());
    assert_eq!((folds.folds.len(), folds.newest.len()), (2, 1));
    assert!(folds.get(idle, 2).is_none() && folds.get(used, 2).is_some());
}
