//! The texts of `cede handoff` for targets that are not at hand, against what these publish of their formats; NixOS by its own parser.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "clippy's exemption of tests does not reach what stands beside the tests here"
)]

mod support;

use serde_json::{Map, Value, json};
use std::fs;
use std::iter::Peekable;
use support::handing_over::{Host, err, out, tool};
use support::{Dir, code, fixture};

/// Lines of a YAML text with their depths. Block style, plain or quoted scalars: what cede writes.
type Lines<'t> = Peekable<std::vec::IntoIter<(usize, &'t str)>>;

fn documents(text: &str) -> Vec<Value> {
    let lines = |part: &'_ str| -> Vec<(usize, String)> {
        let items = part.lines().filter(|line| !line.trim().is_empty());
        items
            .flat_map(|line| {
                let depth = line.len() - line.trim_start().len();
                // An item of a list is a node that begins two deeper, behind its dash.
                match line.trim().strip_prefix("- ") {
                    Some(rest) => vec![(depth, "-".to_owned()), (depth + 2, rest.to_owned())],
                    None => vec![(depth, line.trim().to_owned())],
                }
            })
            .collect()
    };
    text.split("---\n")
        .map(|part| {
            let owned = lines(part);
            let list: Vec<(usize, &str)> = owned.iter().map(|(depth, line)| (*depth, line.as_str())).collect();
            node(&mut list.into_iter().peekable())
        })
        .collect()
}

fn node(lines: &mut Lines<'_>) -> Value {
    let (depth, first) = *lines.peek().expect("a node");
    if first != "-" && !first.contains(": ") && !first.ends_with(':') {
        lines.next();
        return Value::String(first.trim_matches('"').to_owned());
    }
    let (mut list, mut map) = (Vec::new(), Map::new());
    while let Some((_, line)) = lines.next_if(|(at, _)| *at == depth) {
        if line == "-" {
            list.push(node(lines));
        } else if let Some(key) = line.strip_suffix(':') {
            assert!(map.insert(key.to_owned(), node(lines)).is_none(), "{key} is there twice");
        } else {
            let (key, value) = line.split_once(": ").expect("a key and a value");
            assert!(map.insert(key.to_owned(), json!(value.trim_matches('"'))).is_none(), "{key} is there twice");
        }
    }
    if list.is_empty() { Value::Object(map) } else { Value::Array(list) }
}

/// Everything must be known and of its kind, and nothing that is required may be missing.
fn conforms(value: &Value, kind: &str, schema: &Value) {
    match kind {
        "other" => return,
        "string" => return assert!(value.is_string(), "{value} is no string"),
        _ => {}
    }
    let definition = schema.get(kind).unwrap_or_else(|| panic!("{kind} is not among what was copied"));
    let object = value.as_object().unwrap_or_else(|| panic!("{value} is no {kind}"));
    for required in definition["required"].as_array().unwrap() {
        assert!(object.contains_key(required.as_str().unwrap()), "{kind} has no {required}: {value}");
    }
    for (key, member) in object {
        let property = definition["properties"].get(key).unwrap_or_else(|| panic!("{kind} knows no {key}"));
        match property["items"].as_str() {
            Some(items) => member.as_array().expect("a list").iter().for_each(|item| conforms(item, items, schema)),
            None => conforms(member, property["is"].as_str().unwrap(), schema),
        }
    }
}

#[test]
fn kubevirt_knows_every_name_and_permits_what_is_asked_for() {
    let schema: Value = serde_json::from_slice(&fs::read(fixture("kubevirt/schema.json")).unwrap()).unwrap();
    let card = Host::card("vfio-pci", "vfio-pci").function("0000:02:00.0", ["10DE:1F91", "30200"], 8, Some("vfio-pci"));
    let output = card.handoff(&["01:00.0", "02:00.0", "--to", "kubevirt"]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    let [cluster, machine] = documents(&out(&output)).try_into().unwrap();
    conforms(&cluster, "KubeVirt", &schema);
    conforms(&machine, "VirtualMachine", &schema);
    let configuration = &cluster["spec"]["configuration"];
    // pkg/virt-api/webhooks/validating-webhook/admitters/vmi-create-admitter.go turns `hostDevices` away without it.
    assert_eq!(configuration["developerConfiguration"]["featureGates"], json!(["HostDevices"]));
    let permitted = configuration["permittedHostDevices"]["pciHostDevices"].as_array().unwrap();
    let names: Vec<&str> = permitted.iter().map(|one| one["resourceName"].as_str().unwrap()).collect();
    let devices = &machine["spec"]["template"]["spec"]["domain"]["devices"];
    let asked: Vec<&Value> = ["gpus", "hostDevices"].iter().flat_map(|list| devices[*list].as_array().unwrap()).collect();
    assert!(asked.len() == 3 && asked.iter().all(|one| names.contains(&one["deviceName"].as_str().unwrap())), "{machine}");
    // A card without another function needs no gate.
    let lone = Host::new().function("0000:02:00.0", ["10DE:1F91", "30200"], 8, Some("vfio-pci"));
    assert!(!out(&lone.handoff(&["02:00.0", "--to", "kubevirt"])).contains("featureGates"));
}

#[test]
fn kubevirt_is_told_of_pages_and_drivers_in_its_own_words() {
    let pages = |size: &str| {
        let path = format!("/sys/devices/system/node/node0/hugepages/hugepages-{size}kB/free_hugepages");
        let host = Host::card("vfio-pci", "vfio-pci").text("/sys/bus/pci/devices/0000:01:00.0/numa_node", "0\n").text(&path, "4\n");
        err(&host.handoff(&["01:00.0", "--to", "kubevirt"]))
    };
    // Kubernetes calls the resource `hugepages-1Gi`, and nothing else.
    assert!(pages("1048576").contains("pageSize: 1Gi`") && pages("2048").contains("pageSize: 2Mi`"));
    let variant = Host::new().function("0000:02:00.1", ["15B3:101E", "20000"], 8, Some("mlx5_vfio_pci"));
    let said = err(&variant.handoff(&["02:00.1", "--to", "kubevirt"]));
    assert!(said.contains("0000:02:00.1 is on mlx5_vfio_pci"), "{said}");
}

/// Proxmox VE's formats, as its own code has them: `$map_fmt` of pve-guest-common 9 (src/PVE/Mapping/PCI.pm), `$hostpci_fmt` of qemu-server 9
/// (src/PVE/QemuServer/PCI.pm), `pve-configid` and `pve-node` of pve-common 9 (src/PVE/JSONSchema.pm).
const PROXMOX: &str = r#"
my $pci = qr/[a-f0-9]{4,}:[a-f0-9]{2}:[a-f0-9]{2}(?:\.[a-f0-9])?/;
my $ids = qr/[0-9A-Fa-f]{4}:[0-9A-Fa-f]{4}/;
my $configid = qr/[a-z][a-z0-9_-]+/i;
my %map = (node => qr/[a-zA-Z0-9](?:[a-zA-Z0-9\-]*[a-zA-Z0-9])?/, id => $ids, 'subsystem-id' => $ids, path => qr/(?:$pci;)*$pci/,
    iommugroup => qr/[0-9]+/);
my %hostpci = (mapping => $configid, pcie => qr/[01]/, romfile => qr/[^,;]+/);
sub words {
    my ($text, %known) = @_;
    my %seen;
    for (split(/,/, $text)) {
        my ($key, $value) = /^([^=]+)=(.*)$/ or die "`$_` is no property\n";
        die "`$key` twice\n" if $seen{$key}++;
        die "`$key` is not known\n" if !$known{$key};
        die "`$key` is not `$value`\n" if $value !~ /^$known{$key}$/;
    }
    return %seen;
}
my (%mapped, $section, $file);
while (my $line = <STDIN>) {
    chomp $line;
    if ($line =~ /^# (.*)/) { $file = $1 }
    elsif ($line eq '') { $section = undef }
    elsif ($file =~ /pci\.cfg$/ && $line =~ /^(\S+)\s*$/) { $section = $1; die "$section\n" if $section !~ /^$configid$/ }
    elsif ($section && $line =~ /^\tmap (.*)$/) {
        my %seen = words($1, %map);
        for (qw(node id path)) { die "no `$_`\n" if !$seen{$_} }
        $mapped{$section} = 1;
    } elsif ($line =~ /^hostpci(\d+): (.*)$/) {
        die "number $1\n" if $1 > 15;
        words($2, %hostpci);
        die "$2 is not mapped\n" if $2 !~ /mapping=([^,]+)/ || !$mapped{$1};
    } else { die "`$line`\n" }
}
print scalar(keys %mapped);
"#;

#[test]
fn proxmox_takes_every_property() {
    let dir = Dir::new("proxmox");
    let host = || {
        Host::card("nouveau", "snd_hda_intel").function("10000:e1:00.0", ["144D:A808", "10802"], 9, Some("vfio-pci")).function(
            "0000:03:10.3",
            ["8086:1520", "20000"],
            10,
            Some("vfio-pci"),
        )
    };
    let output = host().handoff(&["01:00.0", "10000:e1:00.0", "3:10.3", "--to", "proxmox"]);
    fs::write(dir.path("text"), &output.stdout).unwrap();
    fs::write(dir.path("check.pl"), PROXMOX).unwrap();
    let checked = tool("sh", &["-c", &format!("perl -w {} <{}", dir.path("check.pl"), dir.path("text"))]);
    assert!(
        checked.status.success() && out(&checked) == "3" && err(&checked).is_empty(),
        "{}{}{}",
        err(&checked),
        out(&output),
        err(&output)
    );
    // The name of a ROM file ends at a comma; what is typed to copy one is one word.
    let rom = fs::read("/usr/lib/ipxe/qemu/pxe-e1000e.rom").expect("apt-get install ipxe-qemu");
    let card = || Host::new().function("0000:02:00.0", ["8086:10D3", "20000"], 8, Some("vfio-pci"));
    for name in ["a,b.rom", "a b.rom"] {
        fs::write(dir.path(name), &rom).unwrap();
    }
    let refused = card().handoff(&["02:00.0", "--to", "proxmox", "--rom", &dir.path("a,b.rom")]);
    assert!(code(&refused) == 4 && err(&refused).contains("no `,`"), "{}", err(&refused));
    let said = err(&card().handoff(&["02:00.0", "--to", "proxmox", "--rom", &dir.path("a b.rom")]));
    assert!(said.contains(&format!("sudo cp '{}'", dir.path("a b.rom"))), "{said}");
}

#[test]
fn nix_parses_the_module() {
    let dir = Dir::new("nixos");
    for (graphics, sound) in [("nouveau", "snd_hda_intel"), ("vfio-pci", "vfio-pci")] {
        let output = Host::card(graphics, sound).handoff(&["01:00.0", "--to", "nixos"]);
        fs::write(dir.path("cede.nix"), &output.stdout).unwrap();
        let parsed = tool("nix-instantiate", &["--parse", &dir.path("cede.nix")]);
        let text = out(&parsed);
        assert!(parsed.status.success() && text.contains(r#"("vfio-pci.ids=10de:1f91,10de:10fa")"#), "{text}{}", err(&parsed));
    }
}
