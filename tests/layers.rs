//! Tests of the layers of `src/`: imports point down, and imports form no cycle.
//!
//! The table in the documentation of `src/lib.rs` assigns each top-level module to a layer. Code outside of unit tests follows
//! two rules:
//!
//! 1. A module uses only modules of its own layer and of lower layers.
//! 2. The files form no import cycle. A path is followed through re-exports (`pub use`) to the file that defines the item. So a
//!    file that only re-exports items of its submodules does not use them. A file that re-exports items of another module does
//!    use them.
//!
//! Paths in the arguments of macros and attributes count too.
#![allow(missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use syn::buffer::{Cursor, TokenBuffer};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemMod, ItemUse, Macro, MetaList, UseTree, VisRestricted, Visibility};

/// Path of a module in the crate, such as `["http", "status"]`.
type Module = Vec<String>;

/// Modules of a crate, one for each file.
#[derive(Debug, Default)]
struct Sources {
    files: BTreeMap<Module, Source>,
}

#[derive(Debug, Default)]
struct Source {
    /// Paths that the file uses outside of `pub use`. Paths in inline modules are rewritten to be relative to the file.
    paths: BTreeSet<Vec<String>>,
    /// Names that `use` declares, and their paths.
    imports: BTreeMap<String, Vec<String>>,
    /// Names that `pub use` declares, and their paths.
    exports: BTreeMap<String, Vec<String>>,
    /// Submodules that exist only for unit tests.
    test_modules: BTreeSet<String>,
    /// Number of inline modules around the current item, while the file is parsed.
    depth: usize,
}

impl Sources {
    /// Reads the source files below a directory, except those of unit tests.
    fn read(directory: &Path) -> Self {
        let mut sources = Self::default();
        sources.add_directory(directory, &[]);
        let is_test = |module: &Module| {
            (1..=module.len()).any(|length| {
                let (name, parent) = module[..length].split_last().expect("at least one name");
                sources.files.get(parent).is_some_and(|file| file.test_modules.contains(name))
            })
        };
        let tests: Vec<_> = sources.files.keys().filter(|module| is_test(module)).cloned().collect();
        tests.iter().for_each(|module| drop(sources.files.remove(module)));
        sources
    }

    fn add_directory(&mut self, directory: &Path, parent: &[String]) {
        for entry in fs::read_dir(directory).expect("a directory of sources") {
            let path = entry.expect("an entry").path();
            let name = path.file_stem().expect("a name").to_str().expect("text").to_owned();
            let module = [parent, std::slice::from_ref(&name)].concat();
            if path.is_dir() {
                self.add_directory(&path, &module);
            } else if path.extension().is_some_and(|extension| extension == "rs") && name != "main" {
                let text = fs::read_to_string(&path).expect("a source");
                self.add(if name == "lib" { Module::new() } else { module }, &text);
            }
        }
    }

    fn add(&mut self, module: Module, text: &str) {
        let mut source = Source::default();
        source.visit_file(&syn::parse_file(text).expect("Rust"));
        self.files.insert(module, source);
    }

    /// Returns the file that defines the item of a path in `module`, or `None` if the item is not in this crate.
    fn file_of(&self, module: &[String], path: &[String]) -> Option<Module> {
        let mut absolute = match path[0].as_str() {
            "crate" => path[1..].to_vec(),
            "self" => [module, &path[1..]].concat(),
            "super" => {
                let supers = path.iter().take_while(|name| *name == "super").count();
                [&module[..module.len().checked_sub(supers)?], &path[supers..]].concat()
            }
            // A path of one name is a variable or an item, not a module.
            child if path.len() > 1 && self.files.contains_key(&[module, &[child.to_owned()]].concat()) => {
                [module, path].concat()
            }
            name => {
                let import = self.files[module].imports.get(name).filter(|import| import[0] != name)?;
                return self.file_of(module, &[import, &path[1..]].concat());
            }
        };
        // Finds the longest prefix that is a file, and follows its re-exports.
        loop {
            let length = (0..=absolute.len()).rev().find(|length| self.files.contains_key(&absolute[..*length]))?;
            let (file, rest) = absolute.split_at(length);
            let Some(exported) = rest.first().and_then(|name| self.files[file].exports.get(name)) else {
                return Some(file.to_vec());
            };
            let exporter = file.to_vec();
            let target = self.file_of(&exporter, exported)?;
            let next = [target.clone(), rest[1..].to_vec()].concat();
            if next.len() == target.len() || next == absolute {
                return Some(target);
            }
            absolute = next;
        }
    }

    /// Returns for each file the other files that it uses.
    fn uses(&self) -> BTreeMap<&Module, BTreeSet<Module>> {
        let used = |(module, source): (&'_ Module, &Source)| {
            let paths = source.paths.iter().filter_map(|path| self.file_of(module, path));
            let exports = source.exports.values().filter_map(|path| self.file_of(module, path));
            let foreign_exports = exports.filter(|file| !file.starts_with(module));
            paths.chain(foreign_exports).filter(|file| file != module).collect()
        };
        self.files.iter().map(|entry| (entry.0, used(entry))).collect()
    }

    /// Returns the imports that point to a higher layer. `layers` has the layer of each top-level module.
    fn upward_imports(&self, layers: &BTreeMap<String, usize>) -> Vec<String> {
        let layer = |module: &Module| {
            let top = module.first()?;
            Some(*layers.get(top).unwrap_or_else(|| panic!("{top} has no layer in the table of src/lib.rs")))
        };
        let mut found = Vec::new();
        for (module, used) in self.uses() {
            let higher = used.iter().filter(|file| layer(file) > layer(module) && layer(module).is_some());
            found.extend(higher.map(|file| format!("{} uses {}", name(module), name(file))));
        }
        found
    }

    /// Returns the groups of files in which each file uses all others, directly or indirectly
    /// ([strongly connected components](https://en.wikipedia.org/wiki/Strongly_connected_component)).
    fn cycles(&self) -> Vec<String> {
        let uses = self.uses();
        let reachable: BTreeMap<_, _> = uses.keys().map(|file| (*file, reachable(&uses, file))).collect();
        let in_cycle = reachable.iter().filter(|(file, others)| others.contains(*file));
        let group = |(file, others): (&&Module, &BTreeSet<&Module>)| -> BTreeSet<String> {
            others.iter().filter(|other| reachable[**other].contains(*file)).map(|other| name(other)).collect()
        };
        let groups: BTreeSet<_> = in_cycle.map(group).collect();
        groups.into_iter().map(|group| group.into_iter().collect::<Vec<_>>().join(", ")).collect()
    }
}

/// Returns the files that a file uses, directly or indirectly.
fn reachable<'u>(uses: &'u BTreeMap<&Module, BTreeSet<Module>>, file: &'u Module) -> BTreeSet<&'u Module> {
    let mut reachable = BTreeSet::new();
    let mut unvisited = vec![file];
    while let Some(file) = unvisited.pop() {
        unvisited.extend(uses[file].iter().filter(|next| reachable.insert(*next)));
    }
    reachable
}

impl Source {
    fn add_path(&mut self, path: Vec<String>) {
        // In a macro, a single `super` is part of `pub(super)`.
        if !path.is_empty() && path != ["super"] {
            self.paths.insert(self.relative_to_file(path));
        }
    }

    /// Rewrites a path in an inline module to be relative to the file.
    fn relative_to_file(&self, mut path: Vec<String>) -> Vec<String> {
        let supers = path.iter().take_while(|name| *name == "super").count();
        if supers > self.depth {
            path.drain(..self.depth);
        } else if supers > 0 {
            path.splice(..supers, ["self".to_owned()]);
        }
        path
    }

    /// Adds the paths in the arguments of a macro or an attribute. In `prefix::{…}`, `prefix` is the path before the braces.
    fn add_tokens(&mut self, mut tokens: Cursor<'_>, prefix: &[String]) {
        let mut path = Vec::new();
        let mut colons = 0;
        while let Some((_, next)) = tokens.token_tree() {
            let follows_colons = colons == 2;
            let is_colon = tokens.punct().is_some_and(|(punct, _)| punct.as_char() == ':');
            colons = if is_colon { colons + 1 } else { 0 };
            if let Some((inside, ..)) = tokens.any_group() {
                let path = std::mem::take(&mut path);
                self.add_tokens(inside, if follows_colons { &path } else { &[] });
                if !follows_colons {
                    self.add_path(path);
                }
            } else if let Some((name, _)) = tokens.ident() {
                if !follows_colons {
                    self.add_path(std::mem::replace(&mut path, prefix.to_vec()));
                }
                path.push(name.to_string());
            }
            tokens = next;
        }
        self.add_path(path);
    }
}

impl<'ast> Visit<'ast> for Source {
    fn visit_item(&mut self, item: &'ast Item) {
        if !attributes(item).iter().any(is_for_tests) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        if module.attrs.iter().any(is_for_tests) {
            self.test_modules.insert(module.ident.to_string());
        } else {
            self.depth += 1;
            visit::visit_item_mod(self, module);
            self.depth -= 1;
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let mut paths = Vec::new();
        flatten(&item.tree, &mut Vec::new(), &mut paths);
        for (name, path) in paths {
            let path = self.relative_to_file(path);
            if matches!(item.vis, Visibility::Inherited) || name == "*" {
                self.paths.insert(path.clone());
            } else {
                self.exports.insert(name.clone(), path.clone());
            }
            self.imports.insert(name, path);
        }
    }

    /// Does nothing, because the path in `pub(in …)` is not a use.
    fn visit_vis_restricted(&mut self, _: &'ast VisRestricted) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.add_path(names);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        self.add_tokens(TokenBuffer::new2(call.tokens.clone()).begin(), &[]);
        visit::visit_macro(self, call);
    }

    fn visit_meta_list(&mut self, attribute: &'ast MetaList) {
        self.add_tokens(TokenBuffer::new2(attribute.tokens.clone()).begin(), &[]);
        visit::visit_meta_list(self, attribute);
    }
}

/// Splits a tree of imports into single imports: pairs of the declared name and its path.
fn flatten(tree: &UseTree, prefix: &mut Vec<String>, paths: &mut Vec<(String, Vec<String>)>) {
    let mut push = |name: String, last: String| {
        let path = if last == "self" { prefix.clone() } else { [&prefix[..], &[last]].concat() };
        let name = if name == "self" { path.last().expect("a name before `self`").clone() } else { name };
        paths.push((name, path));
    };
    match tree {
        UseTree::Path(path) => {
            prefix.push(path.ident.to_string());
            flatten(&path.tree, prefix, paths);
            prefix.pop();
        }
        UseTree::Group(group) => group.items.iter().for_each(|tree| flatten(tree, prefix, paths)),
        UseTree::Name(item) => push(item.ident.to_string(), item.ident.to_string()),
        UseTree::Rename(item) => push(item.rename.to_string(), item.ident.to_string()),
        UseTree::Glob(_) => push("*".to_owned(), "*".to_owned()),
    }
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        Item::Const(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        _ => &[],
    }
}

fn is_for_tests(attribute: &Attribute) -> bool {
    attribute.path().is_ident("cfg")
        && attribute.parse_args::<syn::Path>().is_ok_and(|condition| condition.is_ident("test"))
}

fn name(module: &Module) -> String {
    if module.is_empty() { "lib".to_owned() } else { module.join("::") }
}

/// Parses the table in `lib.rs`. It has a row for each layer, with the number of the layer and its modules in backticks.
fn layers(lib: &str) -> BTreeMap<String, usize> {
    let mut layers = BTreeMap::new();
    for row in lib.lines().filter_map(|line| line.strip_prefix("//! | ")) {
        let Some((layer, rest)) = row.split_once(' ') else { continue };
        let Ok(layer) = layer.parse() else { continue };
        let Some(cell) = rest.split('|').nth(1) else { continue };
        let modules = cell.split('`').skip(1).step_by(2);
        layers.extend(modules.map(|module| (module.to_owned(), layer)));
    }
    layers
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

#[test]
fn imports_point_down() {
    let layers = layers(&fs::read_to_string(src().join("lib.rs")).expect("lib.rs"));
    let sources = Sources::read(&src());
    assert!(sources.files.len() > 150, "the sources were found");
    assert_eq!(sources.upward_imports(&layers), Vec::<String>::new());
}

#[test]
fn imports_form_no_cycle() {
    assert_eq!(Sources::read(&src()).cycles(), Vec::<String>::new());
}

#[test]
fn finds_upward_imports_and_cycles() {
    let layers = BTreeMap::from([("low".to_owned(), 1), ("high".to_owned(), 2)]);
    let sources = |low: &str, high: &str, child: &str| {
        let mut sources = Sources::default();
        sources.add(Module::new(), "mod low; mod high;");
        sources.add(vec!["low".to_owned()], low);
        sources.add(vec!["high".to_owned()], high);
        sources.add(vec!["high".to_owned(), "child".to_owned()], child);
        sources
    };
    let valid =
        sources("pub struct Low;", "mod child; pub use child::Child;", "use crate::low::Low; pub struct Child;");
    assert_eq!((valid.upward_imports(&layers), valid.cycles()), (vec![], vec![]));
    let tests = sources("#[cfg(test)] mod tests { use crate::high::Child; }", "", "pub struct Child;");
    assert_eq!(tests.upward_imports(&layers), Vec::<String>::new());
    for upward in [
        "use crate::high::{Child, self};",
        "fn f() { crate::high::f() }",
        "use super::high::child::Child as C;",
        "pub use crate::high::Child;",
        "pub use crate::high::*;",
        "use crate as root; fn f() { root::high::f() }",
        "mod inline { use super::super::high::Child; }",
        "fn f() { println!(\"{}\", crate::high::f()) }",
        "macro_rules! call { () => { $crate::high::f() } }",
        "mod inline { items! { use super::super::{high::Child}; } }",
        "#[derive(crate::high::Child)] struct Low;",
    ] {
        let invalid = sources(upward, "mod child; pub use child::Child;", "pub struct Child;");
        assert!(!invalid.upward_imports(&layers).is_empty(), "{upward}");
    }
    let cycle = sources("", "mod child; use child::Child; struct High;", "use super::High; pub struct Child;");
    assert_eq!(cycle.cycles(), ["high, high::child".to_owned()]);
    let through_export = sources("", "mod child; pub use child::Child; struct High(Child);", "use super::High;");
    assert_eq!(through_export.cycles(), ["high, high::child".to_owned()]);
    let through_module = sources("use crate::high; fn f() { high::child::f() }", "", "use crate::low::f;");
    assert_eq!(through_module.cycles(), ["high::child, low".to_owned()]);
}
