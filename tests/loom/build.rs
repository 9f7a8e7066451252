//! Generates a module from `src/revocation/bloom.rs` with loom's atomics instead of the standard library's, and a module for
//! each mutant of it. Each module contains the scenarios and a test.

use std::path::Path;
use std::{env, fs};

/// Changes of the source in every module: loom's types, and small constants, so that a filter has one or two words.
const FOR_LOOM: &[(&str, &str)] = &[
    (
        "use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};",
        "use loom::sync::atomic::{AtomicU64, AtomicUsize, Ordering};",
    ),
    ("use std::sync::{Mutex, PoisonError};", "use loom::sync::Mutex; use std::sync::PoisonError;"),
    ("const MIN_STALE_BITS: usize = 1000;", "const MIN_STALE_BITS: usize = 0;"),
    ("const BITS_PER_ENTRY: usize = 16;", "const BITS_PER_ENTRY: usize = 64;"),
];

/// A fault that loom must detect: its name, the text to replace, and the replacement. The text occurs exactly once in the
/// source and the scenarios.
type Mutant = (&'static str, &'static str, &'static str);

const MUTANTS: &[Mutant] = &[
    ("inserts_into_one_buffer_only", "for buffer in &self.buffers {", "for buffer in &self.buffers[..1] {"),
    (
        "inserts_before_the_map_has_the_entry",
        "self.map.lock().expect(NO_PANIC).push(hash);\n        self.filter.insert(hash);",
        "self.filter.insert(hash);\n        self.map.lock().expect(NO_PANIC).push(hash);",
    ),
    (
        "clears_the_current_buffer",
        "let current = &self.buffers[epoch % 2];\n        let spare = &self.buffers[(epoch + 1) % 2];",
        "let current = &self.buffers[(epoch + 1) % 2];\n        let spare = &self.buffers[epoch % 2];",
    ),
    (
        "starts_the_epoch_before_it_inserts_the_entries",
        "let mut inserted = 0;",
        "self.epoch.store(epoch + 1, Ordering::Release); let mut inserted = 0;",
    ),
    ("does_not_insert_the_entries_again", "            word.fetch_or(bit, Ordering::Relaxed);\n", ""),
    ("clears_by_writing_only", "word.swap(0, Ordering::AcqRel);", "word.store(0, Ordering::Relaxed);"),
    ("clears_without_release", "word.swap(0, Ordering::AcqRel);", "word.swap(0, Ordering::Acquire);"),
    (
        "starts_the_epoch_without_release",
        "self.epoch.store(epoch + 1, Ordering::Release);",
        "self.epoch.store(epoch + 1, Ordering::Relaxed);",
    ),
    (
        "reads_the_epoch_without_acquire",
        "let mut epoch = self.epoch.load(Ordering::Acquire);",
        "let mut epoch = self.epoch.load(Ordering::Relaxed);",
    ),
    (
        "reads_a_word_without_acquire",
        "if word.load(Ordering::Acquire) & bit != 0 {",
        "if word.load(Ordering::Relaxed) & bit != 0 {",
    ),
    ("does_not_read_the_epoch_again", "if latest == epoch {", "if true {"),
    (
        "resizes_without_release",
        "spare.used.store(words, Ordering::Release);",
        "spare.used.store(words, Ordering::Relaxed);",
    ),
    (
        "reads_the_size_without_acquire",
        "(self.used.load(Ordering::Acquire) - 1)",
        "(self.used.load(Ordering::Relaxed) - 1)",
    ),
    (
        "counts_from_the_map_alone",
        "self.insertions.fetch_sub(insertions.saturating_sub(inserted), Ordering::Relaxed);",
        "self.insertions.store(inserted, Ordering::Relaxed);",
    ),
    ("does_not_count_insertions", "self.insertions.fetch_add(1, Ordering::Relaxed);", ""),
    ("rebuilds_two_at_a_time", "let _guard = self.rebuild_lock.lock()", "let _ = self.rebuild_lock.lock()"),
];

fn main() {
    let manifest = env::var("CARGO_MANIFEST_DIR").expect("set by cargo");
    let read = |name: &str| {
        let path = Path::new(&manifest).join(name);
        println!("cargo::rerun-if-changed={}", path.display());
        fs::read_to_string(path).expect("reads")
    };
    let source = read("../../src/revocation/bloom.rs");
    let (source, _tests) = source.split_once("#[cfg(test)]").expect("the unit tests are at the end of the file");
    // Inner doc comments are not allowed in the middle of a generated module.
    let source: String =
        source.lines().filter(|line| !line.starts_with("//!")).map(|line| format!("{line}\n")).collect();
    let scenarios = read("src/scenarios.rs");
    let filter = FOR_LOOM.iter().fold(format!("{source}\n{scenarios}"), |text, (from, to)| replaced(&text, from, to));

    let mut modules =
        format!("mod filter {{\n{filter}\n#[test]\nfn misses_no_entry() {{ crate::assert_correct(SCENARIOS); }}\n}}\n");
    for (name, from, to) in MUTANTS {
        let mutant = replaced(&filter, from, to);
        modules += &format!(
            "#[allow(unused)]\nmod {name} {{\n{mutant}\n\
             #[test]\nfn is_detected() {{ crate::assert_mutant_detected(SCENARIOS); }}\n}}\n"
        );
    }
    let out = env::var("OUT_DIR").expect("set by cargo");
    fs::write(Path::new(&out).join("modules.rs"), modules).expect("writes");
}

fn replaced(text: &str, from: &str, to: &str) -> String {
    assert_eq!(text.matches(from).count(), 1, "the source has changed, so this text must be updated too: {from}");
    text.replace(from, to)
}
