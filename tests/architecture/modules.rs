//! The files of a crate as a graph: which file imports what another file defines.
//!
//! Only production code counts: what `#[cfg(test)]` marks is left out. A declaration (`mod x;`) and
//! a re-export (`pub use x::Y`) are no imports: whoever imports a re-exported name imports the file
//! that defines it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::visit_mut::{self, VisitMut};

/// A module, of its own file or inline.
struct Module {
    file: PathBuf,
    parent: Option<usize>,
    children: BTreeMap<String, usize>,
    /// What it defines, apart from modules and what its macros define.
    items: BTreeSet<String>,
    uses: Vec<Use>,
    /// Every path in its code, such as `super::board::Board`.
    paths: BTreeSet<Vec<String>>,
}

/// One name that a `use` brings in.
struct Use {
    /// None for a glob.
    name: Option<String>,
    target: Vec<String>,
    exported: bool,
}

/// The modules of one crate; the first is its root.
pub(crate) struct Crate {
    modules: Vec<Module>,
}

/// An import of one file by another, and the path that makes it.
type Edges = BTreeMap<PathBuf, BTreeMap<PathBuf, String>>;

impl Crate {
    /// Reads the modules from `root`, such as `src/lib.rs`, on; `read` gives a file's text, or none
    /// where there is no such file.
    pub(crate) fn load(root: &Path, read: &dyn Fn(&Path) -> Option<String>) -> Self {
        let text = read(root).unwrap_or_else(|| panic!("{}: no such file", root.display()));
        let mut modules = Self { modules: Vec::new() };
        let folder = root.parent().unwrap_or(Path::new("")).to_owned();
        modules.add(root, &folder, None, parse(root, &text), read);
        modules
    }

    /// Adds a module and those it declares; `folder` is where the files of its children lie.
    fn add(
        &mut self,
        file: &Path,
        folder: &Path,
        parent: Option<usize>,
        items: Vec<syn::Item>,
        read: &dyn Fn(&Path) -> Option<String>,
    ) -> usize {
        let mut code = syn::File { shebang: None, attrs: Vec::new(), items };
        let mut strip = Strip::default();
        strip.visit_file_mut(&mut code);
        let index = self.modules.len();
        let (declared, rest): (Vec<_>, Vec<_>) =
            code.items.into_iter().partition(|item| matches!(item, syn::Item::Mod(_)));
        let mut paths = BTreeSet::new();
        for item in &rest {
            collect_paths(item.to_token_stream(), &mut paths);
        }
        self.modules.push(Module {
            file: file.to_owned(),
            parent,
            children: BTreeMap::new(),
            items: rest.iter().filter_map(defined).collect(),
            uses: strip.uses,
            paths,
        });
        for item in declared {
            let syn::Item::Mod(module) = item else { continue };
            let name = module.ident.to_string();
            let child = if let Some((_, items)) = module.content {
                self.add(file, &folder.join(&name), Some(index), items, read)
            } else {
                let beside = folder.join(format!("{name}.rs"));
                let inside = folder.join(&name).join("mod.rs");
                let found =
                    [beside, inside].into_iter().find_map(|file| Some((read(&file)?, file)));
                let (text, child) =
                    found.unwrap_or_else(|| panic!("{}: no file of mod {name}", file.display()));
                let items = parse(&child, &text);
                self.add(&child, &folder.join(&name), Some(index), items, read)
            };
            self.modules[index].children.insert(name, child);
        }
        index
    }

    /// Which file imports which, each with a path that does.
    pub(crate) fn imports(&self) -> Edges {
        let mut edges = Edges::new();
        for (index, module) in self.modules.iter().enumerate() {
            let imported =
                module.uses.iter().filter(|used| !used.exported).map(|used| &used.target);
            for path in imported.chain(&module.paths) {
                let (target, _) = self.resolve(index, path, 0);
                let file = &self.modules[target].file;
                if *file != module.file {
                    let named = edges.entry(module.file.clone()).or_default();
                    named.entry(file.clone()).or_insert_with(|| path.join("::"));
                }
            }
        }
        edges
    }

    /// The module that defines what `path` names in module `from`, and whether it is known to; what
    /// comes from elsewhere, such as another crate, counts as the module's own.
    fn resolve(&self, from: usize, path: &[String], depth: usize) -> (usize, bool) {
        let mut module = from;
        let mut rest = path;
        match path.first().map(String::as_str) {
            Some("crate") => (module, rest) = (0, &path[1..]),
            Some("self") => rest = &path[1..],
            // A lone name of a module is a variable.
            Some(name) if path.len() == 1 && self.modules[from].children.contains_key(name) => {
                return (from, true);
            }
            _ => {}
        }
        while rest.first().is_some_and(|name| name == "super") {
            module = self.modules[module].parent.unwrap_or(module);
            rest = &rest[1..];
        }
        self.look_up(module, rest, depth)
    }

    fn look_up(&self, index: usize, path: &[String], depth: usize) -> (usize, bool) {
        let module = &self.modules[index];
        let Some((name, rest)) = path.split_first() else { return (index, true) };
        // A chain of re-exports that is longer is a circle of its own, which the compiler refuses.
        if depth > 16 {
            return (index, false);
        }
        if let Some(child) = module.children.get(name) {
            return self.look_up(*child, rest, depth);
        }
        if module.items.contains(name) {
            return (index, true);
        }
        if let Some(used) = module.uses.iter().find(|used| used.name.as_ref() == Some(name)) {
            let path = [&used.target, rest].concat();
            // What names itself, as `use tokio;` does, is another crate's.
            return if used.target.first() == Some(name) {
                (index, true)
            } else {
                self.resolve(index, &path, depth + 1)
            };
        }
        for glob in module.uses.iter().filter(|used| used.name.is_none()) {
            let (target, known) = self.resolve(index, &glob.target, depth + 1);
            if known && target != index {
                let (target, known) = self.look_up(target, path, depth + 1);
                if known {
                    return (target, true);
                }
            }
        }
        (index, false)
    }
}

/// The same imports between the parts of a crate: what lies right below its root, a folder with
/// all its files or a file.
pub(crate) fn parts(edges: &Edges, root: &Path) -> Edges {
    let part = |file: &Path| -> PathBuf {
        let below = file.strip_prefix(root).unwrap_or(file);
        below.iter().next().map_or_else(PathBuf::new, |first| Path::new(first).with_extension(""))
    };
    let mut joined = Edges::new();
    for (file, named) in edges {
        for (target, path) in named {
            if part(file) != part(target) {
                let of_part = joined.entry(part(file)).or_default();
                of_part.entry(part(target)).or_insert_with(|| path.clone());
            }
        }
    }
    joined
}

/// The circles among imports, one for each set of files, each the shortest way round from its first
/// file: `a.rs names super::b::X -> b.rs names super::a::Y -> a.rs`.
pub(crate) fn circles(edges: &Edges) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let mut circles = Vec::new();
    for start in edges.keys() {
        let Some(way) = way_back(start, edges) else { continue };
        let files: BTreeSet<&PathBuf> = way.iter().copied().collect();
        if !seen.insert(files) {
            continue;
        }
        let mut told = String::new();
        for (file, next) in way.iter().zip(way.iter().skip(1).chain([&start])) {
            told += &format!("{} names {} -> ", file.display(), edges[*file][*next]);
        }
        circles.push(told + &start.display().to_string());
    }
    circles
}

/// The shortest way from a file back to itself, the file first; none if there is no way.
fn way_back<'a>(start: &'a PathBuf, edges: &'a Edges) -> Option<Vec<&'a PathBuf>> {
    let mut came_from: BTreeMap<&PathBuf, &PathBuf> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(file) = queue.pop_front() {
        for next in edges.get(file).into_iter().flat_map(BTreeMap::keys) {
            if next == start {
                let mut way = vec![file];
                while let Some(before) = came_from.get(way[way.len() - 1]) {
                    way.push(before);
                }
                way.reverse();
                return Some(way);
            }
            if !came_from.contains_key(next) {
                came_from.insert(next, file);
                queue.push_back(next);
            }
        }
    }
    None
}

/// The words of a file's production code: its identifiers, comments and strings left out.
pub(crate) fn words(file: &Path, text: &str) -> BTreeSet<String> {
    let mut code = syn::File { shebang: None, attrs: Vec::new(), items: parse(file, text) };
    let mut strip = Strip::default();
    strip.visit_file_mut(&mut code);
    let mut paths = BTreeSet::new();
    collect_paths(code.to_token_stream(), &mut paths);
    paths.into_iter().chain(strip.uses.into_iter().map(|used| used.target)).flatten().collect()
}

fn parse(file: &Path, text: &str) -> Vec<syn::Item> {
    syn::parse_file(text).unwrap_or_else(|error| panic!("{}: {error}", file.display())).items
}

fn defined(item: &syn::Item) -> Option<String> {
    let name = match item {
        syn::Item::Const(item) => &item.ident,
        syn::Item::Enum(item) => &item.ident,
        syn::Item::Fn(item) => &item.sig.ident,
        syn::Item::Macro(item) => item.ident.as_ref()?,
        syn::Item::Static(item) => &item.ident,
        syn::Item::Struct(item) => &item.ident,
        syn::Item::Trait(item) => &item.ident,
        syn::Item::Type(item) => &item.ident,
        syn::Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(name.to_string())
}

/// Takes out what is for tests alone, and each `use`, which it keeps apart.
#[derive(Default)]
struct Strip {
    uses: Vec<Use>,
}

impl Strip {
    fn keep(&mut self, item: &syn::Item) -> bool {
        let syn::Item::Use(item) = item else { return !for_tests(attributes(item)) };
        if !for_tests(&item.attrs) {
            let exported = !matches!(item.vis, syn::Visibility::Inherited);
            expand(&item.tree, Vec::new(), exported, &mut self.uses);
        }
        false
    }
}

impl VisitMut for Strip {
    fn visit_file_mut(&mut self, file: &mut syn::File) {
        file.items.retain(|item| self.keep(item));
        visit_mut::visit_file_mut(self, file);
    }

    // An inline module is a module of its own: its uses are taken when it is added.
    fn visit_item_mod_mut(&mut self, _: &mut syn::ItemMod) {}

    fn visit_item_impl_mut(&mut self, block: &mut syn::ItemImpl) {
        block.items.retain(|item| match item {
            syn::ImplItem::Fn(function) => !for_tests(&function.attrs),
            _ => true,
        });
        visit_mut::visit_item_impl_mut(self, block);
    }

    fn visit_block_mut(&mut self, block: &mut syn::Block) {
        block.stmts.retain(|statement| match statement {
            syn::Stmt::Item(item) => self.keep(item),
            _ => true,
        });
        visit_mut::visit_block_mut(self, block);
    }
}

fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Const(item) => &item.attrs,
        syn::Item::Enum(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Macro(item) => &item.attrs,
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Static(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        syn::Item::Trait(item) => &item.attrs,
        syn::Item::Type(item) => &item.attrs,
        _ => &[],
    }
}

fn for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let words = attribute.meta.to_token_stream().to_string();
        attribute.path().is_ident("cfg") && words.contains("test") && !words.contains("not")
    })
}

fn expand(tree: &syn::UseTree, mut before: Vec<String>, exported: bool, uses: &mut Vec<Use>) {
    let (name, last) = match tree {
        syn::UseTree::Path(path) => {
            before.push(path.ident.to_string());
            return expand(&path.tree, before, exported, uses);
        }
        syn::UseTree::Group(group) => {
            for tree in &group.items {
                expand(tree, before.clone(), exported, uses);
            }
            return;
        }
        syn::UseTree::Glob(_) => (None, None),
        syn::UseTree::Name(name) => (Some(name.ident.to_string()), Some(name.ident.to_string())),
        syn::UseTree::Rename(rename) => {
            (Some(rename.rename.to_string()), Some(rename.ident.to_string()))
        }
    };
    // `use a::b::{self}` brings in b.
    let itself = last.as_deref() == Some("self");
    let name = if name.as_deref() == Some("self") { before.last().cloned() } else { name };
    before.extend(last.filter(|_| !itself));
    uses.push(Use { name, target: before, exported });
}

/// Every `a::b::c` in code, macros' arguments too.
fn collect_paths(code: TokenStream, paths: &mut BTreeSet<Vec<String>>) {
    let mut path: Vec<String> = Vec::new();
    let mut colons = 0;
    for token in code {
        match token {
            TokenTree::Ident(word) => {
                if colons != 2 {
                    paths.insert(std::mem::take(&mut path));
                }
                path.push(word.to_string());
                colons = 0;
            }
            TokenTree::Punct(mark) if mark.as_char() == ':' => colons += 1,
            TokenTree::Group(group) => {
                paths.insert(std::mem::take(&mut path));
                collect_paths(group.stream(), paths);
                colons = 0;
            }
            _ => {
                paths.insert(std::mem::take(&mut path));
                colons = 0;
            }
        }
    }
    paths.insert(path);
    // Nothing, and the words of `pub(crate)` and `pub(super)`.
    paths.retain(|path| !matches!(path.join("::").as_str(), "" | "crate" | "super" | "self"));
}
