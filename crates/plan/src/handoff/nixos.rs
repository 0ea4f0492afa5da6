//! NixOS: the module that cedes the devices at the start, as NixOS wants to be told (its boot configuration is generated, and not ours to edit).

use super::group::{Given, Standing};
use super::{Options, Target, Text};
use crate::binding::{self, Natives};
use crate::intent::Identity;
use crate::iommu_cause::IommuFamily;
use crate::plan::Refusal;
use cede_model::Host;

/// NixOS.
pub struct NixOs;

impl Target for NixOs {
    fn name(&self) -> &'static str {
        "nixos"
    }

    fn about(&self) -> &'static str {
        "a module that cedes the devices at the start"
    }

    fn needs(&self) -> Standing {
        Standing::Host
    }

    fn cedes(&self) -> bool {
        true
    }

    fn text(&self, host: &Host, given: &Given, _: &Options) -> Result<Text, Vec<Refusal>> {
        let devices: Vec<_> = given.members.iter().filter_map(|member| host.device(member.address)).collect();
        if let Some(virtual_one) = devices.iter().find(|device| device.physical_function.is_some()) {
            let message = format!(
                "{} is a virtual function: it does not exist yet when the host starts; `cede handoff {} --to libvirt` binds it later",
                virtual_one.address, virtual_one.address
            );
            return Err(vec![Refusal::new("virtual-function", message)]);
        }
        let ceded: Vec<Identity> = devices.iter().filter_map(|device| Identity::of(device)).collect();
        let ids = binding::ids(host, &ceded)?;
        let natives = Natives::of(host, &ceded);
        let mut parameters = Vec::new();
        if IommuFamily::of(host) == IommuFamily::Intel {
            parameters.push("intel_iommu=on".to_owned());
        }
        parameters.push(format!("vfio-pci.ids={}", ids.join(",")));
        let words: Vec<String> = parameters.iter().map(|word| format!("\"{word}\"")).collect();
        let mut text = format!(
            "# cede.nix: add it to `imports` of configuration.nix\n{{ ... }}:\n{{\n  boot.kernelParams = [ {} ];\n  boot.initrd.kernelModules = [ \"vfio_pci\" \"vfio\" \"vfio_iommu_type1\" ];\n",
            words.join(" ")
        );
        if !natives.modules.is_empty() {
            // The list above is not loaded in its order: softdep is what brings vfio-pci before the native drivers.
            let lines: String = natives.modules.iter().map(|module| format!("    softdep {module} pre: vfio-pci\n")).collect();
            text.push_str(&format!("  boot.extraModprobeConfig = ''\n{lines}  '';\n"));
        }
        text.push_str("}\n");
        let mut notes = vec!["`nixos-rebuild boot`, then the reboot; taking the import out and rebuilding takes it back".to_owned()];
        notes.extend(natives.built_in.iter().map(|(address, module, release)| {
            format!("{module} is built into kernel {release} and takes {address} before any module can: this module will not do there")
        }));
        Ok(Text { text, parts: Vec::new(), notes })
    }
}
