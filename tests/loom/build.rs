//! Build script that generates the modules under test: a copy of `src/revocation/marks.rs` with the atomics of loom in place of
//! those of the standard library, and one such copy for each mutant. Each module also contains the scenarios and a test.

use std::path::Path;
use std::{env, fs};

/// Replacements in every module: the types of loom, and constants that are so small that a filter has only one or two words.
const FOR_LOOM: &[(&str, &str)] = &[
    (
        "use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};",
        "use loom::sync::atomic::{AtomicU64, AtomicUsize, Ordering};",
    ),
    ("use std::sync::{Mutex, PoisonError};", "use loom::sync::Mutex; use std::sync::PoisonError;"),
    ("const FEW: usize = 1000;", "const FEW: usize = 0;"),
    ("const BITS_EACH: usize = 16;", "const BITS_EACH: usize = 64;"),
];

/// A fault that loom must find: its name, the text to replace, which occurs exactly once in the source and the scenarios, and the
/// replacement.
type Mutant = (&'static str, &'static str, &'static str);

const MUTANTS: &[Mutant] = &[
    ("sets_bits_in_one_set_only", "for set in &self.sets {", "for set in &self.sets[..1] {"),
    (
        "sets_bits_before_the_map_has_the_entry",
        "self.map.lock().expect(\"no thread panics with it\").push(hash);\n        self.marks.mark(hash);",
        "self.marks.mark(hash);\n        self.map.lock().expect(\"no thread panics with it\").push(hash);",
    ),
    (
        "clears_the_current_set",
        "(&self.sets[turn % 2], &self.sets[(turn + 1) % 2]);",
        "(&self.sets[(turn + 1) % 2], &self.sets[turn % 2]);",
    ),
    (
        "switches_sets_before_it_sets_bits",
        "let mut marked = 0;",
        "self.turn.store(turn + 1, Ordering::Release); let mut marked = 0;",
    ),
    ("does_not_set_bits_in_a_rebuild", "            word.fetch_or(bit, Ordering::Relaxed);\n", ""),
    ("clears_with_a_store_instead_of_a_swap", "word.swap(0, Ordering::AcqRel);", "word.store(0, Ordering::Relaxed);"),
    ("clears_without_release", "word.swap(0, Ordering::AcqRel);", "word.swap(0, Ordering::Acquire);"),
    (
        "switches_sets_without_release",
        "self.turn.store(turn + 1, Ordering::Release);",
        "self.turn.store(turn + 1, Ordering::Relaxed);",
    ),
    (
        "reads_the_rebuild_count_without_acquire",
        "let mut turn = self.turn.load(Ordering::Acquire);",
        "let mut turn = self.turn.load(Ordering::Relaxed);",
    ),
    (
        "reads_a_word_without_acquire",
        "if word.load(Ordering::Acquire) & bit != 0 {",
        "if word.load(Ordering::Relaxed) & bit != 0 {",
    ),
    ("does_not_check_the_rebuild_count_again", "if now == turn {", "if true {"),
    (
        "resizes_without_release",
        "set.used.store(words, Ordering::Release);",
        "set.used.store(words, Ordering::Relaxed);",
    ),
    (
        "reads_the_size_without_acquire",
        "(self.used.load(Ordering::Acquire) - 1)",
        "(self.used.load(Ordering::Relaxed) - 1)",
    ),
    (
        "counts_only_the_entries_of_the_map",
        "self.made.fetch_sub(made.saturating_sub(marked), Ordering::Relaxed);",
        "self.made.store(marked, Ordering::Relaxed);",
    ),
    ("does_not_count_new_entries", "self.made.fetch_add(1, Ordering::Relaxed);", ""),
    ("allows_two_rebuilds_at_the_same_time", "let _alone = self.remaking.lock()", "let _ = self.remaking.lock()"),
];

fn main() {
    let manifest = env::var("CARGO_MANIFEST_DIR").expect("set by cargo");
    let read = |name: &str| {
        let path = Path::new(&manifest).join(name);
        println!("cargo::rerun-if-changed={}", path.display());
        fs::read_to_string(path).expect("reads")
    };
    let source = read("../../src/revocation/marks.rs");
    let (source, _tests) = source.split_once("#[cfg(test)]").expect("its tests come last");
    // `//!` lines are removed, because they would not be at the beginning of the generated module.
    let source: String =
        source.lines().filter(|line| !line.starts_with("//!")).map(|line| format!("{line}\n")).collect();
    let scenarios = read("src/scenarios.rs");
    let filter = FOR_LOOM.iter().fold(format!("{source}\n{scenarios}"), |text, (from, to)| replaced(&text, from, to));

    let mut modules =
        format!("mod filter {{\n{filter}\n#[test]\nfn misses_no_entry() {{ crate::assert_correct(SCENARIOS); }}\n}}\n");
    for (name, from, to) in MUTANTS {
        let mutant = replaced(&filter, from, to);
        modules += &format!(
            "#[allow(unused)]\nmod {name} {{\n{mutant}\n#[test]\nfn is_found() {{ crate::assert_found(SCENARIOS); }}\n}}\n"
        );
    }
    let out = env::var("OUT_DIR").expect("set by cargo");
    fs::write(Path::new(&out).join("modules.rs"), modules).expect("writes");
}

fn replaced(text: &str, from: &str, to: &str) -> String {
    assert_eq!(text.matches(from).count(), 1, "the source has changed, so change this text too: {from}");
    text.replace(from, to)
}
