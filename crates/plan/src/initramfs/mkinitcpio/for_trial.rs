//! An image for a trial: mkinitcpio takes another configuration by `-c`, one that reads those of the preset and then lists our modules first.

use super::preset::{Preset, preset_trouble, presets};
use super::{Config, PRESETS, TOOL, Wanted};
use crate::initramfs::{Early, GeneratorChange, TrialImage, proofs};
use crate::plan::{Refusal, Step};
use crate::trial;
use cede_model::Host;

pub(super) fn change(host: &Host, early: &Early, image: &TrialImage) -> Result<GeneratorChange, Refusal> {
    let refused = |why: String| Refusal::new("trial-no-image", format!("no image can be made for a trial: {why}"));
    if let Some(why) = preset_trouble(host) {
        return Err(refused(why));
    }
    let makes_base = |preset: &Preset| preset.path.as_deref().is_some_and(|path| path.rsplit('/').next() == Some(&image.base));
    let preset = presets(host).into_iter().find(makes_base);
    let preset = preset.ok_or_else(|| refused(format!("no preset of {PRESETS} makes {}", image.base)))?;
    let kernel = preset.kernel.as_deref().and_then(|release| host.kernels.iter().find(|kernel| kernel.release == release));
    let kernel = kernel.ok_or_else(|| refused(format!("which installed kernel {} is for cannot be told", image.base)))?;
    let config = preset.config.clone().map_or_else(|| Config::default_one(host), |path| Config::alone(host, path));
    if let Some(why) = config.unseen(host) {
        return Err(refused(why));
    }
    let text = config.for_trial(&Wanted::new(host, early)).map_err(refused)?;
    let path = format!("{}/mkinitcpio.conf", trial::STATE);
    let mut argv = [TOOL, "-k", &kernel.release, "-c", &path, "-g", &image.path].map(str::to_owned).to_vec();
    argv.extend(preset.options.unwrap_or_default().split_whitespace().map(str::to_owned));
    Ok(GeneratorChange {
        tools: vec![Step::RunTool { argv, why: "makes the image of the trial; those there are stay".to_owned() }],
        files: vec![Step::ReplaceFile { path, before: None, after: Some(text.into_bytes()) }],
        proofs: proofs(host, &image.path, Some(kernel), early),
        rests_on: config.files.into_iter().map(|(path, _)| path).collect(),
        notes: Vec::new(),
    })
}

impl Config {
    /// Reads what this one reads, then lists our modules before its own.
    fn for_trial(&self, wanted: &Wanted) -> Result<String, String> {
        let plain = |word: &str| word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-+?".contains(&byte));
        let modules: Vec<String> = self.array("MODULES")?.into_iter().filter(|name| !wanted.is_ours(name)).collect();
        let mut text = "# Written by cede for a trial boot; `cede undo` removes it.\n".to_owned();
        for (path, _) in &self.files {
            text.push_str(&format!(". {path}\n"));
        }
        let list: Vec<String> = wanted.first.iter().cloned().chain(modules.iter().map(|name| format!("'{name}'"))).collect();
        text.push_str(&format!("MODULES=({})\n", list.join(" ")));
        let odd = modules.iter().chain(self.files.iter().map(|(path, _)| path)).find(|word| !plain(word));
        odd.map_or(Ok(text), |odd| Err(format!("`{odd}` cannot be written in its configuration")))
    }
}
