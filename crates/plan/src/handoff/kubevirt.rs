//! KubeVirt: what the cluster permits, and what a virtual machine asks for. Its device plugin offers functions that are on vfio-pci, by
//! vendor and device (`spec.configuration.permittedHostDevices` of the KubeVirt resource).

use super::group::{Given, Member, Standing};
use super::{Options, Target, Text};
use crate::plan::Refusal;
use cede_model::Host;
use cede_model::pci::PciDevice;

/// Without it a virtual machine with `hostDevices` is turned away (pkg/virt-api/webhooks/validating-webhook/admitters/vmi-create-admitter.go
/// `validateHostDevicesWithPassthroughEnabled`); `gpus` need none.
const HOST_DEVICES_GATE: &str = "    developerConfiguration:\n      featureGates:\n        - HostDevices\n";

/// The only driver whose functions are offered (pkg/virt-handler/device-manager/pci_device.go `discoverPermittedHostPCIDevices`).
const OFFERED: &str = "vfio-pci";

/// KubeVirt.
pub struct KubeVirt;

impl Target for KubeVirt {
    fn name(&self) -> &'static str {
        "kubevirt"
    }

    fn about(&self) -> &'static str {
        "what the cluster permits, and the virtual machine's devices"
    }

    fn needs(&self) -> Standing {
        Standing::Ceded
    }

    fn text(&self, host: &Host, given: &Given, options: &Options) -> Result<Text, Vec<Refusal>> {
        let mut kinds: Vec<&Member> = given.members.iter().collect();
        kinds.sort_by_key(|member| member.id);
        kinds.dedup_by_key(|member| member.id);
        let mut text = String::from(
            "apiVersion: kubevirt.io/v1\nkind: KubeVirt\nmetadata:\n  name: kubevirt\n  namespace: kubevirt\nspec:\n  configuration:\n",
        );
        if given.members.iter().any(|member| !member.is_display) {
            text.push_str(HOST_DEVICES_GATE);
        }
        text.push_str("    permittedHostDevices:\n      pciHostDevices:\n");
        for member in kinds {
            let selector = member.id.to_string().to_uppercase();
            text.push_str(&format!("        - pciVendorSelector: \"{selector}\"\n          resourceName: {}\n", resource(member)));
        }
        text.push_str("---\napiVersion: kubevirt.io/v1\nkind: VirtualMachine\nmetadata:\n  name: VM\nspec:\n  template:\n    spec:\n      domain:\n        devices:\n");
        text.push_str(&list("gpus", given.members.iter().filter(|member| member.is_display)));
        text.push_str(&list("hostDevices", given.members.iter().filter(|member| !member.is_display)));
        Ok(Text { text, parts: Vec::new(), notes: notes(host, given, options) })
    }
}

/// A name of an extended resource in Kubernetes: a domain and a name.
fn resource(member: &Member) -> String {
    format!("devices.kubevirt.io/{}", member.id.to_string().replace(':', "-"))
}

fn list<'a>(key: &str, members: impl Iterator<Item = &'a Member>) -> String {
    let items: String = members
        .map(|member| {
            format!(
                "            - deviceName: {}\n              name: pci-{}\n",
                resource(member),
                member.address.to_string().replace([':', '.'], "-")
            )
        })
        .collect();
    if items.is_empty() { items } else { format!("          {key}:\n{items}") }
}

fn notes(host: &Host, given: &Given, options: &Options) -> Vec<String> {
    let mut list = vec![
        "a list that is patched replaces the whole list: add what the cluster permits and switched on already; `kubectl -n kubevirt get kubevirt kubevirt -o yaml` shows it".to_owned(),
        "put the name of the virtual machine in the place of VM".to_owned(),
    ];
    let twin = |member: &&Member| {
        host.devices.iter().any(|other| other.id == Some(member.id) && given.members.iter().all(|m| m.address != other.address))
    };
    if let Some(member) = given.members.iter().find(twin) {
        list.push(format!(
            "KubeVirt chooses by ids, and another device on this host has those of {} ({}): it may give either",
            member.address, member.id
        ));
    }
    let driver = |member: &Member| host.device(member.address).and_then(PciDevice::driver_name);
    list.extend(given.members.iter().filter_map(|member| {
        let name = driver(member).filter(|name| *name != OFFERED)?;
        let address = member.address;
        Some(format!(
            "KubeVirt offers what is on {OFFERED} alone, and {address} is on {name}: `sudo driverctl --nosave set-override {address} {OFFERED}`"
        ))
    }));
    if given.members.len() > 1 {
        list.push(
            "the functions are asked for one by one, and only together do they work: keep all of them in the same virtual machine"
                .to_owned(),
        );
    }
    if options.rom.is_some() {
        list.push("KubeVirt gives no option ROM to a host device: the ROM file is left out".to_owned());
    }
    list
}
