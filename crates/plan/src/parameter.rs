//! Single kernel parameters: names, values, and what a plan wishes of a command line.

/// Splits `name=value`; names have `-` and `_` folded, as the kernel does (kernel/params.c `parameq`).
pub fn split(word: &str) -> (String, Option<&str>) {
    let (name, value) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value.trim_matches('"'))));
    (name.trim_matches('"').replace('-', "_"), value)
}

/// True where two words are the same parameter with the same value.
pub fn same(a: &str, b: &str) -> bool {
    split(a) == split(b)
}

/// Parameters by which vfio-pci is told ids.
pub const VFIO_IDS: &str = "vfio_pci.ids";

/// What switches something off on a command line: `intel_iommu=off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Switch {
    /// Name of the parameter.
    pub name: &'static str,
    /// How an item of its list begins; the kernel compares no more than that (`strncmp` in `intel_iommu_setup` and its like).
    pub item: &'static str,
}

impl Switch {
    /// True where a word holds it.
    pub fn is_in(&self, word: &str) -> bool {
        let (name, value) = split(word);
        value.unwrap_or_default().split(',').any(|item| self.is(&name, item))
    }

    fn is(&self, name: &str, item: &str) -> bool {
        name == self.name && item.starts_with(self.item)
    }
}

/// What a plan wants of the kernel command line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// Ids that `vfio-pci.ids=` must list; empty where it is left alone.
    pub ids: Vec<String>,
    /// A parameter to be there, added where no word sets it.
    pub add: Option<&'static str>,
    /// Items that must go.
    pub drop_off: Vec<Switch>,
}

/// Changes to the words of one command line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WordEdits {
    /// Words to take out.
    pub remove: Vec<String>,
    /// Words to put in the place of others.
    pub replace: Vec<(String, String)>,
    /// Words to add at the end.
    pub add: Vec<String>,
}

impl WordEdits {
    /// True where the words are as wished already.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.replace.is_empty() && self.add.is_empty()
    }
}

impl Wish {
    /// The changes that make these words as wished.
    pub fn edits(&self, words: &[String]) -> WordEdits {
        let mut edits = WordEdits::default();
        for word in words {
            let (name, value) = split(word);
            if !self.drop_off.iter().any(|switch| switch.is_in(word)) {
                continue;
            }
            let items = value.unwrap_or_default().split(',');
            let left: Vec<&str> = items.filter(|item| !self.drop_off.iter().any(|switch| switch.is(&name, item))).collect();
            if left.is_empty() {
                edits.remove.push(word.clone());
            } else {
                let written = word.split_once('=').map_or(word.as_str(), |(name, _)| name);
                edits.replace.push((word.clone(), format!("{written}={}", left.join(","))));
            }
        }
        self.add_missing(words, &mut edits);
        self.merge_ids(words, &mut edits);
        edits
    }

    fn add_missing(&self, words: &[String], edits: &mut WordEdits) {
        let Some(wanted) = self.add else { return };
        let (name, value) = split(wanted);
        let there = |word: &String| {
            let (n, v) = split(word);
            n == name && v.unwrap_or_default().split(',').any(|item| Some(item) == value)
        };
        if !words.iter().any(there) {
            edits.add.push(wanted.to_owned());
        }
    }

    /// The kernel takes the last `vfio-pci.ids=` and forgets the others, so the wished ids join that one.
    fn merge_ids(&self, words: &[String], edits: &mut WordEdits) {
        if self.ids.is_empty() {
            return;
        }
        let Some(last) = words.iter().rev().find(|word| split(word).0 == VFIO_IDS) else {
            edits.add.push(format!("vfio-pci.ids={}", self.ids.join(",")));
            return;
        };
        let present: Vec<&str> = split(last).1.unwrap_or_default().split(',').filter(|item| !item.is_empty()).collect();
        let missing: Vec<&str> = self.ids.iter().map(String::as_str).filter(|id| !present.iter().any(|p| covers(p, id))).collect();
        if !missing.is_empty() {
            let written = last.split_once('=').map_or("vfio-pci.ids", |(name, _)| name);
            edits.replace.push((last.clone(), format!("{written}={}", [present, missing].concat().join(","))));
        }
    }
}

/// True where an item of `vfio-pci.ids` takes every device that `id` takes: equal, or `id` only adds subsystem numbers.
pub fn covers(item: &str, id: &str) -> bool {
    let (item, id) = (item.to_ascii_lowercase(), id.to_ascii_lowercase());
    let clean =
        |text: &str| text.split(':').map(|part| part.trim_start_matches("0x").trim_start_matches('0').to_owned()).collect::<Vec<_>>();
    let (item, id) = (clean(&item), clean(&id));
    item.len() >= 2 && id.starts_with(&item)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn off_goes_and_its_neighbours_stay() {
        let switch = |name, item| Switch { name, item };
        let wish = Wish { drop_off: vec![switch("intel_iommu", "off"), switch("swiotlb", "force")], ..Wish::default() };
        let edits =
            wish.edits(&words("quiet intel_iommu=off iommu=pt intel-iommu=off,sm_on amd_iommu=off swiotlb=65536,force intel_iommu=offx"));
        assert_eq!(edits.remove, ["intel_iommu=off", "intel_iommu=offx"]);
        let replaced = [("intel-iommu=off,sm_on", "intel-iommu=sm_on"), ("swiotlb=65536,force", "swiotlb=65536")];
        assert_eq!(edits.replace, replaced.map(|(old, new)| (old.to_owned(), new.to_owned())));
    }

    #[test]
    fn the_users_own_setting_is_enough() {
        let wish = Wish { add: Some("intel_iommu=on"), ..Wish::default() };
        assert!(wish.edits(&words("intel_iommu=on,sm_on")).is_empty());
        assert_eq!(wish.edits(&words("intel_iommu=sm_on")).add, ["intel_iommu=on"]);
    }

    #[test]
    fn ids_join_the_last_list_and_are_added_once() {
        let wish = Wish { ids: vec!["10de:1f91".into(), "10de:10fa".into()], ..Wish::default() };
        assert_eq!(wish.edits(&words("quiet")).add, ["vfio-pci.ids=10de:1f91,10de:10fa"]);
        let edits = wish.edits(&words("vfio_pci.ids=1:1 vfio-pci.ids=8086:1533,10DE:1F91 quiet"));
        assert_eq!(
            edits.replace,
            [("vfio-pci.ids=8086:1533,10DE:1F91".to_owned(), "vfio-pci.ids=8086:1533,10DE:1F91,10de:10fa".to_owned())]
        );
        assert!(wish.edits(&words("vfio-pci.ids=10de:1f91,10de:10fa")).is_empty());
    }

    #[test]
    fn an_item_covers_what_is_narrower() {
        assert!(covers("10de:1f91", "10de:1f91:1043:109f") && covers("0x10DE:0x1f91", "10de:1f91"));
        assert!(!covers("10de:1f91:1043", "10de:1f91") && !covers("10de", "10de:1f91"));
    }
}
